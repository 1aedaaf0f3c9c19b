"""A folder of Hive-partitioned Parquet: a warehouse of its own, so that every partition is swapped in whole."""

from collections.abc import Sequence
from types import TracebackType
from typing import Self

from sojourn.events import Finding, find_users
from sojourn.operate._derived import clear_strays, erase_rows
from sojourn.operate.publishing.batch import (
    Batch,
    Place,
    Sent,
    follow_partitions,
    key_of,
    publish_partitions,
)
from sojourn.operate.publishing.spec import PublishSpec
from sojourn.warehouse import Warehouse, WarehouseSpec
from sojourn.warehouse.engine import identifier


class ParquetFolder:
    """Publishes into a folder that DuckDB, Polars, Spark, Hive and ClickHouse read without Sojourn."""

    def __init__(self, spec: PublishSpec, *, shared: WarehouseSpec) -> None:
        self._spec = spec
        self._store = Warehouse.create(spec.path, shared)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, at: TracebackType | None) -> None:
        return None

    def publish(self, batches: Sequence[Batch]) -> list[Sent]:
        """Hold the due partitions, each exactly once."""
        return publish_partitions(self, batches)

    def follow(self, batches: Sequence[Batch]) -> list[Sent]:
        """Drop partitions that the warehouse no longer has, or whose counts are others now."""
        return follow_partitions(self, self._spec.tables, batches)

    def held(self, table: str) -> dict[frozenset[tuple[str, str]], str]:
        """The fingerprint of each partition, from its footer."""
        return {key_of(info.partition): info.fingerprint for info in self._store.partitions(table)}

    def put(self, batch: Batch) -> None:
        """Replace one partition: staged, synced and renamed into place."""
        names = [name for name in batch.columns if name not in batch.place]
        query = f"SELECT {', '.join(map(identifier, names))} FROM ({batch.query()})"
        with self._store.writing(batch.table) as writer:
            writer.put(batch.place, query, order_by=(), fingerprint=batch.fingerprint)

    def drop(self, table: str, place: Place) -> None:
        """Drop one partition."""
        with self._store.writing(table) as writer:
            writer.drop(place)

    def erase(self, ids: Sequence[str]) -> dict[str, int]:
        """Take these users' rows out; the files that held them are replaced."""
        changes = erase_rows(self._store, ids)
        clear_strays(self._store)
        return {each.table: each.rows or 0 for each in changes}

    def find(self, ids: Sequence[str]) -> list[Finding]:
        """Where one of these ids still stands in any file of the folder."""
        return list(find_users(self._store, ids).findings)
