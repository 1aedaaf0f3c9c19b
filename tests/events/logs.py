"""Helpers of this room's tests: files written from rows, and what an ingest of them left."""

import csv
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from sojourn.events import IngestReport, IngestSpec, ingest
from sojourn.warehouse import Warehouse

AS_OF = datetime(2025, 6, 1, tzinfo=UTC)


def write_csv(path: Path, rows: Sequence[Mapping[str, object]], *, columns: Sequence[str] | None = None) -> str:
    """A CSV of these rows; None is an empty cell. Returns the path as text."""
    names = list(columns or rows[0])
    with path.open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(names)
        writer.writerows(["" if row.get(name) is None else row[name] for name in names] for row in rows)
    return str(path)


def take(warehouse: Warehouse, *files: str | Path, as_of: datetime = AS_OF, **settings: Any) -> IngestReport:
    """Ingest these files with these settings."""
    return ingest(warehouse, IngestSpec(files=tuple(map(str, files)), **settings), as_of=as_of)


def stored(warehouse: Warehouse, table: str = "events") -> pl.DataFrame:
    """A table as it stands, its columns and rows in a fixed order; an empty frame when there is none."""
    if not warehouse.has(table):
        return pl.DataFrame()
    frame = warehouse.frame(table)
    return frame.select(sorted(frame.columns)).sort(pl.all())


def files_of(warehouse: Warehouse) -> dict[str, bytes]:
    """Every data file of the warehouse and its bytes."""
    found = sorted(warehouse.root.glob("[!_]*/**/*.parquet"))
    return {str(file.relative_to(warehouse.root)): file.read_bytes() for file in found}


def write_table(path: Path, columns: Sequence[str], rows: Sequence[Sequence[str | None]]) -> str:
    """The same from rows without names; a row may be too short or too long."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as handle:
        csv.writer(handle, lineterminator="\n").writerows([columns, *rows])
    return str(path)


def rows_of(warehouse: Warehouse, columns: str, table: str = "events") -> list[tuple[Any, ...]]:
    """SQL expressions over a table, row by row, sorted."""
    return warehouse.engine.rows(f"SELECT {columns} FROM {warehouse.relation(table)} ORDER BY ALL")
