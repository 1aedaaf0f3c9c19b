"""Predicted distributions and what happened come in; whether they are calibrated, and how sharp, goes out."""

from typing import Any

import numpy as np
import polars as pl

from sojourn.core import BadInput
from sojourn.evaluate.metrics import Floats, numbers


def crps(truth: Any, quantiles: Any) -> Floats:
    """The continuous ranked probability score of each row, in units of the truth: lower is better.

    `quantiles` (rows, levels) holds each row's quantiles at the evenly spaced levels (k + 1/2) / K, rising. The score
    is twice the mean pinball loss over these levels (Gneiting and Ranjan 2011, equation 12), which for one level is
    the absolute error of the median. Raises `BadInput` for shapes that do not fit.

    >>> crps([3.0], [[1.0, 3.0, 5.0]]).round(4).tolist()
    [0.4444]
    """
    y, q = _checked(truth, quantiles)
    levels = level_grid(q.shape[1])
    miss = y[:, None] - q
    return np.asarray(2 * np.maximum(levels * miss, (levels - 1) * miss).mean(axis=1))


def randomised_pit(truth: Any, quantiles: Any, *, seed: int = 0) -> Floats:
    """Where in its predicted distribution each truth came to lie, from 0 to 1: uniform when they are calibrated.

    Where quantiles are equal, as at a mass of exact zeros, chance decides among the places (Czado, Gneiting and Held
    2009); with K quantiles there are K + 1 places.

    >>> bool(0.5 <= randomised_pit([2.5], [[1.0, 2.0, 3.0]])[0] <= 0.75)
    True
    """
    y, q = _checked(truth, quantiles)
    below, not_above = (q < y[:, None]).sum(axis=1), (q <= y[:, None]).sum(axis=1)
    chance = np.random.default_rng(seed).random(len(y))
    return np.asarray((below + chance * (not_above - below + 1)) / (q.shape[1] + 1))


def pit_distance(pit: Any) -> float:
    """How far the places are from uniform: the largest gap between their distribution and the diagonal (Kolmogorov).

    >>> round(pit_distance([0.25, 0.5, 0.75]), 2)
    0.25
    """
    u = np.sort(numbers(pit, what="pit", where="evaluate.pit_distance"))
    steps = np.arange(len(u) + 1) / len(u)
    return float(max(np.abs(steps[1:] - u).max(), np.abs(steps[:-1] - u).max()))


def coverage_by_decile(truth: Any, *, low: Any, high: Any, predicted: Any) -> pl.DataFrame:
    """How many truths lie within their interval, by tenth of the prediction, 1 the highest.

    Columns: `decile, rows, covered` (a share), `width_mean`; the first row, whose decile is null, is of all.
    """
    where = "evaluate.coverage_by_decile"
    y, low, high, predicted = (
        numbers(each, what=what, where=where)
        for each, what in ((truth, "truth"), (low, "low"), (high, "high"), (predicted, "predicted"))
    )
    if not len(y) == len(low) == len(high) == len(predicted):
        raise BadInput(f"{where}: truth, low, high and predicted differ in length.")
    rank = np.empty(len(y), dtype=np.int64)
    rank[np.argsort(-predicted, kind="stable")] = np.arange(len(y))
    rows = pl.DataFrame({"decile": 1 + rank * 10 // len(y), "covered": (low <= y) & (y <= high), "width": high - low})
    figures = (
        pl.len().cast(pl.Int64).alias("rows"),
        pl.col("covered").mean().alias("covered"),
        pl.col("width").mean().alias("width_mean"),
    )
    whole = rows.select(pl.lit(None, dtype=pl.Int64).alias("decile"), *figures)
    return pl.concat([whole, rows.group_by("decile").agg(figures).sort("decile")])


def level_grid(count: int) -> Floats:
    """The levels (k + 1/2) / K, evenly spaced.

    >>> level_grid(2).tolist()
    [0.25, 0.75]
    """
    return np.asarray((np.arange(count) + 0.5) / count)


def _checked(truth: Any, quantiles: Any) -> tuple[Floats, Floats]:
    where = "evaluate"
    y, q = numbers(truth, what="truth", where=where), np.asarray(quantiles, dtype=np.float64)
    if q.ndim != 2 or len(q) != len(y) or q.shape[1] == 0:
        raise BadInput(f"{where}: quantiles must be (rows, levels) with {len(y)} rows; their shape is {q.shape}.")
    if np.isnan(q).any() or (np.diff(q, axis=1) < 0).any():
        raise BadInput(f"{where}: quantiles must rise along each row, without gaps. Sort them: np.sort(q, axis=1)")
    return y, q
