"""Predictions of several horizons made to rise row by row: a longer horizon never holds less than a shorter one."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from sojourn.lifetime._boost import Floats


def rising(table: pl.DataFrame, names: Sequence[str]) -> list[pl.Series]:
    """The predictions and ends of intervals of these horizons, shortest first, made to rise row by row.

    Models of different horizons know nothing of each other. Where a longer one says less, both take the mean, and so
    on until all rise (the nearest rising numbers: isotonic regression, by pooling adjacent violators).

    >>> table = pl.DataFrame({"ltv_30": [4.0, 1.0], "ltv_90": [2.0, 3.0]})
    >>> [column.to_list() for column in rising(table, ["ltv_30", "ltv_90"])]
    [[3.0, 1.0], [3.0, 3.0]]
    """
    found = []
    for end in ("", "_low", "_high"):
        columns = [f"{name}{end}" for name in names if f"{name}{end}" in table.columns]
        sums = np.cumsum(np.insert(table.select(columns).to_numpy(), 0, 0.0, axis=1), axis=1)
        pooled = [_pooled(sums, at) for at in range(len(columns))]
        found += [pl.Series(name, column) for name, column in zip(columns, pooled, strict=True)]
    return found


def _pooled(sums: Floats, at: int) -> Floats:
    """The place `at` of the nearest rising numbers: of the stretches around it, the largest smallest mean."""

    def mean(first: int, last: int) -> Floats:
        return np.asarray((sums[:, last + 1] - sums[:, first]) / (last + 1 - first))

    lasts = range(at, sums.shape[1] - 1)
    smallest = [np.min([mean(first, last) for last in lasts], axis=0) for first in range(at + 1)]
    return np.asarray(np.max(smallest, axis=0))
