"""What a table must look like, checked at the door of a room."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import polars as pl

from sojourn.core.errors import BadInput, EmptyInput, missing_columns

if TYPE_CHECKING:
    from pandera.polars import DataFrameModel

UTC_US = pl.Datetime("us", "UTC")
MONEY = pl.Decimal(18, 4)


def need_columns(table: pl.DataFrame, columns: Sequence[str], *, where: str) -> None:
    """Raise `MissingColumn` naming every column that is absent, and the nearest names to rename.

    >>> need_columns(pl.DataFrame({"user_id": ["a"]}), ["user_id"], where="example")
    """
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise missing_columns(where, missing=missing, found=table.columns)


def need_rows(table: pl.DataFrame, *, where: str, mend: str) -> None:
    """Raise `EmptyInput` when the table has no row."""
    if table.is_empty():
        raise EmptyInput(f"{where} got a table without rows. {mend}")


def check_table(table: pl.DataFrame, model: "type[DataFrameModel]", *, where: str) -> pl.DataFrame:
    """The table, once it satisfies the pandera model; otherwise every fault in one `BadInput`.

    Missing columns raise `MissingColumn` first: the other faults mean little without them.
    """
    from pandera.errors import SchemaErrors

    columns = model.to_schema().columns
    need_columns(table, [name for name, column in columns.items() if column.required], where=where)
    try:
        checked: pl.DataFrame = model.validate(table, lazy=True)
    except SchemaErrors as fault:
        cases = fault.failure_cases.select("column", "check", "failure_case").unique(maintain_order=True).head(5)
        found = "; ".join(f"column {c!r} fails {check} (found {case})" for c, check, case in cases.iter_rows())
        raise BadInput(f"{where} got a table that is not a {model.__name__}: {found}.") from fault
    return checked
