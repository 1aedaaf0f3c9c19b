"""Aggregates whose state is a row per key and element: distinct values, frequencies, quantiles, histograms, days.

Sketches are integers made by arithmetic alone, so that every engine makes the same ones.
"""

import hashlib
import math
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

from sojourn.rollups.algebra import FLOATS, INTEGERS, Aggregate, ElementSql, Row, State
from sojourn.rollups.dialect import Dialect
from sojourn.rollups.types import added, is_number, scale

Found = Mapping[Hashable, Any]
COUNTED = {"n": "count(*)"}
ADDED = {"n": "CAST(sum({n}) {only} AS BIGINT)"}
TEXTUAL = "a text, a whole number, a decimal, a date or a truth value (cast it)"


class Elements(Aggregate):
    """States are mappings from element to parts; those of one element are joined by `both`."""

    def elements(self, row: Row) -> Iterable[tuple[Hashable, Any]]:
        """The elements that one row gives, each with its part."""
        raise NotImplementedError

    def both(self, left: Any, right: Any) -> Any:
        """The part of an element that two states have: by default a count."""
        return left + right

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
        return [each for each in value if each is not None] if self.kind.endswith("[]") else [value]


class CountDistinct(Elements):
    """How many different values, exactly; a list counts as its values. 0 when there is none."""

    function = "count_distinct"
    takes_lists = True
    of_nothing = 0

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


class ApproxCountDistinct(Elements):
    """About how many different values: HyperLogLog with 2,048 registers, standard error 2.3 %. 0 when there is none.

    Flajolet et al., 2007, with linear counting for small sets; the hash is the first 60 bits of MD5 over the value's
    text. Only registers that are not empty are stored.
    """

    function = "approx_count_distinct"
    takes_lists = True
    of_nothing = 0
    BITS = 11
    LEFT = 60 - BITS

    @classmethod
    def refuses(cls, kind: str) -> str | None:
        """Types whose text is not the same in every engine."""
        one = kind.removesuffix("[]")
        good = one in INTEGERS | {"VARCHAR", "DATE", "BOOLEAN"} or (is_number(one) and one not in FLOATS)
        return None if good else TEXTUAL

    def elements(self, row: Row) -> Iterable[tuple[Hashable, Any]]:
        """The register and rank of each value."""
        return [self._place(value) for value in self.values(row)]

    def both(self, left: int, right: int) -> int:
        """The higher rank."""
        return max(left, right)

    def finish(self, state: State, as_of: date | None = None) -> int:  # noqa: ARG002
        """The estimate, rounded."""
        registers = 2**self.BITS
        empty = registers - len(state)
        total = sum(2 ** (self.LEFT + 1 - rank) for rank in state.values()) / 2 ** (self.LEFT + 1)
        alpha = 0.7213 / (1 + 1.079 / registers)
        estimate: float = alpha * registers**2 / (empty + total)
        if estimate <= 2.5 * registers and empty:
            estimate = registers * math.log(registers / empty)
        return math.floor(estimate + 0.5)

    def sql(self, engine: Dialect) -> ElementSql:
        """The same algebra in SQL."""
        registers, top = 2**self.BITS, self.LEFT + 1
        hashed = engine.hash60("CAST({value} AS " + engine.kind("VARCHAR") + ")")
        rest = engine.shift_right(hashed, str(self.BITS))
        rank = f"CASE WHEN {rest} = 0 THEN {top} ELSE {top} - length(bin({rest})) END"
        weight = engine.shift_left("CAST(1 AS BIGINT)", f"{top} - {{rank}}")
        total = f"CAST(coalesce(sum({weight}) FILTER (WHERE {{present}}), 0) AS DOUBLE) / {2.0**top:.1f}e0"
        empty = f"CAST({registers} - count(*) FILTER (WHERE {{present}}) AS DOUBLE)"
        alpha = 0.7213 / (1 + 1.079 / registers)
        estimate = f"CAST({alpha * registers**2!r} AS DOUBLE) / ({empty} + {total})"
        counted = f"CAST({registers} AS DOUBLE) * ln(CAST({registers} AS DOUBLE) / nullif({empty}, 0))"
        chosen = f"CASE WHEN {estimate} <= {2.5 * registers}e0 AND {empty} > 0 THEN {counted} ELSE {estimate} END"
        return ElementSql(
            f"{hashed} % {registers}",
            f"CAST(floor({chosen} + CAST(0.5 AS DOUBLE)) AS BIGINT)",
            lists=self.kind.endswith("[]"),
            lift={"rank": f"max({rank})"},
            merge={"rank": "max({rank}) {only}"},
        )

    def _place(self, value: Any) -> tuple[int, int]:
        text = str(value).lower() if isinstance(value, bool) else str(value)
        hashed = int(hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()[:15], 16)
        return hashed % 2**self.BITS, self.LEFT + 1 - (hashed >> self.BITS).bit_length()


class Quantile(Elements):
    """The `q`-quantile: the smallest value that at least a share `q` of all does not exceed, to within 1/128 of itself.

    Null when there is none. Values are counted in logarithmic buckets, 64 to each doubling, of the value in units of
    its last digit (a millionth for doubles); up to 127 units are exact.
    """

    function = "quantile"
    needs_number = True
    needs_q = True
    DIGITS_OF_DOUBLES = 6

    def elements(self, row: Row) -> Iterable[tuple[Hashable, Any]]:
        """The bucket of the value."""
        return [(self._bucket(row["value"]), 1)]

    def finish(self, state: State, as_of: date | None = None) -> float | None:  # noqa: ARG002
        """The middle of the bucket in which the quantile lies."""
        if not state:
            return None
        assert self.q is not None
        needed = max(math.ceil(self.q * sum(state.values())), 1)
        for bucket in sorted(state):
            needed -= state[bucket]
            if needed <= 0:
                return self._middle(bucket)
        raise AssertionError("a quantile lies in some bucket")

    def sql(self, engine: Dialect) -> ElementSql:
        """The same algebra in SQL."""
        return ElementSql(
            self._bucket_sql(engine),
            self._middle_sql(
                engine, f"min({{element}}) FILTER (WHERE {{upto}} >= greatest(ceil({{total}} * {self.q!r}e0), 1))"
            ),
            lift=COUNTED,
            merge=ADDED,
            steps=(
                ("upto", "sum({n}) OVER ({over} ORDER BY {element})"),
                ("total", "CAST(sum({n}) OVER ({over}) AS DOUBLE)"),
            ),
        )

    @property
    def _unit(self) -> int:
        return int(10 ** (self.DIGITS_OF_DOUBLES if self.kind in FLOATS else scale(self.kind)))

    def _bucket(self, value: Any) -> int:
        scaled = float(value) if self.kind in INTEGERS else float(value) * self._unit
        units = int(min(math.floor(abs(scaled) + 0.5), 9_000_000_000_000_000_000)) if scaled == scaled else 9 * 10**18
        shift = max(units.bit_length() - 7, 0)
        bucket = 64 * shift + (units >> shift)
        return -bucket if scaled < 0 else bucket

    def _middle(self, bucket: int) -> float:
        size = abs(bucket)
        shift = max((size >> 6) - 1, 0)
        middle = (float((size - 64 * shift) << shift) + float((1 << shift) - 1) / 2.0) / float(self._unit)
        return -middle if bucket < 0 else middle

    def _bucket_sql(self, engine: Dialect) -> str:
        scaled = "CAST({value} AS DOUBLE)" if self._unit == 1 else f"CAST({{value}} AS DOUBLE) * {self._unit}e0"
        units = f"CAST(floor(least(abs({scaled}), 9e18) + 0.5e0) AS BIGINT)"
        shift = f"greatest(length(bin({units})) - 7, 0)"
        bucket = f"64 * CAST({shift} AS BIGINT) + {engine.shift_right(units, shift)}"
        return f"CASE WHEN {{value}} IS NOT NULL THEN CASE WHEN {scaled} < 0 THEN -({bucket}) ELSE {bucket} END END"

    def _middle_sql(self, engine: Dialect, bucket: str) -> str:
        size = f"abs({bucket})"
        shift = f"greatest({engine.shift_right(size, '6')} - 1, 0)"
        low = engine.shift_left(f"({size} - 64 * {shift})", shift)
        span = f"({engine.shift_left('CAST(1 AS BIGINT)', shift)} - 1)"
        middle = f"(CAST({low} AS DOUBLE) + CAST({span} AS DOUBLE) / 2e0) / {self._unit}e0"
        return f"CASE WHEN {bucket} < 0 THEN -({middle}) ELSE {middle} END"


class TopK(Elements):
    """The `k` most frequent values, the most frequent first, ties in order of value; the value itself where `k` is 1.

    A list counts as its values. Counts are kept in full, so the answer is exact. Null when there is none.
    """

    function = "top_k"
    takes_lists = True
    default_k = 1

    def elements(self, row: Row) -> Iterable[tuple[Hashable, Any]]:
        """The values."""
        return [(value, 1) for value in self.values(row)]

    def finish(self, state: State, as_of: date | None = None) -> Any:  # noqa: ARG002
        """The most frequent values."""
        most = sorted(state, key=lambda value: (-state[value], value))[: self._most]
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
        # Not a FILTER: it does not keep a day outside the window from being shifted, which may be too far.
        return self._days(f"CAST(coalesce(sum(CASE WHEN {{present}} THEN {bit} END), 0) AS BIGINT)")
