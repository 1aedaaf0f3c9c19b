"""Cohort curves, observed and forecast, come in; the age at which each cohort has paid back its cost goes out."""

from collections.abc import Sequence

import polars as pl

PAID = "(paid)"
STATUSES = ("observed", "forecast", "too young", "not in sight", "free")


def payback_table(observed: pl.DataFrame, *, forecast: pl.DataFrame | None) -> pl.DataFrame:
    """One row per `cohort` and `channel`, and one of channel `(paid)`: all that cost something in that cohort.

    `payback_days` is the first age (days since acquisition) by which the margin of the whole cohort was at least its
    cost: `status` is `observed`, or `forecast` where only the forecast gets there, with `low` and `high` the ages at
    which the band's upper and lower ends do (null: not within the horizon); `free` where nothing was spent. Where
    neither gets there, `too young` if the cohort, with its forecast, is known up to a lower age only than the channel's
    other cohorts took to pay back (those of all channels, where none of that one has), or to no age at all; and
    `not in sight` otherwise. `acquired, cost, margin` are the whole cohort's, at its latest age that all of it has
    reached (`age`; null when it has reached none).
    """
    keys = ["cohort", "channel"]
    total = _with_paid(observed.filter(pl.col("age") == 0), costly=None, sums=["acquired", "cost"]).drop("age")
    costly = total.filter(pl.col("channel") != PAID, pl.col("cost") > 0).select(keys)
    seen = _with_paid(observed.filter("reached"), costly=costly, sums=["margin"]).join(total, on=keys)
    now = seen.sort("age").group_by(keys).agg(pl.col("age", "margin").last())
    reached = _first(seen, pl.col("margin") >= pl.col("cost"), "observed_days")
    found = total.join(now, on=keys, how="left").join(reached, on=keys, how="left")
    if forecast is None:
        none = ("forecast_days", "low", "high", "known")
        found = found.with_columns(pl.lit(None, pl.Int32).alias(name) for name in none)
    else:
        sums = ["acquired", "margin", "margin_low", "margin_high"]
        ahead = _with_paid(forecast, costly=costly, sums=sums).rename({"acquired": "told"}).join(total, on=keys)
        # A sum over parts of which some have no forecast at that age is no forecast of all.
        whole = ahead.filter(pl.col("told") == pl.col("acquired"))
        ends = {"forecast_days": "margin", "low": "margin_high", "high": "margin_low"}
        for name, column in ends.items():
            found = found.join(_first(whole, pl.col(column) >= pl.col("cost"), name), on=keys, how="left")
        found = found.join(whole.group_by(keys).agg(known=pl.col("age").max()), on=keys, how="left")
    found = found.with_columns(known=pl.max_horizontal("age", "known"), needed=_needed())
    status = (
        pl.when(pl.col("cost") <= 0)
        .then(pl.lit("free"))
        .when(pl.col("observed_days").is_not_null())
        .then(pl.lit("observed"))
        .when(pl.col("forecast_days").is_not_null())
        .then(pl.lit("forecast"))
        .when(pl.col("known").is_null() | (pl.col("known") < pl.col("needed")))
        .then(pl.lit("too young"))
        .otherwise(pl.lit("not in sight"))
    )
    found = found.with_columns(status=status).with_columns(
        payback_days=pl.when(pl.col("status") == "observed")
        .then("observed_days")
        .when(pl.col("status") == "forecast")
        .then("forecast_days"),
        low=pl.when(pl.col("status") == "forecast").then("low"),
        high=pl.when(pl.col("status") == "forecast").then("high"),
    )
    return found.select(*keys, "status", "payback_days", "low", "high", "age", "acquired", "cost", "margin").sort(keys)


def _with_paid(table: pl.DataFrame, *, costly: pl.DataFrame | None, sums: Sequence[str]) -> pl.DataFrame:
    """The rows by channel, and added for each cohort and age those of all channels that cost something together."""
    by_channel = table.group_by("cohort", "channel", "age").agg(pl.col(*sums).sum())
    own = by_channel.filter(pl.col("cost") > 0) if costly is None else by_channel.join(costly, on=["cohort", "channel"])
    together = own.group_by("cohort", "age").agg(pl.col(*sums).sum())
    return pl.concat([by_channel, together.select("cohort", pl.lit(PAID).alias("channel"), "age", *sums)])


def _needed() -> pl.Expr:
    """The greatest age that any cohort of the channel took to pay back, as observed; of any channel where none has.

    A cohort for which it is asked has not paid back, so that it is not among them itself.
    """
    own = pl.col("observed_days").filter(pl.col("cost") > 0)
    return pl.coalesce(own.max().over("channel"), own.max())


def _first(table: pl.DataFrame, holds: pl.Expr, name: str) -> pl.DataFrame:
    return table.filter(holds).group_by("cohort", "channel").agg(pl.col("age").min().alias(name))
