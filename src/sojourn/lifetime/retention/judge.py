"""Forecasts of daily activity beside what came: overall and by day ahead, with intervals from resampled users."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from sojourn.core import BadInput, need_columns
from sojourn.evaluate import BootstrapSpec, Difference, Interval
from sojourn.evaluate.curves import equal_groups
from sojourn.evaluate.metrics import METRICS, figures
from sojourn.lifetime.retention._days import Floats, matrix_of

FIGURES = ("brier", "auc", "log_loss", "ece", "bias")
TRUTH = "truth"
BINS = 10
# Days are judged in batches of so many resamples, so that the memory of one batch is enough.
BATCH = 50


@dataclass(frozen=True)
class Judged:
    """Every model on the same users and days. Arrays in `replicates` have one figure per resample of users."""

    values: dict[str, dict[str, float]]
    replicates: dict[str, dict[str, Floats]]
    by_day: pl.DataFrame
    curve: pl.DataFrame
    level: float

    def intervals(self) -> dict[str, dict[str, Interval]]:
        """`{model: {figure: Interval}}`."""
        return {
            model: {name: self._interval(model, name) for name in FIGURES if name in figures_of}
            for model, figures_of in self.values.items()
        }

    def difference(self, first: str, second: str) -> dict[str, Difference]:
        """First model minus second on the same draws of users, per figure."""
        return {name: self._difference(name, first, second) for name in FIGURES}

    def _interval(self, model: str, name: str) -> Interval:
        value, found = self.values[model][name], self.replicates[model][name]
        if METRICS[name].recentred and np.isfinite(found).any():
            found = np.maximum(found - (np.nanmean(found) - value), 0)
        return Interval(value=_plain(value), **_ends(found, self.level))

    def _difference(self, name: str, first: str, second: str) -> Difference:
        one, two = self.replicates[first][name], self.replicates[second][name]
        gain = {"low": two - one, "high": one - two, "zero": np.abs(two) - np.abs(one)}[METRICS[name].better]
        gain = gain[np.isfinite(gain)]
        better = float(np.mean((gain > 0) + 0.5 * (gain == 0))) if len(gain) else None
        value = self.values[first][name] - self.values[second][name]
        return Difference(value=_plain(value), prob_better=better, **_ends(one - two, self.level))


def judge(table: pl.DataFrame, *, models: Sequence[str], bootstrap: BootstrapSpec | None = None) -> Judged:
    """Judge the list columns `models` against the list column `truth` (1, 0, or null for a day that is not known).

    - Brier score, log loss and bias are over all known user-days; the expected calibration error too, in ten groups.
    - The AUC of a day ahead is that of telling who is active on that day; `auc` is their mean over the days on which
      somebody was and somebody was not (a time-dependent AUC). A pooled AUC would reward knowing which days are busy.
    - `by_day` has `model, day_ahead, users, observed, predicted, brier, brier_low, brier_high, auc, auc_low, auc_high`;
      `curve` has `day_ahead, observed, low, high` and the mean prediction of each model.

    Users are drawn with replacement, all models and days on the same draws. Raises `MissingColumn`, `BadInput`.
    """
    bootstrap = bootstrap or BootstrapSpec()
    need_columns(table, ["user_id", TRUTH, *models], where="lifetime.judge")
    table = table.sort("user_id")
    truth, said = matrix_of(table[TRUTH]), {name: matrix_of(table[name]) for name in models}
    strange = [name for name, prob in said.items() if prob.shape != truth.shape or not np.isfinite(prob).all()]
    if strange:
        raise BadInput(
            f"lifetime.judge: the predictions of {strange} must have a probability for each of {truth.shape[1]} days."
        )
    weights = _draws(table.height, bootstrap)
    overall = {name: _overall(truth, prob) for name, prob in said.items()}
    days = {name: _auc_by_day(truth, prob, weights) for name, prob in said.items()}
    values = {name: {**overall[name](np.ones((1, table.height)))} for name in models}
    replicates = {name: overall[name](weights) for name in models}
    for name, (auc, draws) in days.items():
        replicates[name]["auc"], values[name]["auc"] = _mean(draws), _mean(auc[:, None])
    return Judged(
        values={name: {key: float(one[0]) for key, one in found.items()} for name, found in values.items()},
        replicates=replicates,
        by_day=pl.concat([_by_day(name, truth, said[name], days[name], weights, bootstrap.level) for name in models]),
        curve=_curve(truth, said, weights, bootstrap.level),
        level=bootstrap.level,
    )


def _overall(truth: Floats, prob: Floats) -> "_Overall":
    return _Overall(truth, prob)


class _Overall:
    """Figures over all user-days, as sums per user, so that a resample is a product of matrices."""

    def __init__(self, truth: Floats, prob: Floats) -> None:
        known = np.isfinite(truth)
        y, clipped = np.where(known, truth, 0.0), np.clip(prob, 1e-15, 1 - 1e-15)
        surprise = -np.where(y == 1, np.log(clipped), np.log1p(-clipped))
        bins = np.zeros(truth.shape, dtype=np.int64)
        bins[known] = equal_groups(prob[known], n_groups=BINS)
        parts = [known, known * (y - prob) ** 2, known * surprise, known * prob, known * y]
        off = [(known * (bins == at) * (prob - y)).sum(axis=1) for at in range(BINS)]
        self.sums = np.column_stack([*(part.sum(axis=1) for part in parts), *off])

    def __call__(self, weights: Floats) -> dict[str, Floats]:
        """Every figure but the AUC, one per row of weights."""
        # Not weights @ sums: its threads fight over small machines, and the order of its sums depends on their number.
        n, squares, surprise, said, came, *off = np.einsum("bn,nf->fb", weights, self.sums)
        bias = np.divide(said, came, out=np.full(len(n), np.nan), where=came > 0) - 1
        gap = np.abs(np.asarray(off)).sum(axis=0)
        return {"brier": squares / n, "log_loss": surprise / n, "ece": gap / n, "bias": bias}


def _auc_by_day(truth: Floats, prob: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """The AUC of each day (days), and of each resample (days, replicates); NaN where all or none were active."""
    days = truth.shape[1]
    value, draws = np.full(days, np.nan), np.full((days, len(weights)), np.nan)
    for day in range(days):
        known = np.isfinite(truth[:, day])
        y = truth[known, day]
        if not known.any() or y.min() == y.max():
            continue
        measure = figures(y, prob[known, day], kind="probability")
        value[day] = measure(np.ones((1, len(y))))["auc"][0]
        parts = [measure(weights[at : at + BATCH, known])["auc"] for at in range(0, len(weights), BATCH)]
        draws[day] = np.concatenate(parts)
    return value, draws


def _by_day(
    name: str, truth: Floats, prob: Floats, auc: tuple[Floats, Floats], weights: Floats, level: float
) -> pl.DataFrame:
    known = np.isfinite(truth)
    errors = np.where(known, (np.nan_to_num(truth) - prob) ** 2, 0.0)
    count = known.sum(axis=0)
    drawn = np.einsum("bn,nd->db", weights, errors) / np.maximum(np.einsum("bn,nd->db", weights, known * 1.0), 1e-300)
    brier = np.divide(errors.sum(axis=0), count, out=np.full(len(count), np.nan), where=count > 0)
    return pl.DataFrame(
        {
            "model": name,
            "day_ahead": np.arange(len(count)),
            "users": count,
            "observed": _rate(np.where(known, truth, 0.0).sum(axis=0), count),
            "predicted": _rate(np.where(known, prob, 0.0).sum(axis=0), count),
            "brier": brier,
            **_quantiles("brier", drawn, level),
            "auc": auc[0],
            **_quantiles("auc", auc[1], level),
        }
    ).with_columns(pl.selectors.float().fill_nan(None))


def _curve(truth: Floats, said: dict[str, Floats], weights: Floats, level: float) -> pl.DataFrame:
    known = np.isfinite(truth)
    count = known.sum(axis=0)
    drawn = np.einsum("bn,nd->db", weights, np.where(known, truth, 0.0))
    drawn = drawn / np.maximum(np.einsum("bn,nd->db", weights, known * 1.0), 1e-300)
    ends = _quantiles("observed", drawn, level)
    return pl.DataFrame(
        {
            "day_ahead": np.arange(len(count)),
            "observed": _rate(np.where(known, truth, 0.0).sum(axis=0), count),
            "low": ends["observed_low"],
            "high": ends["observed_high"],
            **{name: prob.mean(axis=0) for name, prob in said.items()},
        }
    ).with_columns(pl.selectors.float().fill_nan(None))


def _rate(held: Floats, count: Floats) -> Floats:
    return np.asarray(np.divide(held, count, out=np.full(len(count), np.nan), where=count > 0))


def _quantiles(name: str, draws: Floats, level: float) -> dict[str, Floats]:
    defined = np.isfinite(draws).mean(axis=1) > 0.5
    ends = np.full((2, len(draws)), np.nan)
    if defined.any():
        ends[:, defined] = np.nanquantile(draws[defined], [(1 - level) / 2, (1 + level) / 2], axis=1)
    return {f"{name}_low": ends[0], f"{name}_high": ends[1]}


def _draws(users: int, bootstrap: BootstrapSpec) -> Floats:
    """How often each user is drawn: (replicates, users)."""
    rng = np.random.default_rng(bootstrap.seed)
    drawn = rng.integers(users, size=(bootstrap.replicates, users))
    return np.stack([np.bincount(one, minlength=users) for one in drawn]).astype(np.float64)


def _mean(by_day: Floats) -> Floats:
    """The mean over the days that have a figure; NaN where none has."""
    seen = np.isfinite(by_day)
    count = seen.sum(axis=0)
    return _rate(np.where(seen, by_day, 0.0).sum(axis=0), count)


def _ends(replicates: Floats, level: float) -> dict[str, float | None]:
    defined = replicates[np.isfinite(replicates)]
    if 2 * len(defined) < len(replicates):
        return {"low": None, "high": None}
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return {"low": float(low), "high": float(high)}


def _plain(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
