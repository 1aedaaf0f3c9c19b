"""How long users stay: from first seen to the last sign of life, censored where it is too early to say."""

import numpy as np
import polars as pl

from sojourn.core import BadInput, need_columns
from sojourn.evaluate.curves import wilson_interval

NEEDED = ("user_id", "tenure_days", "recency_days")


def lifespans(table: pl.DataFrame, *, lost_after_days: int = 28) -> pl.DataFrame:
    """One row per user of a feature table of one `as_of`, for Kaplan-Meier and hazards.

    A user is lost who has not been active for more than `lost_after_days`; life then lasted from the day first seen
    through the last active day. Of all others no more is known than that they were not lost `lost_after_days` before
    `as_of`: they are censored there. Who was first seen later than that tells nothing and is left out.

    Columns: the table's own, then `duration_days` (at least 1) and `lost`. Raises `MissingColumn`, `BadInput`.
    """
    where = "lifetime.lifespans"
    need_columns(table, NEEDED, where=where)
    if "as_of" in table.columns and table["as_of"].n_unique() > 1:
        raise BadInput(f"{where} needs one as-of date; the table has {table['as_of'].n_unique()}. Filter it first.")
    recency = pl.col("recency_days").fill_null(pl.col("tenure_days"))
    lost = recency > lost_after_days
    lasted = pl.when(lost).then(pl.col("tenure_days") - recency + 1).otherwise(pl.col("tenure_days") - lost_after_days)
    return table.filter(pl.col("tenure_days") > lost_after_days).with_columns(
        duration_days=lasted.clip(lower_bound=1), lost=lost
    )


def hazard_by_day(lives: pl.DataFrame) -> pl.DataFrame:
    """The chance to be lost on each day since first seen, of those still there.

    Columns: `day, at_risk, lost, hazard, low, high`. Day 1 is the first day; the interval is Wilson's, 95 %. Reads the
    columns `duration_days, lost` of `lifespans`.
    """
    need_columns(lives, ["duration_days", "lost"], where="lifetime.hazard_by_day")
    if lives.is_empty():
        kinds = {"day": pl.Int64, "at_risk": pl.Int64, "lost": pl.Int64}
        return pl.DataFrame(schema={**kinds, **dict.fromkeys(("hazard", "low", "high"), pl.Float64)})
    lasted, gone = lives["duration_days"].to_numpy(), lives["lost"].to_numpy()
    days = int(lasted.max())
    ended, lost = np.bincount(lasted, minlength=days + 1), np.bincount(lasted[gone], minlength=days + 1)
    at_risk = (len(lasted) - np.concatenate([[0], np.cumsum(ended)[:-1]]))[1:]
    hazard = lost[1:] / at_risk
    low, high = wilson_interval(hazard, n=at_risk)
    return pl.DataFrame(
        {
            "day": np.arange(1, days + 1),
            "at_risk": at_risk,
            "lost": lost[1:],
            "hazard": hazard,
            "low": low,
            "high": high,
        }
    )


def segment_of(lives: pl.DataFrame, column: str, *, most: int = 6) -> pl.Series:
    """The segments of a column as text: its commonest values, `other` and `unknown`. Raises `MissingColumn`."""
    need_columns(lives, [column], where="lifetime.retention_report, segment,")
    words = lives[column].cast(pl.String).fill_null("unknown")
    common = words.value_counts(sort=True).sort(["count", column], descending=[True, False])[column].head(most)
    return pl.select(pl.when(words.is_in(common.implode())).then(words).otherwise(pl.lit("other"))).to_series()
