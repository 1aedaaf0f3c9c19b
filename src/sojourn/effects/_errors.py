"""How sure a mean is when rows of the same user go together."""

from dataclasses import dataclass
from functools import cache
from statistics import NormalDist

import numpy as np

from sojourn.effects._log import Floats, Ints


@dataclass(frozen=True)
class Estimate:
    """A figure, its standard error, and how much each row moves it: `influence` (rows) has mean zero."""

    value: float
    error: float
    influence: Floats

    def ends(self, level: float) -> tuple[float, float]:
        """The interval that holds the truth with this probability."""
        reach = normal_quantile(0.5 + level / 2) * self.error
        return self.value - reach, self.value + reach


def estimate(value: float, influence: Floats, *, user: Ints) -> Estimate:
    """The estimate whose deviation is the mean of `influence`; users are independent, their rows are not."""
    return Estimate(value, clustered_error(influence, user=user), influence)


def clustered_error(influence: Floats, *, user: Ints) -> float:
    """The standard error of the mean of `influence`: users summed and squared, times n / (n - 1)."""
    sums = np.bincount(user, influence - influence.mean())
    users = len(sums)
    if users < 2:
        return float("nan")
    return float(np.sqrt((sums**2).sum() * users / (users - 1)) / len(influence))


@cache
def normal_quantile(share: float) -> float:
    """The quantile of the standard normal distribution.

    >>> round(normal_quantile(0.975), 4)
    1.96
    """
    return NormalDist().inv_cdf(share)
