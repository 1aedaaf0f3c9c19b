"""Rows of the source counted on their way: no row lost or counted twice from event to partial to window."""

from collections import defaultdict
from collections.abc import Collection
from datetime import date, timedelta

import numpy as np

from sojourn.core import MissingTable
from sojourn.rollups.dialect import dialect_of
from sojourn.rollups.findings import Check, VerifySpec, some, told
from sojourn.rollups.grains import ONE_DAY, Cell
from sojourn.rollups.lifting import source_rows, state_column
from sojourn.rollups.rederived import differences, drawn
from sojourn.rollups.standing import Standing
from sojourn.rollups.windows import HourWindow, LifeWindow, Window, day_start, reach
from sojourn.warehouse import Warehouse

# A row's own zone may be up to this far from UTC.
EAST_HOURS, WEST_HOURS = 14, 12


def verify_counts(found: Standing, spec: VerifySpec) -> list[Check]:
    """Partials count as many rows as their days have, and windows hold the keys that were seen in them."""
    return [_rows(found), *([_keys(found, spec)] if found.windows else [])]


def _rows(found: Standing) -> Check:
    ledger, table = found.found, found.spec.table
    if not found.current:
        return Check("rows", table, 0, "partials", notes=("no partial is current",))
    counted = state_column(ledger.definition.presence, "n")
    relation = found.warehouse.relation(table, only=[cell.partition for cell in found.current])
    told_by = {
        Cell(grain, start): int(rows or 0)
        for grain, start, rows in found.warehouse.engine.rows(
            f"SELECT grain, start, sum({counted}) FROM {relation} GROUP BY grain, start"
        )
    }
    wrong = []
    for cell in found.current:
        rows = sum(ledger.rows[day] for day in ledger.days(cell.start, cell.end))
        if told_by.get(cell, 0) != rows:
            wrong.append(
                f"{cell.grain} {cell.start} counts {told_by.get(cell, 0):,} rows, and table "
                f"{found.spec.source!r} has {rows:,} there"
            )
    return Check("rows", table, len(found.current), "partials", told(wrong))


def _keys(found: Standing, spec: VerifySpec) -> Check:
    as_ofs = drawn(found.current_windows, spec.partitions, np.random.default_rng(spec.seed))
    warehouse, table, keys = found.warehouse, found.spec.windows_table, found.found.definition.keys
    wrong = []
    for as_of in as_ofs:
        seen = f"SELECT DISTINCT {', '.join(keys)} FROM ({_seen(found, as_of)}) AS seen"
        stored = warehouse.relation(table, only=[{"as_of": str(as_of)}])
        faults = differences(warehouse, stored, derived=seen, keys=keys, columns=())
        wrong += [f"as_of={as_of}, keys alone: {fault}" for fault in faults]
    return Check("keys", table, len(as_ofs), "days looked from", told(wrong))


def _seen(found: Standing, as_of: date) -> str:
    """The rows of the source that lie in any window."""
    definition = found.found.definition
    days = found.found.days(*reach(definition.windows, as_of))
    inside = " OR ".join(f"({_inside(found, window, as_of)})" for window in definition.windows)
    return f"SELECT * FROM {source_rows(found.warehouse, definition, days)} AS raw WHERE {inside}"


def _inside(found: Standing, window: Window, as_of: date) -> str:
    definition = found.found.definition
    if isinstance(window, HourWindow):
        first, end = (definition.sql.instant(at) for at in window.instants(as_of, definition.zone))
        return f"ts >= {first} AND ts < {end}"
    # Every key that was ever seen was seen on its first day.
    start, before = (date.min, as_of) if isinstance(window, LifeWindow) else window.span(as_of)
    return f"day >= DATE '{max(start, found.found.first)}' AND day < DATE '{before}'"


def verify_source(warehouse: Warehouse, source: str, *, unreliable: Collection[str] = ()) -> list[Check]:
    """No id is met twice, and every row lies in the day of its time. Raises `MissingTable` without the table.

    In files in place the day is the team's own word and is not judged.
    """
    if not warehouse.has(source):
        raise MissingTable(f"The warehouse {warehouse.root} has no table {source!r}; it has {warehouse.tables()}.")
    if source in unreliable:
        return [Check("ids", source, 0, "rows", skipped="files of it are damaged: see the check of files")]
    infos = warehouse.partitions(source)
    rows = sum(each.rows for each in infos)
    columns = warehouse.engine.columns(f"SELECT * FROM {warehouse.relation(source)}")
    checks = [_ids(warehouse, source, rows)] if {"event_id", "day"} <= set(columns) else []
    if {"ts", "day"} <= set(columns) and warehouse.registered(source) is None:
        days = [date.fromisoformat(each.partition["day"]) for each in infos]
        checks.append(_days(warehouse, source, days, rows, own_zone="zone" in columns))
    return checks


def _ids(warehouse: Warehouse, source: str, rows: int) -> Check:
    per_id = f"SELECT event_id, count(DISTINCT day) AS days FROM {warehouse.relation(source)}"
    repeated = f"{per_id} WHERE event_id IS NOT NULL GROUP BY event_id HAVING count(*) > 1"
    found = warehouse.engine.rows(f"SELECT days > 1, count(*), min(event_id) FROM ({repeated}) GROUP BY days > 1")
    words = {True: "on several days", False: "within one day"}
    wrong = [
        f"{count:,} ids stand there more than once {words[far]}, the first {first!r}" for far, count, first in found
    ]
    return Check("ids", source, rows, "rows", tuple(sorted(wrong)))


def _days(warehouse: Warehouse, source: str, days: list[date], rows: int, *, own_zone: bool) -> Check:
    sql = dialect_of(warehouse.engine)
    bounds = []
    for day in days:
        first, end = day_start(day, warehouse.spec.zone), day_start(day + ONE_DAY, warehouse.spec.zone)
        if own_zone:
            utc = day_start(day, "UTC")
            first, end = utc - timedelta(hours=EAST_HOURS), utc + timedelta(hours=24 + WEST_HOURS)
        bounds.append(f"(DATE '{day}', {sql.instant(first)}, {sql.instant(end)})")
    found = warehouse.engine.rows(
        f"WITH bounds(day, first, last) AS ({sql.values(bounds)}) SELECT day, count(*) "
        f"FROM {warehouse.relation(source)} JOIN bounds USING (day) WHERE ts < first OR ts >= last "
        f"GROUP BY day ORDER BY day"
    )
    strays: dict[date, int] = defaultdict(int, dict(found))
    wrong = [f"{sum(strays.values()):,} rows lie in another day than their time's: in {some(strays)}"] if strays else []
    return Check("days", source, rows, "rows", tuple(wrong))
