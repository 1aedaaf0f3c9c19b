"""What is published: partitions of the warehouse, read whole and in order, and what every place for them must do."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cached_property
from types import TracebackType
from typing import Any, Literal, Protocol, Self

from sojourn.events import Finding
from sojourn.warehouse import DuckDBEngine, Warehouse
from sojourn.warehouse.engine import identifier, literal
from sojourn.warehouse.store import DATE_KEYS

Place = Mapping[str, str]
USER = "user_id"


@dataclass(frozen=True)
class Batch:
    """One partition to publish: its Hive values, its fingerprint, how many rows, and the SQL relation that has them.

    `is_due` is false for a partition that lies after the day asked for: it is neither written nor removed.
    """

    table: str
    place: dict[str, str]
    fingerprint: str
    rows: int
    is_due: bool
    relation: str
    engine: DuckDBEngine = field(repr=False)

    @cached_property
    def columns(self) -> dict[str, str]:
        """The names and DuckDB types of the columns, the partition's own last; ENUM and JSON are plain text."""
        found = self.engine.columns(f"SELECT * FROM {self.relation}")
        kinds = {name: _plain(kind) for name, kind in found.items() if name not in self.place}
        return kinds | {key: key_kind(key) for key in self.place}

    def query(self, as_sql: Mapping[str, str] | None = None) -> str:
        """SQL for the rows in the order they lie; `as_sql` says by which expression a column is read."""
        written = as_sql or {}
        chosen = (
            f"{written.get(name, f'CAST({identifier(name)} AS {kind})')} AS {identifier(name)}"
            for name, kind in self.columns.items()
        )
        return f"SELECT {', '.join(chosen)} FROM {self.relation}"

    def arrow(self, query: str | None = None) -> Iterator[Any]:
        """The rows as Arrow record batches."""
        return self.engine.batches(query or self.query())


@dataclass(frozen=True)
class Sent:
    """What happened to one partition at its place: `written` with so many rows, `current`, or `dropped`."""

    table: str
    place: dict[str, str]
    what: Literal["written", "current", "dropped", "newer"]
    rows: int


class Publisher(Protocol):
    """A place where tables are published; closed at the end of a `with` block."""

    def publish(self, batches: Sequence[Batch]) -> list[Sent]:
        """Hold the due partitions, each exactly once; those that are current by fingerprint are left alone.

        Partitions of these tables that the place holds and the warehouse no longer has are dropped. Whatever kills
        this, every partition is the old one or the new one, and a second call completes it.
        """

    def erase(self, ids: Sequence[str]) -> dict[str, int]:
        """Take every row of these users out, and every byte of them off the disk; the rows removed by table."""

    def follow(self, batches: Sequence[Batch]) -> list[Sent]:
        """Drop partitions that the warehouse no longer has, or whose rows are of no user each and are others now."""

    def find(self, ids: Sequence[str]) -> list[Finding]:
        """Where one of these ids still stands."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, at: TracebackType | None
    ) -> None: ...


class Partitioned(Protocol):
    """A place that holds partitions by themselves."""

    def held(self, table: str) -> dict[frozenset[tuple[str, str]], str]:
        """The fingerprint of each partition that the place holds, by its Hive values."""

    def put(self, batch: Batch) -> None:
        """Replace one partition, or make it."""

    def drop(self, table: str, place: Place) -> None:
        """Drop one partition."""


def publish_partitions(target: Partitioned, batches: Sequence[Batch]) -> list[Sent]:
    """What `Publisher.publish` promises, for a place that holds partitions by themselves."""
    sent = []
    for table in dict.fromkeys(batch.table for batch in batches):
        held = target.held(table)
        stored = [batch for batch in batches if batch.table == table]
        for batch in (each for each in stored if each.is_due):
            is_current = held.get(key_of(batch.place)) == batch.fingerprint
            if not is_current:
                target.put(batch)
            sent.append(
                Sent(table, batch.place, "current" if is_current else "written", 0 if is_current else batch.rows)
            )
        for gone in held.keys() - {key_of(batch.place) for batch in stored}:
            target.drop(table, dict(gone))
            sent.append(Sent(table, dict(gone), "dropped", 0))
    return sent


def follow_partitions(target: Partitioned, tables: Sequence[str], batches: Sequence[Batch]) -> list[Sent]:
    """What `Publisher.follow` promises, for a place that holds partitions by themselves."""
    sent = []
    for table in tables:
        stored = {key_of(batch.place): batch for batch in batches if batch.table == table}
        if not any(user_columns(batch.columns) for batch in stored.values()):
            for held, mark in target.held(table).items():
                if held not in stored or stored[held].fingerprint != mark:
                    target.drop(table, dict(held))
                    sent.append(Sent(table, dict(held), "dropped", 0))
    return sent


def batches_of(warehouse: Warehouse, tables: Sequence[str], *, day: date | None = None) -> list[Batch]:
    """Every partition of these tables; due are those of what was known when `day` had ended. Read with DuckDB.

    A partition is due if it begins by `day`, or looks back from the morning after at the latest. A table that is not
    there has none.
    """
    store = warehouse if isinstance(warehouse.engine, DuckDBEngine) else Warehouse.open(warehouse.root)
    engine = store.engine
    assert isinstance(engine, DuckDBEngine)
    found = []
    for table in tables:
        for info in store.partitions(table):
            relation = store.relation(table, only=[info.partition])
            due = _is_due(info.partition, day)
            found.append(Batch(table, info.partition, info.fingerprint, info.rows, due, relation, engine))
    return found


def key_of(place: Place) -> frozenset[tuple[str, str]]:
    """The Hive values as something to look up by."""
    return frozenset(place.items())


def key_kind(key: str) -> str:
    """The DuckDB type of a partition's column."""
    return "DATE" if key in DATE_KEYS else "VARCHAR"


def user_columns(columns: Mapping[str, str]) -> list[str]:
    """The text columns that name users."""
    return [name for name, kind in columns.items() if kind == "VARCHAR" and f"_{name}".endswith(f"_{USER}")]


def is_at(place: Place) -> str:
    """SQL: whether a row is in this partition."""
    return " AND ".join(f"{identifier(key)} = {literal(text)}" for key, text in place.items()) or "TRUE"


def _plain(kind: str) -> str:
    is_enum = kind.startswith("ENUM(") and kind.endswith(")")
    return "VARCHAR" if is_enum or kind == "JSON" else kind


def _is_due(place: Place, day: date | None) -> bool:
    if day is None:
        return True
    begins = [date.fromisoformat(place[key]) <= day for key in ("day", "start") if key in place]
    looks = [date.fromisoformat(place["as_of"]) <= day + timedelta(days=1)] if "as_of" in place else []
    return all([*begins, *looks])
