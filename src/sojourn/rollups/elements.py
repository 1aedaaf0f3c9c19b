"""Aggregates whose state is a row per key and element: distinct values, frequencies, categories, histograms, days."""

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

from sojourn.rollups.algebra import Aggregate, ElementSql, Row, State
from sojourn.rollups.dialect import Dialect
from sojourn.rollups.types import added, in_order, not_single, plus

Found = Mapping[Hashable, Any]
COUNTED = {"n": "count(*)"}
ADDED = {"n": "CAST(sum({n}) {only} AS BIGINT)"}


class Elements(Aggregate):
    """States are mappings from element to parts; those of one element are joined by `both`."""

    def elements(self, row: Row) -> Iterable[tuple[Hashable, Any]]:
        """The elements that one row gives, each with its part."""
        raise NotImplementedError

    def both(self, left: Any, right: Any) -> Any:
        """The part of an element that two states have: by default a count."""
        return plus(left, right)

    def of_row(self, row: Row) -> Found:
        """The state of one row."""
        found: dict[Hashable, Any] = {}
        for element, part in self.elements(row):
            found[element] = self.both(found[element], part) if element in found else part
        return found

    def join(self, left: Found, right: Found) -> Found:
        """Elements are united."""
        shared = {element: self.both(left[element], right[element]) for element in left.keys() & right.keys()}
        return {**left, **right, **shared}

    def empty(self) -> Found:
        """The state of no rows."""
        return {}

    def values(self, row: Row) -> list[Any]:
        """The row's value, or the values of its list."""
        value = row["value"]
        found = [each for each in value if each is not None] if self.kind.endswith("[]") else [value]
        # NaN, which equals nothing, is one value all the same.
        return [math.nan if each != each else each for each in found]


class CountDistinct(Elements):
    """How many different values, exactly; a list counts as its values. 0 when there is none."""

    function = "count_distinct"
    takes_lists = True
    of_nothing = 0

    @classmethod
    def refuses(cls, kind: str) -> str | None:
        """Types without an order that every engine shares; of lists, of their values."""
        return not_single(kind.removesuffix("[]"))

    def elements(self, row: Row) -> Iterable[tuple[Hashable, Any]]:
        """The values."""
        return [(value, 1) for value in self.values(row)]

    def both(self, left: int, right: int) -> int:  # noqa: ARG002 (there or not there)
        """One value is one."""
        return left

    def finish(self, state: State, as_of: date | None = None) -> int:  # noqa: ARG002
        """The number of values."""
        return len(state)

    def sql(self, engine: Dialect) -> ElementSql:  # noqa: ARG002
        """The same algebra in SQL."""
        return ElementSql("{value}", "count(*) FILTER (WHERE {present})", lists=self.kind.endswith("[]"))


class TopK(Elements):
    """The `k` most frequent values, the most frequent first, ties in order of value; the value itself where `k` is 1.

    A list counts as its values. Counts are kept in full, so the answer is exact. Null when there is none.
    """

    function = "top_k"
    takes_lists = True
    default_k = 1

    @classmethod
    def refuses(cls, kind: str) -> str | None:
        """Types without an order that every engine shares; of lists, of their values."""
        return not_single(kind.removesuffix("[]"))

    def elements(self, row: Row) -> Iterable[tuple[Hashable, Any]]:
        """The values."""
        return [(value, 1) for value in self.values(row)]

    def finish(self, state: State, as_of: date | None = None) -> Any:  # noqa: ARG002
        """The most frequent values."""
        most = sorted(state, key=lambda value: (-state[value], in_order(value)))[: self._most]
        if not most:
            return None
        return most[0] if self._most == 1 else most

    def sql(self, engine: Dialect) -> ElementSql:
        """The same algebra in SQL."""
        top = f"{{present}} AND {{place}} <= {self._most}"
        value = f"max({{element}}) FILTER (WHERE {top})"
        return ElementSql(
            "{value}",
            value if self._most == 1 else engine.list_of("{element}", order="{place}", only=top),
            lists=self.kind.endswith("[]"),
            lift=COUNTED,
            merge=ADDED,
            steps=(("place", "row_number() OVER ({over} ORDER BY coalesce({n}, 0) DESC, {element})"),),
        )

    @property
    def _most(self) -> int:
        return self.k or self.default_k or 1


class CountBy(Elements):
    """How many rows of each category `by`: a list of `key`, `value`, in order of key. Null when there is none."""

    function = "count_by"
    needs_expression = False
    needs_by = True

    def elements(self, row: Row) -> Iterable[tuple[Hashable, Any]]:
        """The category."""
        return [(row["by"], 1)]

    def finish(self, state: State, as_of: date | None = None) -> list[dict[str, Any]] | None:  # noqa: ARG002
        """The categories in order."""
        return [{"key": key, "value": state[key]} for key in sorted(state)] or None

    def sql(self, engine: Dialect) -> ElementSql:
        """The same algebra in SQL."""
        return self._by(engine, COUNTED, ADDED)

    def _by(self, engine: Dialect, lift: Mapping[str, str], merge: Mapping[str, str]) -> ElementSql:
        [part] = lift
        pair = engine.struct({"key": "{element}", "value": f"{{{part}}}"})
        return ElementSql(
            "CASE WHEN {value} IS NOT NULL THEN {by} END",
            engine.list_of(pair, order="{element}", only="{present}"),
            lift=lift,
            merge=merge,
        )


class SumBy(CountBy):
    """The sum of each category `by`: a list of `key`, `value`, in order of key. Null when there is none."""

    function = "sum_by"
    needs_expression = True
    needs_number = True

    def elements(self, row: Row) -> Iterable[tuple[Hashable, Any]]:
        """The category and the value."""
        return [(row["by"], row["value"])]

    def sql(self, engine: Dialect) -> ElementSql:
        """The same algebra in SQL."""
        lift, merge = added(engine, self.kind, "{value}"), added(engine, self.kind, "{sum}")
        return self._by(engine, {"sum": lift}, {"sum": merge})


class HourHistogram(Elements):
    """How many rows in each hour of the local day: a list of 24 counts. Null when there is no row."""

    function = "hour_histogram"
    needs_expression = False
    needs_columns = ("ts",)
    PLACES = 24

    def elements(self, row: Row) -> Iterable[tuple[Hashable, Any]]:
        """The hour."""
        return [(row["ts"].astimezone(ZoneInfo(self.zone)).hour, 1)]

    def finish(self, state: State, as_of: date | None = None) -> list[int] | None:  # noqa: ARG002
        """The counts."""
        return [state.get(place, 0) for place in range(self.PLACES)] if state else None

    def sql(self, engine: Dialect) -> ElementSql:
        """The same algebra in SQL."""
        counts = [
            f"CAST(coalesce(sum({{n}}) FILTER (WHERE {{element}} = {place}), 0) AS BIGINT)"
            for place in range(self.PLACES)
        ]
        return ElementSql(
            f"CASE WHEN {{value}} IS NOT NULL THEN {self._place(engine)} END",
            f"CASE WHEN count(*) FILTER (WHERE {{present}}) > 0 THEN {engine.array(counts)} END",
            lift=COUNTED,
            merge=ADDED,
        )

    def _place(self, engine: Dialect) -> str:
        return engine.local_hour("ts", self.zone)


class WeekdayHistogram(HourHistogram):
    """How many rows on each day of the week, from the warehouse's `week_start` on: a list of 7 counts."""

    function = "weekday_histogram"
    needs_columns = ("day",)
    PLACES = 7

    def elements(self, row: Row) -> Iterable[tuple[Hashable, Any]]:
        """The place in the week."""
        return [((row["day"].weekday() - self.week_start) % 7, 1)]

    def _place(self, engine: Dialect) -> str:
        # 1970-01-05 was a Monday. Twice the remainder, as it takes the sign of what is divided.
        since = engine.days_between(f"DATE '1970-01-{5 + self.week_start:02}'", "day")
        return f"(({since} % 7) + 7) % 7"


class _Days(Elements):
    """Days with such a row, as elements."""

    needs_expression = False
    needs_columns = ("day",)
    of_nothing = 0

    def elements(self, row: Row) -> Iterable[tuple[Hashable, Any]]:
        return [(row["day"], 1)]

    def both(self, left: int, right: int) -> int:  # noqa: ARG002
        return left

    def _days(self, finish: str, steps: tuple[tuple[str, str], ...] = ()) -> ElementSql:
        return ElementSql("CASE WHEN {value} IS NOT NULL THEN day END", finish, steps=steps)


class Streak(_Days):
    """Days in a row with such a row, up to the window's last day. 0 when there was none on that day."""

    function = "streak"

    def finish(self, state: State, as_of: date | None = None) -> int:
        """The length of the run that ends on the day before `as_of`."""
        assert as_of is not None, "a streak is seen from a day"
        days = sorted(state, reverse=True)
        return next((at for at, day in enumerate(days) if (as_of - day).days != at + 1), len(days))

    def sql(self, engine: Dialect) -> ElementSql:
        """The same algebra in SQL."""
        place = "sum(CASE WHEN {present} THEN 1 ELSE 0 END) OVER ({over} ORDER BY {element} DESC)"
        unbroken = f"{{present}} AND {engine.days_between('{element}', '{end}')} = {{place}}"
        return self._days(f"count(*) FILTER (WHERE {unbroken})", (("place", place),))


class LongestStreak(_Days):
    """The most days in a row with such a row. 0 when there is none."""

    function = "longest_streak"

    def finish(self, state: State, as_of: date | None = None) -> int:  # noqa: ARG002
        """The length of the longest run."""
        runs = Counter(day.toordinal() - at for at, day in enumerate(sorted(state)))
        return max(runs.values(), default=0)

    def sql(self, engine: Dialect) -> ElementSql:
        """The same algebra in SQL."""
        number = engine.days_between("DATE '1970-01-01'", "{element}")
        place = "sum(CASE WHEN {present} THEN 1 ELSE 0 END) OVER ({over} ORDER BY {element})"
        # Days in a row have the same distance from their place among all.
        run = f"CASE WHEN {{present}} THEN {number} - {{place}} END"
        size = "sum(CASE WHEN {present} THEN 1 ELSE 0 END) OVER ({over}, {run})"
        value = "CAST(coalesce(max({size}) FILTER (WHERE {present}), 0) AS BIGINT)"
        return self._days(value, (("place", place), ("run", run), ("size", size)))


class ActiveBitmap(_Days):
    """The active days of a window of at most 62 days as bits of a whole number: bit 0 is the window's last day.

    Days since, retention flags and rhythms are read off it: `bitmap & 127` is the last week.
    """

    function = "active_bitmap"
    longest_days = 62

    def finish(self, state: State, as_of: date | None = None) -> int:
        """The bitmap, seen from `as_of`."""
        assert as_of is not None, "a bitmap is seen from a day"
        return sum(1 << ((as_of - day).days - 1) for day in state)

    def sql(self, engine: Dialect) -> ElementSql:
        """The same algebra in SQL."""
        bit = engine.shift_left("CAST(1 AS BIGINT)", f"{engine.days_between('{element}', '{end}')} - 1")
        # A day outside the window has no place among the bits, and shifting by it would fail.
        return self._days(f"CAST(coalesce(sum(CASE WHEN {{present}} THEN {bit} END), 0) AS BIGINT)")
