"""What a check looked at and what it found: the rows of the table that `sojourn verify` prints."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from sojourn.core import Spec

Verdict = Literal["ok", "note", "wrong", "skipped"]
MOST_NAMED = 3
MOST_TOLD = 20


class VerifySpec(Spec):
    """How much is recomputed: `sample` keys of each table in Python, one event at a time, and `partitions` of each
    table as a whole by the engine (None: all). The same seed draws the same sample.
    """

    sample: int = Field(default=100, ge=1)
    partitions: int | None = Field(default=6, ge=1)
    seed: int = Field(default=0, ge=0)


@dataclass(frozen=True)
class Check:
    """One check of one table: how many things it looked at, the faults it found, and what is worth knowing besides.

    `skipped` says why nothing was looked at.

    >>> Check("rows", "rollup_user", looked=3, unit="days").verdict
    'ok'
    """

    check: str
    of: str
    looked: int
    unit: str
    wrong: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    skipped: str | None = None

    @property
    def verdict(self) -> Verdict:
        """`wrong` when any fault was found."""
        if self.wrong:
            return "wrong"
        return "skipped" if self.skipped is not None else "note" if self.notes else "ok"

    @property
    def found(self) -> str:
        """The first fault or else the first note, and how many more there are."""
        told = self.wrong or ((self.skipped,) if self.skipped is not None else self.notes)
        return "" if not told else told[0] + (f" (and {len(told) - 1} more)" if len(told) > 1 else "")

    def row(self) -> tuple[str, str, str, str, str]:
        """The row of the table: check, table, looked at, verdict, found."""
        unit = self.unit.replace("s", "", 1) if self.looked == 1 else self.unit
        return self.check, self.of, f"{self.looked:,} {unit}", self.verdict, self.found

    def as_dict(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return {
            "check": self.check,
            "of": self.of,
            "looked": self.looked,
            "unit": self.unit,
            "verdict": self.verdict,
            "wrong": list(self.wrong),
            "notes": list(self.notes),
            "skipped": self.skipped,
        }


def some(things: Iterable[object]) -> str:
    """The first few of these, and how many more there are.

    >>> some([1, 2, 3, 4, 5])
    '1, 2, 3 and 2 more'
    """
    named = [str(each) for each in things]
    more = len(named) - MOST_NAMED
    return ", ".join(named[:MOST_NAMED]) + (f" and {more:,} more" if more > 0 else "")


def told(faults: Sequence[str]) -> tuple[str, ...]:
    """The faults, or the first of very many."""
    more = len(faults) - MOST_TOLD
    return (*faults[:MOST_TOLD], *([f"{more:,} more of the kind"] if more > 0 else []))
