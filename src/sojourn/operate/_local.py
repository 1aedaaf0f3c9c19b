"""A warehouse on any engine comes in; the same one on DuckDB comes out."""

from sojourn.warehouse import DuckDBEngine, Warehouse


def on_duckdb(warehouse: Warehouse) -> Warehouse:
    """The same warehouse on DuckDB: for sources, which it alone takes in, and for small tables."""
    return warehouse if isinstance(warehouse.engine, DuckDBEngine) else Warehouse.open(warehouse.root)
