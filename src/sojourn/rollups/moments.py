"""Variance and standard deviation from exact moments: a count, a sum and a sum of squares."""

import math
from datetime import date
from decimal import Decimal
from typing import Any

from sojourn.rollups.aggregates import exact_sums
from sojourn.rollups.algebra import INTEGERS, Aggregate, Row, Sql, State
from sojourn.rollups.dialect import Dialect
from sojourn.rollups.types import DECIMAL, scale, sum_type

Moments = tuple[int, Any, Any]
MOST_DIGITS = 19


class Variance(Aggregate):
    """The sample variance (divided by n - 1) of whole numbers and decimals. Null with fewer than two values.

    The moments are exact, so nothing cancels: n times the sum of squares less the square of the sum is taken in
    decimals where 38 digits hold it, and in doubles beyond.
    """

    function = "variance"
    needs_number = True

    @classmethod
    def refuses(cls, kind: str) -> str | None:
        """Doubles have no exact squares, and squares of wide decimals no type that holds them."""
        found = DECIMAL.fullmatch(kind)
        if kind in INTEGERS or (found and int(found[1]) <= MOST_DIGITS and int(found[2]) <= 9):
            return None
        return f"a whole number or a decimal of at most {MOST_DIGITS} digits"

    def of_row(self, row: Row) -> Moments:
        """The state of one row: 1, the value, its square."""
        value = Decimal(row["value"])
        return (1, value, value * value)

    def join(self, left: Moments, right: Moments) -> Moments:
        """Moments are added."""
        return (left[0] + right[0], left[1] + right[1], left[2] + right[2])

    def finish(self, state: State, as_of: date | None = None) -> float | None:  # noqa: ARG002
        """The variance."""
        if state is None or state[0] < 2:
            return None
        n, total, squares = state
        return float((n * squares - total * total) / (n * (n - 1)))

    def sql(self, engine: Dialect) -> Sql:  # noqa: ARG002
        """The same algebra in SQL."""
        digits, total = scale(self.kind), sum_type(self.kind)
        squares = f"DECIMAL(38,{2 * digits})"
        wide = f"CAST({{value}} AS DECIMAL({MOST_DIGITS},{digits}))"
        # A product of types of at most 38 digits in all: Spark would else cut the scale.
        square = (
            f"CAST({{value}} AS DECIMAL(18,{digits})) * {wide}" if digits else f"{wide} * CAST({{value}} AS BIGINT)"
        )
        return Sql(
            lift={
                "n": "count({value})",
                "sum": f"CAST(sum({{value}}) {{only}} AS {total})",
                "squares": f"CAST(sum({square}) {{only}} AS {squares})",
            },
            merge={
                "n": "CAST(sum({n}) {only} AS BIGINT)",
                "sum": f"CAST(sum({{sum}}) {{only}} AS {total})",
                "squares": f"CAST(sum({{squares}}) {{only}} AS {squares})",
            },
            finish=self._value(digits),
            slide=exact_sums(self.kind, n="BIGINT", sum=total, squares=squares),
        )

    def _value(self, digits: int) -> str:
        few = f"TRY_CAST({{n}} AS DECIMAL(9,0)) * TRY_CAST({{squares}} AS DECIMAL(27,{2 * digits}))"
        part = f"TRY_CAST({{sum}} AS DECIMAL(18,{digits}))"
        doubles = "CAST({n} AS DOUBLE) * CAST({squares} AS DOUBLE) - CAST({sum} AS DOUBLE) * CAST({sum} AS DOUBLE)"
        spread = f"coalesce(CAST({few} - {part} * {part} AS DOUBLE), greatest({doubles}, CAST(0 AS DOUBLE)))"
        return f"CASE WHEN {{n}} >= 2 THEN {spread} / (CAST({{n}} AS DOUBLE) * CAST({{n}} - 1 AS DOUBLE)) END"


class Std(Variance):
    """The sample standard deviation: the square root of `variance`."""

    function = "std"

    def finish(self, state: State, as_of: date | None = None) -> float | None:
        """The standard deviation."""
        variance = super().finish(state, as_of)
        return None if variance is None else math.sqrt(variance)

    def _value(self, digits: int) -> str:
        return f"sqrt({super()._value(digits)})"
