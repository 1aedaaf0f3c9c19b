"""Declared tables of the warehouse go where they are declared to go; what they were there before is replaced."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date

from sojourn.operate.publishing.batch import Publisher, Sent, batches_of
from sojourn.operate.publishing.record import remember
from sojourn.operate.publishing.spec import PublishSpec
from sojourn.warehouse import Warehouse
from sojourn.warehouse.locks import exclusive


@dataclass(frozen=True)
class Published:
    """What happened at one place, partition by partition."""

    spec: PublishSpec
    sent: tuple[Sent, ...]

    @property
    def rows(self) -> int:
        """How many rows were written."""
        return sum(each.rows for each in self.sent)

    @property
    def is_current(self) -> bool:
        """Whether nothing had to change."""
        return all(each.what in {"current", "newer"} for each in self.sent)

    def lines(self) -> list[str]:
        """The account as lines of text, one a table."""
        return [
            _line(self.spec, table, [each for each in self.sent if each.table == table]) for table in self._tables()
        ]

    def _tables(self) -> list[str]:
        return list(dict.fromkeys(each.table for each in self.sent))


def publish(warehouse: Warehouse, *, spec: PublishSpec, day: date | None = None) -> Published:
    """Bring the declared tables to their place, as far as they were known when `day` had ended (default: all there is).

    Only partitions that are not current by fingerprint are written, each whole; run again after a kill or a lost reply,
    it completes, and counts nothing twice. Partitions that the warehouse no longer has go there too. Redis takes the
    latest partition of each table, and keeps what it has where that looks back from a later day.

    Raises `MissingTable` for a table that the warehouse does not have, `Locked` while another publishes there,
    `Unreachable` when a server does not answer, and `BadInput` for tables that the place cannot hold.
    """
    for table in spec.tables:
        warehouse.relation(table)
    remember(warehouse, spec)
    with open_place(warehouse, spec) as publisher:
        return Published(spec, tuple(publisher.publish(batches_of(warehouse, spec.tables, day=day))))


@contextmanager
def open_place(warehouse: Warehouse, spec: PublishSpec) -> Iterator[Publisher]:
    """The open place, and this warehouse's one publisher to it, while the block runs. Raises `Locked`."""
    lock = warehouse.root / "_locks" / f"publish_{spec.name}.lock"
    with (
        exclusive(lock, what=f"The place that [publish.{spec.name}] names"),
        publisher_of(spec, warehouse) as publisher,
    ):
        yield publisher


def publisher_of(spec: PublishSpec, warehouse: Warehouse) -> Publisher:
    """The publisher to the place of this spec; only its own library is imported."""
    if spec.to == "clickhouse":
        from sojourn.operate.publishing.clickhouse import ClickHouse

        return ClickHouse(spec)
    if spec.to == "redis":
        from sojourn.operate.publishing.redis import Redis

        return Redis(spec)
    if spec.to == "duckdb":
        from sojourn.operate.publishing.duckdb_file import DuckDBFile

        return DuckDBFile(spec)
    from sojourn.operate.publishing.parquet import ParquetFolder

    return ParquetFolder(spec, shared=warehouse.spec)


def _line(spec: PublishSpec, table: str, sent: Sequence[Sent]) -> str:
    counts = {what: sum(each.what == what for each in sent) for what in ("written", "current", "dropped", "newer")}
    told = [f"{count:,} {what}" for what, count in counts.items() if count and what != "newer"]
    if counts["newer"]:
        told.append("left as it is, which is newer")
    return f"{spec.name}: {table}: {sum(each.rows for each in sent):,} rows; partitions {', '.join(told)}"
