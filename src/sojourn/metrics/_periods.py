"""Days, weeks and months: which period a day lies in, when it is over, and how many lie between two."""

from dataclasses import dataclass
from datetime import date

from sojourn.metrics.catalogue import Grain
from sojourn.rollups import Cell
from sojourn.rollups.grains import ONE_DAY, month_of, months_later, week_of


@dataclass(frozen=True)
class Period:
    """A day, week or month as far as it has closed: `last` is the last of its days that has."""

    grain: Grain
    start: date
    last: date

    @property
    def end(self) -> date:
        """The day after its own last day, whether that has closed or not."""
        return Cell(self.grain, self.start).end

    @property
    def is_over(self) -> bool:
        """Whether all its days have closed."""
        return self.end == self.last + ONE_DAY

    @property
    def days(self) -> int:
        """How many of its days have closed."""
        return (self.last - self.start).days + 1

    @property
    def days_before(self) -> int:
        """How many days the period before it has."""
        if self.grain == "month":
            return (self.start - months_later(self.start, -1)).days
        return 7 if self.grain == "week" else 1

    @property
    def closed_mask(self) -> int:
        """The bits of its closed days in a bitmap whose lowest bit is `last`."""
        return (1 << self.days) - 1

    @property
    def before_mask(self) -> int:
        """The bits of the whole period before it."""
        return ((1 << self.days_before) - 1) << self.days


def period_of(day: date, grain: Grain, *, week_start: int) -> Period:
    """The period that a day lies in, as of the evening of that day.

    >>> period_of(date(2024, 5, 8), "week", week_start=0).start
    datetime.date(2024, 5, 6)
    """
    return Period(grain, start_of(day, grain, week_start=week_start), day)


def start_of(day: date, grain: Grain, *, week_start: int) -> date:
    """The first day of the period that a day lies in."""
    if grain == "month":
        return month_of(day)
    return week_of(day, week_start) if grain == "week" else day


def start_sql(column: str, grain: Grain, *, week_start: int) -> str:
    """SQL for the first day of the period that a date lies in.

    >>> start_sql("first_day", "day", week_start=0)
    'first_day'
    """
    if grain == "month":
        return f"CAST(date_trunc('month', {column}) AS DATE)"
    if grain == "week":
        return f"({column} - CAST((isodow({column}) - 1 - {week_start} + 7) % 7 AS INTEGER))"
    return column
