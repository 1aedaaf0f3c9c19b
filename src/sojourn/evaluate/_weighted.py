"""Every metric at once for many weightings of the same rows: the engine under figures and their bootstrap.

`W` has shape (replicates, rows): how often each row is drawn. A metric of weighted rows equals the metric of the rows
repeated that often (the tests do just that), so resampling costs matrix products instead of loops.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.intp]

N_GROUPS_ECE = 10


@dataclass(frozen=True)
class _Ties:
    """Rows sorted by a value, cut where the value changes."""

    order: Integers  # rows, ascending by value
    starts: Integers  # first position of each group of equal values in `order`
    group: Integers  # group of each row

    @classmethod
    def of(cls, values: Floats) -> Self:
        order = np.argsort(values, kind="stable")
        new = np.diff(values[order], prepend=np.nan) != 0  # nan != 0: the first row opens the first group
        group = np.empty(len(values), dtype=np.intp)
        group[order] = np.cumsum(new) - 1
        return cls(order=order, starts=np.flatnonzero(new), group=group)

    def sums(self, W: Floats) -> Floats:
        """Weights (replicates, rows) summed within groups: (replicates, groups), ascending by value."""
        ordered = W[:, self.order]
        return ordered if len(self.starts) == len(self.order) else np.add.reduceat(ordered, self.starts, axis=1)


class ValueFigures:
    """The value metrics of truth `y` and prediction `p` (rows); called with weights, one figure per replicate."""

    def __init__(self, y: Floats, p: Floats) -> None:
        self.y, self.p = y, p
        self.by_truth, self.by_pred = _Ties.of(y), _Ties.of(p)
        self.misses = np.abs(y - p)

    def __call__(self, W: Floats) -> dict[str, Floats]:
        """Every figure by name, NaN where undefined."""
        y, N = self.y, W.sum(axis=1)
        pred_weights = self.by_pred.sums(W)
        pred_ranks = _centred_ranks(self.by_pred, pred_weights, N)
        truth_ranks = _centred_ranks(self.by_truth, self.by_truth.sums(W), N)
        weighted_pred, weighted_truth = W * pred_ranks, W * truth_ranks
        squares, total = _dot(W, self.misses**2), _dot(W, y)
        positive = np.where(total > 1e-12 * _dot(W, np.abs(y)), total, np.nan)
        lifts = _top_sums(pred_weights, self.by_pred.sums(W * y), N)
        return {
            "mae": _dot(W, self.misses) / N,
            "rmse": np.sqrt(squares / N),
            "r2": 1 - squares / _spread(y, W, N),
            "spearman": _correlation(weighted_pred, pred_ranks, weighted_truth, truth_ranks),
            "gini": _dot(weighted_pred, y) / _gini_scale(weighted_truth, y),
            **{f"lift_{percent}": held / (percent / 100 * positive) for percent, held in lifts.items()},
            "bias": _dot(W, self.p) / positive - 1,
        }


class ProbabilityFigures:
    """The probability metrics of truth `y` (0 or 1) and probability `p`; called with weights as `ValueFigures` is."""

    def __init__(self, y: Floats, p: Floats) -> None:
        self.y, self.p, self.ties = y, p, _Ties.of(p)
        clipped = np.clip(p, np.finfo(np.float64).eps, 1 - np.finfo(np.float64).eps)
        self.surprise = -np.where(y == 1, np.log(clipped), np.log1p(-clipped))

    def __call__(self, W: Floats) -> dict[str, Floats]:
        """Every figure by name, NaN where undefined."""
        N, weights, hits = W.sum(axis=1), self.ties.sums(W), self.ties.sums(W * self.y)
        events, misses = hits.sum(axis=1), weights - hits
        positive, negative = np.where(events > 0, events, np.nan), np.where(events < N, N - events, np.nan)
        below = np.cumsum(misses, axis=1) - misses / 2
        levels = self.p[self.ties.order[self.ties.starts]]
        return {
            "auc": np.einsum("bg,bg->b", hits, below) / (positive * negative),
            "average_precision": _average_precision(weights, hits) / positive,
            "brier": _dot(W, (self.y - self.p) ** 2) / N,
            "log_loss": _dot(W, self.surprise) / N,
            "ece": _calibration_gap(weights, hits, levels) / N,
            "bias": _dot(W, self.p) / positive - 1,
        }


def _dot(W: Floats, v: Floats) -> Floats:
    # Not W @ v: its threads fight over small machines, and the order of its sums depends on their number.
    return np.asarray(np.einsum("bn,n->b", W, v))


def _centred_ranks(ties: _Ties, weights: Floats, N: Floats) -> Floats:
    """Mid-ranks minus the mean rank (N + 1) / 2, per row: (replicates, rows). Exact: sums of halves."""
    before = np.cumsum(weights, axis=1) - weights
    ranks: Floats = (before + (weights - N[:, None]) / 2)[:, ties.group]
    return ranks


def _correlation(weighted_a: Floats, a: Floats, weighted_b: Floats, b: Floats) -> Floats:
    spread = np.einsum("bn,bn->b", weighted_a, a) * np.einsum("bn,bn->b", weighted_b, b)
    correlation: Floats = np.einsum("bn,bn->b", weighted_a, b) / np.sqrt(np.where(spread > 0, spread, np.nan))
    return correlation


def _gini_scale(weighted_truth: Floats, y: Floats) -> Floats:
    scale = _dot(weighted_truth, y)
    # A constant truth leaves only rounding here, and the Gini of rounding is noise.
    return np.where(scale > 1e-12 * _dot(np.abs(weighted_truth), np.abs(y)), scale, np.nan)


def _spread(y: Floats, W: Floats, N: Floats) -> Floats:
    centred = y - y.mean()
    squares = _dot(W, centred**2)
    spread = squares - _dot(W, centred) ** 2 / N
    rounding = 1e-12 * squares + 1e-24 * N * np.abs(y).max() ** 2
    return np.where(spread > rounding, spread, np.nan)


def _top_sums(weights: Floats, sums: Floats, N: Floats) -> dict[int, Floats]:
    """The truth held by the top 1, 5 and 10 % by prediction; a tie that straddles the cut gives its fair part."""
    weights, sums = weights[:, ::-1], sums[:, ::-1]
    before = np.cumsum(weights, axis=1) - weights
    means = np.divide(sums, weights, where=weights > 0, out=np.zeros_like(weights))
    tops = {percent: np.clip((percent / 100 * N)[:, None] - before, 0, weights) for percent in (1, 5, 10)}
    return {percent: np.einsum("bg,bg->b", taken, means) for percent, taken in tops.items()}


def _average_precision(weights: Floats, hits: Floats) -> Floats:
    drawn = np.cumsum(weights[:, ::-1], axis=1)
    found = np.cumsum(hits[:, ::-1], axis=1)
    precision = np.divide(found, drawn, where=drawn > 0, out=np.zeros_like(drawn))
    return np.asarray(np.einsum("bg,bg->b", hits[:, ::-1], precision))


def _calibration_gap(weights: Floats, hits: Floats, prob: Floats) -> Floats:
    """Sum over ten groups of |predicted - actual| events. A group of equal probabilities goes where its middle lies."""
    replicates, total = len(weights), weights.sum(axis=1, keepdims=True)
    middle = np.cumsum(weights, axis=1) - weights / 2
    place = np.minimum((middle * N_GROUPS_ECE / total).astype(np.intp), N_GROUPS_ECE - 1)
    place += N_GROUPS_ECE * np.arange(replicates)[:, None]
    gaps = np.bincount(place.ravel(), (weights * prob - hits).ravel(), minlength=replicates * N_GROUPS_ECE)
    return np.asarray(np.abs(gaps.reshape(replicates, N_GROUPS_ECE)).sum(axis=1))
