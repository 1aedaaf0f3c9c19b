"""How good predictions are: figures for values (what a user will spend) and for probabilities (will it happen).

Ties never depend on row order: rows with equal predictions share their ranks, and a top 10 % that ends inside a tie
takes its fair part of it. A figure that has no meaning (a Gini of constant truth, an AUC of one class, anything
relative to a total that is not positive) is NaN, never 0.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sojourn.core import BadInput, EmptyInput
from sojourn.evaluate._weighted import ProbabilityFigures, ValueFigures

Kind = Literal["value", "probability"]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Metric:
    """One figure: its label, where the good end is, and one sentence a product manager understands.

    `recentred`: resampling adds its own noise to a sum of absolute gaps, so its replicates are moved back on the value.
    """

    name: str
    label: str
    better: Literal["low", "high", "zero"]
    meaning: str
    recentred: bool = False


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("mae", "MAE", "low", "Mean absolute error: how far off a prediction is on average."),
        Metric("rmse", "RMSE", "low", "Root mean squared error: as MAE, but large misses weigh more."),
        Metric("r2", "R²", "high", "Share of the variance of the truth that the predictions explain."),
        Metric("spearman", "Spearman", "high", "Rank correlation between prediction and truth, from -1 to 1."),
        Metric("gini", "Gini", "high", "Normalised Gini: 1 ranks users by value perfectly, 0 is a random order."),
        Metric("lift_1", "Lift 1 %", "high", "The top 1 % by prediction, as a multiple of the average user."),
        Metric("lift_5", "Lift 5 %", "high", "The top 5 % by prediction, as a multiple of the average user."),
        Metric("lift_10", "Lift 10 %", "high", "The top 10 % by prediction, as a multiple of the average user."),
        Metric("bias", "Total bias", "zero", "Sum of predictions over sum of truth, minus 1; 0 is right."),
        Metric("auc", "AUC", "high", "Chance that a user with the event is scored above one without it."),
        Metric(
            "average_precision", "Avg. precision", "high", "Precision averaged over recall; the base rate by chance."
        ),
        Metric("brier", "Brier", "low", "Mean squared error of the probability."),
        Metric("log_loss", "Log loss", "low", "Mean surprise of the truth under the probability, in nats."),
        Metric("ece", "ECE", "low", "Expected calibration error: predicted against actual rate in ten groups.", True),
    )
}

VALUE_METRICS = ("mae", "rmse", "r2", "spearman", "gini", "lift_1", "lift_5", "lift_10", "bias")
PROBABILITY_METRICS = ("auc", "average_precision", "brier", "log_loss", "ece", "bias")


def value_metrics(truth: Any, pred: Any) -> dict[str, float]:
    """MAE, RMSE, R², Spearman, normalised Gini, lift at 1, 5 and 10 %, and total bias, by name.

    The normalised Gini is Gini(truth ordered by pred) / Gini(truth ordered by itself), each in the covariance form of
    Lerman and Yitzhaki (1984): the sum of truth x (rank - mean rank), where tied rows share their mean rank. It equals
    the ratio of areas between gain curve and diagonal, and it stands for negative truth (refunds) too.

    Raises `BadInput` for arrays of different lengths, or for a null, NaN or infinity; `EmptyInput` for no rows.

    >>> figures = value_metrics([0, 0, 10, 30], [1, 8, 2, 21])
    >>> figures["mae"], figures["gini"], figures["lift_10"], round(figures["bias"], 3)
    (6.5, 0.8, 3.0, -0.2)
    """
    return _once(truth, pred, kind="value", where="evaluate.value_metrics")


def classification_metrics(truth: Any, prob: Any) -> dict[str, float]:
    """AUC, average precision, Brier score, log loss, expected calibration error and total bias, by name.

    `truth` is 0/1 or boolean, `prob` the probability of 1. The calibration error cuts users into ten groups of equal
    size by predicted probability; equal probabilities stay in one group. Log loss clips at the float's epsilon.

    Raises `BadInput` for a truth other than 0 and 1 or a probability outside [0, 1], besides what `value_metrics` does.

    >>> figures = classification_metrics([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    >>> figures["auc"], round(figures["average_precision"], 4), round(figures["brier"], 4)
    (0.75, 0.8333, 0.1581)
    """
    return _once(truth, prob, kind="probability", where="evaluate.classification_metrics")


def metric_names(kind: Kind) -> tuple[str, ...]:
    """The figures that a task of this kind gets, in the order in which they are shown."""
    return VALUE_METRICS if kind == "value" else PROBABILITY_METRICS


def figures(truth: Floats, pred: Floats, *, kind: Kind) -> Callable[[Floats], dict[str, Floats]]:
    """A function from weights (replicates x rows) to every metric of these checked arrays, per replicate."""
    return ValueFigures(truth, pred) if kind == "value" else ProbabilityFigures(truth, pred)


def checked(truth: Any, pred: Any, *, kind: Kind, where: str) -> tuple[Floats, Floats]:
    """Truth and prediction as floats that can be judged; every fault found is named."""
    y, p = numbers(truth, what="truth", where=where), numbers(pred, what="prediction", where=where)
    if len(y) != len(p):
        raise BadInput(f"{where} got {len(y)} truths but {len(p)} predictions. Join them by key first.")
    if kind == "probability":
        _check_probabilities(y, p, where=where)
    return y, p


def numbers(values: Any, *, what: str, where: str) -> Floats:
    """These values as a float array. Raises for none at all, for text, and for null, NaN or infinity."""
    try:
        if isinstance(values, pl.Series):
            array = values.cast(pl.Float64).to_numpy()
        else:
            array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError, pl.exceptions.PolarsError) as fault:
        raise BadInput(f"{where} needs numbers as {what}: {fault}") from fault
    if array.ndim != 1:
        raise BadInput(f"{where} needs one {what} per row; it got an array of shape {array.shape}.")
    if not len(array):
        raise EmptyInput(f"{where} got no {what}. Is there any user in the test fold?")
    faulty = int((~np.isfinite(array)).sum())
    if faulty:
        raise BadInput(
            f"{where} found {faulty} of {len(array)} values of the {what} missing or not finite. "
            "Fill them or drop the rows first: a model that does not answer cannot be compared with one that does."
        )
    return array


def _check_probabilities(y: Floats, p: Floats, *, where: str) -> None:
    other = np.unique(y[(y != 0) & (y != 1)])
    if len(other):
        raise BadInput(f"{where} needs a truth of 0 and 1; it found {other[:3].tolist()}. Compare it first: truth > 0")
    if p.min() < 0 or p.max() > 1:
        raise BadInput(
            f"{where} needs probabilities between 0 and 1; they reach from {p.min():g} to {p.max():g}. "
            "Turn scores into probabilities first: Recalibration(spec).fit(table)"
        )


def _once(truth: Any, pred: Any, *, kind: Kind, where: str) -> dict[str, float]:
    y, p = checked(truth, pred, kind=kind, where=where)
    order = np.lexsort((p, y))  # one order of summation, so that shuffled rows give the same bits
    found = figures(y[order], p[order], kind=kind)(np.ones((1, len(y))))
    return {name: float(values[0]) for name, values in found.items()}
