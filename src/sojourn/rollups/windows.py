"""Windows seen from the first instant of a day `as_of`: rolling, by the calendar, by the hour, of a whole life."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from sojourn.rollups.grains import WEEKDAYS, month_of, months_later, week_of

MOST_HOURS = 168
# Longer than any log, and short enough that no window leaves the calendar.
MOST_DAYS = 100_000
CALENDAR = ("week_to_date", "month_to_date", "last_week", "last_month", "last_quarter")
NAMED = re.compile(rf"(?P<calendar>{'|'.join(CALENDAR)})|(?P<all>all)|first_(?P<life>[1-9]\d*)d|(?P<hours>[1-9]\d*)h")


@dataclass(frozen=True)
class Window:
    """A span of business days seen from a day `as_of`: [as_of + start_days, as_of + end_days).

    `start_days` None means from the first day of history.
    """

    name: str
    start_days: int | None
    end_days: int

    def span(self, as_of: date) -> tuple[date, date]:
        """The days [start, end) that this window covers from `as_of`."""
        start = date.min if self.start_days is None else as_of + timedelta(days=self.start_days)
        return start, as_of + timedelta(days=self.end_days)


@dataclass(frozen=True)
class CalendarWindow(Window):
    """A week, month or quarter: the running one up to `as_of`, or the last that was over by then.

    On the first day of a week the week to date holds nothing.
    """

    week_start: int = 0

    def span(self, as_of: date) -> tuple[date, date]:
        """The days [start, end) that this window covers from `as_of`."""
        week, month = week_of(as_of, self.week_start), month_of(as_of)
        quarter = months_later(month, -((month.month - 1) % 3))
        spans = {
            "week_to_date": (week, as_of),
            "month_to_date": (month, as_of),
            "last_week": (week - timedelta(days=7), week),
            "last_month": (months_later(month, -1), month),
            "last_quarter": (months_later(quarter, -3), quarter),
        }
        return spans[self.name]


@dataclass(frozen=True)
class HourWindow(Window):
    """The last N hours before the first instant of `as_of`, read from the rows of the days they touch."""

    hours: int = 24

    def instants(self, as_of: date, zone: str) -> tuple[datetime, datetime]:
        """The first instant in the window and the first after it, in UTC."""
        end = day_start(as_of, zone)
        return end - timedelta(hours=self.hours), end


@dataclass(frozen=True)
class LifeWindow(Window):
    """The first N days of each key's own life, from the first day it was seen, as far as they lie before `as_of`."""

    days: int = 1


Reading = Mapping[str, Sequence[Window]]
"""Which windows to read each aggregate over; the values come out as `<aggregate>_<window>`."""


def past(days: int) -> Window:
    """The last N days before `as_of`.

    >>> past(7).span(date(2024, 5, 8))
    (datetime.date(2024, 5, 1), datetime.date(2024, 5, 8))
    """
    return Window(f"{days}d", -days, 0)


def ahead(days: int) -> Window:
    """The N days that begin with `as_of`."""
    return Window(f"{days}d", 0, days)


def whole_past() -> Window:
    """All history before `as_of`."""
    return Window("all", None, 0)


def named(name: str, *, week_start: str = "monday") -> Window:
    """The window of this name: a calendar's, `all`, `<N>h` or `first_<N>d`. Raises `ValueError` for any other name.

    >>> named("last_week").span(date(2024, 5, 8))
    (datetime.date(2024, 4, 29), datetime.date(2024, 5, 6))
    """
    found = NAMED.fullmatch(name)
    if not found:
        raise ValueError(f"there is no window {name!r}; use {', '.join(CALENDAR)}, all, 24h or first_7d")
    if found["calendar"]:
        longest = {"week_to_date": 6, "month_to_date": 30, "last_week": 13, "last_month": 61, "last_quarter": 183}
        return CalendarWindow(name, -longest[name], 0, week_start=WEEKDAYS.index(week_start))
    if found["hours"]:
        hours = int(found["hours"])
        days = math.ceil(hours / 24)
        if hours > MOST_HOURS:
            raise ValueError(f"a window of {hours} hours is read from raw rows; use one of {days} days")
        # A day of 23 hours makes a window of 24 begin on the day before.
        return HourWindow(name, -days - 1, 0, hours=hours)
    if found["life"]:
        days = int(found["life"])
        if days > MOST_DAYS:
            raise ValueError(f"the first {days} days are longer than any log; the most is {MOST_DAYS}")
        return LifeWindow(name, None, 0, days=days)
    return whole_past()


def day_start(day: date, zone: str) -> datetime:
    """The instant at which a business day begins in a zone, in UTC; where the clock skips midnight, when it skips.

    >>> day_start(date(2011, 12, 30), "Pacific/Apia") == day_start(date(2011, 12, 31), "Pacific/Apia")
    True
    """
    return datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone)).astimezone(UTC)


def reach(windows: Sequence[Window], as_of: date) -> tuple[date, date]:
    """The first day that any window covers from `as_of` (`date.min`: all history), and the day after the last."""
    spans = [window.span(as_of) for window in windows]
    return min(start for start, _ in spans), max(as_of, *(end for _, end in spans))
