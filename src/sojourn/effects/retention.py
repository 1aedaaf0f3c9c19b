"""A campaign log with the days after each decision goes in; what an arm does to each day, and days gained, go out."""

from dataclasses import dataclass
from math import sqrt

import numpy as np
import polars as pl

from sojourn.core import BadInput
from sojourn.effects._covariates import Covariates
from sojourn.effects._errors import Estimate, estimate, normal_quantile
from sojourn.effects._log import Decisions, Floats, covariate_columns, decisions
from sojourn.effects._outcomes import arm_scores, held_out_outcomes
from sojourn.effects._trees import Binned, user_groups
from sojourn.effects.spec import OUTCOME, EffectSpec
from sojourn.evaluate import Interval

ACTIVE = f"{OUTCOME}active_"
DRAWS = 2000


@dataclass(frozen=True)
class RetentionEffect:
    """What one arm does to the days that follow.

    `curve` has a row per day ahead: `day, control, arm, effect, low, high, band_low, band_high`. `low` and `high` hold
    for the day, the band for all days at once. `active_days` is the effect on the days active within the horizon,
    `lifetime_days` that on the restricted mean lifetime: the days until the last active one, cut at the horizon.
    `cost_per_day` is what one more active day costs; an end is None where no cost would do.
    """

    arm: str
    horizon_days: int
    curve: pl.DataFrame
    active_days: Interval
    lifetime_days: Interval
    cost_per_day: Interval | None = None

    def table(self) -> pl.DataFrame:
        """One row per figure: `arm, figure, value, low, high`."""
        rows = {"active_days": self.active_days, "lifetime_days": self.lifetime_days}
        if self.cost_per_day is not None:
            rows["cost_per_day"] = self.cost_per_day
        return pl.DataFrame(
            [{"arm": self.arm, "figure": name, **each.model_dump()} for name, each in rows.items()],
            schema={"arm": pl.String, "figure": pl.String, **dict.fromkeys(("value", "low", "high"), pl.Float64)},
        )


def retention_effects(
    table: pl.DataFrame, *, spec: EffectSpec | None = None, cost: float | None = None
) -> dict[str, RetentionEffect]:
    """The effect of each arm on every day ahead, by doubly robust scores: `{arm: RetentionEffect}`.

    Reads `outcome_active_0`, `outcome_active_1`, ... (1 when active so many days after the decision, else 0), as
    `campaign_table` writes them; `spec.outcome` is not read. The outcome models of all days share their groups of
    users. `cost` is what treating one row costs.

    The restricted mean lifetime is the area under the curve of users who are still to be seen: active on that day or on
    a later one of the horizon (Royston and Parmar 2013, without censoring, as every window has ended).

    Raises `BadInput` without these columns or with a gap between them, and what `average_effects` does.
    """
    spec = spec or EffectSpec()
    where = "effects.retention_effects"
    days = _days(table, where)
    log = decisions(table, spec=spec.with_changes(outcome=days[0]), where=where)
    active = log.table.select(pl.col(days).cast(pl.Float64)).to_numpy()
    if not np.isin(active, (0.0, 1.0)).all():
        raise BadInput(f"{where}: columns {days[0]} to {days[-1]} must be 0 or 1 in every row whose window has ended.")
    # Seen again on this day or later: the survival curve of the last activity.
    alive = np.maximum.accumulate(active[:, ::-1], axis=1)[:, ::-1]
    known = Covariates.learn(log.table, columns=covariate_columns(log.table, spec=spec), where=where)
    binned = Binned(known.codes(log.table, where=where), known.categorical, spec.seed)
    daily = np.stack([_scores(log, active[:, day], binned, spec) for day in range(len(days))], axis=2)
    lifetime = _scores(log, alive.sum(axis=1), binned, spec)
    return {
        name: _effect_of(log, daily[:, [0, arm]], lifetime[:, [0, arm]], name=name, spec=spec, cost=cost)
        for arm, name in enumerate(log.arms)
        if arm
    }


def _days(table: pl.DataFrame, where: str) -> list[str]:
    numbers = sorted(
        int(name.removeprefix(ACTIVE))
        for name in table.columns
        if name.startswith(ACTIVE) and name.removeprefix(ACTIVE).isdigit()
    )
    if not numbers or numbers != list(range(len(numbers))):
        raise BadInput(
            f"{where} needs columns {ACTIVE}0, {ACTIVE}1, ... without a gap; the table has those of days {numbers}. "
            "campaign_table(warehouse) writes them."
        )
    return [f"{ACTIVE}{day}" for day in numbers]


def _scores(log: Decisions, outcome: Floats, binned: Binned, spec: EffectSpec) -> Floats:
    one = Decisions(log.table, log.arms, log.arm, log.propensity, outcome, log.user)
    group = user_groups(log.user, groups=spec.groups, seed=spec.seed)
    return arm_scores(one, held_out_outcomes(one, binned=binned, group=group, spec=spec))


def _effect_of(
    log: Decisions, daily: Floats, lifetime: Floats, *, name: str, spec: EffectSpec, cost: float | None
) -> RetentionEffect:
    """From scores of control and arm: `daily` (rows, 2, days) and `lifetime` (rows, 2)."""
    means, differences = daily.mean(axis=0), daily[:, 1] - daily[:, 0]
    influence = differences - differences.mean(axis=0)
    errors = np.array([estimate(0.0, column, user=log.user).error for column in influence.T])
    effect = differences.mean(axis=0)
    near = normal_quantile(0.5 + spec.level / 2) * errors
    far = _reach_of_band(influence, errors, user=log.user, spec=spec) * errors
    curve = pl.DataFrame(
        {
            "day": np.arange(len(effect)),
            "control": means[0],
            "arm": means[1],
            "effect": effect,
            "low": effect - near,
            "high": effect + near,
            "band_low": effect - far,
            "band_high": effect + far,
        }
    )
    days = _estimate(differences.sum(axis=1), log)
    return RetentionEffect(
        arm=name,
        horizon_days=len(effect),
        curve=curve,
        active_days=_interval(days, spec.level),
        lifetime_days=_interval(_estimate(lifetime[:, 1] - lifetime[:, 0], log), spec.level),
        cost_per_day=None if cost is None else cost_of_one(days, cost=cost, level=spec.level),
    )


def _estimate(scores: Floats, log: Decisions) -> Estimate:
    mean = float(scores.mean())
    return estimate(mean, scores - mean, user=log.user)


def _interval(found: Estimate, level: float) -> Interval:
    low, high = found.ends(level)
    return Interval(value=found.value, low=low, high=high)


def cost_of_one(gained: Estimate, *, cost: float, level: float) -> Interval:
    """What one more unit costs when treating costs `cost` and gains so much: the ends are those of the gain, inverted.

    Where the gain may be nothing no cost is high enough (`high` is None); where it is not positive there is no value.
    """
    low, high = gained.ends(level)
    return Interval(
        value=cost / gained.value if gained.value > 0 else None,
        low=cost / high if high > 0 else None,
        high=cost / low if low > 0 else None,
    )


def _reach_of_band(influence: Floats, errors: Floats, *, user: np.ndarray, spec: EffectSpec) -> float:
    """How many standard errors a band must reach to hold all days at once: the multiplier bootstrap of users."""
    users = int(user.max()) + 1
    sums = np.column_stack([np.bincount(user, column, minlength=users) for column in influence.T]) / len(user)
    # The multipliers' sum over users is normal with this covariance: draw it rather than every user's.
    covariance = sums.T @ sums
    values, basis = np.linalg.eigh(covariance)
    root = basis * np.sqrt(np.maximum(values, 0))
    draws = np.random.default_rng(spec.seed).standard_normal((DRAWS, len(errors))) @ root.T
    usable = np.where(errors > 0, errors, np.inf)
    worst = np.abs(draws / usable).max(axis=1)
    return max(float(np.quantile(worst, spec.level)), normal_quantile(0.5 + spec.level / 2)) if users > 1 else sqrt(2)
