"""Every aggregate by its name."""

from difflib import get_close_matches

from sojourn.core import BadSpec
from sojourn.rollups.aggregates import ActiveDays, Count, First, Last, Max, Mean, Min, Recency, Sum
from sojourn.rollups.algebra import Aggregate
from sojourn.rollups.elements import (
    ActiveBitmap,
    CountBy,
    CountDistinct,
    HourHistogram,
    LongestStreak,
    Streak,
    SumBy,
    TopK,
    WeekdayHistogram,
)
from sojourn.rollups.moments import Std, Variance
from sojourn.rollups.sequences import LastN, Longest
from sojourn.rollups.sketches import ApproxCountDistinct, Quantile

_ALL: tuple[type[Aggregate], ...] = (
    Count,
    Sum,
    Min,
    Max,
    Mean,
    Variance,
    Std,
    Quantile,
    First,
    Last,
    LastN,
    Longest,
    TopK,
    CountDistinct,
    ApproxCountDistinct,
    CountBy,
    SumBy,
    HourHistogram,
    WeekdayHistogram,
    ActiveDays,
    ActiveBitmap,
    Streak,
    LongestStreak,
    Recency,
)
AGGREGATES: dict[str, type[Aggregate]] = {each.function: each for each in _ALL}


def aggregate(function: str) -> type[Aggregate]:
    """The aggregate of this name. Raises `BadSpec` with the nearest names, or all of them, when there is none.

    >>> aggregate("sum")(kind="DECIMAL(18,4)").lift([{"value": 2}, {"value": None}, {"value": 3}])
    5
    """
    if function not in AGGREGATES:
        near = get_close_matches(function, AGGREGATES, n=2, cutoff=0.4) or list(AGGREGATES)
        raise BadSpec(f"there is no aggregate {function!r}; use {' or '.join(repr(name) for name in near)}")
    return AGGREGATES[function]
