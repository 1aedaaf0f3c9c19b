"""Parameters of greatest likelihood: over logarithms, with the gradient, each different history once."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sojourn.lifetime._boost import Floats

# Beyond these a parameter says nothing any more: the population is all alike, or as unlike as can be.
SMALLEST, LARGEST = np.log(1e-6), np.log(1e8)
STEP = 1e-4
PerHistory = Callable[[Floats], tuple[Floats, Floats]]


@dataclass(frozen=True)
class Fit:
    """Parameters, the standard error of each (NaN where the likelihood is flat), and the log likelihood they reach."""

    theta: Floats
    errors: Floats
    log_likelihood: float
    converged: bool


def maximise(per_history: PerHistory, *, count: Floats, start: Floats, penalty: float = 0.0) -> Fit:
    """The positive parameters of greatest likelihood, less `penalty` times the square of their logarithms, summed.

    `per_history` gives the log likelihood of each history and its gradient in the parameters. `count` says how many
    customers have it. Standard errors are from the observed information: the Hessian of the log likelihood, by central
    differences of the gradient.
    """
    from scipy.optimize import minimize

    total = float(count.sum())

    def loss(logs: Floats) -> tuple[float, Floats]:
        theta = np.exp(logs)
        each, slopes = per_history(theta)
        value = -float(count @ each) / total + penalty * float(logs @ logs)
        gradient = -(count @ slopes) * theta / total + 2 * penalty * logs
        if not (np.isfinite(value) and np.isfinite(gradient).all()):
            return 1e10, np.zeros_like(logs)
        return value, gradient

    bounds = [(SMALLEST, LARGEST)] * len(start)
    found = minimize(
        loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 500, "ftol": 1e-13, "gtol": 1e-8}
    )
    theta = np.exp(found.x)
    return Fit(theta, _errors(loss, found.x, total), -total * float(found.fun), bool(found.success))


def _errors(loss: Callable[[Floats], tuple[float, Floats]], logs: Floats, total: float) -> Floats:
    """Standard errors of the parameters, by the delta method from those of their logarithms."""
    rows = [(loss(logs + step)[1] - loss(logs - step)[1]) / (2 * STEP) for step in STEP * np.eye(len(logs))]
    information = total * (np.array(rows) + np.array(rows).T) / 2
    if not np.isfinite(information).all() or np.linalg.eigvalsh(information).min() <= 0:
        return np.full(len(logs), np.nan)
    return np.asarray(np.exp(logs) * np.sqrt(np.diag(np.linalg.inv(information))))
