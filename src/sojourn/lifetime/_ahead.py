"""Training rows parted in time: those known before the latest date, and the latest, which they have not seen."""

from datetime import timedelta

import polars as pl

from sojourn.lifetime._design import labelled
from sojourn.lifetime._learning import LEAST_SPENDERS, LEAST_USERS
from sojourn.lifetime.spec import ValueSpec

# With fewer rows than this on the latest date a tail of a tenth is chance.
LEAST_LATE_ROWS = 200


def parted_in_time(table: pl.DataFrame, *, spec: ValueSpec, where: str) -> tuple[pl.DataFrame, pl.DataFrame] | None:
    """Rows whose windows had ended by the latest date, and the rows of that date; None where either is too few.

    What is learned from the first and judged on the second has seen neither the season nor the mood of its window: the
    one fault of held-out users of dates that were learned from.
    """
    known = labelled(table, spec=spec, where=where)
    last = known["as_of"].max()
    early = known.filter(pl.col("as_of") <= pl.lit(last) - timedelta(days=spec.horizon_days))
    late = known.filter(pl.col("as_of") == last)
    spenders = early.filter(pl.col(spec.label) > 0)["user_id"].n_unique()
    if early["user_id"].n_unique() < LEAST_USERS or spenders < LEAST_SPENDERS or late.height < LEAST_LATE_ROWS:
        return None
    return early, late
