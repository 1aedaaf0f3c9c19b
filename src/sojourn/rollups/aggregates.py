"""Count, sum, mean, min, max, active days, first, last, recency: states of one or two columns."""

from datetime import date, datetime
from decimal import Decimal
from typing import Any, Literal

from sojourn.rollups.algebra import FLOATS, Aggregate, Row, Slide, Sql, State
from sojourn.rollups.dialect import Dialect
from sojourn.rollups.types import added, in_order, not_kept, not_single, plus, sum_type

Moment = tuple[datetime, str, Any]


class Count(Aggregate):
    """How many rows; with an expression, how many rows where it is not null. 0 when there is none."""

    function = "count"
    of_nothing = 0
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
            slide=Slide(sums={"n": "BIGINT"}),
            shown="n",
        )


class Sum(Aggregate):
    """The sum, exact for integers and decimals. 0 when there is no value."""

    function = "sum"
    of_nothing = 0
    needs_number = True

    def of_row(self, row: Row) -> Any:
        """The state of one row."""
        return row["value"]

    def join(self, left: Any, right: Any) -> Any:
        """Sums are added."""
        return plus(left, right)

    def finish(self, state: State, as_of: date | None = None) -> Any:  # noqa: ARG002
        """The sum; 0 when there is no value."""
        return Decimal(0) if state is None and self.kind.startswith("DECIMAL") else state or 0

    def sql(self, engine: Dialect) -> Sql:
        """The same algebra in SQL."""
        return Sql(
            lift={"sum": added(engine, self.kind, "{value}")},
            merge={"sum": added(engine, self.kind, "{sum}")},
            finish="coalesce({sum}, 0)",
            slide=exact_sums(self.kind, sum=sum_type(self.kind)),
            shown="sum",
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
        return (left[0] + right[0], plus(left[1], right[1]))

    def finish(self, state: State, as_of: date | None = None) -> float | None:  # noqa: ARG002
        """Sum over count."""
        return None if state is None else float(state[1]) / state[0]

    def sql(self, engine: Dialect) -> Sql:
        """The same algebra in SQL."""
        return Sql(
            lift={"n": "count({value})", "sum": added(engine, self.kind, "{value}")},
            merge={"n": "CAST(sum({n}) {only} AS BIGINT)", "sum": added(engine, self.kind, "{sum}")},
            finish="CAST({sum} AS DOUBLE) / nullif({n}, 0)",
            slide=exact_sums(self.kind, n="BIGINT", sum=sum_type(self.kind)),
        )


class Min(Aggregate):
    """The smallest value (for text, in the order of its bytes). Null when there is none."""

    function = "min"

    @classmethod
    def refuses(cls, kind: str) -> str | None:
        """Types without an order that every engine shares."""
        return not_single(kind)

    def of_row(self, row: Row) -> Any:
        """The state of one row."""
        return row["value"]

    def join(self, left: Any, right: Any) -> Any:
        """The smaller of two."""
        return min(left, right, key=in_order)

    def sql(self, engine: Dialect) -> Sql:  # noqa: ARG002
        """The same algebra in SQL."""
        return Sql(
            lift={"min": "min({value})"},
            merge={"min": "min({min}) {only}"},
            finish="{min}",
            slide=Slide(lead="min", sense="min"),
            shown="min",
        )


class Max(Aggregate):
    """The largest value (for text, in the order of its bytes). Null when there is none."""

    function = "max"

    @classmethod
    def refuses(cls, kind: str) -> str | None:
        """Types without an order that every engine shares."""
        return not_single(kind)

    def of_row(self, row: Row) -> Any:
        """The state of one row."""
        return row["value"]

    def join(self, left: Any, right: Any) -> Any:
        """The larger of two."""
        return max(left, right, key=in_order)

    def sql(self, engine: Dialect) -> Sql:  # noqa: ARG002
        """The same algebra in SQL."""
        return Sql(
            lift={"max": "max({value})"},
            merge={"max": "max({max}) {only}"},
            finish="{max}",
            slide=Slide(lead="max", sense="max"),
            shown="max",
        )


class ActiveDays(Aggregate):
    """On how many business days there was such a row. 0 when on none.

    In SQL the state of a day is 1, and those of different days add up.
    """

    function = "active_days"
    of_nothing = 0
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

    def sql(self, engine: Dialect) -> Sql:  # noqa: ARG002
        """The same algebra in SQL."""
        return Sql(
            lift={"days": "max(CASE WHEN {value} IS NOT NULL THEN CAST(1 AS BIGINT) END)"},
            merge={"days": "max({days}) {only}"},
            gather={"days": "CAST(sum({days}) {only} AS BIGINT)"},
            finish="coalesce({days}, 0)",
            slide=Slide(sums={"days": "BIGINT"}),
            shown="days",
        )


class Last(Aggregate):
    """The value of the latest row in time; of rows at the same instant, the one with the largest `event_id`."""

    function = "last"
    by_instant = True
    needs_columns = ("ts", "event_id")

    @classmethod
    def refuses(cls, kind: str) -> str | None:
        """Types that a file does not give back."""
        return not_kept(kind)

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
        return in_time(engine, extreme="max")


class First(Last):
    """The value of the earliest row in time; of rows at the same instant, the one with the smallest `event_id`."""

    function = "first"

    def join(self, left: Moment, right: Moment) -> Moment:
        """The earlier of two."""
        return min(left, right)

    def sql(self, engine: Dialect) -> Sql:
        """The same algebra in SQL."""
        return in_time(engine, extreme="min")


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
            slide=Slide(lead="day", latest=True),
        )


def exact_sums(kind: str, **sums: str) -> Slide | None:
    """How sums of values of this type slide; doubles do not, as subtracting them would not give back what there was."""
    return None if kind in FLOATS else Slide(sums=sums)


def in_time(engine: Dialect, *, extreme: Literal["max", "min"]) -> Sql:
    """The algebra of the value at one end of time."""
    # The key stands first and is unique, so neither the value nor its NULLs decide an order. Across days the instant
    # alone decides: one zone gives one instant one day.
    moment = engine.struct({"ts": "ts", "event_id": "event_id", "value": "{value}"})
    return Sql(
        lift={"moment": f"{extreme}(CASE WHEN {{value}} IS NOT NULL THEN {moment} END)"},
        merge={"moment": f"{extreme}({{moment}}) {{only}}"},
        read={"ts": "{moment}.ts", "value": "{moment}.value"},
        gather={"ts": f"{extreme}({{ts}}) {{only}}", "value": f"{extreme}_by({{value}}, {{ts}}) {{only}}"},
        finish="{value}",
        slide=Slide(lead="ts", sense=extreme, latest=extreme == "max"),
        shown="value",
    )
