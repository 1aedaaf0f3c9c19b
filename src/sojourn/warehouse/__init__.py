"""Tables go in as queries or frames and come out as SQL relations: Parquet partitions that survive any kill."""

from sojourn.warehouse.engine import DuckDBEngine, Engine, EngineSpec
from sojourn.warehouse.inplace import InPlace
from sojourn.warehouse.seals import FileFault
from sojourn.warehouse.store import PartitionInfo, Warehouse, WarehouseSpec, Writer

__all__ = [
    "DuckDBEngine",
    "Engine",
    "EngineSpec",
    "FileFault",
    "InPlace",
    "PartitionInfo",
    "Warehouse",
    "WarehouseSpec",
    "Writer",
]
