"""A world's spec goes in and its calendar comes out: days with their season, paydays, releases and installs."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from sojourn.events import _world_numbers as numbers
from sojourn.events._world_draws import Bits, Floats, Index, draw, stream
from sojourn.events._world_spec import WorldSpec

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Day:
    """One business day of the world.

    `start_us` is its first instant and `length_s` its length (23 or 25 hours when clocks change);
    `local_start_s[place]` the local second of the day there at that instant.
    """

    index: int
    date: date
    start_us: int
    length_s: int
    season: float
    release: float
    sale: bool
    local_start_s: Index
    week_rates: Floats

    @property
    def weekend(self) -> int:
        """1 on Saturday and Sunday, else 0."""
        return int(self.date.weekday() >= 5)


@dataclass(frozen=True)
class Morning:
    """A day of a world, and by payday habit how many paydays have passed by then: where all of the day's luck lies."""

    spec: WorldSpec
    day: Day
    paydays: Index

    @property
    def index(self) -> int:
        """The day's index."""
        return self.day.index

    def luck(self, purpose: int, counters: Bits, *parts: int) -> Bits:
        """Random bits for this purpose today, one number per counter."""
        return draw(stream(self.spec.seed, purpose, self.day.index, *parts), counters)


def mornings(spec: WorldSpec, *, first: int = 0, end: int | None = None) -> Iterator[Morning]:
    """The days from index `first` up to `end` (excluded; None: the spec's end)."""
    for index in range(first, spec.days if end is None else end):
        yield Morning(spec, calendar_day(spec, index), paydays_passed(spec, index))


def calendar_day(spec: WorldSpec, index: int) -> Day:
    """The world's day with this index (0 is `spec.start`)."""
    when = spec.start + timedelta(days=index)
    start_us = _midnight_us(when, spec.zone)
    return Day(
        index=index,
        date=when,
        start_us=start_us,
        length_s=(_midnight_us(when + timedelta(days=1), spec.zone) - start_us) // 1_000_000,
        season=_season(when),
        release=_release_quality(spec.seed, index),
        sale=when.day <= 3 or (when.month == 11 and when.day >= 24),
        local_start_s=np.array([_local_second(start_us, place.zone) for place in numbers.PLACES]),
        week_rates=np.array([week[when.weekday()] for week in numbers.WEEKS], dtype=np.float32),
    )


def paydays_passed(spec: WorldSpec, index: int) -> Index:
    """For each payday habit, the number of paydays in days 0 to `index`, both included."""
    return np.array([_paydays(habit, spec.start, index) for habit in numbers.PAYDAYS])


def installs_by_day(spec: WorldSpec) -> Index:
    """How many users install on each day of the install span: a launch wave, weekends, the season, bursts."""
    weights = []
    for index in range(spec.install_span):
        when = spec.start + timedelta(days=index)
        launch = 1.0 + 1.5 * 6.0 / (6.0 + index)
        week = (0.94, 0.92, 0.93, 0.95, 1.0, 1.14, 1.12)[when.weekday()]
        weights.append(launch * week * _season(when) * (1.6 if is_burst(spec.seed, index) else 1.0))
    total = sum(weights)
    edges, passed = [], 0.0
    for weight in weights:
        passed += weight
        edges.append(round(passed / total * spec.users))
    edges[-1] = spec.users
    return np.diff(np.array(edges), prepend=0)


def is_burst(seed: int, index: int) -> bool:
    """Whether social video runs a burst on this day: about one day in eleven."""
    return stream(seed, 900, index // 2) % 11 == 0


def system_release_days(spec: WorldSpec) -> list[int]:
    """The world's day indexes, from 0 on, on which a new system version appears (at most two)."""
    releases = [date(spec.start.year + year, *release) for year in (0, 1, 2) for release in numbers.SYSTEM_RELEASES]
    return [(when - spec.start).days for when in releases if when >= spec.start][:2]


def _midnight_us(when: date, zone: str) -> int:
    midnight = datetime(when.year, when.month, when.day, tzinfo=ZoneInfo(zone))
    return (midnight - EPOCH) // timedelta(microseconds=1)


def _local_second(instant_us: int, zone: str) -> int:
    local = (EPOCH + timedelta(microseconds=instant_us)).astimezone(ZoneInfo(zone))
    return local.hour * 3600 + local.minute * 60 + local.second


def _season(when: date) -> float:
    month, share = when.month - 1, (when.day - 15) / 30.0
    near, other = numbers.SEASON[month], numbers.SEASON[(month + (1 if share > 0 else -1)) % 12]
    level = near + (other - near) * abs(share)
    return float(f"{level * numbers.HOLIDAYS.get((when.month, when.day), 1.0):.6g}")


def _release_quality(seed: int, index: int) -> float:
    since = (index - 21) % numbers.RELEASE_EVERY_DAYS
    if index < 21 or since >= 6:
        return 0.0
    return 0.10 if stream(seed, 901, (index - 21) // numbers.RELEASE_EVERY_DAYS) % 3 else -0.15


def _paydays(habit: str, start: date, index: int) -> int:
    first, last = start.toordinal(), start.toordinal() + index
    if habit == "weekly":  # Fridays; date(1, 1, 1) was a Monday
        return (last - 5) // 7 - (first - 6) // 7
    if habit == "fortnight":
        return (last - 5) // 14 - (first - 6) // 14
    if habit == "pocket_money":  # Mondays
        return (last - 1) // 7 - (first - 2) // 7
    return _months(habit, start, start + timedelta(days=index))


def _months(habit: str, start: date, last: date) -> int:
    day = int(habit.removeprefix("month_"))
    months = (last.year - start.year) * 12 + last.month - start.month
    return months + (last.day >= day) - (start.day > day)
