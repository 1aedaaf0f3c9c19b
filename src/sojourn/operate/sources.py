"""Declared sources in, tables of the warehouse out: only files that are new or were changed since are read."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import polars as pl

from sojourn.core import fingerprint
from sojourn.events import IngestReport, ingest, register_events, source_files
from sojourn.operate.declared import SourceSpec
from sojourn.warehouse import DuckDBEngine, Warehouse

TABLE = "ingested"
COUNTS = ("read", "kept", "duplicate", "rejected", "forgotten")
SCHEMA = {
    "file": pl.String,
    "bytes": pl.Int64,
    "changed_ns": pl.Int64,
    "definition": pl.String,
    "take": pl.Int64,
    **dict.fromkeys(COUNTS, pl.Int64),
}


@dataclass(frozen=True)
class Taken:
    """What was taken in from a source: the `files` that were read of `of` there are, the rows, and how in words."""

    told: str
    rows: int
    files: int
    of: int
    notes: tuple[str, ...] = ()


def take_in(warehouse: Warehouse, source: SourceSpec, *, as_of: datetime) -> Taken:
    """Ingest the files of a source that are new or changed, or register it where it is read in place.

    Which files were read, their sizes and times of change stand in table `ingested`, with the account of each take; a
    change of the source's settings reads all again, which changes nothing but what the settings change. A query is read
    every time: nothing tells whether it gives something else. Raises as `ingest` and `register_events` do.
    """
    local = on_duckdb(warehouse)
    if source.in_place is not None:
        return _registered(local, source)
    if source.spec.query is not None:
        report = ingest(local, source.spec, as_of=as_of)
        return Taken(report.conservation, report.kept, 1, 1, report.notes)
    known = _known(local, source)
    files = [_mark(path, source) for path in source_files(source.spec)]
    new = [mark for mark in files if mark not in known]
    if not new:
        return Taken(f"none of {len(files):,} files is new", 0, 0, len(files))
    report = ingest(local, source.spec.with_changes(files=tuple(mark[0] for mark in new)), as_of=as_of)
    _remember(local, source, new, report, stored=known)
    return Taken(report.conservation, report.kept, len(new), len(files), report.notes)


def on_duckdb(warehouse: Warehouse) -> Warehouse:
    """The same warehouse on DuckDB: for sources, which it alone takes in, and for small tables."""
    return warehouse if isinstance(warehouse.engine, DuckDBEngine) else Warehouse.open(warehouse.root)


Mark = tuple[str, int, int, str]


def _mark(path: Path, source: SourceSpec) -> Mark:
    stat = path.stat()
    return str(path), stat.st_size, stat.st_mtime_ns, _definition(source)


def _definition(source: SourceSpec) -> str:
    return source.with_changes(spec=source.spec.with_changes(files=())).fingerprint


def _known(warehouse: Warehouse, source: SourceSpec) -> set[Mark]:
    stored = _stored(warehouse, source.spec.table)
    return set() if stored is None else set(stored.select("file", "bytes", "changed_ns", "definition").rows())


def _stored(warehouse: Warehouse, table: str) -> pl.DataFrame | None:
    place = {"source": table}
    if warehouse.partition(TABLE, place) is None:
        return None
    return warehouse.frame(TABLE, only=[place]).drop("source").sort("file")


def _remember(
    warehouse: Warehouse, source: SourceSpec, new: Sequence[Mark], report: IngestReport, *, stored: set[Mark]
) -> None:
    """Add the files of a take; what a file was before goes."""
    before = _stored(warehouse, source.spec.table) if stored else None
    take = 1 if before is None else max(before["take"].to_list()) + 1
    counts = [getattr(report, name) for name in COUNTS]
    rows = pl.DataFrame([[*mark, take, *counts] for mark in new], schema=SCHEMA, orient="row")
    kept = [] if before is None else [before.filter(~pl.col("file").is_in(rows["file"].to_list()))]
    whole = pl.concat([*kept, rows]).sort("file")
    with warehouse.writing(TABLE) as writer:
        mark = fingerprint("ingested", *map(str, whole.rows()))
        writer.put({"source": source.spec.table}, whole, order_by=["file"], fingerprint=mark)


def _registered(warehouse: Warehouse, source: SourceSpec) -> Taken:
    assert source.in_place is not None
    place, wanted = {"source": "in_place"}, fingerprint("in place", source.to_json())
    found = warehouse.registered("events")
    if found is not None and warehouse.fingerprint_of(TABLE, place) == wanted:
        days = len(found.names())
        return Taken(f"read in place, {days:,} days", 0, 0, days)
    done = register_events(warehouse, source.spec, folder=source.in_place, partition=source.partition)
    with warehouse.writing(TABLE) as writer:
        rows = pl.DataFrame([[source.in_place, 0, 0, wanted, 0, 0, 0, 0, 0, 0]], schema=SCHEMA, orient="row")
        writer.put(place, rows, order_by=["file"], fingerprint=wanted)
    return Taken(
        f"{done.rows:,} rows on {done.days:,} days, read in place", done.rows, done.days, done.days, done.notes
    )
