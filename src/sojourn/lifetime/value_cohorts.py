"""Cohorts by when users were first seen: what each spent, period by period, and what was foretold of the next."""

from datetime import date, timedelta

import polars as pl

from sojourn.core import BadInput
from sojourn.features import FeatureSpec
from sojourn.lifetime._design import KEYS
from sojourn.lifetime.compare import Comparison
from sojourn.lifetime.log_end import log_days
from sojourn.lifetime.money import valued
from sojourn.lifetime.spec import LifetimeSpec, ValueSpec
from sojourn.rollups import past, refreshed, window_query
from sojourn.warehouse import Warehouse

MOST_COHORTS, FIGURE_DIGITS = 12, 6
OBSERVED, AHEAD = "observed", "ahead"
COHORT_SCHEMA = pl.Schema(
    {
        "task": pl.String,
        "cohort": pl.Date,
        "period": pl.Int64,
        "users": pl.Int64,
        "observed": pl.Float64,
        "forecast": pl.Float64,
        "came": pl.Float64,
        "state": pl.String,
    }
)


def value_cohorts(
    warehouse: Warehouse, *, comparison: Comparison, spec: LifetimeSpec, features: FeatureSpec | None = None
) -> pl.DataFrame:
    """Spend per user by cohort and period, as of the last fold's day: observed before it, forecast and come after it.

    Periods are as long as the task's horizon, and so are cohorts: both are counted back from that day, so that a cohort
    is on average half a period old when its first one ends. The latest `MOST_COHORTS` cohorts that have users
    are taken, and as many periods before the day.

    Columns: `task, cohort` (its first day), `period` (0 is the one in which users were first seen), `users`, and means
    per user in units of the value: `observed` (null ahead), `forecast` by the chosen model and `came` (null before),
    and `state`: `observed` or `ahead`. Raises `BadInput` for a probability.
    """
    task = comparison.spec
    if not isinstance(task, ValueSpec):
        raise BadInput(f"lifetime.value_cohorts shows values; {task.name} is a probability.")
    as_of, days = comparison.final.fold.test, task.horizon_days
    people = comparison.features.select(*KEYS, age=(pl.col("tenure_days").cast(pl.Int64) - 1).clip(0) // days)
    latest = people["age"].unique().sort()[:MOST_COHORTS]
    people = people.filter(pl.col("age").is_in(latest.implode()))
    sizes = people.group_by("age").agg(users=pl.len().cast(pl.Int64))
    told = comparison.predictions.join(people, on=KEYS).group_by("age")
    ahead = told.agg(forecast=pl.col(comparison.chosen).mean(), came=pl.col("truth").mean())
    ahead = ahead.with_columns(period=pl.col("age") + 1, state=pl.lit(AHEAD))
    parts = [
        ahead,
        *_spent(warehouse, people, task=task, as_of=as_of, features=valued(warehouse, features=features, spec=spec)),
    ]
    cells = pl.concat(parts, how="diagonal_relaxed").join(sizes, on="age")
    # The oldest cohort is shorter where the log begins within it.
    first = pl.max_horizontal(
        pl.lit(as_of) - pl.duration(days=(pl.col("age") + 1) * days), pl.lit(log_days(warehouse)[0])
    )
    return (
        cells.with_columns(
            task=pl.lit(task.name),
            cohort=first,
            observed=pl.col("spent") / pl.col("users"),
        )
        # The last digits of sums differ from run to run, as rows are added in another order.
        .with_columns(pl.col("observed", "forecast", "came").round(FIGURE_DIGITS))
        .select(list(COHORT_SCHEMA))
        .cast(COHORT_SCHEMA)
        .sort("cohort", "period")
    )


def _spent(
    warehouse: Warehouse, people: pl.DataFrame, *, task: ValueSpec, as_of: date, features: FeatureSpec
) -> list[pl.DataFrame]:
    """Per period before the day, what each cohort that was there spent in all: `age, period, spent, state`."""
    ages = people["age"].max()
    found = refreshed(warehouse, features.rollup)
    window, parts = past(task.horizon_days), []
    for back in range(0 if ages is None else min(int(str(ages)) + 1, MOST_COHORTS)):
        end = as_of - timedelta(days=back * task.horizon_days)
        query = window_query(warehouse, found, as_ofs=[end], reading={task.value: [window]})
        spent = warehouse.engine.frame(
            f"SELECT user_id, CAST({task.value}_{window.name} AS DOUBLE) AS spent FROM ({query})"
        )
        there = people.filter(pl.col("age") >= back).join(spent, on="user_id", how="left")
        parts.append(
            there.group_by("age")
            .agg(pl.col("spent").fill_null(0.0).sum())
            .with_columns(period=pl.col("age") - back, state=pl.lit(OBSERVED))
        )
    return parts
