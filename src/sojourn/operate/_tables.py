"""What is declared comes in; the tables that a day's run may make of it come out, whether they are there yet or not."""

from collections.abc import Iterator
from difflib import get_close_matches

from sojourn.core import BadSpec
from sojourn.operate.checks import CheckSpec
from sojourn.operate.declared import SOURCES, Declared
from sojourn.warehouse import Warehouse

OWN = (
    "features",
    "predictions",
    "retention_predictions",
    "newcomer_predictions",
    "newcomer_cohorts",
    "prediction_log",
    "backtests",
)
KEPT = ("drift", "alerts", "runs", "ingested", "event_days", "rejected", "rates", "identities")


def need_table(warehouse: Warehouse, declared: Declared, spec: CheckSpec) -> None:
    """Raise `BadSpec` for a check of a table that is not there and that no run makes: a check that judges nothing."""
    made = {*may_be_made(declared)}
    if spec.table in made or warehouse.has(spec.table):
        return
    there = sorted({*warehouse.tables(), *made})
    near = get_close_matches(spec.table, there, n=1, cutoff=0.5)
    mend = f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(there)}."
    raise BadSpec(f"[checks.{spec.name}] is of table {spec.table!r}, which is not there and no section makes. {mend}")


def may_be_made(declared: Declared) -> Iterator[str]:
    """The names of the tables of these sections."""
    yield from (*SOURCES, *(f"superseded_{table}" for table in SOURCES[1:]), "superseded", *OWN, *KEPT)
    for spec in declared.rollups:
        yield from (spec.table, f"windows_{spec.name}")
    boards = [board.name if board is not None else "users" for board in declared.boards]
    yield from (f"metric_{kind}_{name}" for name in boards for kind in ("values", "cohorts", "state", "unbounded"))
