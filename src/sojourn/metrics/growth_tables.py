"""A board of acquisition or of a market and a metric's name come in; its table by chosen dimensions goes out."""

from collections.abc import Sequence
from datetime import date

import polars as pl

from sojourn.core import BadInput, BadSpec, MissingTable
from sojourn.metrics._partitions import EXACT, refuse_other
from sojourn.metrics.acquisition import ACQUISITION_METRICS, AHEAD
from sojourn.metrics.acquisition_spec import AcquisitionSpec
from sojourn.metrics.catalogue import Grain, MetricSpec
from sojourn.metrics.supply_demand import MARKET_METRICS, SupplyDemandSpec
from sojourn.warehouse import Warehouse

CELL = ("cohort", "channel", "campaign")
# Whose forecast is told by user, and so covers channels that cost nothing too, stands for what is divided by costs.
BY_USER = {"revenue": "acquired_revenue", "margin": "acquired_margin"}
ENDS = ("forecast", "forecast_low", "forecast_high")


def growth_table(
    warehouse: Warehouse,
    board: AcquisitionSpec | SupplyDemandSpec,
    name: str,
    *,
    grain: Grain = "month",
    by: Sequence[str] = (),
    start: date | None = None,
    end: date | None = None,
) -> pl.DataFrame:
    """A metric of acquisition or of a market by chosen dimensions, for periods that begin in [start, end).

    Columns as those of `metric_table`: `start`, `by`, of cohorts `cohort` and `age` in days, `value`, `numerator`,
    `denominator`, `mature`. Both sides are summed over the other dimensions, then divided. Of revenue and margin of
    cohorts, `forecast`, `forecast_low` and `forecast_high` stand beside, where all that is summed has a forecast; ends
    of bands are summed, which makes the band of a sum rather too wide. Raises `MissingTable` before the first run,
    `BadSpec` for other dimensions, and `BadInput` for a grain that there is not, a range without data, and figures that
    another declaration made.
    """
    metric = (ACQUISITION_METRICS if isinstance(board, AcquisitionSpec) else MARKET_METRICS)[name]
    dims = ("channel", "campaign") if isinstance(board, AcquisitionSpec) else ("place", "hour")
    if wrong := [each for each in by if each not in dims]:
        raise BadSpec(f"Metric {name!r} has no dimension {wrong[0]!r}; its dimensions are: {', '.join(dims)}.")
    rows = _rows(warehouse, board, metric, grain=grain, start=start, end=end)
    keys = ["start", *by, *metric.beside]
    sides = ("numerator", "denominator")
    there = pl.col("numerator").is_not_null().any()
    summed = rows.group_by(keys).agg(
        *(pl.when(there & pl.col(each).is_not_null().any()).then(pl.col(each).sum()).alias(each) for each in sides),
        pl.col("mature").all(),
    )
    top, bottom = (pl.col(each).cast(pl.Float64) for each in sides)
    value = pl.when(bottom != 0).then(top / bottom) if metric.kind == "ratio" else top
    exact = [pl.col(each).cast(EXACT) for each in sides]
    table = summed.select(*keys, value.alias("value"), *exact, "mature")
    if isinstance(board, AcquisitionSpec) and metric.shape == "cohort" and metric.numerator in AHEAD:
        ahead = _ahead(warehouse, board, metric, grain=grain, by=by, own=rows)
        table = table.join(ahead, on=["start", *by, "age"], how="left")
    return table.sort(keys)


def _rows(
    warehouse: Warehouse,
    board: AcquisitionSpec | SupplyDemandSpec,
    metric: MetricSpec,
    *,
    grain: Grain,
    start: date | None,
    end: date | None,
) -> pl.DataFrame:
    """The finest rows of the metric in these periods, once they are known to be there and of this declaration."""
    table, verb = f"metric_{metric.name}", "acquisition" if isinstance(board, AcquisitionSpec) else "supply"
    if grain not in metric.grains:
        told = " or ".join(metric.grains)
        raise BadInput(
            f"Metric {metric.name!r} is told by {told}, not by {grain}. Ask for --grain {metric.grains[-1]}."
        )
    every = [each for each in warehouse.places(table) if (each["board"], each["grain"]) == (board.name, grain)]
    if not every:
        costs = " It takes a table of costs." if metric.denominator == "cost" or metric.numerator == "cost" else ""
        raise MissingTable(
            f"Board {board.name!r} has no values of metric {metric.name!r} by {grain} yet.{costs} Make them: sojourn "
            f"metrics {verb}"
        )
    places = [
        each
        for each in every
        if (start is None or each["start"] >= str(start)) and (end is None or each["start"] < str(end))
    ]
    if not places:
        raise BadInput(
            f"Metric {metric.name!r} of board {board.name!r} has no {grain} that begins from "
            f"{start or every[0]['start']} to before {end or 'today'}; they begin on {every[0]['start']} to "
            f"{every[-1]['start']}. Ask for those, or make more: sojourn metrics {verb}"
        )
    refuse_other(warehouse, board, table=table, places=places, verb=verb)
    return warehouse.frame(table, only=places)


def _ahead(
    warehouse: Warehouse,
    board: AcquisitionSpec,
    metric: MetricSpec,
    *,
    grain: Grain,
    by: Sequence[str],
    own: pl.DataFrame,
) -> pl.DataFrame:
    """`start`, `by`, `age` and the forecast with its band: sums over cells, over what the whole cohort divides by."""
    base = own
    if metric.denominator == "cost":
        places = own.select(start=pl.col("start").cast(pl.String)).unique().rows()
        table = f"metric_{BY_USER[metric.numerator]}"
        wanted = [{"board": board.name, "grain": grain, "start": each} for (each,) in places]
        base = warehouse.frame(table, only=[each for each in wanted if each in warehouse.places(table)])
    group = ["start", *by]
    first = pl.col("age") == 0
    users = base.filter(first).select(*CELL, users=pl.col("denominator").cast(pl.Float64))
    whole = own.filter(first).group_by(group).agg(divisor=pl.col("denominator").sum().cast(pl.Float64))
    whole = whole.join(base.filter(first).group_by(group).agg(of=pl.col("denominator").sum()), on=group)
    cells = base.join(users, on=list(CELL)).filter(pl.col("users") > 0)
    summed = cells.group_by(*group, "age").agg(
        *((pl.col(each) * pl.col("users")).sum().alias(each) for each in ENDS),
        told=pl.col("users").filter(pl.col("forecast").is_not_null()).sum(),
    )
    is_whole = (pl.col("told") == pl.col("of").cast(pl.Float64)) & (pl.col("divisor") > 0)
    told = summed.join(whole, on=group)
    return told.select(*group, "age", *(pl.when(is_whole).then(pl.col(each) / pl.col("divisor")) for each in ENDS))
