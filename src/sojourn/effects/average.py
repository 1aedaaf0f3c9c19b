"""A campaign log goes in; the average effect of each arm beside the control goes out, by four methods."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from sojourn.core import BadInput, need_columns
from sojourn.effects._covariates import Covariates
from sojourn.effects._errors import Estimate, estimate
from sojourn.effects._log import Decisions, Floats, covariate_columns, decisions, keys_of
from sojourn.effects._outcomes import arm_scores, held_out_outcomes
from sojourn.effects._trees import Binned, user_groups
from sojourn.effects.spec import METHODS, SCORE, EffectSpec, Method

SCHEMA = {
    "outcome": pl.String,
    "arm": pl.String,
    "method": pl.String,
    "effect": pl.Float64,
    "error": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "control_mean": pl.Float64,
    "arm_mean": pl.Float64,
    "rows": pl.Int64,
    "users": pl.Int64,
    "unbiased": pl.Boolean,
    "adjusted_by": pl.String,
}


def average_effects(
    table: pl.DataFrame, *, spec: EffectSpec | None = None, methods: Sequence[Method] = METHODS
) -> pl.DataFrame:
    """What each arm does to the mean outcome, beside the control: one row per arm and method.

    Columns: `outcome, arm, method, effect, error, low, high, control_mean, arm_mean, rows, users, unbiased,
    adjusted_by`. `error` is the standard error with rows of a user going together, `rows` and `users` are of the arm
    and the control. The population is that of all rows of the log: what the mean would be had all of them got the arm,
    less what it would be had all got the control.

    - `difference`: of the raw means. `unbiased` is false for it when the recorded propensities differ between rows.
    - `weighted`: rows weigh one over the propensity of the arm they got, weights made to sum to one (Hajek).
    - `cuped`: the same, of the outcome less what pre-period covariates explain of it (Deng et al. 2013).
    - `doubly_robust`: AIPW. Models of the outcome, each said of users that it has not seen, and their misses
      weighted by one over the propensity. It is right when either the propensities or the models are.

    Raises `MissingColumn`, `EmptyInput`, `BadInput`.

    >>> rows = [{"user_id": f"u{n:03d}", "treatment": n % 2 == 0, "outcome_days": float(n % 2 == 0)} for n in range(80)]
    >>> found = average_effects(pl.DataFrame(rows), spec=EffectSpec(outcome="outcome_days", propensity=None))
    >>> found["effect"].round(6).to_list()
    [1.0, 1.0, 1.0, 1.0]
    """
    spec = spec or EffectSpec()
    where = "effects.average_effects"
    unknown = [name for name in methods if name not in METHODS]
    if unknown:
        raise BadInput(f"{where} has no method {unknown[0]!r}; it has {', '.join(METHODS)}.")
    log = decisions(table, spec=spec, where=where)
    rows = []
    for method in methods:
        for arm, found in enumerate(_by_method(log, method, spec, where), start=1):
            rows.append(_row(log, found, arm=arm, method=method, spec=spec))
    return pl.DataFrame(rows, schema=SCHEMA)


def doubly_robust_scores(table: pl.DataFrame, *, spec: EffectSpec | None = None) -> pl.DataFrame:
    """`user_id, as_of` and `score_<arm>`: for each row an unbiased but noisy reading of its own effect of the arm.

    Means of scores, over any rows chosen without a look at their outcomes, estimate the mean effect on those rows.
    Rows without an outcome are left out; the order is that of the keys. Raises as `average_effects` does.
    """
    spec = spec or EffectSpec()
    log = decisions(table, spec=spec, where="effects.doubly_robust_scores")
    scores = _arm_scores(log, spec, "effects.doubly_robust_scores")
    columns = {f"{SCORE}{name}": scores[:, at] - scores[:, 0] for at, name in enumerate(log.arms) if at}
    return log.table.select(keys_of(log.table)).with_columns(**columns)


@dataclass(frozen=True)
class Found:
    """One arm's effect by one method, and the two means it is the difference of."""

    effect: Estimate
    control_mean: float
    arm_mean: float
    adjusted_by: str = ""


def _by_method(log: Decisions, method: Method, spec: EffectSpec, where: str) -> list[Found]:
    if method == "difference":
        return _weighted(log, log.outcome, np.ones(len(log.outcome)))
    if method == "weighted":
        return _weighted(log, log.outcome, 1 / log.chance)
    if method == "cuped":
        return _cuped(log, spec, where)
    return _doubly_robust(log, _arm_scores(log, spec, where))


def _weighted(log: Decisions, outcome: Floats, weight: Floats, *, adjusted_by: str = "") -> list[Found]:
    """The differences of weighted means; the influence of a row is its weighted distance from its arm's mean."""
    means, influence = [], []
    for arm in range(len(log.arms)):
        mine = np.where(log.got(arm), weight, 0.0)
        mean = float((mine * outcome).sum() / mine.sum())
        means.append(mean)
        influence.append(mine / mine.mean() * (outcome - mean))
    return [
        Found(
            estimate(means[arm] - means[0], influence[arm] - influence[0], user=log.user),
            control_mean=means[0],
            arm_mean=means[arm],
            adjusted_by=adjusted_by,
        )
        for arm in range(1, len(log.arms))
    ]


def _cuped(log: Decisions, spec: EffectSpec, where: str) -> list[Found]:
    names = _pre_period(log, spec, where)
    weight = 1 / log.chance
    if not names:
        return _weighted(log, log.outcome, weight)
    before = np.column_stack([_centred(log.table[name]) for name in names])
    inside = before.copy()
    outcome = log.outcome.copy()
    for arm in range(len(log.arms)):
        mine = log.got(arm)
        inside[mine] -= np.average(before[mine], axis=0, weights=weight[mine])
        outcome[mine] -= np.average(outcome[mine], weights=weight[mine])
    root = np.sqrt(weight)[:, None]
    # lstsq, not a solve: two pre-period columns may say the same.
    slope = np.linalg.lstsq(root * inside, root[:, 0] * outcome, rcond=1e-10)[0]
    return _weighted(log, log.outcome - before @ slope, weight, adjusted_by=", ".join(names))


def _pre_period(log: Decisions, spec: EffectSpec, where: str) -> tuple[str, ...]:
    if spec.pre_period is not None:
        need_columns(log.table, spec.pre_period, where=where)
        words = [name for name in spec.pre_period if not _is_number(log.table[name].dtype)]
        if words:
            raise BadInput(f"{where}: CUPED takes numbers; column {words[0]!r} holds {log.table[words[0]].dtype}.")
        return spec.pre_period
    numbers = [name for name in covariate_columns(log.table, spec=spec) if _is_number(log.table[name].dtype)]
    strength = {name: _correlation(_centred(log.table[name]), log.outcome) for name in numbers}
    best = max(strength, key=strength.__getitem__, default=None)
    return () if best is None or strength[best] == 0 else (best,)


def _is_number(dtype: pl.DataType) -> bool:
    return dtype.is_numeric() or dtype == pl.Boolean


def _centred(column: pl.Series) -> Floats:
    """The column less its mean; what is missing is the mean."""
    values = column.cast(pl.Float64)
    return (values - (values.mean() or 0.0)).fill_null(0.0).fill_nan(0.0).to_numpy()


def _correlation(one: Floats, other: Floats) -> float:
    spread = one.std() * other.std()
    return abs(float(np.mean(one * (other - other.mean())))) / spread if spread > 0 else 0.0


def _arm_scores(log: Decisions, spec: EffectSpec, where: str) -> Floats:
    known = Covariates.learn(log.table, columns=covariate_columns(log.table, spec=spec), where=where)
    binned = Binned(known.codes(log.table, where=where), known.categorical, spec.seed)
    group = user_groups(log.user, groups=spec.groups, seed=spec.seed)
    return arm_scores(log, held_out_outcomes(log, binned=binned, group=group, spec=spec))


def _doubly_robust(log: Decisions, scores: Floats) -> list[Found]:
    means = scores.mean(axis=0)
    return [
        Found(
            estimate(
                float(means[arm] - means[0]),
                scores[:, arm] - scores[:, 0] - (means[arm] - means[0]),
                user=log.user,
            ),
            control_mean=float(means[0]),
            arm_mean=float(means[arm]),
            adjusted_by="outcome models",
        )
        for arm in range(1, len(log.arms))
    ]


def _row(log: Decisions, found: Found, *, arm: int, method: Method, spec: EffectSpec) -> dict[str, object]:
    low, high = found.effect.ends(spec.level)
    two = log.got(arm) | log.got(0)
    even = bool(np.ptp(log.propensity, axis=0).max() < 1e-9)
    return {
        "outcome": spec.outcome,
        "arm": log.arms[arm],
        "method": method,
        "effect": found.effect.value,
        "error": found.effect.error,
        "low": low,
        "high": high,
        "control_mean": found.control_mean,
        "arm_mean": found.arm_mean,
        "rows": int(two.sum()),
        "users": len(np.unique(log.user[two])),
        "unbiased": even or method != "difference",
        "adjusted_by": found.adjusted_by,
    }
