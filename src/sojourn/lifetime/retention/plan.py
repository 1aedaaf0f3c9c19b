"""Whom to push and when: expected active days with and without a plan, and whom a budget should reach."""

from typing import Annotated, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field, field_validator

from sojourn.core import BadInput, Spec, need_columns
from sojourn.evaluate import Interval
from sojourn.lifetime._design import KEYS
from sojourn.lifetime.retention._days import Floats, matrix_of
from sojourn.lifetime.retention._response import basis
from sojourn.lifetime.retention._said import PROB
from sojourn.lifetime.retention.push_effect import RATE, PushEffect

REACHABLE = "push_propensity_28d IS NOT NULL"
Z_95 = 1.959963984540054


class NudgePlan(Spec):
    """Who is pushed on which of the coming days, what a push costs, and how much may be spent.

    - `offsets`: days after `as_of` on which everybody in the audience is pushed.
    - `audience`: a SQL condition over the columns of the table; by default the users about whom the campaign log
      decided anything in the last 28 days: nothing is known of pushes to others.
    - `otherwise`: on all other days the campaigns go on `as_before`, or `nobody` is pushed. The plan is compared with
      the same without its own pushes.
    - `cost_per_push` in any unit, `budget` in the same (None: no limit).

    >>> NudgePlan(offsets=(0, 7), cost_per_push=0.01).audience
    'push_propensity_28d IS NOT NULL'
    """

    offsets: tuple[Annotated[int, Field(ge=0, le=365)], ...] = Field(default=(0,), min_length=1)
    audience: str = Field(default=REACHABLE, min_length=1)
    otherwise: Literal["as_before", "nobody"] = "as_before"
    cost_per_push: float = Field(default=0.0, ge=0)
    budget: float | None = Field(default=None, ge=0)

    @field_validator("offsets")
    @classmethod
    def _once(cls, offsets: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(offsets)) < len(offsets):
            raise ValueError("an offset is named twice")
        return tuple(sorted(offsets))


def planned_days(table: pl.DataFrame, *, forecast: pl.DataFrame, effect: PushEffect, plan: NudgePlan) -> pl.DataFrame:
    """Expected active days of every user with and without the plan, and whom to push.

    `table` is one of `activity_table`, `forecast` what a model of daily activity predicts for it, campaigns going on as
    they did. Effects of several pushes add up on the log-odds, where they wear off as `PushEffect` learned.

    Columns: `user_id, as_of, expected_days` (without the plan), `expected_days_pushed` (with it), `gain_days`, its 95 %
    interval `gain_low, gain_high` (of the user's expectation), `pushes` (that the plan adds), `cost`,
    `gain_days_per_cost` (null where nothing costs), and `push`: the users with a gain above 0, best gain per cost
    first, as far as the budget reaches. Who is not in the audience gains 0.

    Raises `MissingColumn`, and `BadInput` for an offset outside the horizon or an audience that is no SQL condition.
    """
    found = _outcome(table, forecast=forecast, effect=effect, plan=plan)
    error = np.sqrt(np.maximum(np.einsum("ic,cd,id->i", found.slope, effect.response_.covariance, found.slope), 0))
    gain = found.pushed - found.base
    columns = {
        "expected_days": found.base,
        "expected_days_pushed": found.pushed,
        "gain_days": gain,
        "gain_low": gain - Z_95 * error,
        "gain_high": gain + Z_95 * error,
        "pushes": found.pushes,
        "cost": found.pushes * plan.cost_per_push,
    }
    told = table.select(key for key in KEYS if key in table.columns).with_columns(
        pl.Series(name, values) for name, values in columns.items()
    )
    per_cost = pl.when(pl.col("cost") > 0).then(pl.col("gain_days") / pl.col("cost"))
    return _within_budget(told.with_columns(gain_days_per_cost=per_cost), plan)


def mean_gain(table: pl.DataFrame, *, forecast: pl.DataFrame, effect: PushEffect, plan: NudgePlan) -> Interval:
    """The mean gain in days per user of the audience, with its 95 % interval from the decisions that taught it."""
    found = _outcome(table, forecast=forecast, effect=effect, plan=plan)
    inside = found.audience
    if not inside.any():
        raise BadInput(f"lifetime.mean_gain: nobody is in the audience {plan.audience!r}. Use a wider condition.")
    value = float((found.pushed - found.base)[inside].mean())
    slope = found.slope[inside].mean(axis=0)
    error = float(np.sqrt(max(slope @ effect.response_.covariance @ slope, 0.0)))
    return Interval(value=value, low=value - Z_95 * error, high=value + Z_95 * error)


class _Outcome:
    """Expected days without and with the plan (rows), what moves their difference (rows, coefficients), and pushes."""

    def __init__(
        self, base: Floats, pushed: Floats, slope: Floats, pushes: Floats, audience: NDArray[np.bool_]
    ) -> None:
        self.base, self.pushed, self.slope, self.pushes, self.audience = base, pushed, slope, pushes, audience


def _outcome(table: pl.DataFrame, *, forecast: pl.DataFrame, effect: PushEffect, plan: NudgePlan) -> _Outcome:
    where = "lifetime.planned_days"
    need_columns(forecast, [PROB], where=where)
    days = effect.spec.horizon_days
    if max(plan.offsets) >= days:
        raise BadInput(
            f"{where}: the plan pushes {max(plan.offsets)} days ahead, and effects are known for {days} days. "
            f"Keep offsets below {days}, or fit with a longer horizon."
        )
    prob, rate = matrix_of(forecast[PROB]), matrix_of(effect.predict(table)[RATE])
    if prob.shape != rate.shape:
        raise BadInput(f"{where}: the forecast has {prob.shape} users and days, the table and effects {rate.shape}.")
    inside = _audience(table, plan)
    before = np.zeros_like(rate) if plan.otherwise == "nobody" else rate
    planned = before.copy()
    planned[np.ix_(inside, np.array(plan.offsets))] = 1.0
    z = effect.traits(table)
    without, slope_without = _lived(prob, before - rate, z, effect)
    with_plan, slope_with = _lived(prob, planned - rate, z, effect)
    return _Outcome(without, with_plan, slope_with - slope_without, (planned - before).sum(axis=1), inside)


def _lived(prob: Floats, more: Floats, z: Floats, effect: PushEffect) -> tuple[Floats, Floats]:
    """Expected days when so many more pushes than usual are sent on each day, and their slope in the coefficients."""
    left = basis(prob.shape[1])
    days = np.arange(prob.shape[1])
    lag = days[:, None] - days[None, :]
    kernel = np.where((lag >= 0)[..., None], left[np.maximum(lag, 0)], 0.0)
    felt = np.einsum("ij,kja->ika", more, kernel)
    shift = np.einsum("ika,ia->ik", felt, effect.response_.log_odds(z))
    clipped = np.clip(prob, 1e-6, 1 - 1e-6)
    chance = 1 / (1 + np.exp(-(np.log(clipped / (1 - clipped)) + shift)))
    slope = np.einsum("ik,ika->ia", chance * (1 - chance), felt)
    return chance.sum(axis=1), np.concatenate([slope[:, [part]] * z for part in range(slope.shape[1])], axis=1)


def _audience(table: pl.DataFrame, plan: NudgePlan) -> NDArray[np.bool_]:
    try:
        found = table.select(pl.sql_expr(plan.audience).alias("inside")).to_series().fill_null(value=False)
        return np.asarray(found.cast(pl.Boolean).to_numpy())
    except pl.exceptions.PolarsError as fault:
        raise BadInput(
            f"lifetime.planned_days: the audience {plan.audience!r} cannot be asked of this table: {fault}. "
            "It is a SQL condition over its columns, such as: recency_days <= 14 AND push_opt_in"
        ) from fault


def _within_budget(told: pl.DataFrame, plan: NudgePlan) -> pl.DataFrame:
    """Mark the users to push: gain above 0, best gain per cost first, ties by user, until the budget is spent."""
    rank = pl.when(pl.col("cost") > 0).then(pl.col("gain_days_per_cost")).otherwise(pl.col("gain_days"))
    wanted = (pl.col("gain_days") > 0) & (pl.col("pushes") > 0)
    order = told.with_row_index("_row").filter(wanted).sort(rank, "user_id", descending=[True, False])
    if plan.budget is not None:
        order = order.filter(pl.col("cost").cum_sum() <= plan.budget)
    return told.with_columns(push=pl.int_range(pl.len()).is_in(order["_row"].implode()))
