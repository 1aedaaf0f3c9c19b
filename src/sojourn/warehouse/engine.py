"""SQL engines behind one small protocol. DuckDB is the default; a big job never passes through Python memory."""

import errno
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any, Literal, Protocol

import duckdb
import polars as pl
from pydantic import Field

from sojourn.core import BadInput, DiskFull, EngineError, SojournError, Spec, UnreadableSource

Row = tuple[Any, ...]
FrameStep = Callable[[pl.DataFrame], pl.DataFrame]
# Frames of so many rows: hundreds of columns of them stay below half a gigabyte.
MAPPED_ROWS = 100_000


class EngineSpec(Spec):
    """Which SQL engine, and how much of the machine it may use.

    `memory_gb` bounds DuckDB's own buffers (beyond it, sorts and joins spill to disk) and the heap of a local Spark.
    `threads` None means all cores. `master` and `settings` are Spark's: a master (None: this machine) or a Spark
    Connect URL `sc://host:port`, and any of its configuration.
    """

    kind: Literal["duckdb", "spark"] = "duckdb"
    memory_gb: float = Field(default=1.0, gt=0)
    threads: int | None = Field(default=None, ge=1)
    master: str | None = None
    settings: dict[str, str] = Field(default_factory=dict)


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

    def table(self, table: Any, /) -> AbstractContextManager[str]:
        """The name under which SQL sees this Polars frame or Arrow table while the block runs."""

    def mapped(self, sql: str, function: FrameStep, *, kinds: Mapping[str, str]) -> AbstractContextManager[str]:
        """The name under which SQL sees, once, what a function makes of the query's rows while the block runs.

        The function gets frames of some rows each and gives frames with the columns of `kinds` (names and DuckDB
        types). It must treat each row by itself: how rows are parted is the engine's affair. Never are all of them in
        memory. On Spark the function runs where the rows are.
        """

    def scan(self, files: Sequence[str], *, hive_types: Mapping[str, str], located: bool = False) -> str:
        """SQL to stand after FROM: these Parquet files, columns united by name, with their Hive columns.

        `located` adds each row's `filename` and `file_row_number`.
        """

    def copy(
        self, query: str, *, kinds: Mapping[str, str], order_by: Sequence[str], to: Path, metadata: Mapping[str, str]
    ) -> int:
        """Write the query's rows in this order into `to` with this metadata; the number of rows written.

        `kinds` is what `columns` says of the query. DuckDB writes one Parquet file with the metadata in its footer,
        Spark a folder of them with a sidecar.
        """


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
            # DuckDB makes the folder itself when it first spills, but not the one above.
            with suppress(OSError):
                spill_folder.parent.mkdir(parents=True, exist_ok=True)
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

    @contextmanager
    def mapped(self, sql: str, function: FrameStep, *, kinds: Mapping[str, str]) -> Iterator[str]:
        """The name under which SQL sees, once, what the function makes of the query's rows while the block runs."""
        import pyarrow as pa

        nothing = ", ".join(f"CAST(NULL AS {kind}) AS {identifier(name)}" for name, kind in kinds.items())
        with self._translated():
            schema = self._connection.sql(f"SELECT {nothing}").to_arrow_table().schema
        # A connection of its own, as this one will be reading what is made here.
        source = self._connection.cursor()

        def made() -> Iterator[pa.RecordBatch]:
            for batch in source.sql(sql).to_arrow_reader(MAPPED_ROWS):
                frame = pl.from_arrow(batch)
                assert isinstance(frame, pl.DataFrame)
                yield from function(frame).select(*kinds).to_arrow().cast(schema).to_batches()

        try:
            with self.table(pa.RecordBatchReader.from_batches(schema, made())) as name:
                yield name
        finally:
            source.close()

    def batches(self, sql: str, /, *, rows: int = MAPPED_ROWS) -> Iterator[Any]:
        """The query's result as Arrow record batches of so many rows: never are all of them in memory."""
        source = self._connection.cursor()
        try:
            with self._translated():
                yield from source.sql(sql).to_arrow_reader(rows)
        finally:
            source.close()

    def scan(self, files: Sequence[str], *, hive_types: Mapping[str, str], located: bool = False) -> str:
        """SQL to stand after FROM: these Parquet files, columns united by name, with their Hive columns."""
        options = ["union_by_name = true"]
        if hive_types:
            types = ", ".join(f"{literal(name)}: {kind}" for name, kind in hive_types.items())
            options += ["hive_partitioning = true", f"hive_types = {{{types}}}"]
        if located:
            options += ["filename = true", "file_row_number = true"]
        return f"read_parquet([{', '.join(literal(file) for file in files)}], {', '.join(options)})"

    def copy(
        self, query: str, *, kinds: Mapping[str, str], order_by: Sequence[str], to: Path, metadata: Mapping[str, str]
    ) -> int:
        """Write the query's rows in this order as one Parquet file with this footer metadata; the rows written."""
        ordered = f"{query} ORDER BY {', '.join(identifier(name) for name in order_by)}" if order_by else query
        entries = ", ".join(f"{name}: {literal(text)}" for name, text in metadata.items())
        # Level 1 and small dictionaries: as small as by default (29 MB a million events), for two thirds of the CPU.
        # Pages of version 2 take another fifth off the size, an eighth off writing and a third off reading ids; not
        # where there are floats, which DuckDB then splits into byte streams, and older Sparks can't read those.
        floats = any("DOUBLE" in kind or "FLOAT" in kind for kind in kinds.values())
        version = "V1" if floats else "V2"
        packing = f"COMPRESSION zstd, COMPRESSION_LEVEL 1, DICTIONARY_SIZE_LIMIT 4000, PARQUET_VERSION {version}"
        options = f"FORMAT parquet, {packing}, KV_METADATA {{{entries}}}"
        [(written,)] = self.rows(f"COPY ({ordered}) TO {literal(str(to))} ({options})")
        if not written:
            # A column is written as required or optional by what the plan knows of it, which differs between plans of
            # the same rows; without any row the schema is all there is, and should not tell how it was come by.
            nothing = ", ".join(f"CAST(NULL AS {kind}) AS {identifier(name)}" for name, kind in kinds.items())
            self.rows(f"COPY (SELECT {nothing} WHERE false) TO {literal(str(to))} ({options})")
        return int(written)

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
