"""ClickHouse, on a server or embedded: a partition is filled aside and takes its place in one step."""

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self, TypeVar
from uuid import uuid4

from sojourn.core import BadInput, EngineError, SojournError, Unreachable, UnreadableSource, need
from sojourn.events import Finding
from sojourn.operate.publishing.batch import (
    Batch,
    Place,
    Sent,
    follow_partitions,
    key_kind,
    key_of,
    publish_partitions,
    user_columns,
)
from sojourn.operate.publishing.spec import PublishSpec
from sojourn.warehouse.engine import identifier

MARK = "sojourn_fingerprint"
# Tables under these names are ours and hold nothing that must stay.
ASIDE = "sojourn_aside_"
Found = TypeVar("Found")
TRIES = 4
LINKED = 200
FIRST_PAUSE_S = 0.2
KINDS = {
    "VARCHAR": "String",
    "BOOLEAN": "Bool",
    "TINYINT": "Int8",
    "SMALLINT": "Int16",
    "INTEGER": "Int32",
    "BIGINT": "Int64",
    "UTINYINT": "UInt8",
    "USMALLINT": "UInt16",
    "UINTEGER": "UInt32",
    "UBIGINT": "UInt64",
    "FLOAT": "Float32",
    "DOUBLE": "Float64",
    "DATE": "Date32",
    "TIMESTAMP": "DateTime64(6, 'UTC')",
    "TIMESTAMP WITH TIME ZONE": "DateTime64(6, 'UTC')",
    "UUID": "String",
}


class ClickHouse:
    """Publishes into the tables of one database, each partitioned as in the warehouse.

    A partition is written into a table aside, counted there, and put in its place in one step of the server; column
    `sojourn_fingerprint` goes with it and says what is held. So whatever is cut off, be it this process or a reply on
    its way back, a partition stands there once: the old one or the new one.
    """

    def __init__(self, spec: PublishSpec) -> None:
        self._spec = spec
        self._open: Any = None
        self._patiently(self._prepare)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, at: TracebackType | None) -> None:
        self._close()

    def publish(self, batches: Sequence[Batch]) -> list[Sent]:
        """Hold the due partitions, each exactly once."""
        return publish_partitions(self, batches)

    def follow(self, batches: Sequence[Batch]) -> list[Sent]:
        """Drop partitions that the warehouse no longer has, or whose counts are others now."""
        return follow_partitions(self, self._spec.tables, batches)

    def held(self, table: str) -> dict[frozenset[tuple[str, str]], str]:
        """The fingerprint of each partition, from the column beside its rows."""
        return self._patiently(lambda: {key_of(place): mark for place, mark, _ in self._standing(table)})

    def put(self, batch: Batch) -> None:
        """Replace one partition. Nothing is sent again that is known to have arrived."""

        def once() -> None:
            if not self._stands(batch):
                self._put(batch)

        if batch.rows:
            self._patiently(once)
        else:
            self.drop(batch.table, batch.place)

    def drop(self, table: str, place: Place) -> None:
        """Drop one partition."""

        def once() -> None:
            for partition in self._partition_ids(table, place):
                self._do(f"ALTER TABLE {self._named(table)} DROP PARTITION ID '{partition}'")

        self._patiently(once)

    def erase(self, ids: Sequence[str]) -> dict[str, int]:
        """Take these users' rows out: each table that held them is written anew and the old one's files are removed.

        The ids are sent as rows, never as text of a query, which the server would log.
        """

        def once(table: str, columns: Sequence[str]) -> int:
            with self._people(ids) as people:
                where = " OR ".join(f"coalesce({identifier(name)} IN {people}, 0)" for name in columns)
                [(rows,)] = self._rows(f"SELECT countIf({where}) FROM {self._named(table)}")
                if rows or self._has_old_parts(table):
                    self._rewrite(table, where=f"NOT ({where})")
                return int(rows)

        users = self._patiently(self._users)
        found = {}
        for table, columns in users.items():
            found[table] = self._patiently(lambda table=table, columns=columns: once(table, columns))  # type: ignore[misc]
        return {table: rows for table, rows in found.items() if rows}

    def find(self, ids: Sequence[str]) -> list[Finding]:
        """The text columns in which one of these ids is a whole value."""

        def once() -> list[Finding]:
            found = []
            with self._people(ids) as people:
                for table, columns in self._columns().items():
                    for name in (name for name, kind in columns.items() if "String" in kind and name != MARK):
                        where = f"countIf(coalesce({identifier(name)} IN {people}, 0))"
                        [(count,)] = self._rows(f"SELECT {where} FROM {self._named(table)}")
                        found += [Finding(f"{table}.{name}", count)] if count else []
            return found

        return self._patiently(once)

    # One attempt of each.

    def _put(self, batch: Batch) -> None:
        self._clear()
        self._shape(batch)
        aside = self._aside(batch.table)
        for rows in batch.arrow(_query(batch)):
            self._insert(aside, rows)
        [(written,)] = self._rows(f"SELECT count() FROM {aside}")
        if written != batch.rows:
            raise Unreachable(
                f"{self._spec.place} took {written:,} rows for the {batch.rows:,} of {batch.table} {batch.place}: "
                f"a part was lost or came twice on the way. What stood there stands. Publish again."
            )
        [(partition,)] = self._rows(f"SELECT DISTINCT _partition_id FROM {aside}")
        if self._spec.is_embedded:
            self._take_the_place_of(batch, aside, partition)
        else:
            self._do(f"ALTER TABLE {self._named(batch.table)} REPLACE PARTITION ID '{partition}' FROM {aside}")
        self._drop(aside)

    def _take_the_place_of(self, batch: Batch, aside: str, partition: str) -> None:
        """Link the table's other partitions to the table aside, and exchange the two.

        Not REPLACE PARTITION: an embedded engine dies with its process, and of 28 kills within that statement 15 left
        both versions of the partition standing (ClickHouse 26.9). An exchange is one renaming of two files.
        """
        rows = self._rows(f"SELECT DISTINCT _partition_id FROM {self._named(batch.table)}")
        others = [each for (each,) in rows if each != partition]
        for start in range(0, len(others), LINKED):
            links = (
                f"ATTACH PARTITION ID '{each}' FROM {self._named(batch.table)}" for each in others[start:][:LINKED]
            )
            self._do(f"ALTER TABLE {aside} {', '.join(links)}")
        self._do(f"EXCHANGE TABLES {aside} AND {self._named(batch.table)}")

    def _rewrite(self, table: str, *, where: str) -> None:
        """A new table with these rows takes the table's name; what the old one left on the disk goes with it.

        Exchanged twice, as a lost reply may have it, the tables would stand as before: so it is looked at, and tried
        again, before anything is dropped.
        """
        self._clear(but=f"{ASIDE}people")
        aside = self._aside(table)
        self._do(f"INSERT INTO {aside} SELECT * FROM {self._named(table)} WHERE {where}")
        self._do(f"EXCHANGE TABLES {aside} AND {self._named(table)}")
        [(left,)] = self._rows(f"SELECT countIf(NOT ({where})) FROM {self._named(table)}")
        if left:
            raise Unreachable(f"{self._spec.place} still has rows of users to be forgotten in {table}. Run it again.")
        self._drop(aside)

    def _standing(self, table: str) -> list[tuple[dict[str, str], str, int]]:
        """The partitions of a table: Hive values, fingerprint, rows."""
        if table not in self._columns():
            return []
        keys = self._keys(table)
        chosen = "".join(f"toString({identifier(key)}), " for key in keys)
        rows = self._rows(
            f"SELECT {chosen}toString(min({MARK})), toString(max({MARK})), count() FROM {self._named(table)} "
            f"{'GROUP BY ' + ', '.join(map(identifier, keys)) if keys else 'HAVING count() > 0'}"
        )
        # A partition of two fingerprints was written to by others: it is nobody's.
        return [
            (dict(zip(keys, row, strict=False)), row[-3] if row[-3] == row[-2] else "", int(row[-1])) for row in rows
        ]

    def _stands(self, batch: Batch) -> bool:
        return (batch.place, batch.fingerprint, batch.rows) in self._standing(batch.table)

    def _shape(self, batch: Batch) -> None:
        """Make the table, or add the columns that are new. Raises `BadInput` for one whose type is another now."""
        wanted = {name: clickhouse_kind(name, kind, batch) for name, kind in batch.columns.items()}
        columns = ", ".join(f"{identifier(name)} {kind}" for name, kind in wanted.items())
        keys = ", ".join(map(identifier, batch.place))
        first = [name for name in ("user_id",) if name in batch.columns]
        self._do(
            f"CREATE TABLE IF NOT EXISTS {self._named(batch.table)} ({columns}, {MARK} LowCardinality(String)) "
            f"ENGINE = MergeTree PARTITION BY ({keys or 'tuple()'}) ORDER BY ({', '.join(first) or 'tuple()'})"
        )
        there = self._columns()[batch.table]
        for name, kind in wanted.items():
            if name not in there:
                self._do(f"ALTER TABLE {self._named(batch.table)} ADD COLUMN IF NOT EXISTS {identifier(name)} {kind}")
            elif there[name] != kind:
                raise BadInput(
                    f"Column {name!r} of table {batch.table!r} is {kind} and was published to {self._spec.place} as "
                    f"{there[name]}. Drop the table there, then publish again: DROP TABLE {self._named(batch.table)}"
                )

    def _drop(self, name: str) -> None:
        """Drop a table of ours and its files, at once and however large it is."""
        self._do(f"DROP TABLE IF EXISTS {name} SYNC SETTINGS max_table_size_to_drop = 0")

    def _aside(self, table: str) -> str:
        aside = self._named(f"{ASIDE}{uuid4().hex}")
        self._do(f"CREATE TABLE IF NOT EXISTS {aside} AS {self._named(table)}")
        return aside

    def _partition_ids(self, table: str, place: Place) -> list[str]:
        if table not in self._columns():
            return []
        where = " AND ".join(f"toString({identifier(key)}) = '{text}'" for key, text in place.items()) or "1"
        return [
            each for (each,) in self._rows(f"SELECT DISTINCT _partition_id FROM {self._named(table)} WHERE {where}")
        ]

    @contextmanager
    def _people(self, ids: Sequence[str]) -> Iterator[str]:
        """The name of a table in memory that holds the ids while the block runs."""
        import pyarrow as pa

        name = self._named(f"{ASIDE}people")
        self._drop(name)
        self._do(f"CREATE TABLE IF NOT EXISTS {name} (id String) ENGINE = Memory")
        self._insert(name, pa.record_batch({"id": pa.array(list(ids), pa.string())}))
        yield f"(SELECT id FROM {name})"
        self._drop(name)

    def _has_old_parts(self, table: str) -> bool:
        [(old,)] = self._rows(
            f"SELECT count() FROM system.parts WHERE NOT active "
            f"AND database = '{self._spec.space}' AND table = '{table}'"
        )
        return bool(old)

    def _keys(self, table: str) -> list[str]:
        rows = self._rows(
            f"SELECT name FROM system.columns WHERE database = '{self._spec.space}' AND table = '{table}' "
            f"AND is_in_partition_key ORDER BY position"
        )
        return [name for (name,) in rows]

    def _users(self) -> dict[str, list[str]]:
        found = {}
        for table, columns in self._columns().items():
            texts = {name: "VARCHAR" for name, kind in columns.items() if "String" in kind}
            found[table] = user_columns(texts)
        return {table: columns for table, columns in found.items() if columns}

    def _columns(self) -> dict[str, dict[str, str]]:
        """The columns and types of our tables in the database: of those with a fingerprint beside their rows."""
        rows = self._rows(
            f"SELECT table, name, type FROM system.columns WHERE database = '{self._spec.space}' "
            f"AND NOT startsWith(table, '{ASIDE}') ORDER BY table, position"
        )
        found: dict[str, dict[str, str]] = {}
        for table, name, kind in rows:
            found.setdefault(table, {})[name] = kind
        return {table: columns for table, columns in found.items() if MARK in columns}

    def _clear(self, *, but: str = "") -> None:
        """Remove what those who were killed left aside."""
        rows = self._rows(
            f"SELECT name FROM system.tables WHERE database = '{self._spec.space}' AND startsWith(name, '{ASIDE}')"
        )
        for (name,) in rows:
            if name != but:
                self._drop(self._named(name))

    def _prepare(self) -> None:
        [(there,)] = self._rows(f"SELECT count() FROM system.databases WHERE name = '{self._spec.space}'")
        if not there:
            self._do(f"CREATE DATABASE IF NOT EXISTS {self._spec.space}")
        self._clear()

    # The connection.

    def _named(self, table: str) -> str:
        return f"{self._spec.space}.{identifier(table)}"

    @property
    def _client(self) -> Any:
        if self._open is None:
            module = need("clickhouse_connect", extra="serve", for_="Publishing to ClickHouse")
            if self._spec.is_embedded:
                need("chdb", extra="serve", for_="The embedded ClickHouse")
                self._open = self._embedded(module)
            else:
                self._open = module.get_client(dsn=self._spec.with_password(), autogenerate_session_id=False)
        return self._open

    def _embedded(self, module: Any) -> Any:
        try:
            self._spec.path.parent.mkdir(parents=True, exist_ok=True)
            return module.get_client(interface="chdb", path=str(self._spec.path))
        except Exception as fault:  # chdb has no exceptions of its own
            raise UnreadableSource(
                f"The folder {self._spec.path} cannot be opened as an embedded ClickHouse: {_first_line(fault)}. "
                f"End what has it open, mend its rights, or give [publish.{self._spec.name}] another url."
            ) from fault

    def _close(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None

    def _do(self, sql: str) -> None:
        with self._in_our_words():
            self._client.command(sql)

    def _rows(self, sql: str) -> list[tuple[Any, ...]]:
        with self._in_our_words():
            return list(self._client.query(sql).result_rows)

    def _insert(self, table: str, rows: Any) -> None:
        import pyarrow as pa

        with self._in_our_words():
            self._client.insert_arrow(table, pa.Table.from_batches([rows]))

    @contextmanager
    def _in_our_words(self) -> Iterator[None]:
        module = need("clickhouse_connect.driver.exceptions", extra="serve", for_="Publishing to ClickHouse")
        try:
            yield
        except SojournError:
            raise
        except (OSError, module.OperationalError) as fault:
            raise Unreachable(
                f"ClickHouse at {self._spec.place} did not answer: {_first_line(fault)}. What stood there stands. Mend "
                f"the connection, or the url of [publish.{self._spec.name}], and publish again."
            ) from fault
        except module.ClickHouseError as fault:
            raise EngineError(f"ClickHouse at {self._spec.place} refused: {_first_line(fault)}.") from fault

    def _patiently(self, step: Callable[[], Found]) -> Found:
        """Do it again, with a new connection, while no answer comes."""
        for attempt in range(TRIES):
            try:
                return step()
            except Unreachable:
                self._close()
                if attempt == TRIES - 1:
                    raise
                time.sleep(FIRST_PAUSE_S * 2**attempt)
        raise AssertionError("the last try returns or raises")


def clickhouse_kind(name: str, kind: str, batch: Batch) -> str:
    """The ClickHouse type of a column; lists and structs go as JSON text. Raises `BadInput` where there is none."""
    if _is_nested(kind):
        return "Nullable(String)"
    decimal = re.fullmatch(r"DECIMAL\((\d+),\s*(\d+)\)", kind)
    found = f"Decimal({decimal[1]}, {decimal[2]})" if decimal else KINDS.get(kind)
    if found is None:
        raise BadInput(f"Column {name!r} of table {batch.table!r} is {kind}, which ClickHouse has no type for.")
    # What rows are sorted and partitioned by is never null.
    return found if name in batch.place or name == "user_id" else f"Nullable({found})"


def _query(batch: Batch) -> str:
    nested = {name: f"to_json({identifier(name)})::VARCHAR" for name, kind in batch.columns.items() if _is_nested(kind)}
    uuids = {name: f"{identifier(name)}::VARCHAR" for name, kind in batch.columns.items() if kind == "UUID"}
    keys = {key: f"CAST({identifier(key)} AS {key_kind(key)})" for key in batch.place}
    return f"SELECT *, '{batch.fingerprint}' AS {MARK} FROM ({batch.query({**nested, **uuids, **keys})})"


def _is_nested(kind: str) -> bool:
    return kind.endswith("]") or kind.startswith(("STRUCT(", "MAP("))


def _first_line(fault: BaseException) -> str:
    first = (str(fault).strip().splitlines() or [type(fault).__name__])[0]
    return first.partition(", Stack trace")[0].rstrip(".")
