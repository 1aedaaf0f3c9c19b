"""A metric's name comes in; its table goes out: as SQL in its finest rows, or as a frame by chosen dimensions."""

from collections.abc import Sequence
from datetime import date, timedelta

import polars as pl

from sojourn.core import BadInput, BadSpec, MissingTable
from sojourn.metrics._definition import refuse_other
from sojourn.metrics._publish import figures
from sojourn.metrics.catalogue import Grain, MetricSpec, metric_named, metrics_of
from sojourn.metrics.spec import BoardSpec
from sojourn.warehouse import Warehouse
from sojourn.warehouse.engine import identifier

BACKFILL = "sojourn metrics backfill"


def metric_relation(
    warehouse: Warehouse,
    board: BoardSpec,
    name: str,
    *,
    grain: Grain = "day",
    start: date | None = None,
    end: date | None = None,
) -> str:
    """SQL to stand after FROM: the finest rows of one metric, for periods that begin in [start, end).

    Columns: `start`, the board's dimensions, the metric's own (`cohort` and `age`, `state`, `bracket`, `step`),
    `value`, `numerator`, `denominator`, `mature`. Only files of those periods are read. Raises `BadInput` for a metric
    or a grain that there is not, for a range without data, and for figures that another definition of the board made;
    and `MissingTable` before the first backfill.
    """
    metric = metric_named(name, metrics_of(board), board=board)
    if grain not in metric.grains:
        raise BadInput(
            f"Metric {name!r} is told by {' or '.join(metric.grains)}, not by {grain}. "
            f"Ask for --grain {metric.grains[0]}."
        )
    table, where = _table(board, metric)
    stored = [place for place in warehouse.places(table) if place["grain"] == grain]
    if not stored:
        waits = f" A funnel's {grain} is told once it is over and all its entities had their time."
        raise MissingTable(
            f"Board {board.name!r} has no values of metric {name!r} by {grain} yet."
            f"{waits if metric.shape == 'funnel' and grain != 'day' else ''} Make them: {BACKFILL}"
        )
    places = [
        place
        for place in stored
        if (start is None or place["start"] >= str(start)) and (end is None or place["start"] < str(end))
    ]
    if not places:
        first, last = stored[0]["start"], stored[-1]["start"]
        raise BadInput(
            f"Metric {name!r} of board {board.name!r} has no {grain} that begins from {start or first} to before "
            f"{end or 'today'}; they begin on {first} to {last}. Ask for those, or make more: {BACKFILL}"
        )
    refuse_other(warehouse, board, table=table, places=places)
    relation = warehouse.relation(table, only=places)
    names = ", ".join(["start", *map(identifier, board.dims), *metric.beside])
    if metric.shape == "cohort":
        rows = _cohort_rows(board, metric, grain, relation)
        return f"(SELECT {names}, {figures(is_ratio=metric.kind == 'ratio')}, mature FROM ({rows}))"
    return f"(SELECT {names}, value, numerator, denominator, mature FROM {relation}{where})"


def metric_table(
    warehouse: Warehouse,
    board: BoardSpec,
    name: str,
    *,
    grain: Grain = "day",
    by: Sequence[str] = (),
    start: date | None = None,
    end: date | None = None,
) -> pl.DataFrame:
    """One metric by chosen dimensions, for periods that begin in [start, end): a row per period, dimensions and part.

    Numerators and denominators are summed over the other dimensions, then divided; a row is mature when all it is made
    of is. Sorted by period, dimensions and part. Raises as `metric_relation`, and `BadSpec` for other dimensions.
    """
    metric = metric_named(name, metrics_of(board), board=board)
    wrong = [each for each in by if each not in board.dims]
    if wrong:
        dims = ", ".join(board.dims) or "none; declare portrait_dims or event_dims"
        raise BadSpec(f"Board {board.name!r} has no dimension {wrong[0]!r}; its dimensions are: {dims}.")
    relation = metric_relation(warehouse, board, name, grain=grain, start=start, end=end)
    keys = ", ".join(["start", *map(identifier, by), *metric.beside])
    summed = (
        f"SELECT {keys}, sum(numerator) AS numerator, sum(denominator) AS denominator, bool_and(mature) AS mature "
        f"FROM {relation} GROUP BY ALL"
    )
    return warehouse.engine.frame(
        f"SELECT {keys}, {figures(is_ratio=metric.kind == 'ratio')}, mature FROM ({summed}) ORDER BY {keys}"
    )


def triangle(table: pl.DataFrame, *, cumulative: bool = False, per_head: bool = False) -> pl.DataFrame:
    """A cohort metric's `metric_table` as a triangle: a row for each cohort, its `size`, and a column for each age.

    A cell that is not mature is null; one that lies in the future is not there, and null too. `cumulative` sums up to
    each age, `per_head` divides by the cohort's size: together they are the cohort's value to date.
    """
    amount = pl.col("numerator" if per_head or cumulative else "value").cast(pl.Float64)
    if cumulative:
        amount = amount.cum_sum().over("cohort", order_by="age")
    if per_head:
        amount = amount / pl.col("denominator").cast(pl.Float64)
    ages = table.with_columns(_amount=pl.when("mature").then(amount))
    sizes = ages.group_by("cohort").agg(size=pl.col("denominator").max().cast(pl.Int64))
    columns = [str(age) for age in sorted(ages["age"].unique())]
    wide = ages.with_columns(pl.col("age").cast(pl.String)).pivot("age", index="cohort", values="_amount")
    return sizes.join(wide, on="cohort").sort("cohort").select("cohort", "size", *columns)


def day_after_last(warehouse: Warehouse, board: BoardSpec) -> date:
    """The day after the last whose metrics are published. Raises `MissingTable` before the first backfill."""
    days = [place["start"] for place in warehouse.places(board.values_table) if place["grain"] == "day"]
    if not days:
        raise MissingTable(f"Board {board.name!r} has no metrics yet. Make them: {BACKFILL}")
    return date.fromisoformat(max(days)) + timedelta(days=1)


def _table(board: BoardSpec, metric: MetricSpec) -> tuple[str, str]:
    """The table that holds a metric, and which of its rows are the metric's."""
    if metric.shape == "cohort":
        return board.cohorts_table, ""
    if metric.shape == "unbounded":
        return board.unbounded_table, ""
    if metric.shape == "funnel":
        return board.funnels_table, f" WHERE funnel = '{metric.name.removeprefix('funnel_')}'"
    return board.values_table, f" WHERE metric = '{metric.name}'"


def _cohort_rows(board: BoardSpec, metric: MetricSpec, grain: Grain, relation: str) -> str:
    ages = {
        "day": "start - cohort",
        "week": "(start - cohort) // 7",
        "month": "(year(start) - year(cohort)) * 12 + month(start) - month(cohort)",
    }
    dims = "".join(f", {identifier(name)}" for name in board.dims)
    return (
        f"SELECT start{dims}, cohort, CAST({ages[grain]} AS INTEGER) AS age, {metric.numerator} AS numerator, "
        f"{metric.denominator} AS denominator, mature FROM {relation} WHERE cohort IS NOT NULL"
    )
