"""SQL engines behind one small protocol. DuckDB is the default; a big job never passes through Python memory."""

import errno
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Protocol

import duckdb
import polars as pl
from pydantic import Field

from sojourn.core import BadInput, DiskFull, EngineError, SojournError, Spec, UnreadableSource

Row = tuple[Any, ...]


class EngineSpec(Spec):
    """How much of the machine an engine may use.

    `memory_gb` bounds the engine's own buffers: beyond it, sorts and joins spill to disk. `threads` None means all
    cores.
    """

    memory_gb: float = Field(default=1.0, gt=0)
    threads: int | None = Field(default=None, ge=1)


@dataclass(frozen=True)
class FileFooter:
    """What one Parquet file says of itself: its rows and the metadata we wrote into it."""

    path: str
    rows: int
    metadata: dict[str, str]


class Engine(Protocol):
    """What a room may ask of any engine. Queries are SQL text; values enter as `$name` parameters."""

    def frame(self, sql: str, /, **params: Any) -> pl.DataFrame:
        """The query's result as a Polars frame."""

    def rows(self, sql: str, /, **params: Any) -> list[Row]:
        """The query's result as a list of tuples: for a few rows."""

    def run(self, sql: str, /, **params: Any) -> None:
        """Run a statement for its effect."""

    def columns(self, sql: str, /) -> dict[str, str]:
        """The names and SQL types that a query would return, without running it."""

    def scan(self, files: Sequence[str], *, hive_types: Mapping[str, str]) -> str:
        """SQL to stand after FROM: these Parquet files, columns united by name, with their Hive columns."""

    def copy(self, query: str, *, to: Path, metadata: Mapping[str, str]) -> int:
        """Write the query's rows as one Parquet file with this footer metadata; the number of rows written."""

    def footers(self, files: Sequence[str]) -> list[FileFooter]:
        """The footers of these Parquet files, in the order given."""


class DuckDBEngine:
    """DuckDB in memory, in UTC, spilling into `spill_folder` when a query outgrows `spec.memory_gb`.

    Errors of the disk, of memory and of files come out as Sojourn's; any other as `EngineError`.

    >>> engine = DuckDBEngine(EngineSpec(threads=1))
    >>> engine.rows("SELECT $days * 24", days=7)
    [(168,)]
    """

    def __init__(self, spec: EngineSpec | None = None, *, spill_folder: Path | None = None) -> None:
        self.spec = spec or EngineSpec()
        self._names = count()
        config: dict[str, Any] = {"memory_limit": f"{int(self.spec.memory_gb * 1000)}MB"}
        if self.spec.threads is not None:
            config["threads"] = self.spec.threads
        if spill_folder is not None:
            config["temp_directory"] = str(spill_folder)
        self._connection = duckdb.connect(config=config)
        self._connection.execute("SET TimeZone = 'UTC'")
        self._connection.execute("SET enable_progress_bar = false")

    def frame(self, sql: str, /, **params: Any) -> pl.DataFrame:
        """The query's result as a Polars frame."""
        with self._translated():
            frame: pl.DataFrame = self._connection.sql(sql, params=params or None).pl()
            return frame

    def rows(self, sql: str, /, **params: Any) -> list[Row]:
        """The query's result as a list of tuples: for a few rows."""
        with self._translated():
            rows: list[Row] = self._connection.execute(sql, params or None).fetchall()
            return rows

    def run(self, sql: str, /, **params: Any) -> None:
        """Run a statement for its effect."""
        self.rows(sql, **params)

    def columns(self, sql: str, /) -> dict[str, str]:
        """The names and SQL types that a query would return, without running it."""
        return {name: kind for name, kind, *_ in self.rows(f"DESCRIBE {sql}")}

    @contextmanager
    def table(self, table: Any) -> Iterator[str]:
        """The name under which SQL sees this Polars frame or Arrow table while the block runs."""
        name = f"_frame_{next(self._names)}"
        self._connection.register(name, table)
        try:
            yield name
        finally:
            self._connection.unregister(name)

    def scan(self, files: Sequence[str], *, hive_types: Mapping[str, str]) -> str:
        """SQL to stand after FROM: these Parquet files, columns united by name, with their Hive columns."""
        hive = ""
        if hive_types:
            types = ", ".join(f"{literal(name)}: {kind}" for name, kind in hive_types.items())
            hive = f", hive_partitioning = true, hive_types = {{{types}}}"
        return f"read_parquet([{', '.join(literal(file) for file in files)}], union_by_name = true{hive})"

    def copy(self, query: str, *, to: Path, metadata: Mapping[str, str]) -> int:
        """Write the query's rows as one Parquet file with this footer metadata; the number of rows written."""
        entries = ", ".join(f"{name}: {literal(text)}" for name, text in metadata.items())
        options = f"FORMAT parquet, COMPRESSION zstd, KV_METADATA {{{entries}}}"
        [(written,)] = self.rows(f"COPY ({query}) TO {literal(str(to))} ({options})")
        return int(written)

    def footers(self, files: Sequence[str]) -> list[FileFooter]:
        """The footers of these Parquet files, in the order given."""
        if not files:
            return []
        names = f"[{', '.join(literal(file) for file in files)}]"
        rows: dict[str, int] = dict(self.rows(f"SELECT file_name, num_rows FROM parquet_file_metadata({names})"))
        metadata: dict[str, dict[str, str]] = {file: {} for file in files}
        for file, key, text in self.rows(f"SELECT file_name, key, value FROM parquet_kv_metadata({names})"):
            metadata[file][bytes(key).decode()] = bytes(text).decode(errors="replace")
        return [FileFooter(path=file, rows=rows[file], metadata=metadata[file]) for file in files]

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except duckdb.Error as fault:
            raise _in_our_words(fault, self.spec) from fault


def literal(text: str) -> str:
    """The text as a SQL string.

    >>> literal("it's")
    "'it''s'"
    """
    return "'" + text.replace("'", "''") + "'"


def identifier(name: str) -> str:
    """The name as a quoted SQL identifier.

    >>> identifier("order id")
    '"order id"'
    """
    return '"' + name.replace('"', '""') + '"'


def no_room(fault: OSError) -> bool:
    """Whether an error of the operating system means that the disk, the quota or the allowed file size is used up."""
    return fault.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def _in_our_words(fault: duckdb.Error, spec: EngineSpec) -> SojournError:
    words = str(fault).split("\n\n")[0].strip()
    if any(sign in words for sign in ("No space left", "Disk quota exceeded", "File too large")):
        return DiskFull(f"The disk is full: {words}. The old version still stands; free some room and run it again.")
    if isinstance(fault, duckdb.OutOfMemoryException):
        return BadInput(
            f"DuckDB needs more than the {spec.memory_gb:g} GB it may use and had nowhere left to spill ({words}). "
            f"Allow more: EngineSpec(memory_gb={2 * spec.memory_gb:g})"
        )
    if isinstance(fault, duckdb.IOException) or "arquet" in words:
        return UnreadableSource(f"A file cannot be read: {words}. Restore it, or remove its partition and run again.")
    return EngineError(f"DuckDB refused a query: {words}")
