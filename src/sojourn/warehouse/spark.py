"""Spark behind the engine protocol: the same tables and the same SQL, on a cluster or on this machine."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import Any

import polars as pl

from sojourn.warehouse.engine import EngineSpec, FrameStep, Row
from sojourn.warehouse.files import parquet_files, read_footer, write_sidecar
from sojourn.warehouse.spark_scan import Scans, kind_of, spelled
from sojourn.warehouse.spark_session import find_java, pandas_unheard, session, translated

__all__ = ["SparkEngine", "find_java"]


class SparkEngine:
    """Spark 4: local, a cluster's master, or a Spark Connect URL (`sc://host:port`).

    The warehouse must lie where Spark's workers and this process both see it. All engines of one process share one
    Spark session. Raises `MissingExtra` when pyspark or Java is missing, with the line to install.
    """

    def __init__(self, spec: EngineSpec | None = None) -> None:
        self.spec = spec or EngineSpec(kind="spark")
        self._session = session(self.spec)
        self._scans = Scans(self._session)
        self._names = count()
        self._planned: tuple[str, Any] = ("", None)

    def frame(self, sql: str, /, **params: Any) -> pl.DataFrame:
        """The query's result as a Polars frame."""
        with translated(), pandas_unheard():
            frame = pl.from_arrow(self._query(sql, params).toArrow())
        assert isinstance(frame, pl.DataFrame)
        return frame

    def rows(self, sql: str, /, **params: Any) -> list[Row]:
        """The query's result as a list of tuples: for a few rows."""
        with translated():
            return [tuple(row) for row in self._query(sql, params).collect()]

    def run(self, sql: str, /, **params: Any) -> None:
        """Run a statement for its effect."""
        self.rows(sql, **params)

    def columns(self, sql: str, /) -> dict[str, str]:
        """The names and SQL types, spelled as DuckDB spells them, that a query would return, without running it."""
        with translated():
            frame = self._session.sql(sql)
            fields = frame.schema.fields
        # Most often the next thing is to write the same query, and long ones take a second to plan.
        self._planned = (sql, frame)
        return {field.name: kind_of(field.dataType) for field in fields}

    @contextmanager
    def table(self, table: Any, /) -> Iterator[str]:
        """The name under which SQL sees this Polars frame or Arrow table while the block runs."""
        name = f"_frame_{id(self)}_{next(self._names)}"
        arrow = table.to_arrow(compat_level=pl.CompatLevel.oldest()) if isinstance(table, pl.DataFrame) else table
        with translated(), pandas_unheard():
            self._session.createDataFrame(arrow).createOrReplaceTempView(name)
        try:
            yield name
        finally:
            self._session.catalog.dropTempView(name)

    @contextmanager
    def mapped(self, sql: str, function: FrameStep, *, kinds: Mapping[str, str]) -> Iterator[str]:
        """The name under which SQL sees what the function makes of the query's rows, where they are (Arrow)."""
        name = f"_mapped_{id(self)}_{next(self._names)}"
        nothing = ", ".join(f"CAST(NULL AS {spelled(kind)}) AS `{column}`" for column, kind in kinds.items())
        columns = tuple(kinds)

        def made(batches: Iterator[Any]) -> Iterator[Any]:
            for batch in batches:
                frame = pl.from_arrow(batch)
                assert isinstance(frame, pl.DataFrame)
                found = function(frame).select(columns).to_arrow(compat_level=pl.CompatLevel.oldest())
                yield from found.to_batches()

        with translated(), pandas_unheard():
            schema = self._session.sql(f"SELECT {nothing}").schema
            self._session.sql(sql).mapInArrow(made, schema).createOrReplaceTempView(name)
        try:
            yield name
        finally:
            self._session.catalog.dropTempView(name)

    def scan(self, files: Sequence[str], *, hive_types: Mapping[str, str], located: bool = False) -> str:
        """SQL to stand after FROM: a view of these Parquet files, columns united by name, with their Hive columns."""
        said = "\n".join([*files, *hive_types, str(located)])
        name = f"_scan_{sha256(said.encode()).hexdigest()[:16]}"
        with translated():
            self._scans.frame(files, hive_types=hive_types, located=located).createOrReplaceTempView(name)
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

        How many files there are follows from Spark's own partitions; their names are Spark's too.
        """
        planned, frame = self._planned
        self._planned = ("", None)
        with translated():
            frame = frame if planned == query else self._session.sql(query)
            if order_by:
                frame = frame.sortWithinPartitions(*(f"`{name}`" for name in order_by))
            frame.write.parquet(str(to))
        for marker in [*to.glob(".*.crc"), *to.glob("_SUCCESS")]:
            marker.unlink()
        write_sidecar(to, metadata)
        # Counted in the footers: Spark's own count would compute the query a second time.
        return sum(read_footer(file).rows for file in parquet_files(to))

    def _query(self, sql: str, params: Mapping[str, Any]) -> Any:
        for name in params:
            sql = re.sub(rf"\${name}\b", f":{name}", sql)
        return self._session.sql(sql, args=dict(params)) if params else self._session.sql(sql)
