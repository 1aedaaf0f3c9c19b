"""How much one user may count for when a model learns: one sale above all others says nothing of any other user."""

import numpy as np
import polars as pl

from sojourn.lifetime._boost import Floats

# On each date no user counts for more than this share of all the money, or ten times an even share where that is more.
MOST_SHARE, EVEN_SHARES = 0.1, 10


def most_of(amounts: Floats) -> float:
    """The most that one of these amounts may be, above or below zero, to count for no more than its share of all.

    Infinity where none does. What is above it counts as it: the sum of all then has no greater part than the share.

    >>> most_of(np.array([10.0] * 99 + [77_000.0]))
    110.0
    """
    sizes = np.sort(np.abs(amounts[amounts != 0]))[::-1]
    if not len(sizes):
        return float("inf")
    share = max(MOST_SHARE, EVEN_SHARES / len(sizes))
    rest = float(sizes.sum())
    if sizes[0] <= share * rest:
        return float("inf")
    for above, size in enumerate(sizes[:-1], 1):
        rest -= float(size)
        if above * share >= 1:
            break
        most = share * rest / (1 - above * share)
        if sizes[above] <= most:
            return most
    return float("inf")


def held_in(amounts: Floats, *, as_of: pl.Series) -> Floats:
    """The amounts, on each date held in between minus and plus `most_of` that date's."""
    held = np.array(amounts, dtype=np.float64)
    dates = as_of.to_numpy()
    for date in np.unique(dates):
        rows = dates == date
        most = most_of(held[rows])
        held[rows] = np.clip(held[rows], -most, most)
    return held
