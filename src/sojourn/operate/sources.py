"""Declared sources in, tables of the warehouse out: only files that are new or were changed since are read."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import blake2b
from pathlib import Path

import polars as pl

from sojourn.core import fingerprint
from sojourn.events import IngestReport, ingest, register_events, source_files
from sojourn.operate._held import SUPERSEDED, Held, changing, held, under_way
from sojourn.operate._local import on_duckdb
from sojourn.operate.declared import SourceSpec
from sojourn.warehouse import Warehouse

TABLE = "ingested"
COUNTS = ("read", "kept", "duplicate", "rejected", "forgotten")
SCHEMA = {
    "file": pl.String,
    "bytes": pl.Int64,
    "changed_ns": pl.Int64,
    "definition": pl.String,
    "take": pl.Int64,
    **dict.fromkeys(COUNTS, pl.Int64),
    "content": pl.String,
}
READ_AT_ONCE = 1 << 20


@dataclass(frozen=True)
class Taken:
    """What was taken in from a source: the `files` that were read of `of` there are, the rows, and how in words.

    `doubled` names files without ids that were changed after they had been taken in: changed rows count twice.
    """

    told: str
    rows: int
    files: int
    of: int
    notes: tuple[str, ...] = ()
    doubled: tuple[str, ...] = ()


def take_in(warehouse: Warehouse, source: SourceSpec, *, as_of: datetime) -> Taken:
    """Ingest the files of a source that are new or changed, or register it where it is read in place.

    Which files were read, their sizes and times of change stand in table `ingested`, with the account of each take; a
    change of the source's settings reads all again, which changes nothing but what the settings change. Killed at any
    moment and run again, the account is that of one take. A query is read every time: nothing tells whether it gives
    something else. Raises as `ingest` and `register_events` do.
    """
    local = on_duckdb(warehouse)
    if source.in_place is not None:
        return _registered(local, source)
    if source.spec.query is not None:
        with changing(local, f"ingest_{source.spec.table}", told=[], tables=_tables(source)):
            report = ingest(local, source.spec, as_of=as_of)
        return Taken(report.conservation, report.kept, 1, 1, report.notes)
    known = _known(local, source)
    files = [_mark(path, source) for path in source_files(source.spec)]
    cut_off = [mark for mark in _cut_off(local, source) if mark in files]
    new = [mark for mark in files if mark not in known and mark not in cut_off]
    if not new and not cut_off:
        return Taken(f"none of {len(files):,} files is new", 0, 0, len(files))
    changed = _changed(local, source, [*cut_off, *new])
    reports = [_take(local, source, part, as_of=as_of) for part in (cut_off, new) if part]
    kept = sum(each.kept for each in reports)
    own_ids = source.spec.table != "events" or all("event_id" in each.columns for each in reports)
    return Taken(
        "; then ".join(each.conservation for each in reports),
        kept,
        len(cut_off) + len(new),
        len(files),
        tuple(note for each in reports for note in each.notes),
        () if own_ids or not kept else changed,
    )


def _take(local: Warehouse, source: SourceSpec, marks: Sequence["Mark"], *, as_of: datetime) -> IngestReport:
    """Ingest these files and write them down. What a take before a kill has kept counts as kept, not as duplicates."""
    tables = _tables(source)
    with changing(local, f"ingest_{source.spec.table}", told=list(marks), tables=tables) as begun:
        report = ingest(local, source.spec.with_changes(files=tuple(mark[0] for mark in marks)), as_of=as_of)
        gained = _rows(held(local, tables)) - _rows(begun.before)
        # An erasure or another ingest in between may have changed more than this take.
        kept = min(max(gained, report.kept), report.kept + report.duplicate)
        report = replace(report, kept=kept, duplicate=report.kept + report.duplicate - kept)
        _remember(local, source, marks, report)
    return report


def _cut_off(local: Warehouse, source: SourceSpec) -> list["Mark"]:
    """The files of a take that was killed. One that was killed when all was written down is ended here."""
    what, known = f"ingest_{source.spec.table}", _known(local, source)
    found = under_way(local, what)
    marks = [] if found is None else [mark for mark in (_as_mark(each) for each in found.told) if mark not in known]
    if found is not None and not marks:
        with changing(local, what, tables=_tables(source)):
            pass  # ends it
    return marks


def _tables(source: SourceSpec) -> tuple[str, str]:
    table = source.spec.table
    return table, SUPERSEDED if table == "events" else f"{SUPERSEDED}_{table}"


def _rows(found: Held) -> int:
    return sum(found.values())


Mark = tuple[str, int, int, str]


def _mark(path: Path, source: SourceSpec) -> Mark:
    stat = path.stat()
    return str(path), stat.st_size, stat.st_mtime_ns, _definition(source)


def _as_mark(told: Sequence[object]) -> Mark:
    file, size, changed_ns, definition = told
    return str(file), int(str(size)), int(str(changed_ns)), str(definition)


def _changed(local: Warehouse, source: SourceSpec, marks: Sequence[Mark]) -> tuple[str, ...]:
    """The files that were taken in before and now are others, but for those to which something was only added."""
    stored = _stored(local, source.spec.table)
    if stored is None:
        return ()
    before = {row["file"]: row for row in stored.iter_rows(named=True)}
    found = [(mark, before[mark[0]]) for mark in marks if mark[0] in before]
    same = [(mark, old) for mark, old in found if old["definition"] == mark[3]]
    return tuple(mark[0] for mark, old in same if old["content"] != _content(mark[0], size=old["bytes"]))


def _content(file: str, *, size: int) -> str:
    """A hash of the file's first bytes, so many; fewer where the file is shorter."""
    digest, left = blake2b(digest_size=8), size
    with Path(file).open("rb") as opened:
        while left > 0 and (part := opened.read(min(left, READ_AT_ONCE))):
            digest.update(part)
            left -= len(part)
    return digest.hexdigest()


def _definition(source: SourceSpec) -> str:
    return source.with_changes(spec=source.spec.with_changes(files=())).fingerprint


def _known(warehouse: Warehouse, source: SourceSpec) -> set[Mark]:
    stored = _stored(warehouse, source.spec.table)
    return set() if stored is None else set(stored.select("file", "bytes", "changed_ns", "definition").rows())


def _stored(warehouse: Warehouse, table: str) -> pl.DataFrame | None:
    place = {"source": table}
    if warehouse.partition(TABLE, place) is None:
        return None
    found = warehouse.frame(TABLE, only=[place]).drop("source").sort("file")
    if "content" not in found.columns:  # written before it was kept
        found = found.with_columns(pl.lit(None, pl.String).alias("content"))
    return found.select(*SCHEMA)


def _remember(warehouse: Warehouse, source: SourceSpec, new: Sequence[Mark], report: IngestReport) -> None:
    """Add the files of a take; what a file was before goes."""
    before = _stored(warehouse, source.spec.table)
    take = 1 if before is None else max(before["take"].to_list()) + 1
    counts = [getattr(report, name) for name in COUNTS]
    made = [[*mark, take, *counts, _content(mark[0], size=mark[1])] for mark in new]
    rows = pl.DataFrame(made, schema=SCHEMA, orient="row")
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
        rows = pl.DataFrame([[source.in_place, 0, 0, wanted, 0, 0, 0, 0, 0, 0, ""]], schema=SCHEMA, orient="row")
        writer.put(place, rows, order_by=["file"], fingerprint=wanted)
    return Taken(
        f"{done.rows:,} rows on {done.days:,} days, read in place", done.rows, done.days, done.days, done.notes
    )
