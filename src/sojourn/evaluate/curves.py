"""The tables behind the charts: deciles, gain curve, calibration. Rows with equal predictions always stay together."""

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sojourn.core import BadInput
from sojourn.evaluate.metrics import Floats, checked

Z_95 = 1.959963984540054


def decile_table(truth: Any, pred: Any) -> pl.DataFrame:
    """Users in ten groups by prediction, decile 1 the highest: what was predicted and what came.

    Columns: `decile, n, predicted_mean, actual_mean, actual_low, actual_high` (95 % interval of the actual mean, from
    500 resamples within the decile), `predicted_share, actual_share` (of all that was predicted, of all that came; null
    when that total is not positive). A decile into which no group of equal predictions falls is left out.

    Raises what `value_metrics` does.

    >>> decile_table(range(20), range(20)).select("decile", "n", "actual_mean", "actual_share").row(0)
    (1, 2, 18.5, 0.19473684210526315)
    """
    y, p = checked(truth, pred, kind="value", where="evaluate.decile_table")
    order = np.lexsort((y, p))
    decile = 10 - equal_groups(p, n_groups=10)
    rows = pl.DataFrame({"decile": decile, "predicted": p, "actual": y})[order]
    table = (
        rows.group_by("decile")
        .agg(
            n=pl.len().cast(pl.Int64),
            predicted_mean=pl.col("predicted").mean(),
            actual_mean=pl.col("actual").mean(),
            values=pl.col("actual"),
            predicted_share=_share("predicted", float(p.sum())),
            actual_share=_share("actual", float(y.sum())),
        )
        .sort("decile")
    )
    ends = [_mean_interval(values.to_numpy()) for values in table["values"]]
    low, high = (pl.Series(name, side) for name, side in zip(("low", "high"), zip(*ends, strict=True), strict=True))
    return table.select(
        pl.col("decile").cast(pl.Int64),
        "n",
        "predicted_mean",
        "actual_mean",
        low.alias("actual_low"),
        high.alias("actual_high"),
        "predicted_share",
        "actual_share",
    )


def gain_curve(truth: Any, pred: Any) -> pl.DataFrame:
    """The share of the total held by the top share of users by prediction: `share_of_users, share_of_total`.

    Starts at (0, 0) and ends at (1, 1); a straight line runs through users with equal predictions. Two columns of
    nulls would draw nothing, so a total that is not positive raises `BadInput` instead.

    >>> gain_curve([0, 10, 30], [1, 2, 3]).rows()
    [(0.0, 0.0), (0.3333333333333333, 0.75), (0.6666666666666666, 1.0), (1.0, 1.0)]
    """
    y, p = checked(truth, pred, kind="value", where="evaluate.gain_curve")
    if y.sum() <= 0:
        raise BadInput("evaluate.gain_curve: the truth sums to nothing, so no user holds a share of it.")
    groups = (
        pl.DataFrame({"p": p, "y": y})
        .sort("p", "y", descending=[True, False])
        .group_by("p", maintain_order=True)
        .agg(n=pl.len(), y=pl.col("y").sum())
    )
    users, total = groups["n"].to_numpy().cumsum(), groups["y"].to_numpy().cumsum()
    start = np.zeros(1)
    return pl.DataFrame(
        {
            "share_of_users": np.concatenate([start, users / users[-1]]),
            "share_of_total": np.concatenate([start, total / total[-1]]),
        }
    )


def calibration_table(truth: Any, prob: Any, *, bins: int = 10) -> pl.DataFrame:
    """The reliability curve: users in `bins` groups of equal size by probability, predicted beside actual rate.

    Columns: `bin` (1 the lowest), `n, predicted_mean, actual_rate, actual_low, actual_high` (95 % Wilson interval).

    Raises what `classification_metrics` does.

    >>> calibration_table([0, 1, 1, 1], [0.2, 0.2, 0.9, 0.9], bins=2).select("bin", "n", "actual_rate").rows()
    [(1, 2, 0.5), (2, 2, 1.0)]
    """
    y, p = checked(truth, prob, kind="probability", where="evaluate.calibration_table")
    order = np.lexsort((y, p))
    rows = pl.DataFrame({"bin": equal_groups(p, n_groups=bins) + 1, "prob": p, "hit": y})[order]
    table = (
        rows.group_by("bin")
        .agg(n=pl.len().cast(pl.Int64), predicted_mean=pl.col("prob").mean(), actual_rate=pl.col("hit").mean())
        .sort("bin")
    )
    low, high = wilson_interval(table["actual_rate"].to_numpy(), n=table["n"].to_numpy())
    return table.with_columns(actual_low=low, actual_high=high)


def equal_groups(values: Floats, *, n_groups: int) -> NDArray[np.int64]:
    """A group from 0 (lowest) to `n_groups - 1` per row, equally large; equal values go where their middle lies."""
    _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - counts / 2
    place: NDArray[np.int64] = np.minimum((middle * n_groups / len(values)).astype(np.int64), n_groups - 1)
    return place[group]


def wilson_interval(rate: Floats, *, n: Floats) -> tuple[Floats, Floats]:
    """The 95 % interval of a rate seen in `n` trials (Wilson 1927): never empty, never outside [0, 1]."""
    centre = (rate + Z_95**2 / (2 * n)) / (1 + Z_95**2 / n)
    half = Z_95 * np.sqrt(rate * (1 - rate) / n + Z_95**2 / (4 * n**2)) / (1 + Z_95**2 / n)
    return np.clip(centre - half, 0, 1), np.clip(centre + half, 0, 1)


def _share(column: str, total: float) -> pl.Expr:
    return pl.col(column).sum() / total if total > 0 else pl.lit(None, dtype=pl.Float64)


def _mean_interval(values: Floats, replicates: int = 500) -> tuple[float, float]:
    # Batches keep a decile of a million users from asking for gigabytes at once.
    rng, n = np.random.default_rng(0), len(values)
    size = max(1, 1_000_000 // n)
    starts = range(0, replicates, size)
    means = [values[rng.integers(n, size=(min(size, replicates - start), n))].mean(axis=1) for start in starts]
    low, high = np.quantile(np.concatenate(means), [0.025, 0.975])
    return float(low), float(high)
