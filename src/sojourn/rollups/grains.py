"""Days, weeks and months: the spans that partials are kept for, and the fewest of them that cover other spans."""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

Grain = Literal["day", "week", "month"]
ONE_DAY = timedelta(days=1)
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


@dataclass(frozen=True, order=True)
class Cell:
    """One partial's place: its grain and its first day.

    >>> Cell("month", date(2024, 2, 1)).end
    datetime.date(2024, 3, 1)
    """

    grain: Grain
    start: date

    @property
    def end(self) -> date:
        """The day after its last."""
        if self.grain == "month":
            return months_later(self.start, 1)
        return self.start + timedelta(days=7 if self.grain == "week" else 1)

    @property
    def partition(self) -> dict[str, str]:
        """Its place in the table of partials."""
        return {"grain": self.grain, "start": self.start.isoformat()}


def week_of(day: date, week_start: int) -> date:
    """The first day of the week that a day lies in; `week_start` 0 is Monday.

    >>> week_of(date(2024, 5, 8), 6)
    datetime.date(2024, 5, 5)
    """
    return day - timedelta(days=(day.weekday() - week_start) % 7)


def month_of(day: date) -> date:
    """The first day of the month that a day lies in."""
    return day.replace(day=1)


def months_later(month: date, months: int) -> date:
    """The first day of the month so many months later.

    >>> months_later(date(2024, 11, 1), 3)
    datetime.date(2025, 2, 1)
    """
    number = month.year * 12 + month.month - 1 + months
    return date(number // 12, number % 12 + 1, 1)


def closed(days: Sequence[date], *, end: date, week_start: int) -> list[Cell]:
    """The weeks that hold any of these days and are over by `end`, then such months, in order."""
    weeks = {Cell("week", week_of(day, week_start)) for day in days}
    months = {Cell("month", month_of(day)) for day in days}
    return [cell for cell in (*sorted(weeks), *sorted(months)) if cell.end <= end]


def fewest(start: date, end: date, *, days: Sequence[date], has: Callable[[Cell], bool], week_start: int) -> list[Cell]:
    """The fewest cells that together hold all of `days` (sorted) that lie in [start, end), and no other of them.

    `has` tells which weeks and months there are. One may reach beyond [start, end) where it holds none of `days` there.
    """
    first, last = bisect_left(days, start), bisect_left(days, end)
    # From the last day backwards: how many cells it takes from each day on, the first of them, and what follows it.
    best: dict[int, tuple[int, Cell, int]] = {}
    for at in range(last - 1, first - 1, -1):
        day = days[at]
        choices = []
        for cell in (Cell("month", month_of(day)), Cell("week", week_of(day, week_start)), Cell("day", day)):
            after = bisect_left(days, cell.end, lo=at)
            fits = after <= last and bisect_left(days, cell.start, hi=at) == at
            if fits and (cell.grain == "day" or has(cell)):
                choices.append((1 + (best[after][0] if after < last else 0), cell, after))
        best[at] = min(choices, key=lambda choice: choice[0])
    cells, at = [], first
    while at < last:
        _, cell, at = best[at]
        cells.append(cell)
    return cells
