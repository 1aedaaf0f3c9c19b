"""A warehouse comes in; one table of every check that was made of it comes out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sojourn.features import FeatureSpec, verify_features
from sojourn.rollups import Check, RollupSpec, VerifySpec, verify_files, verify_rollup, verify_source
from sojourn.warehouse import Warehouse

PREFIXES = ("rollup_", "windows_", "rests_")


@dataclass(frozen=True)
class Verification:
    """The checks that were made, in order."""

    spec: VerifySpec
    checks: tuple[Check, ...]

    @property
    def fine(self) -> bool:
        """Whether no check found anything wrong."""
        return all(check.verdict != "wrong" for check in self.checks)

    def rows(self) -> list[tuple[str, ...]]:
        """The table: check, table, looked at, verdict, found."""
        return [check.row() for check in self.checks]

    def as_dict(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return {
            "fine": self.fine,
            "spec": self.spec.model_dump(mode="json"),
            "checks": [each.as_dict() for each in self.checks],
        }


def verify(
    warehouse: Warehouse, *, rollups: Sequence[RollupSpec], features: FeatureSpec | None, spec: VerifySpec
) -> Verification:
    """Every file of the warehouse is read; its events, the declared rollups and their features are checked.

    Nothing is written. Raises as `ledger` does: `MissingTable` without the events, `BadInput` for a rollup that does
    not suit them.
    """
    checks, unreliable = verify_files(warehouse, _tables(warehouse))
    for source in sorted({each.source for each in rollups}):
        checks += verify_source(warehouse, source, unreliable=unreliable)
    for rollup in rollups:
        checks += verify_rollup(warehouse, rollup, spec=spec, unreliable=unreliable)
    if features is not None:
        checks += verify_features(warehouse, features, spec=spec, unreliable=unreliable)
    known = [*rollups, *([features.rollup] if features is not None else [])]
    return Verification(spec, (*checks, *_undeclared(warehouse, known)))


def _tables(warehouse: Warehouse) -> list[str]:
    """The tables, and the folders of such that have lost all their files."""
    folders = {path.name for path in warehouse.root.iterdir() if path.is_dir() and path.name[0] not in "_."}
    return sorted({*warehouse.tables(), *folders})


def _undeclared(warehouse: Warehouse, rollups: Sequence[RollupSpec]) -> list[Check]:
    known = {name for each in rollups for name in (each.table, each.windows_table, each.rests_table)}
    there = [name for name in warehouse.tables() if name.startswith(PREFIXES)]
    why = "no rollup that is declared made it, so its files alone were looked at"
    return [
        Check("all else", name, 0, "partitions", skipped=why) for name in there if name.partition("__")[0] not in known
    ]
