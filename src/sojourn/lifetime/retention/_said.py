"""What every model of daily activity answers with, and what it refuses to learn from."""

import numpy as np
import polars as pl

from sojourn.core import BadInput
from sojourn.lifetime._design import KEYS
from sojourn.lifetime.retention._days import Floats, days_list

PROB, EXPECTED = "active_prob", "expected_days"


def said(table: pl.DataFrame, prob: Floats) -> pl.DataFrame:
    """The keys with the probability of each day ahead as a list, and the expected active days: its sum."""
    prob = np.clip(prob, 0.0, 1.0)
    hidden = np.zeros(prob.shape, dtype=bool)
    column = days_list(prob, hidden=hidden, name=PROB, kind=pl.Float64)
    return table.select(key for key in KEYS if key in table.columns).with_columns(
        column, pl.Series(EXPECTED, prob.sum(axis=1))
    )


def need_both(truth: Floats, *, label: str, where: str) -> None:
    """Raise `BadInput` when all known days are alike: there is nothing to tell apart."""
    if truth.min() == truth.max():
        did = "was active on every" if truth[0] else "was active on no"
        raise BadInput(
            f"{where}: every user {did} known day of {label!r}; there is nothing to learn. "
            "Check the condition of activity (active = \"event = '...'\"), or use other as-of dates."
        )
