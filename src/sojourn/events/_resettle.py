"""Stored events of people who go or become others: their ids' versions settled anew, and the touched days written."""

from dataclasses import dataclass

from sojourn.events._identity import CONTESTED, EVENTS, FORMER, HITS, MATCHES, SETTLED, SUPERSEDED, Identity
from sojourn.events._keyed import KEYED, WHOLE, KeyedMerge
from sojourn.events._people import seen_anew, theirs
from sojourn.events._stage import ROWS, STAGE
from sojourn.events._staging import cleared, stored_types
from sojourn.events._write_events import EventDays
from sojourn.events.spec import TableName
from sojourn.warehouse import Warehouse, Writer
from sojourn.warehouse.engine import identifier

USERS: TableName = "users"
UNSETTLED = "unsettled"
TEMPORARY = (MATCHES, HITS, CONTESTED, FORMER, SETTLED, KEYED)
EMPTY = "CAST(NULL AS VARCHAR) AS event_id, CAST(NULL AS DATE) AS _day, CAST(NULL AS VARCHAR) AS _fault WHERE FALSE"


@dataclass(frozen=True)
class Touched:
    """How many rows of these people a table held, in how many partitions; all of them written anew."""

    table: str
    rows: int
    partitions: int


def resettle_events(warehouse: Warehouse) -> list[Touched]:
    """Write table `events` and `superseded` without the people who go, and with the ids that others become.

    Of each touched event the version stands that would stand had the rows been so when they came. An id stays what it
    was, so a replay of an old file is known again. A day's fingerprint changes by the rows that come and go. Events
    that are registered in place are left alone.
    """
    if warehouse.registered(EVENTS) is not None:
        return []
    with (
        warehouse.writing(EVENTS) as writer,
        warehouse.writing(SUPERSEDED) as history_writer,
        warehouse.writing(UNSETTLED) as unsettled_writer,
        cleared(warehouse.engine, TEMPORARY),
    ):
        touched = [_held(warehouse, table) for table in (EVENTS, SUPERSEDED)]
        if not any(each.rows for each in touched) and not warehouse.has(UNSETTLED):
            return []
        days = _settled(warehouse)
        _note_unsettled(warehouse, unsettled_writer)
        if _falls(days.identity):
            # A standing version is to fall while a former one rises. Whichever table came first, a kill between the two
            # would lose one: so the one that falls goes to the history beforehand.
            _keep_both(days, history_writer)
            days = _settled(warehouse)
        days.write(EVENTS, writer)
        days.write(SUPERSEDED, history_writer)
        unsettled_writer.drop(WHOLE)
    return [each for each in touched if each.rows]


def resettle_users(warehouse: Warehouse) -> list[Touched]:
    """The same for tables `users` and `superseded_users`."""
    history = f"superseded_{USERS}"
    with (
        warehouse.writing(USERS) as writer,
        warehouse.writing(history) as history_writer,
        cleared(warehouse.engine, TEMPORARY),
    ):
        touched = [_held(warehouse, table) for table in (USERS, history)]
        merge = KeyedMerge(warehouse, USERS, {}, stored_types(warehouse, USERS), snapshot=False)
        if any(each.rows for each in touched) or merge.is_halfway():
            merge.rewrite(writer, history_writer, seen=seen_anew)
    return [each for each in touched if each.rows]


def touched_days(warehouse: Warehouse) -> list[str]:
    """The business days on which events, standing or superseded, name one of the people."""
    found = [
        f"SELECT DISTINCT CAST(day AS VARCHAR) AS day FROM {warehouse.relation(table)} WHERE {theirs()}"
        for table in (EVENTS, SUPERSEDED)
        if warehouse.has(table)
    ]
    return [day for (day,) in warehouse.engine.rows(f"{' UNION '.join(found)} ORDER BY day")] if found else []


def _held(warehouse: Warehouse, table: str) -> Touched:
    if not warehouse.has(table):
        return Touched(table, 0, 0)
    parts = "day" if table in {EVENTS, SUPERSEDED} else "TRUE"
    found = f"SELECT count(*), count(DISTINCT {parts}) FROM {warehouse.relation(table)} WHERE {theirs()}"
    [(rows, partitions)] = warehouse.engine.rows(found)
    return Touched(table, rows, partitions)


def _note_unsettled(warehouse: Warehouse, writer: Writer) -> None:
    """Keep the ids whose versions lie in several partitions, until all are written.

    After a kill in between, the partitions that are still to be written need not name any of the people.
    """
    several = f"SELECT event_id FROM {FORMER} WHERE superseded_at IS NOT NULL"
    if warehouse.engine.rows(f"{several} LIMIT 1"):
        writer.put(WHOLE, f"SELECT DISTINCT * FROM ({several})", order_by=["event_id"], fingerprint="unsettled")


def _settled(warehouse: Warehouse) -> EventDays:
    """The versions of every touched id, as they were and as they settle now."""
    engine = warehouse.engine
    for table in (STAGE, CONTESTED):
        engine.run(f"CREATE OR REPLACE TEMP TABLE {table} AS SELECT {EMPTY}")
    engine.run(f"CREATE OR REPLACE TEMP VIEW {ROWS} AS SELECT *, CAST(NULL AS TIMESTAMPTZ) AS arrived_at FROM {STAGE}")
    identity = Identity(warehouse, {}, stored_types(warehouse, EVENTS), own_ids=True)
    tables = [table for table in (EVENTS, SUPERSEDED) if warehouse.has(table)]
    named = [f"SELECT {identity.key()} FROM {warehouse.relation(table)} WHERE {theirs()}" for table in tables]
    if warehouse.has(UNSETTLED):
        named.append(f"SELECT {identity.key()} FROM {warehouse.relation(UNSETTLED)}")
    ids = " UNION ".join(named)
    found = " UNION ALL ".join(
        f"SELECT {identity.key()} AS h, day, '{table}' AS name FROM {warehouse.relation(table)} "
        f"WHERE {identity.key()} IN ({ids})"
        for table in tables
    )
    engine.run(f"CREATE OR REPLACE TEMP TABLE {MATCHES} AS {found}")
    identity.collect_former()
    identity.settle_versions(known=seen_anew(FORMER))
    return EventDays(identity)


def _falls(identity: Identity) -> bool:
    """Whether a version that stands is to be a former one, and the history does not hold it yet, arrival included."""
    content = ", ".join(identifier(name) for name in (*identity.columns, "day"))
    held = f"SELECT {content} FROM {seen_anew(f'(SELECT * FROM {FORMER} WHERE superseded_at IS NOT NULL)')}"
    falling = f"SELECT {content} FROM {SETTLED} WHERE _place > 1 EXCEPT {held}"
    [(falls,)] = identity.engine.rows(f"SELECT count(*) FROM ({falling})")
    return bool(falls)


def _keep_both(days: EventDays, history_writer: Writer) -> None:
    columns = f"{days.identity.rows()}, day, superseded_at"
    held = f"SELECT {columns} FROM {FORMER} WHERE superseded_at IS NOT NULL"
    more = f"{held} EXCEPT SELECT {columns} FROM {SETTLED} WHERE _place > 1"
    days.identity.engine.run(f"INSERT INTO {SETTLED} BY NAME SELECT *, TRUE AS _stored, 2 AS _place FROM ({more})")
    days.write(SUPERSEDED, history_writer)
