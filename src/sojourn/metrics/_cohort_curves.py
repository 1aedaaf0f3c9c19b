"""Acquisitions, costs and daily value come in; what each acquired cohort has brought by each age goes out."""

from dataclasses import dataclass
from datetime import date
from typing import Literal

import polars as pl

from sojourn.core import BadInput
from sojourn.metrics._log import ONE_DAY
from sojourn.metrics.acquired_value import VALUE
from sojourn.metrics.acquisition_spec import AcquisitionSpec
from sojourn.metrics.attribution import ACQUIRED, stored_days
from sojourn.metrics.costs import daily_costs
from sojourn.rollups.grains import WEEKDAYS
from sojourn.warehouse import Warehouse

Grain = Literal["day", "week", "month"]
DIMS = ("channel", "campaign")
MONEY = pl.Decimal(38, 4)
SUMMED = ("acquired", "cost", "active", "customers", "revenue", "margin")
ZERO = pl.lit(0).cast(MONEY)


@dataclass(frozen=True)
class Cells:
    """What is known at the end of the day before `as_of`, day by day: the ground of every figure of a board.

    `cohorts`: `acquired_on, channel, campaign, acquired, cost`; `done`: those keys with `age, active, new_customers,
    revenue, margin`; `cost_outside`: what was spent on days that the log does not cover, and so is in no figure.
    """

    spec: AcquisitionSpec
    as_of: date
    first: date
    cohorts: pl.DataFrame
    done: pl.DataFrame
    cost_outside: float


def read_cells(warehouse: Warehouse, spec: AcquisitionSpec, *, with_costs: bool = True) -> Cells:
    """The cells of a board whose base tables are written. Without costs, `cost` is zero everywhere."""
    days = stored_days(warehouse, spec, VALUE)
    if not days:
        raise BadInput(f"acquisition: board {spec.name!r} has no tables yet. Make them: sojourn metrics acquisition")
    first, as_of = min(days), max(days) + ONE_DAY
    places = [spec.place(day) for day in days]
    acquired = warehouse.engine.frame(
        "SELECT day AS acquired_on, channel, campaign, CAST(count(*) AS BIGINT) AS acquired "
        f"FROM {warehouse.relation(ACQUIRED, only=places)} GROUP BY 1, 2, 3"
    )
    done = warehouse.engine.frame(
        "SELECT acquired_on, channel, campaign, age, active, new_customers, revenue, margin "
        f"FROM {warehouse.relation(VALUE, only=places)} WHERE acquired_on IS NOT NULL"
    )
    costs = daily_costs(warehouse, spec, as_of=as_of) if with_costs else _no_costs()
    inside = costs.filter(pl.col("day") >= first).rename({"day": "acquired_on"})
    keys = ["acquired_on", *DIMS]
    cohorts = acquired.join(inside, on=keys, how="full", coalesce=True)
    cohorts = cohorts.with_columns(pl.col("acquired").fill_null(0), pl.col("cost").cast(MONEY).fill_null(ZERO))
    outside = float(costs.filter(pl.col("day") < first)["cost"].sum())
    return Cells(spec, as_of, first, cohorts.sort(keys), done.sort(*keys, "age"), outside)


def curves(cells: Cells, *, grain: Grain, week_start: str) -> pl.DataFrame:
    """One row per `cohort` (first day of the period of acquisition), `channel`, `campaign` and `age` in days.

    `acquired, cost` of those days of the cohort that have reached the age; `active` on the very day of that age;
    `customers, revenue, margin` up to and with it; `reached`: whether all days of the cohort have reached it; `mature`:
    whether, besides, all of its days lie in the log. So figures of a young cohort are those of its older part, never
    low for being unfinished.
    """
    dense = _by_day(cells)
    cohort = period_start(pl.col("acquired_on"), grain=grain, week_start=week_start)
    end = period_end(pl.col("cohort"), grain=grain)
    summed = dense.group_by(cohort.alias("cohort"), *DIMS, "age").agg(pl.col(*SUMMED).sum())
    reached = end + pl.duration(days=pl.col("age")) <= cells.as_of
    whole = summed.with_columns(reached=reached, mature=reached & (pl.col("cohort") >= cells.first))
    return whole.sort("cohort", *DIMS, "age")


def _by_day(cells: Cells) -> pl.DataFrame:
    """Every cohort day with every age that it has reached, at most the horizon; sums run up to that age."""
    ages = pl.DataFrame({"age": range(cells.spec.horizon_days + 1)}, schema={"age": pl.Int32})
    keys = ["acquired_on", *DIMS]
    reached = pl.col("acquired_on") + pl.duration(days=pl.col("age")) < cells.as_of
    dense = cells.cohorts.lazy().join(ages.lazy(), how="cross").filter(reached).collect()
    dense = dense.join(cells.done, on=[*keys, "age"], how="left").sort(*keys, "age")
    filled = dense.with_columns(
        pl.col("active").cast(pl.Int64).fill_null(0),
        customers=pl.col("new_customers").cast(pl.Int64).fill_null(0),
        revenue=pl.col("revenue").cast(MONEY).fill_null(ZERO),
        margin=pl.col("margin").cast(MONEY).fill_null(ZERO),
    )
    return filled.with_columns(pl.col("customers", "revenue", "margin").cum_sum().over(keys))


def period_start(day: pl.Expr, *, grain: Grain, week_start: str) -> pl.Expr:
    """The first day of the period that a day lies in."""
    if grain == "day":
        return day
    if grain == "month":
        return day.dt.month_start()
    return day - pl.duration(days=(day.dt.weekday().cast(pl.Int64) - 1 - WEEKDAYS.index(week_start) + 7) % 7)


def period_end(start: pl.Expr, *, grain: Grain) -> pl.Expr:
    """The day after the last of a period."""
    return start.dt.offset_by({"day": "1d", "week": "7d", "month": "1mo"}[grain])


def _no_costs() -> pl.DataFrame:
    return pl.DataFrame(schema={"day": pl.Date, "channel": pl.String, "campaign": pl.String, "cost": MONEY})
