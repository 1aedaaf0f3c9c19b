"""Users who are to be forgotten go; a tombstone of each stays, so that no file brings them back."""

from collections.abc import Sequence
from datetime import datetime

from sojourn.core import BadInput
from sojourn.events._content import content_fingerprint
from sojourn.events._keyed import WHOLE
from sojourn.events._people import IDENTITIES, people, persons, put_identities, theirs
from sojourn.events._rejected import ORDER
from sojourn.events._rejected import TABLE as REJECTED
from sojourn.events._resettle import Touched, resettle_events, resettle_users, touched_days
from sojourn.events._tombstones import add_tombstones, values_sql
from sojourn.events.search import mentions
from sojourn.warehouse import DuckDBEngine, Warehouse


def leave_tombstones(warehouse: Warehouse, users: Sequence[str], *, as_of: datetime) -> list[str]:
    """Keep these users out from now on: ingest drops their rows unseen. Every id of theirs, aliases included, sorted.

    This comes first: whatever kills the work that follows, no ingest in between brings back what is already gone. A
    user whom no table knows gets a tombstone too. Raises `BadInput` for no id or an empty one, for an `as_of` without a
    zone, and where a table that is registered in place names one of them: those files are only read.
    """
    if as_of.tzinfo is None:
        raise BadInput(f"as_of = {as_of} has no zone. Give one: as_of.replace(tzinfo=UTC)")
    if not users or not all(user.strip() for user in users):
        raise BadInput("No user to forget is given, or an empty one. Name each by its id: sojourn events forget ann")
    if not isinstance(warehouse.engine, DuckDBEngine):
        raise BadInput(
            "Users are forgotten with DuckDB. Open the warehouse with it: Warehouse.open(root), without an EngineSpec."
        )
    ids = persons(warehouse, users)
    with people(warehouse.engine, dict.fromkeys(ids)):
        _refuse_in_place(warehouse)
    add_tombstones(warehouse, ids, as_of=as_of)
    return ids


def days_of_users(warehouse: Warehouse, ids: Sequence[str]) -> list[str]:
    """The business days, as texts, on which events that stand or are superseded name one of these ids."""
    with people(warehouse.engine, dict.fromkeys(ids)):
        return touched_days(warehouse)


def known_among(warehouse: Warehouse, ids: Sequence[str]) -> set[str]:
    """Those of the ids that an event or a portrait names, standing or superseded, or that are aliases."""
    named = dict.fromkeys(("events", "superseded", "users", "superseded_users"), "user_id") | {IDENTITIES: "alias"}
    with people(warehouse.engine, dict.fromkeys(ids)):
        found = [
            f"SELECT DISTINCT {column} FROM {warehouse.relation(table)} WHERE {theirs(column)}"
            for table, column in named.items()
            if warehouse.has(table)
        ]
        return {user for (user,) in warehouse.engine.rows(" UNION ".join(found))} if found else set()


def erase_users(warehouse: Warehouse, ids: Sequence[str]) -> list[Touched]:
    """Take these ids out of events, users, the superseded versions of both, and rejected rows; what each table lost.

    What is left is what the log without them would have left: where a version of theirs stood for an event that others
    had before, the version before it stands again. Run again after a kill, it completes.
    """
    with people(warehouse.engine, dict.fromkeys(ids)):
        return [*resettle_events(warehouse), *resettle_users(warehouse), *_erase_rejected(warehouse, ids)]


def erase_identities(warehouse: Warehouse, ids: Sequence[str]) -> list[Touched]:
    """Take what table `identities` says of these ids. This comes last: until then it tells which ids are one person."""
    if not warehouse.has(IDENTITIES):
        return []
    with people(warehouse.engine, dict.fromkeys(ids)), warehouse.writing(IDENTITIES) as writer:
        whole = f"FROM {warehouse.relation(IDENTITIES)}"
        gone = f"({theirs('alias')} OR {theirs()})"
        [(rows, left)] = warehouse.engine.rows(
            f"SELECT count(*) FILTER (WHERE {gone}), count(*) FILTER (WHERE NOT {gone}) {whole}"
        )
        if rows and not left:
            writer.drop(WHOLE)
        elif rows:
            put_identities(warehouse, writer, f"SELECT alias, user_id, arrived_at {whole} WHERE NOT {gone}")
    return [Touched(IDENTITIES, rows, 1)] if rows else []


def _refuse_in_place(warehouse: Warehouse) -> None:
    for table in warehouse.tables():
        source = warehouse.registered(table)
        if source is not None and "user_id" in source.columns:
            [(rows,)] = warehouse.engine.rows(f"SELECT count(*) FROM {warehouse.relation(table)} WHERE {theirs()}")
            if rows:
                raise BadInput(
                    f"Table {table!r} is read in place from {source.folder}, where {rows:,} rows name a user who is to "
                    f"be forgotten; Sojourn never changes those files. Delete the rows there, then run this again."
                )


def _erase_rejected(warehouse: Warehouse, ids: Sequence[str]) -> list[Touched]:
    if not warehouse.has(REJECTED):
        return []
    engine, rows, partitions = warehouse.engine, 0, 0
    with warehouse.writing(REJECTED) as writer:
        for info in warehouse.partitions(REJECTED):
            stored = warehouse.relation(REJECTED, only=[info.partition])
            values = f"SELECT row, {values_sql('raw')} AS id FROM numbered"
            marked = (
                f"WITH numbered AS (SELECT *, row_number() OVER () AS row FROM {stored}), "
                f"gone AS (SELECT row FROM ({values}) WHERE {theirs('id')}) "
                f"SELECT {', '.join(ORDER)}, row IN (FROM gone) OR {mentions('raw', ids)} "
                f"OR {mentions('source', ids)} AS gone FROM numbered"
            )
            [(gone,)] = engine.rows(f"SELECT count(*) FROM ({marked}) WHERE gone")
            if gone == info.rows:
                writer.drop(info.partition)
            elif gone:
                query = f"SELECT {', '.join(ORDER)} FROM ({marked}) WHERE gone IS NOT TRUE"
                mark = content_fingerprint(warehouse, query, ORDER)
                writer.put(info.partition, query, order_by=ORDER, fingerprint=mark)
            rows, partitions = rows + gone, partitions + (gone > 0)
    return [Touched(REJECTED, rows, partitions)] if rows else []
