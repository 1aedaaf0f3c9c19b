"""How many rows each day of events held when a run last changed them, so that what goes missing otherwise is found.

Table `event_days` has `table_name` (events, superseded), `day` and `rows`. A change under way is written down before it
begins, in `_under_way/<what>.json`: killed and run again, it is accounted for as if it had not been killed.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from sojourn.core import UnreadableSource, fingerprint
from sojourn.warehouse import Warehouse
from sojourn.warehouse.files import write_text

TABLE, FOLDER = "event_days", "_under_way"
EVENTS, SUPERSEDED = "events", "superseded"
OURS = (EVENTS, SUPERSEDED)
NAMED = 3
SCHEMA = {"table_name": pl.String, "day": pl.String, "rows": pl.Int64}
# The rows by table and partition.
Held = Mapping[tuple[str, str], int]


@dataclass(frozen=True)
class UnderWay:
    """A change that has begun: what its doer wrote down of it, and the rows that there were before."""

    told: Any
    before: Held


def held(warehouse: Warehouse, tables: Sequence[str] = OURS) -> Held:
    """The rows of each partition as its footer tells; none of tables that are read in place."""
    stored = [table for table in tables if warehouse.registered(table) is None]
    found = [(table, info) for table in stored for info in warehouse.partitions(table)]
    return {(table, info.partition.get("day") or json.dumps(info.partition)): info.rows for table, info in found}


def under_way(warehouse: Warehouse, what: str) -> UnderWay | None:
    """The change of this name that was cut off, if one was."""
    path = _path(warehouse, what)
    if not path.exists():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return UnderWay(found["told"], {(table, day): int(rows) for table, day, rows in found["before"]})
    except (OSError, ValueError, KeyError, TypeError) as fault:
        raise UnreadableSource(f"{path} cannot be read: {fault}. Remove it, and run this again: rm {path}") from fault


@contextmanager
def changing(warehouse: Warehouse, what: str, *, told: Any = None, tables: Sequence[str] = OURS) -> Iterator[UnderWay]:
    """A change of `tables` by us: while the block runs it is written down; at its end the days are counted anew.

    One that was cut off, by a kill or a fault, goes on with what was there before it. Rows that had gone missing before
    it began stay missed.
    """
    begun = under_way(warehouse, what) or UnderWay(told, held(warehouse, tables))
    rows = [[table, day, rows] for (table, day), rows in sorted(begun.before.items())]
    write_text(_path(warehouse, what), json.dumps({"told": begun.told, "before": rows}))
    try:
        yield begun
    except BaseException:
        if held(warehouse, tables) == begun.before:  # refused as a whole
            _path(warehouse, what).unlink()
        raise
    if EVENTS in tables:
        count_anew(warehouse, begun.before)
    _path(warehouse, what).unlink()


def count_anew(warehouse: Warehouse, before: Held) -> None:
    """Have the table say what each day holds now, but for days that held less than known before we changed anything."""
    if warehouse.registered(EVENTS) is not None:
        return
    known, now = _known(warehouse), held(warehouse)
    rows = {
        key: now.get(key, 0) if before.get(key, 0) >= known.get(key, 0) else max(known[key], now.get(key, 0))
        for key in sorted({*known, *now})
    }
    table = pl.DataFrame([(*key, count) for key, count in rows.items() if count], schema=SCHEMA, orient="row")
    mark = fingerprint(TABLE, *map(str, table.rows()))
    if warehouse.fingerprint_of(TABLE, {}) == mark or (table.is_empty() and not known):
        return
    with warehouse.writing(TABLE) as writer:
        if table.is_empty():
            writer.drop({})
        else:
            writer.put({}, table, order_by=["table_name", "day"], fingerprint=mark)


def missed(warehouse: Warehouse) -> list[str]:
    """Days of events that hold fewer rows than when a run last changed them, in words; none where all are there.

    A correction may have moved an event to another day since; then its earlier version is superseded.
    """
    if warehouse.registered(EVENTS) is not None:
        return []
    known, now = _known(warehouse), held(warehouse)
    fewer = {
        day: (now.get((table, day), 0), rows)
        for (table, day), rows in known.items()
        if table == EVENTS and now.get((table, day), 0) < rows
    }
    moved = max(0, _total(now, SUPERSEDED) - _total(known, SUPERSEDED))
    lost = sum(rows - found for found, rows in fewer.values())
    if lost <= moved:
        return []
    named = ", ".join(f"{day} ({found:,} of {rows:,})" for day, (found, rows) in sorted(fewer.items())[:NAMED])
    more = f" and {len(fewer) - NAMED:,} more days" if len(fewer) > NAMED else ""
    told = f"{lost:,} events are gone that nobody forgot, of {named}{more}"
    return [f"{told}: restore those partitions, or take their source in again with sojourn ingest"]


def _known(warehouse: Warehouse) -> dict[tuple[str, str], int]:
    if not warehouse.has(TABLE):
        return {}
    rows = warehouse.frame(TABLE).select(*SCHEMA).rows()
    return {(table, day): count for table, day, count in rows}


def _total(rows: Held, table: str) -> int:
    return sum(count for (name, _), count in rows.items() if name == table)


def _path(warehouse: Warehouse, what: str) -> Path:
    return warehouse.root / FOLDER / f"{what}.json"
