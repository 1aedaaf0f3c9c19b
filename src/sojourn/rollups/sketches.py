"""Approximate answers from small states: distinct values by HyperLogLog, quantiles by logarithmic buckets.

A sketch is made of integers by exact arithmetic alone, so that every engine makes the same one.
"""

import hashlib
import math
from collections.abc import Hashable, Iterable
from datetime import date
from decimal import Decimal
from typing import Any

from sojourn.rollups.algebra import FLOATS, INTEGERS, ElementSql, Row, State
from sojourn.rollups.dialect import Dialect
from sojourn.rollups.elements import ADDED, COUNTED, Elements
from sojourn.rollups.types import DECIMAL, is_number, scale

TEXTUAL = "a text, a whole number, a decimal, a date or a truth value"


class ApproxCountDistinct(Elements):
    """About how many different values: HyperLogLog with 2,048 registers, standard error 2.3 %. 0 when there is none.

    Flajolet et al., 2007, with linear counting for small sets; the hash is the first 60 bits of MD5 over the value's
    text. Only registers that are not empty are stored. A list counts as its values.
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
        hashed = int(hashlib.md5(self._text(value).encode(), usedforsecurity=False).hexdigest()[:15], 16)
        return hashed % 2**self.BITS, self.LEFT + 1 - (hashed >> self.BITS).bit_length()

    def _text(self, value: Any) -> str:
        if isinstance(value, bool):
            return str(value).lower()
        return f"{value:.{scale(self.element_kind)}f}" if isinstance(value, Decimal) else str(value)


class Quantile(Elements):
    """The `q`-quantile: the smallest value that at least a share `q` of all does not exceed, to within 1/128 of itself.

    Null when there is none. Values are counted in buckets, 64 to each doubling: of whole numbers and decimals of at
    most 18 digits in units of their last digit, so that up to 127 units are exact; of doubles and wider decimals as
    doubles, of which those nearer to 0 than 1e-300 count as 0, and NaN and infinity as the largest number.
    """

    function = "quantile"
    needs_number = True
    needs_q = True
    MOST_DIGITS = 18
    LARGEST_UNITS = 9_223_372_036_854_774_784
    SMALLEST, LARGEST = 1e-300, 1.7e308
    LOWEST_EXPONENT = 1100

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
                middle = self._middle(abs(bucket))
                return -middle if bucket < 0 else middle
        raise AssertionError("a quantile lies in some bucket")

    def sql(self, engine: Dialect) -> ElementSql:
        """The same algebra in SQL."""
        bucket = self._units_sql(engine) if self._unit else self._power_sql()
        found = f"min({{element}}) FILTER (WHERE {{upto}} >= greatest(ceil({{total}} * {self.q!r}e0), 1))"
        size = f"abs({found})"
        middle = self._middle_of_units(engine, size) if self._unit else self._middle_of_power(engine, size)
        return ElementSql(
            f"CASE WHEN {{value}} IS NOT NULL THEN CASE WHEN {{value}} < 0 THEN -({bucket}) ELSE {bucket} END END",
            f"CASE WHEN {found} < 0 THEN -({middle}) ELSE {middle} END",
            lift=COUNTED,
            merge=ADDED,
            steps=(
                ("upto", "sum({n}) OVER ({over} ORDER BY {element})"),
                ("total", "CAST(sum({n}) OVER ({over}) AS DOUBLE)"),
            ),
        )

    @property
    def _unit(self) -> int | None:
        """How many units of the last digit make 1; None where values are counted as doubles."""
        if self.kind in INTEGERS:
            return 1
        found = DECIMAL.fullmatch(self.kind)
        return int(10 ** int(found[2])) if found and int(found[1]) <= self.MOST_DIGITS else None

    def _bucket(self, value: Any) -> int:
        number = float(value)
        size = abs(number) if number == number else math.inf
        if self._unit:
            units = math.floor(min(size * self._unit, self.LARGEST_UNITS) + 0.5)
            shift = max(units.bit_length() - 7, 0)
            bucket = 64 * shift + (units >> shift)
        elif size < self.SMALLEST:
            bucket = 0
        else:
            mantissa, exponent = math.frexp(min(size, self.LARGEST))
            bucket = 64 * (exponent - 1 + self.LOWEST_EXPONENT) + math.floor(128 * mantissa)
        return -bucket if number < 0 else bucket

    def _middle(self, size: int) -> float:
        shift = max((size >> 6) - 1, 0)
        if self._unit:
            return (float((size - 64 * shift) << shift) + float((1 << shift) - 1) / 2.0) / float(self._unit)
        return (float(size - 64 * shift) + 0.5) * 2.0 ** (shift - self.LOWEST_EXPONENT - 6) if size else 0.0

    def _units_sql(self, engine: Dialect) -> str:
        scaled = f"abs(CAST({{value}} AS DOUBLE)) * {self._unit}e0"
        units = f"CAST(floor(least({scaled}, {self.LARGEST_UNITS}e0) + 0.5e0) AS BIGINT)"
        shift = f"greatest(length(bin({units})) - 7, 0)"
        return f"64 * CAST({shift} AS BIGINT) + {engine.shift_right(units, shift)}"

    def _power_sql(self) -> str:
        size = f"least(abs(CAST({{value}} AS DOUBLE)), {self.LARGEST!r})"
        # A logarithm may err in its last digit, so that a power of two comes out one too low or too high. Scaling by a
        # power of two is exact, and tells.
        power = f"floor(log2(greatest({size}, {self.SMALLEST!r})))"
        scaled = f"{size} * pow(2e0, 6e0 - {power})"
        place = (
            f"CASE WHEN {scaled} >= 128e0 THEN 64e0 + floor({scaled} / 2e0) "
            f"WHEN {scaled} < 64e0 THEN floor({scaled} * 2e0) - 64e0 ELSE floor({scaled}) END"
        )
        bucket = f"CAST(64e0 * ({power} + {self.LOWEST_EXPONENT}e0) + {place} AS BIGINT)"
        return f"CASE WHEN {size} < {self.SMALLEST!r} THEN CAST(0 AS BIGINT) ELSE {bucket} END"

    def _middle_of_units(self, engine: Dialect, size: str) -> str:
        shift = _shift_of(engine, size)
        low = engine.shift_left(f"({size} - 64 * {shift})", shift)
        span = f"({engine.shift_left('CAST(1 AS BIGINT)', shift)} - 1)"
        return f"(CAST({low} AS DOUBLE) + CAST({span} AS DOUBLE) / 2e0) / {self._unit}e0"

    def _middle_of_power(self, engine: Dialect, size: str) -> str:
        shift = _shift_of(engine, size)
        power = f"pow(2e0, CAST({shift} - {self.LOWEST_EXPONENT + 6} AS DOUBLE))"
        return f"CASE WHEN {size} = 0 THEN 0e0 ELSE (CAST({size} - 64 * {shift} AS DOUBLE) + 0.5e0) * {power} END"


def _shift_of(engine: Dialect, size: str) -> str:
    return f"greatest({engine.shift_right(size, '6')} - 1, 0)"
