"""What each table of this room looks like, as pandera models."""

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

import polars as pl

from sojourn.core import MONEY, UTC_US, check_table

if TYPE_CHECKING:
    from pandera.polars import DataFrameModel

StoredTable = Literal["events", "superseded", "users", "items", "costs", "rejected", "identities", "forgotten"]


@dataclass(frozen=True)
class Column:
    """One column: its type, whether it may be null, whether its values are unique."""

    dtype: Any
    nullable: bool = False
    unique: bool = False


_EVENT = {
    "user_id": Column(pl.String),
    "ts": Column(UTC_US),
    "arrived_at": Column(UTC_US),
    "event": Column(pl.String),
    "item_id": Column(pl.String, nullable=True),
    "amount": Column(MONEY, nullable=True),
    "day": Column(pl.Date),
}
COLUMNS: dict[StoredTable, dict[str, Column]] = {
    "events": {"event_id": Column(pl.String, unique=True), **_EVENT},
    "superseded": {"event_id": Column(pl.String), **_EVENT, "superseded_at": Column(UTC_US)},
    "users": {
        "user_id": Column(pl.String),
        "valid_from": Column(UTC_US),
        "valid_to": Column(UTC_US, nullable=True),
        "arrived_at": Column(UTC_US),
    },
    "items": {"item_id": Column(pl.String, unique=True), "arrived_at": Column(UTC_US)},
    "costs": {
        "day": Column(pl.Date),
        "channel": Column(pl.String, nullable=True),
        "campaign": Column(pl.String, nullable=True),
        "amount": Column(MONEY),
        "currency": Column(pl.String, nullable=True),
        "arrived_at": Column(UTC_US),
    },
    "rejected": {
        "source": Column(pl.String),
        "line": Column(pl.Int64, nullable=True),
        "reason": Column(pl.String),
        "raw": Column(pl.String, nullable=True),
        "for_table": Column(pl.String),
    },
    "identities": {
        "alias": Column(pl.String, unique=True),
        "user_id": Column(pl.String),
        "arrived_at": Column(UTC_US),
    },
    "forgotten": {"mark": Column(pl.String, unique=True), "forgotten_at": Column(UTC_US)},
}


@cache
def table_model(table: StoredTable) -> "type[DataFrameModel]":
    """The pandera model of a table. Further columns are allowed everywhere but in `rejected`.

    >>> sorted(table_model("items").to_schema().columns)
    ['arrived_at', 'item_id']
    """
    import warnings

    with warnings.catch_warnings():
        # Where pyspark is installed, pandera imports it, and pyspark warns of any pandas of its own generation.
        warnings.simplefilter("ignore", FutureWarning)
        import pandera.polars as pa

    columns = COLUMNS[table]
    fields = {name: pa.Field(nullable=column.nullable, unique=column.unique) for name, column in columns.items()}
    types = {name: column.dtype for name, column in columns.items()}
    model: type[DataFrameModel] = type(
        f"{table.title()}Table", (pa.DataFrameModel,), {"__annotations__": types, **fields}
    )
    return model


def check_stored(frame: pl.DataFrame, *, table: StoredTable = "events") -> pl.DataFrame:
    """The frame, once it is what the table must be; otherwise every fault in one `BadInput` or `MissingColumn`."""
    return check_table(frame, table_model(table), where=f"table {table!r}")
