"""Cohorts come in; all metrics of a day, week or month go out, in one partition that is swapped in whole."""

from contextlib import AbstractContextManager, ExitStack
from datetime import timedelta
from typing import Self

from sojourn.metrics._cohorts import ADDED, DISTINCT, ROLLING, bracket_query, cohorts_name, unbounded_query
from sojourn.metrics._counted import Counted
from sojourn.metrics._definition import IN_VALUES
from sojourn.metrics._periods import Period
from sojourn.metrics.catalogue import MetricSpec
from sojourn.warehouse import Writer
from sojourn.warehouse.engine import identifier

EXACT = "DECIMAL(38,4)"
SUMS, OTHERS = "_metric_sums", "_metric_others"
# Of these windows the first days of history see only a part, which must not be taken for little.
WINDOWS = {"active_7d": 7, "active_28d": 28, "stickiness": 28}
# What tells the rows of one combination of dimensions apart; null where a metric has no such column.
PARTS = {"state": "VARCHAR", "cohort": "DATE", "age": "INTEGER", "bracket": "VARCHAR"}


class Writers(AbstractContextManager["Writers"]):
    """The one writer of each table that is asked for, as long as the block runs."""

    def __init__(self, counted: Counted) -> None:
        self._counted = counted
        self._stack = ExitStack()
        self._writers: dict[str, Writer] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *fault: object) -> None:
        self._stack.close()

    def __getitem__(self, table: str) -> Writer:
        """The writer of this table."""
        if table not in self._writers:
            self._writers[table] = self._stack.enter_context(self._counted.warehouse.writing(table))
        return self._writers[table]

    def drop(self, table: str, places: list[dict[str, str]]) -> None:
        """Remove these partitions."""
        for place in places:
            self[table].drop(place)


def place_of(period: Period) -> dict[str, str]:
    """Where a period's rows lie in a table of this room."""
    return {"grain": period.grain, "start": str(period.start)}


def values_mark(counted: Counted, mark: str) -> str:
    """The fingerprint of the values of a period whose last closed day has this mark."""
    return counted.sealed(counted.board.values_table, mark)


def _held(counted: Counted) -> list[MetricSpec]:
    """The metrics whose values lie in the table of values."""
    return [metric for metric in counted.metrics.values() if metric.shape in IN_VALUES]


def publish(counted: Counted, writers: Writers, period: Period) -> None:
    """Write this period's cohorts, and then the values of every metric that is made of them."""
    names = ", ".join([*counted.dims, *map(identifier, (*DISTINCT, *ROLLING, *ADDED))])
    mature = "true" if _is_whole(counted, period) else "false"
    writers[counted.board.cohorts_table].put(
        place_of(period),
        f"SELECT cohort, {names}, {mature} AS mature FROM {cohorts_name(period.grain)}",
        order_by=["cohort", *counted.board.dims],
        fingerprint=counted.sealed(counted.board.cohorts_table, counted.marks[period.last]),
    )
    writers[counted.board.values_table].put(
        place_of(period),
        values_query(counted, period),
        order_by=["metric", *counted.board.dims, *PARTS],
        fingerprint=values_mark(counted, counted.marks[period.last]),
    )


def publish_newest(counted: Counted, writers: Writers, periods: list[Period]) -> None:
    """Write what changes for all cohorts whenever a day closes, and remove what it was the day before."""
    table = counted.board.unbounded_table
    for period in periods:
        writers[table].put(
            place_of(period),
            finished(
                counted, unbounded_query(counted, period), beside=("cohort", "age"), is_ratio=True, mature="mature"
            ),
            order_by=["cohort", "age", *counted.board.dims],
            fingerprint=counted.sealed(table, counted.marks[period.last]),
        )
    places = [place_of(period) for period in periods]
    writers.drop(table, [place for place in counted.warehouse.places(table) if place not in places])


def values_query(counted: Counted, period: Period) -> str:
    """SQL for the values of every metric of this period but those of cohorts, funnels and unbounded retention."""
    _sum(counted, period)
    parts = [
        finished(counted, _rows(counted, metric), beside=tuple(PARTS), is_ratio=metric.kind == "ratio",
                 mature="true" if is_mature(counted, metric, period) else "false", metric=metric.name)
        for metric in _held(counted)
        if period.grain in metric.grains and metric.shape != "bracket"
    ]  # fmt: skip
    brackets = bracket_query(counted, period.last) if "bracket_retention" in counted.metrics else None
    if brackets is not None and period.grain == "day":
        rows = f"SELECT *, CAST(NULL AS VARCHAR) AS state FROM ({brackets})"
        parts.append(
            finished(counted, rows, beside=tuple(PARTS), is_ratio=True, mature="true", metric="bracket_retention")
        )
    return " UNION ALL BY NAME ".join(parts)


def _sum(counted: Counted, period: Period) -> None:
    """Tables `SUMS` and `OTHERS`: the cohorts' columns summed by dimensions, and those of what has no cohort."""
    sums = ", ".join(f"sum({identifier(name)}) AS {identifier(name)}" for name in (*DISTINCT, *ROLLING, *ADDED))
    keys = "".join(f"{name}, " for name in counted.dims)
    grouped = f" GROUP BY {', '.join(counted.dims)}" if counted.dims else ""
    counts = {
        SUMS: "cohort IS NOT NULL OR gross <> 0 OR refunds <> 0 OR margin <> 0",
        OTHERS: "cohort IS NULL",
    }
    for name, where in counts.items():
        counted.warehouse.engine.run(
            f"CREATE OR REPLACE TEMP TABLE {name} AS SELECT {keys}{sums} FROM {cohorts_name(period.grain)} "
            f"WHERE {where}{grouped}"
        )


def _rows(counted: Counted, metric: MetricSpec) -> str:
    keys = "".join(f"{name}, " for name in counted.dims)
    nothing = ", ".join(f"CAST(NULL AS {kind}) AS {name}" for name, kind in PARTS.items() if name != "state")
    if metric.shape == "total":
        denominator = "NULL" if metric.denominator is None else identifier(metric.denominator)
        return (
            f"SELECT {keys}{nothing}, CAST(NULL AS VARCHAR) AS state, coalesce({identifier(metric.numerator)}, 0) "
            f"AS numerator, {denominator} AS denominator FROM {SUMS}"
        )
    # What is left out has no cohort, and no dimensions either.
    rows = OTHERS if metric.needs == "exclusions" else SUMS
    return " UNION ALL ".join(
        f"SELECT {keys}{nothing}, '{state}' AS state, coalesce({identifier(state)}, 0) AS numerator, "
        f"NULL AS denominator FROM {rows}"
        for state in metric.states
    )


def finished(
    counted: Counted, rows: str, *, beside: tuple[str, ...], is_ratio: bool, mature: str, metric: str | None = None
) -> str:
    """SQL for the columns of a table of metrics, from rows with dimensions, `beside`, numerator and denominator."""
    names = ", ".join([*([f"'{metric}' AS metric"] if metric else []), *counted.dims, *beside])
    return f"SELECT {names}, {figures(is_ratio=is_ratio)}, {mature} AS mature FROM ({rows})"


def figures(*, is_ratio: bool) -> str:
    """SQL for `value`, `numerator` and `denominator` in their types."""
    value = "CAST(numerator AS DOUBLE)"
    if is_ratio:
        value = "CAST(numerator AS DOUBLE) / nullif(CAST(denominator AS DOUBLE), 0)"
    exact = f"CAST(numerator AS {EXACT}) AS numerator, CAST(denominator AS {EXACT}) AS denominator"
    return f"{value} AS value, {exact}"


def is_mature(counted: Counted, metric: MetricSpec, period: Period) -> bool:
    """Whether all days that the figure should see lie in history and have closed."""
    seen_from = period.start - timedelta(days=WINDOWS.get(metric.name, 1) - 1)
    return _is_whole(counted, period) and seen_from >= counted.first


def _is_whole(counted: Counted, period: Period) -> bool:
    return period.is_over and period.start >= counted.first
