"""Tables made from events, and logs beside them: what in them is owed to some users, and its removal."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import polars as pl

from sojourn.core import BadInput, fingerprint
from sojourn.rollups import RollupSpec, backfill
from sojourn.warehouse import PartitionInfo, Warehouse, Writer
from sojourn.warehouse.engine import identifier

# The tables of room `events`, which looks after them itself.
EVENTS_OWN = frozenset(
    {"events", "superseded", "users", "superseded_users", "items", "superseded_items", "costs", "superseded_costs"}
    | {"rejected", "identities", "forgotten", "unsettled"}
)
COUNTED = ("rollup_", "windows_", "metric_")
# Cohorts count their users on every day after the first, too.
SINCE = ("metric_",)
USER = "user_id"


@dataclass(frozen=True)
class Change:
    """What happened to one table: `rows` (None where partitions went or came whole), `partitions`, and what it was."""

    table: str
    rows: int | None
    partitions: int
    what: str


def drop_counted(warehouse: Warehouse, days: Sequence[str]) -> list[Change]:
    """Drop the partials and windows in which these days' events are counted and whose rows are not of one user each.

    A channel's count has the user's share in it and no row to take out. Windows of any length count: all that look back
    on the first of the days go; so do all metrics from that day on, as cohorts count their users ever after.
    """
    first = [date.fromisoformat(day) for day in days]
    changes = []
    for table in _others(warehouse):
        if table.startswith(COUNTED) and not _user_columns(warehouse, table) and days:
            since = table.startswith(SINCE)
            gone = [info for info in warehouse.partitions(table) if _counts(info.partition, first, since=since)]
            changes += _drop(warehouse, table, gone)
    return changes


def drop_orphans(warehouse: Warehouse, rollups: Sequence[RollupSpec]) -> list[Change]:
    """Drop the partials of rollups whose source has no row left."""
    orphans = [spec.table for spec in rollups if not warehouse.has(spec.source)]
    return [each for table in orphans for each in _drop(warehouse, table, warehouse.partitions(table))]


def rebuild_counted(warehouse: Warehouse, rollups: Sequence[RollupSpec]) -> tuple[list[Change], list[str]]:
    """Build the declared rollups' partials that are missing or stale; and for each that can't be built, why not."""
    changes, notes = [], []
    for spec in rollups:
        if warehouse.has(spec.source):
            try:
                built = backfill(warehouse, spec).built
            except BadInput as fault:
                notes.append(f"Rollup {spec.name!r} was not rebuilt. {fault}")
                continue
            if built:
                changes.append(Change(spec.table, None, len(built), "days rebuilt"))
    return changes, notes


def erase_rows(warehouse: Warehouse, ids: Sequence[str]) -> list[Change]:
    """Take the rows of these users out of every table but those of events, partition by partition.

    A row is theirs where `user_id`, or any column whose name ends in `_user_id`, is one of the ids. The partition's
    fingerprint changes with it, so what is built from the table, or builds it, sees that it is another.
    """
    with warehouse.engine.table(pl.DataFrame({"id": ids}, schema={"id": pl.String})) as name:
        return [each for table in _others(warehouse) for each in _erase(warehouse, table, f"SELECT id FROM {name}")]


def rows_of(warehouse: Warehouse, ids: Sequence[str]) -> dict[str, int]:
    """How many rows of these users each table has that is not one of events'; those without any are left out."""
    found = {}
    with warehouse.engine.table(pl.DataFrame({"id": ids}, schema={"id": pl.String})) as name:
        for table in _others(warehouse):
            columns = _user_columns(warehouse, table)
            if columns:
                where = _theirs(columns, f"SELECT id FROM {name}")
                [(rows,)] = warehouse.engine.rows(f"SELECT count(*) FROM {warehouse.relation(table)} WHERE {where}")
                found[table] = rows
    return {table: rows for table, rows in found.items() if rows}


def clear_strays(warehouse: Warehouse) -> None:
    """Remove what killed writers left in the staging area. Raises `Locked` while one of them is at work."""
    for folder in sorted((warehouse.root / "_staging").glob("*")):
        with warehouse.writing(folder.name):
            pass  # entering clears it


def _others(warehouse: Warehouse) -> Iterator[str]:
    stored = (table for table in warehouse.tables() if table not in EVENTS_OWN)
    return (table for table in stored if warehouse.registered(table) is None)


def _user_columns(warehouse: Warehouse, table: str) -> list[str]:
    columns = warehouse.engine.columns(f"SELECT * FROM {warehouse.relation(table)}")
    return [name for name, kind in columns.items() if kind == "VARCHAR" and f"_{name}".endswith(f"_{USER}")]


def _theirs(columns: Sequence[str], ids: str) -> str:
    return " OR ".join(f"coalesce({identifier(name)} IN ({ids}), FALSE)" for name in columns)


def _counts(partition: dict[str, str], days: Sequence[date], *, since: bool) -> bool:
    """Whether any of these days is counted in a partition; where its keys don't tell, it is.

    `since` says that a partition also counts what came before its own days.
    """
    if "as_of" in partition:
        return any(day < date.fromisoformat(partition["as_of"]) for day in days)
    if "start" not in partition:
        return True
    start, grain = date.fromisoformat(partition["start"]), partition.get("grain", "day")
    if since and start >= min(days):
        return True
    if grain == "month":
        return any((day.year, day.month) == (start.year, start.month) for day in days)
    length = {"day": 1, "week": 7}.get(grain)
    return length is None or any(start <= day < start + timedelta(days=length) for day in days)


def _drop(warehouse: Warehouse, table: str, gone: Sequence[PartitionInfo]) -> list[Change]:
    if not gone:
        return []
    with warehouse.writing(table) as writer:
        for info in gone:
            writer.drop(info.partition)
    return [Change(table, None, len(gone), "dropped, as users' shares cannot be taken out")]


def _erase(warehouse: Warehouse, table: str, ids: str) -> list[Change]:
    columns = _user_columns(warehouse, table)
    if not columns:
        return []
    rows = partitions = 0
    with warehouse.writing(table) as writer:
        for info in warehouse.partitions(table):
            gone = _erased_from(warehouse, writer, table, info, where=_theirs(columns, ids))
            rows, partitions = rows + gone, partitions + (gone > 0)
    return [Change(table, rows, partitions, "rows removed")] if rows else []


def _erased_from(warehouse: Warehouse, writer: Writer, table: str, info: PartitionInfo, *, where: str) -> int:
    stored = warehouse.relation(table, only=[info.partition])
    [(gone, mix)] = warehouse.engine.rows(f"SELECT count(*), bit_xor(hash(gone)) FROM {stored} AS gone WHERE {where}")
    if gone:
        writer.keep(info.partition, where=f"NOT ({where})", fingerprint=_mark(info.fingerprint, str(mix)))
    return int(gone)


def _mark(old: str, mix: str) -> str:
    """Another fingerprint; what stands before the last point, a partial's definition, stays."""
    head, point, tail = old.rpartition(".")
    return f"{head}{point}{fingerprint('erased', tail, mix)}"
