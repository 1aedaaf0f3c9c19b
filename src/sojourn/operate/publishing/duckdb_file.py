"""One DuckDB file: each partition and the record of it change in one transaction."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

from sojourn.core import BadInput, DiskFull, EngineError, Locked, UnreadableSource
from sojourn.events import Finding
from sojourn.operate.publishing.batch import (
    Batch,
    Place,
    Sent,
    follow_partitions,
    is_at,
    key_of,
    publish_partitions,
    user_columns,
)
from sojourn.operate.publishing.spec import PublishSpec
from sojourn.warehouse.engine import identifier, literal
from sojourn.warehouse.files import sync

RECORD = "sojourn_published"


class DuckDBFile:
    """Publishes into the tables of one DuckDB file; table `sojourn_published` says which partitions it holds."""

    def __init__(self, spec: PublishSpec) -> None:
        self._spec = spec
        self._path = spec.path
        self._open()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, at: TracebackType | None) -> None:
        self._connection.close()

    def publish(self, batches: Sequence[Batch]) -> list[Sent]:
        """Hold the due partitions, each exactly once."""
        return publish_partitions(self, batches)

    def follow(self, batches: Sequence[Batch]) -> list[Sent]:
        """Drop partitions that the warehouse no longer has, or whose counts are others now."""
        return follow_partitions(self, self._spec.tables, batches)

    def held(self, table: str) -> dict[frozenset[tuple[str, str]], str]:
        """The fingerprint of each partition, from the record."""
        rows = self._rows(f"SELECT place, fingerprint FROM {RECORD} WHERE table_name = {literal(table)}")
        return {key_of(json.loads(place)): mark for place, mark in rows}

    def put(self, batch: Batch) -> None:
        """Replace one partition and its record in one transaction."""
        table = identifier(batch.table)
        with self._transaction():
            columns = ", ".join(f"{identifier(name)} {kind}" for name, kind in batch.columns.items())
            self._rows(f"CREATE TABLE IF NOT EXISTS {table} ({columns})")
            self._widen(batch)
            self._rows(f"DELETE FROM {table} WHERE {is_at(batch.place)}")
            self._rows(f"INSERT INTO {table} BY NAME {batch.query()}")
            self._note(batch.table, batch.place)
            mark = f"{literal(batch.table)}, {literal(_told(batch.place))}, {literal(batch.fingerprint)}, {batch.rows}"
            self._rows(f"INSERT INTO {RECORD} VALUES ({mark})")

    def drop(self, table: str, place: Place) -> None:
        """Drop one partition and its record in one transaction."""
        with self._transaction():
            self._rows(f"DELETE FROM {identifier(table)} WHERE {is_at(place)}")
            self._note(table, place)

    def erase(self, ids: Sequence[str]) -> dict[str, int]:
        """Take these users' rows out, and write the file anew: replaced rows still lie in the old one."""
        rows = {table: self._erase(table, columns, ids) for table, columns in self._users().items()}
        self._rewrite()
        return {table: gone for table, gone in rows.items() if gone}

    def find(self, ids: Sequence[str]) -> list[Finding]:
        """The text columns in which one of these ids is a whole value."""
        found = []
        for table, columns in self._tables().items():
            for name in (name for name, kind in columns.items() if kind == "VARCHAR"):
                where = f"list_contains($ids, {identifier(name)})"
                [(count,)] = self._rows(f"SELECT count(*) FROM {identifier(table)} WHERE {where}", ids=list(ids))
                found += [Finding(f"{table}.{name}", count)] if count else []
        return found

    def _open(self) -> None:
        import duckdb

        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = duckdb.connect(str(self._path))
            # It would be drawn on stdout, between the lines that a run prints there.
            self._connection.execute("SET enable_progress_bar = false")
        except (OSError, duckdb.Error) as fault:
            if "lock" in str(fault):
                raise Locked(f"{self._path} is open elsewhere. Close it there, then publish again.") from fault
            raise UnreadableSource(
                f"{self._path} cannot be opened as a DuckDB file: {fault}. "
                f"Give [publish.{self._spec.name}] another url."
            ) from fault
        self._rows("SET TimeZone = 'UTC'")
        self._rows(
            f"CREATE TABLE IF NOT EXISTS {RECORD} (table_name VARCHAR, place VARCHAR, fingerprint VARCHAR, rows BIGINT)"
        )

    def _rewrite(self) -> None:
        staged = self._path.with_name(f".{self._path.name}.{uuid4().hex}")
        _clear(self._path)
        self._rows(f"ATTACH {literal(str(staged))} AS anew")
        [(here,)] = self._rows("SELECT current_database()")
        self._rows(f"COPY FROM DATABASE {identifier(here)} TO anew")
        self._rows("DETACH anew")
        # Closing brings the log into the old file, so none is left beside the new one.
        self._connection.close()
        sync(staged)
        staged.replace(self._path)
        sync(self._path.parent)
        self._open()

    def _erase(self, table: str, columns: Sequence[str], ids: Sequence[str]) -> int:
        where = " OR ".join(f"coalesce(list_contains($ids, {identifier(name)}), FALSE)" for name in columns)
        [(gone,)] = self._rows(f"DELETE FROM {identifier(table)} WHERE {where}", ids=list(ids))
        return int(gone)

    def _widen(self, batch: Batch) -> None:
        """Add the columns that are new. Raises `BadInput` for one whose type is another now."""
        there = self._tables()[batch.table]
        for name, kind in batch.columns.items():
            if name not in there:
                self._rows(f"ALTER TABLE {identifier(batch.table)} ADD COLUMN {identifier(name)} {kind}")
            elif there[name] != kind:
                raise BadInput(
                    f"Column {name!r} of table {batch.table!r} is {kind} and was published to {self._path} as "
                    f"{there[name]}. Drop the table there, then publish again: DROP TABLE {identifier(batch.table)}"
                )

    def _note(self, table: str, place: Place) -> None:
        told = literal(_told(place))
        self._rows(f"DELETE FROM {RECORD} WHERE table_name = {literal(table)} AND place = {told}")

    def _tables(self) -> dict[str, dict[str, str]]:
        rows = self._rows(
            "SELECT table_name, column_name, data_type FROM duckdb_columns() WHERE NOT internal "
            f"AND database_name = current_database() AND table_name <> {literal(RECORD)} ORDER BY ALL"
        )
        found: dict[str, dict[str, str]] = {}
        for table, name, kind in rows:
            found.setdefault(table, {})[name] = kind
        return found

    def _users(self) -> dict[str, list[str]]:
        found = {table: user_columns(columns) for table, columns in self._tables().items()}
        return {table: columns for table, columns in found.items() if columns}

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._rows("BEGIN")
        try:
            yield
        except BaseException:
            self._rows("ROLLBACK")
            raise
        self._rows("COMMIT")

    def _rows(self, sql: str, **params: Any) -> list[tuple[Any, ...]]:
        import duckdb

        try:
            return list(self._connection.execute(sql, params or None).fetchall())
        except duckdb.Error as fault:
            words = str(fault).split("\n\n")[0].strip()
            if "No space left" in words:
                raise DiskFull(
                    f"The disk is full at {self._path}. The old rows still stand; free some room."
                ) from fault
            raise EngineError(f"DuckDB refused to write {self._path}: {words}") from fault


def _told(place: Place) -> str:
    return json.dumps(dict(place), sort_keys=True)


def _clear(path: Path) -> None:
    """Remove what a killed rewrite left beside the file."""
    for stray in path.parent.glob(f".{path.name}.*"):
        stray.unlink()
