"""From predictions to lists of users to act on: likely high spenders, and high spenders who are slipping away."""

from pathlib import Path

import polars as pl
from pydantic import Field

from sojourn.core import Spec, missing_columns, need_columns, need_rows
from sojourn.evaluate.scores import write_whole
from sojourn.lifetime._design import Pace, value_windows, window_days
from sojourn.lifetime.forecast import churn_column
from sojourn.lifetime.spec import LifetimeSpec

LAST_DAYS = 90
STOPS, FALLS = "likely to stop", "spends less"


class TargetSpec(Spec):
    """Who belongs on a list.

    - `top_share`: likely high spenders are this share of all users, those with the highest expected spend.
    - `high_share`: high spenders are this share of the users who ever spent, by their usual spend.
    - `least_churn_prob`, `fall_share`: at risk is who stops with at least this probability, or is expected to spend at
      most this share of what is usual.
    """

    top_share: float = Field(default=0.1, gt=0, le=1)
    high_share: float = Field(default=0.3, gt=0, le=1)
    least_churn_prob: float = Field(default=0.1, ge=0, le=1)
    fall_share: float = Field(default=0.5, ge=0, le=1)


def likely_high_spenders(profiles: pl.DataFrame, *, spec: TargetSpec | None = None) -> pl.DataFrame:
    """The users expected to spend most, highest first, at least one. Reads and keeps the columns of `profiles`.

    Equal expectations come in the order of `user_id`.
    """
    spec = spec or TargetSpec()
    _check(profiles, where="lifetime.likely_high_spenders")
    n_users = max(1, round(spec.top_share * profiles.height))
    return profiles.sort("expected_spend", "user_id", descending=[True, False]).head(n_users)


def high_spenders_at_risk(profiles: pl.DataFrame, *, spec: TargetSpec | None = None) -> pl.DataFrame:
    """The high spenders who are likely to stop or to spend much less, the most money at risk first.

    Adds `money_at_risk` (usual minus expected spend, at least 0) and `reason`. Empty when nobody is at risk.
    """
    spec = spec or TargetSpec()
    _check(profiles, where="lifetime.high_spenders_at_risk")
    spent = profiles.filter(pl.col("usual_spend") > 0)
    n_high = max(1, round(spec.high_share * spent.height))
    high = spent.sort("usual_spend", "user_id", descending=[True, False]).head(n_high)
    stops = pl.col("churn_prob") >= spec.least_churn_prob
    falls = pl.col("expected_spend") <= spec.fall_share * pl.col("usual_spend")
    return (
        high.filter(stops | falls)
        .with_columns(
            money_at_risk=(pl.col("usual_spend") - pl.col("expected_spend")).clip(lower_bound=0.0),
            reason=pl.when(stops & falls)
            .then(pl.lit(f"{STOPS}, {FALLS}"))
            .when(stops)
            .then(pl.lit(STOPS))
            .otherwise(pl.lit(FALLS)),
        )
        .sort("money_at_risk", "user_id", descending=[True, False])
    )


def profiles(features: pl.DataFrame, *, predictions: pl.DataFrame, spec: LifetimeSpec) -> pl.DataFrame:
    """One row per user with what a list needs, in plain columns; the longest horizon is the one looked at.

    Reads `user_id, as_of`, the value's windows, `tenure_days` and `purchase_recency_days` of the features, and the
    columns that `Lifetime.predict` writes. Columns: `user_id, as_of, horizon_days, expected_spend, expected_low,
    expected_high, churn_prob, usual_spend` (per horizon, at the rate of the longest window), `last_purchase` (date,
    null when there was none), `spend_last_<N>d`.
    """
    task = spec.value_tasks()[-1]
    where = "lifetime.profiles"
    need_columns(features, ["user_id", "as_of", "tenure_days"], where=where)
    need_columns(predictions, ["user_id", "as_of", task.name, churn_column(spec.churn_task())], where=where)
    windows = value_windows(features.columns, value=spec.value)
    if not windows:
        raise missing_columns(where, missing=[f"{spec.value}_90d"], found=features.columns)
    last = min(windows, key=lambda name: abs(window_days(name) - LAST_DAYS))
    usual = Pace(tuple(windows[-1:]), task.horizon_days)
    recency = "purchase_recency_days" if "purchase_recency_days" in features.columns else "recency_days"
    facts = features.select(
        "user_id",
        "as_of",
        usual_spend=pl.Series(usual.of(features)),
        last_purchase=pl.col("as_of") - pl.duration(days=pl.col(recency)),
        **{f"spend_last_{window_days(last)}d": pl.col(last).cast(pl.Float64)},
    )
    wanted = predictions.select(
        "user_id",
        "as_of",
        horizon_days=pl.lit(task.horizon_days),
        expected_spend=pl.col(task.name),
        expected_low=pl.col(f"{task.name}_low"),
        expected_high=pl.col(f"{task.name}_high"),
        churn_prob=pl.col(churn_column(spec.churn_task())),
    )
    return wanted.join(facts, on=["user_id", "as_of"], how="left", maintain_order="left")


def write_list(users: pl.DataFrame, *, path: Path) -> None:
    """Write a list as CSV: money to the cent, probabilities to four digits; whole or not at all."""
    rounded = users.with_columns(
        pl.col(name).round(4 if name == "churn_prob" else 2)
        for name, dtype in users.schema.items()
        if dtype == pl.Float64
    )
    write_whole(path, rounded.write_csv())


def _check(profiles: pl.DataFrame, *, where: str) -> None:
    need_columns(profiles, ["user_id", "expected_spend", "churn_prob", "usual_spend"], where=where)
    need_rows(profiles, where=where, mend="Predict for some users first: Lifetime.load(path).predict(features)")
