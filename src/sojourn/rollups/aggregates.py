"""The nine aggregates: count, sum, min, max, mean, active days, first, last, recency."""

from datetime import date, datetime
from decimal import Decimal
from difflib import get_close_matches
from typing import Any

from sojourn.core import BadSpec
from sojourn.rollups.algebra import FLOATS, INTEGERS, Aggregate, Row, Sql, State
from sojourn.rollups.dialect import Dialect

Moment = tuple[datetime, str, Any]


class Count(Aggregate):
    """How many rows; with an expression, how many rows where it is not null. 0 when there is none."""

    function = "count"
    needs_expression = False

    def empty(self) -> int:
        """The state of no rows."""
        return 0

    def of_row(self, row: Row) -> int:  # noqa: ARG002 (a row counts whatever it holds)
        """The state of one row."""
        return 1

    def join(self, left: int, right: int) -> int:
        """Counts are added."""
        return left + right

    def sql(self, engine: Dialect) -> Sql:  # noqa: ARG002
        """The same algebra in SQL."""
        return Sql(
            lift={"n": "count({value})"},
            merge={"n": "CAST(sum({n}) {only} AS BIGINT)"},
            finish="coalesce({n}, 0)",
        )


class Sum(Aggregate):
    """The sum, exact for integers and decimals. 0 when there is no value."""

    function = "sum"
    needs_number = True

    def of_row(self, row: Row) -> Any:
        """The state of one row."""
        return row["value"]

    def join(self, left: Any, right: Any) -> Any:
        """Sums are added."""
        return left + right

    def finish(self, state: State, as_of: date | None = None) -> Any:  # noqa: ARG002
        """The sum; 0 when there is no value."""
        return Decimal(0) if state is None and self.kind.startswith("DECIMAL") else state or 0

    def sql(self, engine: Dialect) -> Sql:
        """The same algebra in SQL."""
        return Sql(
            lift={"sum": added(engine, self.kind, "{value}")},
            merge={"sum": added(engine, self.kind, "{sum}")},
            finish="coalesce({sum}, 0)",
        )


class Mean(Aggregate):
    """The mean as a double: the state is a count and an exact sum. Null when there is no value."""

    function = "mean"
    needs_number = True

    def of_row(self, row: Row) -> tuple[int, Any]:
        """The state of one row: count and sum."""
        return (1, row["value"])

    def join(self, left: tuple[int, Any], right: tuple[int, Any]) -> tuple[int, Any]:
        """Counts and sums are added."""
        return (left[0] + right[0], left[1] + right[1])

    def finish(self, state: State, as_of: date | None = None) -> float | None:  # noqa: ARG002
        """Sum over count."""
        return None if state is None else float(state[1]) / state[0]

    def sql(self, engine: Dialect) -> Sql:
        """The same algebra in SQL."""
        return Sql(
            lift={"n": "count({value})", "sum": added(engine, self.kind, "{value}")},
            merge={"n": "CAST(sum({n}) {only} AS BIGINT)", "sum": added(engine, self.kind, "{sum}")},
            finish="CAST({sum} AS DOUBLE) / nullif({n}, 0)",
        )


class Min(Aggregate):
    """The smallest value (for text, in the order of its bytes). Null when there is none."""

    function = "min"

    def of_row(self, row: Row) -> Any:
        """The state of one row."""
        return row["value"]

    def join(self, left: Any, right: Any) -> Any:
        """The smaller of two."""
        return min(left, right)

    def sql(self, engine: Dialect) -> Sql:  # noqa: ARG002
        """The same algebra in SQL."""
        return Sql(lift={"min": "min({value})"}, merge={"min": "min({min}) {only}"}, finish="{min}")


class Max(Aggregate):
    """The largest value (for text, in the order of its bytes). Null when there is none."""

    function = "max"

    def of_row(self, row: Row) -> Any:
        """The state of one row."""
        return row["value"]

    def join(self, left: Any, right: Any) -> Any:
        """The larger of two."""
        return max(left, right)

    def sql(self, engine: Dialect) -> Sql:  # noqa: ARG002
        """The same algebra in SQL."""
        return Sql(lift={"max": "max({value})"}, merge={"max": "max({max}) {only}"}, finish="{max}")


class ActiveDays(Aggregate):
    """On how many business days there was such a row. 0 when on none.

    In SQL the state is a bitmap, bit 0 for the first day of the partial's span: a month's 31 days fit one BIGINT.
    """

    function = "active_days"
    needs_expression = False
    needs_columns = ("day",)

    def empty(self) -> frozenset[date]:
        """The state of no rows."""
        return frozenset()

    def of_row(self, row: Row) -> frozenset[date]:
        """The state of one row."""
        return frozenset({row["day"]})

    def join(self, left: frozenset[date], right: frozenset[date]) -> frozenset[date]:
        """Days are united."""
        return left | right

    def finish(self, state: State, as_of: date | None = None) -> int:  # noqa: ARG002
        """The number of days."""
        return len(state)

    def sql(self, engine: Dialect) -> Sql:
        """The same algebra in SQL."""
        return Sql(
            lift={"bits": "max(CASE WHEN {value} IS NOT NULL THEN CAST(1 AS BIGINT) END)"},
            merge={"bits": f"bit_or({engine.shift_left('{bits}', by='{offset}')}) {{only}}"},
            read={"days": "CAST(bit_count({bits}) AS BIGINT)"},
            gather={"days": "CAST(sum({days}) {only} AS BIGINT)"},
            finish="coalesce({days}, 0)",
        )


class Last(Aggregate):
    """The value of the latest row in time; of rows at the same instant, the one with the largest `event_id`."""

    function = "last"
    needs_columns = ("ts", "event_id")

    def of_row(self, row: Row) -> Moment:
        """The state of one row. `event_id` is unique, so values are never compared."""
        return (row["ts"], row["event_id"], row["value"])

    def join(self, left: Moment, right: Moment) -> Moment:
        """The later of two."""
        return max(left, right)

    def finish(self, state: State, as_of: date | None = None) -> Any:  # noqa: ARG002
        """The value alone."""
        return None if state is None else state[2]

    def sql(self, engine: Dialect) -> Sql:
        """The same algebra in SQL."""
        return _in_time(engine, extreme="max")


class First(Last):
    """The value of the earliest row in time; of rows at the same instant, the one with the smallest `event_id`."""

    function = "first"

    def join(self, left: Moment, right: Moment) -> Moment:
        """The earlier of two."""
        return min(left, right)

    def sql(self, engine: Dialect) -> Sql:
        """The same algebra in SQL."""
        return _in_time(engine, extreme="min")


class Recency(Aggregate):
    """Days from the last business day with such a row to `as_of`: yesterday is 1. Null when there is none."""

    function = "recency"
    needs_expression = False
    needs_columns = ("day",)

    def of_row(self, row: Row) -> date:
        """The state of one row."""
        day: date = row["day"]
        return day

    def join(self, left: date, right: date) -> date:
        """The later of two."""
        return max(left, right)

    def finish(self, state: State, as_of: date | None = None) -> int | None:
        """Days from the last such day to `as_of`."""
        assert as_of is not None, "recency is seen from a day"
        return None if state is None else (as_of - state).days

    def sql(self, engine: Dialect) -> Sql:
        """The same algebra in SQL."""
        return Sql(
            lift={"day": "max(CASE WHEN {value} IS NOT NULL THEN day END)"},
            merge={"day": "max({day}) {only}"},
            finish=engine.days_between("{day}", "{as_of}"),
        )


AGGREGATES: dict[str, type[Aggregate]] = {
    each.function: each for each in (Count, Sum, Min, Max, Mean, ActiveDays, First, Last, Recency)
}


def aggregate(function: str) -> type[Aggregate]:
    """The aggregate of this name. Raises `BadSpec` with the nearest names, or all of them, when there is none.

    >>> aggregate("sum")(kind="DECIMAL(18,4)").lift([{"value": 2}, {"value": None}, {"value": 3}])
    5
    """
    if function not in AGGREGATES:
        near = get_close_matches(function, AGGREGATES, n=2, cutoff=0.4) or list(AGGREGATES)
        raise BadSpec(f"there is no aggregate {function!r}; use {' or '.join(repr(name) for name in near)}")
    return AGGREGATES[function]


def added(engine: Dialect, kind: str, number: str) -> str:
    """The template of a sum over numbers of this kind: exact, but for doubles, which are added in a fixed order."""
    if kind in FLOATS:
        return f"{engine.sum_of_doubles(number)} {{only}}"
    return f"CAST(sum({number}) {{only}} AS {sum_type(kind)})"


def sum_type(kind: str) -> str:
    """The type that holds a sum of this type without loss. A BIGINT that overflows is an error in every engine.

    >>> sum_type("DECIMAL(18,4)"), sum_type("INTEGER")
    ('DECIMAL(38,4)', 'BIGINT')
    """
    if kind.startswith("DECIMAL"):
        return f"DECIMAL(38,{kind.rstrip(')').rpartition(',')[2].strip()})"
    return "BIGINT"


def is_number(kind: str) -> bool:
    """Whether values of this SQL type can be added: whole numbers up to 64 bits, decimals and doubles."""
    return kind in INTEGERS | FLOATS or (kind.startswith("DECIMAL(") and kind.endswith(")"))


def _in_time(engine: Dialect, *, extreme: str) -> Sql:
    # The key stands first and is unique, so neither the value nor its NULLs decide an order. Across days the instant
    # alone decides: one zone gives one instant one day.
    moment = engine.struct({"ts": "ts", "event_id": "event_id", "value": "{value}"})
    return Sql(
        lift={"moment": f"{extreme}(CASE WHEN {{value}} IS NOT NULL THEN {moment} END)"},
        merge={"moment": f"{extreme}({{moment}}) {{only}}"},
        read={"ts": "{moment}.ts", "value": "{moment}.value"},
        gather={"ts": f"{extreme}({{ts}}) {{only}}", "value": f"{extreme}_by({{value}}, {{ts}}) {{only}}"},
        finish="{value}",
    )
