"""What each key did in the rest of a month, after each of its days: what a window falls back on when a day leaves it.

Table `rests_<rollup>` has a partition for each month that a sliding window is leaving, with a row per day and key.
"""

from collections.abc import Mapping
from datetime import date

from sojourn.core import fingerprint
from sojourn.rollups.algebra import Sql
from sojourn.rollups.grains import Cell, month_of
from sojourn.rollups.ledger import Ledger
from sojourn.rollups.lifting import state_column
from sojourn.warehouse import Warehouse, Writer

LATER = "OVER later"


def rest_relation(warehouse: Warehouse, found: Ledger, algebras: Mapping[str, Sql], *, day: date, oldest: date) -> str:
    """SQL to stand after FROM: for the keys of this day, their states over the later days of its month, which is over.

    The month's partition is written first where it is missing or stale; those of months before `oldest` are dropped.
    """
    spec, partition = found.definition.spec, {"start": str(month_of(day))}
    stored = warehouse.fingerprint_of(spec.rests_table, partition)
    # A partition serves all days from the one on that it was made for, which its fingerprint tells.
    if stored is None or not _serves(stored, found, algebras, day):
        with warehouse.writing(spec.rests_table) as writer:
            _drop_older(warehouse, spec.rests_table, writer, oldest)
            order = ["day", *spec.keys]
            mark = rests_fingerprint(found, algebras, day)
            writer.put(partition, rest_query(warehouse, found, algebras, day), order_by=order, fingerprint=mark)
    parts = [state_column(name, part) for name, algebra in algebras.items() for part in algebra.gathering()]
    columns = ", ".join([*found.definition.keys, *parts])
    return f"(SELECT {columns} FROM {warehouse.relation(spec.rests_table, only=[partition])} WHERE day = DATE '{day}')"


def rest_query(warehouse: Warehouse, found: Ledger, algebras: Mapping[str, Sql], day: date) -> str:
    """SQL for the states of later days of the month, per key and day from `day` on."""
    definition, month = found.definition, Cell("month", month_of(day))
    cells = [Cell("day", each) for each in found.days(day, month.end)]
    found.need_current(cells)
    relation = warehouse.relation(definition.spec.table, only=[cell.partition for cell in cells])
    keys, merged = ", ".join(definition.keys), []
    for name, algebra in algebras.items():
        stored = {part: state_column(name, part) for part in algebra.gathering()}
        merged += [f"{sql.format(**stored, only=LATER)} AS {stored[part]}" for part, sql in algebra.gathering().items()]
    # Backwards, so that what comes later is a running aggregate.
    frame = "ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING"
    return (
        f"SELECT {keys}, start AS day, {', '.join(merged)} FROM {relation} "
        f"WINDOW later AS (PARTITION BY {keys} ORDER BY start DESC {frame})"
    )


def rests_fingerprint(found: Ledger, algebras: Mapping[str, Sql], since: date) -> str:
    """The fingerprint of a month's rests from a day on: what they are made of, and that day."""
    end = Cell("month", month_of(since)).end
    asked = fingerprint(found.definition.fingerprint, *sorted(algebras), found.input_of(since, end))
    return f"{since}.{asked}"


def _serves(stored: str, found: Ledger, algebras: Mapping[str, Sql], day: date) -> bool:
    since = date.fromisoformat(stored.partition(".")[0])
    return (
        since <= day
        and all(each in found.source for each in found.days(since, day))
        and (stored == rests_fingerprint(found, algebras, since))
    )


def _drop_older(warehouse: Warehouse, table: str, writer: Writer, oldest: date) -> None:
    for place in warehouse.places(table):
        if place["start"] < str(month_of(oldest)):
            writer.drop(place)
