"""Small worlds that the simulator's tests share, and what they ask of them."""

import hashlib
from pathlib import Path

import polars as pl

from sojourn.events import SimulationReport, WorldSpec, simulate, truth_warehouse
from sojourn.warehouse import Warehouse, WarehouseSpec

TABLES = ("events", "pushes", "users", "items", "costs")
TRUTH_TABLES = ("truth_users", "truth_items", "truth_tastes")


def simulated(folder: Path, spec: WorldSpec) -> tuple[Warehouse, SimulationReport]:
    """The world in a new warehouse."""
    warehouse = Warehouse.create(folder / "app", WarehouseSpec(zone=spec.zone))
    return warehouse, simulate(warehouse, spec)


def files(root: Path) -> dict[str, bytes]:
    """The bytes of every data file below the folder."""
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("data.parquet"))}


def digest(frame: pl.DataFrame) -> str:
    """Twelve hexadecimal digits of the content, whatever wrote the file."""
    whole = hashlib.sha256()
    for name in frame.columns:
        column = frame[name]
        if column.dtype in (pl.Float32, pl.Float64):
            content = column.to_numpy().tobytes()
        elif column.dtype == pl.List:
            content = column.explode().to_numpy().tobytes()
        else:
            content = "\n".join("" if each is None else each for each in column.cast(pl.String)).encode()
        whole.update(f"{name}:{len(content)}:".encode() + content)
    return whole.hexdigest()[:12]


def digests(warehouse: Warehouse) -> dict[str, str]:
    """The digest of every table of a world and of its truth."""
    truth = truth_warehouse(warehouse)
    return {name: digest(warehouse.frame(name)) for name in TABLES} | {
        name: digest(truth.frame(name)) for name in TRUTH_TABLES
    }
