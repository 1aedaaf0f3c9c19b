"""Checks that another room made come in as rows; the table that the page Data health shows goes out."""

from collections.abc import Sequence
from datetime import datetime

import polars as pl

from sojourn.core import UTC_US, fingerprint
from sojourn.warehouse import PartitionInfo, Warehouse

CHECKS = "dashboard_checks"
COLUMNS = ("check", "table", "looked_at", "verdict", "found")


def write_checks(warehouse: Warehouse, rows: Sequence[Sequence[str]], *, checked_at: datetime) -> PartitionInfo:
    """Replace table `dashboard_checks` by these checks: check, table, looked at, verdict, found; and when.

    `sojourn dashboard --prepare` writes what `sojourn verify` says.
    """
    table = pl.DataFrame([tuple(row) for row in rows], schema=dict.fromkeys(COLUMNS, pl.String), orient="row")
    table = table.with_row_index("number").with_columns(
        number=pl.col("number").cast(pl.Int64), checked_at=pl.lit(checked_at).cast(UTC_US)
    )
    with warehouse.writing(CHECKS) as writer:
        mark = fingerprint(CHECKS, checked_at.isoformat(), table.write_csv())
        return writer.put({}, table, order_by=["number"], fingerprint=mark)
