"""Variance and standard deviation from exact moments: a count, a sum and a sum of squares."""

import math
from datetime import date
from decimal import Decimal
from fractions import Fraction

from sojourn.rollups.aggregates import exact_sums
from sojourn.rollups.algebra import INTEGERS, Aggregate, Row, Sql, State
from sojourn.rollups.dialect import Dialect
from sojourn.rollups.types import DECIMAL, scale

Moments = tuple[int, int, int]
MOST_DIGITS = 18
UNITS = "DECIMAL(38,0)"


class Variance(Aggregate):
    """The sample variance (divided by n - 1) of whole numbers and decimals. Null with fewer than two values.

    The moments are exact, of values in units of their last digit. Before anything is rounded, they are moved to a whole
    number near the mean, so that nothing cancels: large values with a small spread keep their digits.
    """

    function = "variance"
    needs_number = True

    @classmethod
    def refuses(cls, kind: str) -> str | None:
        """Doubles have no exact squares, and squares of wide decimals no type that holds them."""
        found = DECIMAL.fullmatch(kind)
        if kind in INTEGERS or (found and int(found[1]) <= MOST_DIGITS and int(found[2]) <= 9):
            return None
        return f"a whole number or a decimal of at most {MOST_DIGITS} digits, 9 of them behind the point"

    def of_row(self, row: Row) -> Moments:
        """The state of one row: 1, the value, its square."""
        units = int(Decimal(row["value"]).scaleb(scale(self.kind)))
        return (1, units, units * units)

    def join(self, left: Moments, right: Moments) -> Moments:
        """Moments are added."""
        return (left[0] + right[0], left[1] + right[1], left[2] + right[2])

    def finish(self, state: State, as_of: date | None = None) -> float | None:  # noqa: ARG002
        """The variance."""
        if state is None or state[0] < 2:
            return None
        n, total, squares = state
        return float(Fraction(n * squares - total * total, n * (n - 1) * 100 ** scale(self.kind)))

    def sql(self, engine: Dialect) -> Sql:  # noqa: ARG002
        """The same algebra in SQL."""
        one = 10 ** scale(self.kind)
        # Types of at most 38 digits in all, or Spark would cut the scale; one of more than 18, or DuckDB would count on
        # a product that fits 18.
        units = f"CAST({{value}} AS DECIMAL(27,{scale(self.kind)})) * CAST({one} AS DECIMAL(10,0))"
        whole = f"CAST({units} AS DECIMAL(19,0))"
        return Sql(
            lift={
                "n": "count({value})",
                "sum": f"CAST(sum({whole}) {{only}} AS {UNITS})",
                "squares": f"CAST(sum({whole} * {whole}) {{only}} AS {UNITS})",
            },
            merge={
                "n": "CAST(sum({n}) {only} AS BIGINT)",
                "sum": f"CAST(sum({{sum}}) {{only}} AS {UNITS})",
                "squares": f"CAST(sum({{squares}}) {{only}} AS {UNITS})",
            },
            finish=self._value(one),
            slide=exact_sums(self.kind, n="BIGINT", sum=UNITS, squares=UNITS),
        )

    def _value(self, one: int) -> str:
        n, divisor = f"CAST({{n}} AS {UNITS})", "CAST({n} AS DOUBLE)"
        near = f"CAST(round(CAST({{sum}} AS DOUBLE) / nullif({divisor}, 0e0)) AS {UNITS})"
        rest = f"({{sum}} - {n} * {near})"
        spread = f"CAST({{squares}} - {near} * ({{sum}} + {rest}) AS DOUBLE)"
        moved = f"{spread} - CAST({rest} AS DOUBLE) * CAST({rest} AS DOUBLE) / {divisor}"
        return f"CASE WHEN {{n}} >= 2 THEN greatest({moved}, 0e0) / ({divisor} - 1e0) / {float(one) ** 2!r} END"


class Std(Variance):
    """The sample standard deviation: the square root of `variance`."""

    function = "std"

    def finish(self, state: State, as_of: date | None = None) -> float | None:
        """The standard deviation."""
        variance = super().finish(state, as_of)
        return None if variance is None else math.sqrt(variance)

    def _value(self, one: int) -> str:
        return f"sqrt({super()._value(one)})"
