"""Cohorts by the week in which users were first seen: how active they were week by week, and what is forecast."""

from datetime import date, timedelta

import polars as pl

from sojourn.core import BadInput, need_columns
from sojourn.features import FeatureSpec
from sojourn.lifetime.retention._said import PROB
from sojourn.lifetime.retention.activity import RHYTHM
from sojourn.lifetime.retention.spec import RetentionSpec
from sojourn.rollups import refreshed, state_column
from sojourn.warehouse import Warehouse

WEEK = 7


def cohort_triangle(
    warehouse: Warehouse,
    *,
    spec: RetentionSpec,
    users: pl.DataFrame,
    forecast: pl.DataFrame,
    features: FeatureSpec | None = None,
    cohort_days: int = WEEK,
) -> pl.DataFrame:
    """The share of days on which users were active, by cohort and week since first seen, forecast beside observed.

    `users` is a table of one `as_of` (`user_id, as_of, tenure_days`), `forecast` what a model predicts for it.
    Cohorts are `cohort_days` of first days each, counted back from `as_of`.

    Columns: `cohort` (its first day), `week` (0 is the first), `users`, `observed` (share of user-days before `as_of`;
    null where there were none), `forecast` and `came` (shares of the forecast user-days: predicted, and what came of
    those that the log knows; null where none), and `state`: `observed`, `running` (partly before `as_of`) or `ahead`.
    A week that the forecast does not reach is not there.
    """
    need_columns(users, ["user_id", "as_of", "tenure_days"], where="lifetime.cohort_triangle")
    need_columns(forecast, ["user_id", PROB], where="lifetime.cohort_triangle")
    if users["as_of"].n_unique() != 1:
        raise BadInput("lifetime.cohort_triangle needs users as of one day. Filter them first: pl.col('as_of') == day")
    as_of: date = users["as_of"][0]
    people = users.select(
        "user_id",
        first=pl.col("as_of") - pl.duration(days=pl.col("tenure_days")),
        cohort=pl.col("as_of") - pl.duration(days=((pl.col("tenure_days") - 1) // cohort_days + 1) * cohort_days),
    )
    active, end = _active_days(warehouse, spec, features)
    past = _exposed(people, end=as_of).with_columns(ahead=False)
    ahead = people.join(forecast.select("user_id", PROB), on="user_id").with_columns(
        day=pl.int_ranges(0, pl.col(PROB).list.len())
    )
    ahead = ahead.explode(PROB, "day", empty_as_null=False).with_columns(
        day=as_of + pl.duration(days=pl.col("day")), ahead=True
    )
    lines = pl.concat(
        [past, ahead.rename({PROB: "said"}).select("user_id", "cohort", "first", "day", "ahead", "said")],
        how="diagonal_relaxed",
    )
    lines = lines.join(active.with_columns(active=1.0), on=["user_id", "day"], how="left")
    known = pl.when(pl.col("day") < end).then(pl.col("active").fill_null(0.0))
    lines = lines.with_columns(known.alias("active"), week=(pl.col("day") - pl.col("first")).dt.total_days() // WEEK)
    cells = lines.group_by("cohort", "week").agg(
        observed=pl.col("active").filter(~pl.col("ahead")).mean(),
        forecast=pl.col("said").mean(),
        came=pl.col("active").filter(pl.col("ahead")).mean(),
        state=pl.when(~pl.col("ahead").any())
        .then(pl.lit("observed"))
        .when(pl.col("ahead").all())
        .then(pl.lit("ahead"))
        .otherwise(pl.lit("running")),
    )
    sizes = people.group_by("cohort").agg(users=pl.len().cast(pl.Int64))
    return (
        cells.join(sizes, on="cohort")
        .select("cohort", "week", "users", "observed", "forecast", "came", "state")
        .sort("cohort", "week")
    )


def _active_days(warehouse: Warehouse, spec: RetentionSpec, features: FeatureSpec | None) -> tuple[pl.DataFrame, date]:
    """`user_id, day` of every active day of the log, and the day after its last."""
    found = refreshed(warehouse, spec.features(features).rollup)
    cells = [{"grain": "day", "start": str(day)} for day in found.every_day]
    relation = warehouse.relation(found.definition.spec.table, only=cells)
    kind = found.definition.sql.kind("VARCHAR")
    rows = warehouse.engine.frame(
        f"SELECT CAST(user_id AS {kind}) AS user_id, start AS day FROM {relation} "
        f"WHERE user_id IS NOT NULL AND {state_column(RHYTHM, 'days')} IS NOT NULL"
    )
    return rows, found.end


def _exposed(people: pl.DataFrame, *, end: date) -> pl.DataFrame:
    """Every day of every user from the first one up to `end`."""
    days = pl.date_ranges(pl.col("first"), pl.lit(end - timedelta(days=1)))
    return people.with_columns(day=days).explode("day", empty_as_null=False)
