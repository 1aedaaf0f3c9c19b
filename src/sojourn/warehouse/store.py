"""Hive-partitioned Parquet tables whose partitions are swapped in whole: after any kill, the old version or the new."""

import json
import os
import re
import shutil
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self
from uuid import uuid4
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import polars as pl
from pydantic import field_validator

from sojourn.core import (
    BadInput,
    BadSpec,
    DiskFull,
    MissingTable,
    NotAWarehouse,
    Spec,
    UnreadableSource,
)
from sojourn.warehouse.engine import DuckDBEngine, Engine, EngineSpec, identifier, no_room
from sojourn.warehouse.files import parquet_files, read_footer, remove, swap, sync, write_text
from sojourn.warehouse.inplace import InPlace, files_fingerprint
from sojourn.warehouse.locks import exclusive
from sojourn.warehouse.seals import FileFault, blank_seal, decode_fault, fault_of, seal

Partition = Mapping[str, str]
Rows = str | pl.DataFrame | Any

MARKER = "_sojourn.json"
DATA = "data.parquet"
DATE_KEYS = frozenset({"day", "start", "as_of"})


class WarehouseSpec(Spec):
    """What every definition in a warehouse shares, and so part of every fingerprint.

    `zone` is the IANA zone whose local date is the business day; `week_start` the first day of a week.
    """

    zone: str = "UTC"
    week_start: Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"] = "monday"

    @field_validator("zone")
    @classmethod
    def _known(cls, zone: str) -> str:
        try:
            ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as fault:
            raise ValueError("no such time zone; give an IANA name such as 'Europe/Paris' or 'UTC'") from fault
        return zone


@dataclass(frozen=True)
class PartitionInfo:
    """One stored partition: its Hive values, the fingerprint in its footer, its rows and its bytes."""

    partition: dict[str, str]
    fingerprint: str
    rows: int
    bytes: int


class Warehouse:
    """A folder of tables. Each partition is one Parquet file, staged aside, synced and renamed into place.

    Readers see each partition whole, in its old or its new version. A read of several partitions while a writer works
    may see some of either: it is no snapshot.

    >>> import tempfile
    >>> warehouse = Warehouse.create(Path(tempfile.mkdtemp()) / "w")
    >>> with warehouse.writing("events") as writer:
    ...     info = writer.put({"day": "2024-05-01"}, "SELECT 'ann' AS user_id", order_by=["user_id"], fingerprint="v1")
    >>> warehouse.engine.rows(f"SELECT user_id, day::VARCHAR FROM {warehouse.relation('events')}")
    [('ann', '2024-05-01')]
    """

    def __init__(self, root: Path, spec: WarehouseSpec, engine: Engine) -> None:
        self.root = root
        self.spec = spec
        self.engine = engine

    @classmethod
    def create(cls, root: Path, spec: WarehouseSpec | None = None, *, engine: EngineSpec | None = None) -> Self:
        """The warehouse in this folder, made when the folder is missing or empty.

        Raises `BadSpec` when the folder already holds a warehouse with another zone or week start, and `NotAWarehouse`
        when it holds anything else.
        """
        root = Path(root).absolute()
        spec = spec or WarehouseSpec()
        if (root / MARKER).exists():
            warehouse = cls.open(root, engine=engine)
            if warehouse.spec != spec:
                raise BadSpec(
                    f"The warehouse {root} was made with {warehouse.spec.to_json()}, not {spec.to_json()}. "
                    f"Zone and week start are part of every definition: use the old ones, or make a new warehouse."
                )
            return warehouse
        if set("*?[]") & set(str(root)):
            raise BadSpec(f"The path {root} has one of * ? [ ], which readers take for wildcards. Choose another.")
        if root.is_file() or (root.is_dir() and any(root.iterdir())):
            raise NotAWarehouse(f"{root} is no warehouse and is not empty. Give a new or an empty folder.")
        with _full_disk_named(root):
            root.mkdir(parents=True, exist_ok=True)
            write_text(root / MARKER, json.dumps({"format": 1, **spec.model_dump()}, indent=2))
        return cls.open(root, engine=engine)

    @classmethod
    def open(cls, root: Path, *, engine: EngineSpec | None = None) -> Self:
        """The warehouse in this folder. Raises `NotAWarehouse` when there is none."""
        root = Path(root).absolute()
        try:
            settings = json.loads((root / MARKER).read_text())
            settings.pop("format")
        except (OSError, ValueError, KeyError) as fault:
            what = "has no readable _sojourn.json" if root.exists() else "does not exist"
            raise NotAWarehouse(
                f"{root} is no warehouse: it {what}. Make one: sojourn ingest --warehouse {root} FILE"
            ) from fault
        return cls(root, WarehouseSpec(**settings), _engine(engine or EngineSpec(), root))

    def tables(self) -> list[str]:
        """The names of all tables, stored or registered, sorted."""
        stored = {path.parent.name for path in self.root.glob(f"[!_]*/{DATA}")}
        stored |= {path.relative_to(self.root).parts[0] for path in self.root.glob(f"[!_]*/*=*/**/{DATA}")}
        return sorted(stored | {path.stem for path in (self.root / "_sources").glob("*.json")})

    def has(self, table: str) -> bool:
        """Whether the table has at least one partition or is registered."""
        return self.registered(table) is not None or next(self._stored(table), None) is not None

    def partitions(self, table: str, *, keep: Callable[[Partition], bool] | None = None) -> list[PartitionInfo]:
        """The table's partitions, sorted by their values, or those to `keep`; empty when there is no such table.

        Only footers of partitions to keep are read.
        """
        source = self.registered(table)
        if source is not None:
            kept = None if keep is None else (lambda day: keep({"day": day}))
            return [self._source_info(day, files) for day, files in source.days(kept).items()]
        places = (place for place in self.places(table) if keep is None or keep(place))
        return [self._info(place, self._path(table, place)) for place in places]

    def places(self, table: str) -> list[dict[str, str]]:
        """The Hive values of the table's partitions, sorted, without a look into them; empty when there is no table."""
        source = self.registered(table)
        if source is not None:
            return [{"day": day} for day in source.names()]
        return sorted(self._stored(table), key=lambda place: tuple(place.values()))

    def partition(self, table: str, partition: Partition) -> PartitionInfo | None:
        """One partition; None when there is no such partition."""
        data = self._path(table, partition)
        return self._info(dict(partition), data) if data.exists() else None

    def fingerprint_of(self, table: str, partition: Partition) -> str | None:
        """The fingerprint in one partition's footer; None when there is no such partition."""
        data = self._path(table, partition)
        return read_footer(data).fingerprint if data.exists() else None

    def checked(self, table: str) -> Iterator[tuple[dict[str, str], FileFault | None]]:
        """Each partition of the table with what is wrong with its files, if anything; every byte of them is read.

        Files in place have no seal of ours: their row groups are decoded instead.
        """
        source = self.registered(table)
        if source is not None:
            for day, files in source.days().items():
                yield {"day": day}, decode_fault(files)
            return
        for partition in self.places(table):
            yield partition, fault_of(self._path(table, partition), place=_place(table, partition))
        for folder in sorted(self.root.glob(f"{table}/**/*=*")):
            if not any(folder.iterdir()):
                told = "is missing: its folder is empty. It was removed, or its writer was killed"
                yield _values(folder.relative_to(self.root / table) / DATA), FileFault("missing", told)

    def relation(self, table: str, *, only: Sequence[Partition] | None = None) -> str:
        """SQL to stand after FROM: the table, or `only` these partitions. Raises `MissingTable`.

        Columns that some partitions lack are NULL there. Hive columns come along; `day`, `start` and `as_of` are DATE.
        """
        source = self.registered(table)
        if source is not None:
            return source.relation(self.engine, None if only is None else [partition["day"] for partition in only])
        stored = [self._path(table, each) for each in (self.places(table) if only is None else only)]
        if not stored:
            raise MissingTable(
                f"The warehouse {self.root} has no table {table!r} yet; it has {self.tables() or 'none'}."
            )
        missing = next((data for data in stored if not data.exists()), None)
        if missing is not None:
            raise MissingTable(f"Table {table!r} in {self.root} has no partition {missing.parent.name!r}.")
        keys = _values(stored[0].relative_to(self.root / table))
        types = {key: "DATE" if key in DATE_KEYS else "VARCHAR" for key in keys}
        return self.engine.scan([str(file) for data in stored for file in parquet_files(data)], hive_types=types)

    def frame(self, table: str, *, only: Sequence[Partition] | None = None) -> pl.DataFrame:
        """The table in memory: for small tables."""
        return self.engine.frame(f"SELECT * FROM {self.relation(table, only=only)}")

    @contextmanager
    def writing(self, table: str) -> Iterator["Writer"]:
        """The table's one writer while the block runs; what killed writers left behind is cleared first.

        Raises `Locked` while another process writes the table.
        """
        _check_name(table, what="table")
        if self.registered(table) is not None:
            raise BadInput(f"Table {table!r} is registered in place and only read. Write into another table.")
        with exclusive(self.root / "_locks" / f"{table}.lock", what=f"Table {table!r} in {self.root}"):
            staging = self.root / "_staging" / table
            self._clear_strays(staging)
            try:
                yield Writer(self, table, staging)
            finally:
                shutil.rmtree(staging, ignore_errors=True)

    def register(self, table: str, source: InPlace) -> None:
        """Read the table from Parquet that lies elsewhere. Registering again replaces the description, not the data."""
        _check_name(table, what="table")
        if next(self._stored(table), None) is not None:
            raise BadInput(
                f"Table {table!r} already holds ingested partitions. Register the source under another name."
            )
        self.engine.columns(f"SELECT * FROM {source.relation(self.engine, list(source.days())[:1])}")
        write_text(self.root / "_sources" / f"{table}.json", source.to_json())

    def registered(self, table: str) -> InPlace | None:
        """Where the table lies when it is registered in place; None when it is stored here, or nowhere."""
        path = self.root / "_sources" / f"{table}.json"
        return InPlace.from_json(path.read_text()) if path.exists() else None

    def _source_info(self, day: str, files: list[Path]) -> PartitionInfo:
        footers = [read_footer(file) for file in files]
        rows, size = sum(each.rows for each in footers), sum(each.bytes for each in footers)
        return PartitionInfo({"day": day}, files_fingerprint(files), rows=rows, bytes=size)

    def _info(self, partition: dict[str, str], data: Path) -> PartitionInfo:
        footer = read_footer(data)
        return PartitionInfo(partition, footer.fingerprint, rows=footer.rows, bytes=footer.bytes)

    def _stored(self, table: str) -> Iterator[dict[str, str]]:
        """The Hive values of each stored partition, in any order."""
        return _places_below(str(self.root / table), {})

    def _path(self, table: str, partition: Partition) -> Path:
        return self.root.joinpath(table, *(f"{key}={value}" for key, value in partition.items()), DATA)

    def _clear_strays(self, staging: Path) -> None:
        shutil.rmtree(staging, ignore_errors=True)
        host = socket.gethostname()
        for spill in (self.root / "_spill").glob(f"{host}-*"):
            if not _alive(int(spill.name.rpartition("-")[2])):
                shutil.rmtree(spill, ignore_errors=True)


class Writer:
    """Puts and drops whole partitions of one table, each atomically; made by `Warehouse.writing`."""

    def __init__(self, warehouse: Warehouse, table: str, staging: Path) -> None:
        self._warehouse = warehouse
        self._table = table
        self._staging = staging

    def put(self, partition: Partition, rows: Rows, *, order_by: Sequence[str], fingerprint: str) -> PartitionInfo:
        """Replace one partition by these rows: a SQL query, a Polars frame or an Arrow table.

        `order_by` must order the rows totally, so that the same rows give the same bytes. The partition's own columns
        (`day`, ...) come from its folder and must not be among the rows' columns (`BadInput`). On `DiskFull` and on any
        other error the old version still stands.
        """
        for key, value in partition.items():
            _check_name(key, what="partition column")
            _check_name(value, what="partition value")
        if isinstance(rows, str):
            return self._put(partition, rows, order_by, fingerprint)
        with self._warehouse.engine.table(rows) as name:
            return self._put(partition, f"SELECT * FROM {name}", order_by, fingerprint)

    def keep(self, partition: Partition, *, where: str, fingerprint: str) -> None:
        """Replace one partition by those of its rows for which the SQL condition `where` holds, in the order they lie.

        A partition left without rows is dropped.
        """
        files = [str(file) for file in parquet_files(self._warehouse._path(self._table, partition))]
        engine, places = self._warehouse.engine, {"filename", "file_row_number"}
        relation = engine.scan(files, hive_types=dict.fromkeys(partition, "VARCHAR"), located=True)
        names = [name for name in engine.columns(f"SELECT * FROM {relation}") if name not in {*partition, *places}]
        query = f"SELECT {', '.join(map(identifier, names))} FROM {relation} WHERE {where}"
        [(left,)] = engine.rows(f"SELECT count(*) FROM ({query})")
        if left:
            self._put(partition, f"{query} ORDER BY filename, file_row_number", (), fingerprint)
        else:
            self.drop(partition)

    def drop(self, partition: Partition) -> None:
        """Remove one partition; nothing happens when there is none."""
        data = self._warehouse._path(self._table, partition)
        if data.exists():
            # Moved aside first: a folder that Spark wrote must not be seen half removed.
            self._staging.mkdir(parents=True, exist_ok=True)
            aside = self._staging / uuid4().hex
            data.replace(aside)
            sync(data.parent)
            remove(aside)
            _remove_empty(data.parent, above=self._warehouse.root)

    def _put(self, partition: Partition, query: str, order_by: Sequence[str], fingerprint: str) -> PartitionInfo:
        engine = self._warehouse.engine
        kinds = engine.columns(query)
        clash = sorted(set(partition) & set(kinds))
        if clash:
            raise BadInput(
                f"The rows for table {self._table!r} have column {clash[0]!r}, which is its partition's. Leave it out."
            )
        target = self._warehouse._path(self._table, partition)
        staged = self._staging / f"{uuid4().hex}.parquet"
        with _full_disk_named(target):
            staged.parent.mkdir(parents=True, exist_ok=True)
            metadata = {"sojourn": fingerprint, **blank_seal(_place(self._table, partition))}
            written = engine.copy(query, kinds=kinds, order_by=order_by, to=staged, metadata=metadata)
            seal(staged)
            swap(staged, target)
        size = sum(file.stat().st_size for file in parquet_files(target))
        return PartitionInfo(dict(partition), fingerprint, rows=written, bytes=size)


def _engine(spec: EngineSpec, root: Path) -> Engine:
    if spec.kind == "spark":
        from sojourn.warehouse.spark import SparkEngine

        return SparkEngine(spec)
    return DuckDBEngine(spec, spill_folder=root / "_spill" / f"{socket.gethostname()}-{os.getpid()}")


def _places_below(folder: str, above: dict[str, str]) -> Iterator[dict[str, str]]:
    # Not rglob, nor a look into every folder: of a thousand partitions they take 25 and 12 ms, and this 4.
    if os.path.lexists(f"{folder}/{DATA}"):
        yield above
        return
    try:
        names = os.listdir(folder)  # noqa: PTH208 (strings are all that is needed)
    except (FileNotFoundError, NotADirectoryError):
        return
    for name in names:
        key, equals, value = name.partition("=")
        if equals:
            yield from _places_below(f"{folder}/{name}", {**above, key: value})


def _place(table: str, partition: Partition) -> str:
    return "/".join([table, *(f"{key}={value}" for key, value in partition.items())])


def _values(path: Path) -> dict[str, str]:
    return dict(part.split("=", 1) for part in path.parent.parts)


def _check_name(name: str, *, what: str) -> None:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.+-]*", name):
        raise BadInput(
            f"{name!r} cannot be a {what}: use letters, digits and _ . + - and begin with a letter or digit."
        )


def _remove_empty(folder: Path, *, above: Path) -> None:
    while folder != above and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@contextmanager
def _full_disk_named(target: Path) -> Iterator[None]:
    try:
        yield
    except DiskFull as fault:
        raise DiskFull(
            f"No room left to write {target}. The old version still stands; free some and run it again."
        ) from fault
    except OSError as fault:
        if no_room(fault):
            raise DiskFull(
                f"No room left to write {target}. The old version still stands; free some and run it again."
            ) from fault
        if isinstance(fault, PermissionError | NotADirectoryError | FileExistsError | FileNotFoundError):
            raise UnreadableSource(
                f"{target} cannot be written: {fault.strerror}. Choose another folder or mend its rights."
            ) from fault
        raise
