"""What is paid and what flows back, counted apart: columns beside the features, and their labels."""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta

import polars as pl

from sojourn.features import FeatureSpec
from sojourn.lifetime.spec import gross_of, refunded_of
from sojourn.rollups import (
    AggregateSpec,
    Known,
    Ledger,
    RollupSpec,
    ahead,
    known_at,
    past,
    refreshed,
    whole_past,
    window_query,
)
from sojourn.warehouse import Warehouse

WINDOWS_DAYS = (30, 90)
KEYS = ["user_id", "as_of"]


def flow_rollup(features: FeatureSpec, *, value: str) -> RollupSpec | None:
    """The rollup of the positive and of the negative part of a value; None for a value that is no sum.

    Rows are split, not days: a purchase and the refund of another on one day do not hide each other. It has partials of
    its own, so that a log's first refund changes no other table.
    """
    summed = features.rollup.aggregates.get(value)
    if summed is None or summed.function != "sum":
        return None
    amount, kept = f"({summed.expression})", f"({summed.where}) AND " if summed.where else ""
    return RollupSpec(
        name=f"{features.rollup.name}_{value}_flows",
        source=features.rollup.source,
        keys=features.rollup.keys,
        aggregates={
            gross_of(value): AggregateSpec(function="sum", expression=amount, where=f"{kept}{amount} > 0"),
            refunded_of(value): AggregateSpec(function="sum", expression=f"-{amount}", where=f"{kept}{amount} < 0"),
        },
        windows_days=WINDOWS_DAYS,
    )


def flows_back(warehouse: Warehouse, *, features: FeatureSpec, value: str, end: date) -> bool:
    """Whether any of the value flowed back before a day: a negative amount in any row."""
    rollup = flow_rollup(features, value=value)
    if rollup is None:
        return False
    days = [place for place in warehouse.places(rollup.source) if place["day"] < str(end)]
    if not days:
        return False
    negative = rollup.aggregates[refunded_of(value)].where
    rows = f"SELECT 1 FROM {warehouse.relation(rollup.source, only=days)} WHERE {negative} LIMIT 1"
    return bool(warehouse.engine.rows(rows))


def with_flows(warehouse: Warehouse, table: pl.DataFrame, *, features: FeatureSpec, value: str) -> pl.DataFrame:
    """The feature table with windows of what was paid and of what flowed back: over 30 and 90 days and all time."""
    found = warehouse.engine.frame(flow_query(warehouse, features=features, value=value, as_ofs=_days(table)))
    return _joined(table, found)


def with_flow_labels(
    warehouse: Warehouse,
    table: pl.DataFrame,
    *,
    features: FeatureSpec,
    value: str,
    horizons_days: Sequence[int],
    end: date,
) -> pl.DataFrame:
    """The table with `label_<value>_gross_<N>d`, `label_<value>_refunded_<N>d`; null where a window had not ended."""
    rollup = flow_rollup(features, value=value)
    assert rollup is not None, value
    for days in horizons_days:
        labels = {f"label_{name}_{days}d": f"{name}_{days}d" for name in rollup.aggregates}
        whole = [as_of for as_of in _days(table) if as_of + timedelta(days=days) <= end]
        if not whole:
            table = table.with_columns(pl.lit(None, pl.Float64).alias(label) for label in labels)
            continue
        reading = {name: [ahead(days)] for name in rollup.aggregates}
        query = window_query(warehouse, refreshed(warehouse, rollup), as_ofs=whole, reading=reading)
        table = _joined(table, warehouse.engine.frame(_as_doubles(query, labels)))
        table = table.with_columns(pl.when(pl.col("as_of").is_in(whole)).then(pl.col(label)) for label in labels)
    return table


def flow_columns(value: str) -> list[str]:
    """The windows that `with_flows` adds."""
    windows = [*map(past, WINDOWS_DAYS), whole_past()]
    return [f"{name}_{window.name}" for name in (gross_of(value), refunded_of(value)) for window in windows]


def flow_query(warehouse: Warehouse, *, features: FeatureSpec, value: str, as_ofs: Sequence[date]) -> str:
    """SQL for the windows that `with_flows` adds, as doubles: `user_id`, `as_of`, `<value>_gross_30d`, ...

    A row for every user who ever had a row. Where features are as they were known, so are these.
    """
    rollup = flow_rollup(features, value=value)
    assert rollup is not None, value
    found = refreshed(warehouse, rollup)
    windows = [*map(past, WINDOWS_DAYS), whole_past()]
    reading = dict.fromkeys(rollup.aggregates, windows)
    query = window_query(
        warehouse, found, as_ofs=as_ofs, reading=reading, known=_known(warehouse, found, features, as_ofs)
    )
    return _as_doubles(query, {name: name for name in flow_columns(value)})


def _known(warehouse: Warehouse, found: Ledger, features: FeatureSpec, as_ofs: Sequence[date]) -> Known | None:
    hours = features.known_after_hours
    return None if hours is None else known_at(warehouse, found, as_ofs, after_hours=hours)


def _as_doubles(query: str, names: Mapping[str, str]) -> str:
    taken = ", ".join(f"CAST(coalesce({name}, 0) AS DOUBLE) AS {new}" for new, name in names.items())
    return f"SELECT user_id, as_of, {taken} FROM ({query}) WHERE user_id IS NOT NULL"


def _joined(table: pl.DataFrame, found: pl.DataFrame) -> pl.DataFrame:
    """The table with the other columns of `found` beside it: nothing counted is 0."""
    added = [name for name in found.columns if name not in KEYS]
    both = table.join(found, on=KEYS, how="left", maintain_order="left")
    return both.with_columns(pl.col(added).fill_null(0.0))


def _days(table: pl.DataFrame) -> list[date]:
    days: list[date] = table["as_of"].unique().sort().to_list()
    return days
