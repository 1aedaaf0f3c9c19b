"""A metric's table comes in; text for the terminal, CSV and JSON, and a page with its chart and definition go out."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import polars as pl

from sojourn.evaluate import Chart, Column, Folded, Prose, Report, Table, number_text
from sojourn.evaluate.scores import write_whole
from sojourn.metrics.acquisition import ACQUISITION_METRICS
from sojourn.metrics.acquisition_spec import AcquisitionSpec
from sojourn.metrics.catalogue import Grain, MetricSpec
from sojourn.metrics.charts import metric_chart
from sojourn.metrics.growth_charts import ENDS, cohort_chart
from sojourn.metrics.spec import BoardSpec
from sojourn.metrics.supply_demand import SupplyDemandSpec

MOST_ROWS = 400


def told_rows(table: pl.DataFrame, metric: MetricSpec) -> tuple[list[str], list[list[str]]]:
    """The heads and cells of a `metric_table` as people read them; what is not mature is marked with a star."""
    ahead = [name for name in ENDS if name in table.columns]
    keys = [name for name in table.columns if name not in ("value", "numerator", "denominator", "mature", *ahead)]
    heads = [*keys, "numerator", "denominator", "value", *ahead]
    rows = []
    for row in table.iter_rows(named=True):
        star = "" if row["mature"] else "*"
        cells = [str(row[key]) for key in keys]
        exact = ["" if row[name] is None else _exact(row[name]) for name in ("numerator", "denominator")]
        told = ["" if row[name] is None else _figure(row[name], metric) for name in ahead]
        rows.append([*cells, *exact, f"{_figure(row['value'], metric)}{star or ' '}", *told])
    return heads, rows


def write_table(table: pl.DataFrame, metric: MetricSpec, path: Path, *, kind: Literal["csv", "json"]) -> None:
    """Write a `metric_table` as CSV, or as JSON with the metric's definition beside it."""
    if kind == "csv":
        write_whole(path, table.write_csv())
        return
    rows = table.with_columns(pl.selectors.date().cast(pl.String), pl.selectors.decimal().cast(pl.Float64)).to_dicts()
    write_whole(path, json.dumps({"metric": metric.model_dump(mode="json"), "rows": rows}, indent=2) + "\n")


def metric_page(
    table: pl.DataFrame,
    metric: MetricSpec,
    board: BoardSpec | AcquisitionSpec | SupplyDemandSpec,
    *,
    grain: Grain = "day",
    by: Sequence[str] = (),
) -> Report:
    """A page with the metric's chart, its definition and its table."""
    heads, rows = told_rows(table.tail(MOST_ROWS), metric)
    shown = pl.DataFrame(rows, schema=dict.fromkeys(heads, pl.String), orient="row")
    more = f" The last {MOST_ROWS} of {table.height:,} rows." if table.height > MOST_ROWS else ""
    told = f"**{metric.title}** ({metric.unit}): {metric.formula}.\n\n{told_board(board)}"
    if metric.name in ACQUISITION_METRICS and metric.shape == "cohort" and not by:
        figure, how = cohort_chart(table, metric, grain=grain), "Solid: observed. Dashed: forecast, with its band."
    else:
        figure, how = metric_chart(table, metric, grain=grain, by=by), _how_to_read(metric)
    chart = Chart(figure, title=_sentence(grain, by), how_to_read=how)
    columns = [Column(head, head.replace("_", " ").capitalize()) for head in heads]
    return Report(
        metric.title,
        subtitle=" to ".join(map(str, table["start"].sort().gather([0, -1]).to_list())),
        parts=(chart, Prose(told), Folded("The table", (Table(shown, columns), Prose(f"* not mature.{more}")))),
    )


def told_board(board: BoardSpec | AcquisitionSpec | SupplyDemandSpec) -> str:
    """A board in words: of whom it tells, what counts as activity, and who and what is left out.

    >>> print(told_board(BoardSpec(active="event = 'launch'", test_accounts=None)))
    Board `users`: entities are `user_id` of table `events`; rows where `event = 'launch'` count as activity.
    """
    if isinstance(board, SupplyDemandSpec):
        sides = f"supply are rows where `{board.supply}`, demand `{board.demand}`, served `{board.served}`"
        return f"Board `{board.name}`: by place `{board.place}`; {sides}."
    if isinstance(board, AcquisitionSpec):
        return _told_acquisition(board)
    activity = "every row counts" if board.active is None else f"rows where `{board.active.strip()}` count"
    told = f"Board `{board.name}`: entities are `{board.entity}` of table `{board.source}`; {activity} as activity."
    out = [] if board.exclude is None else [f"rows where `{board.exclude.strip()}`"]
    if board.test_accounts is not None:
        out.append(f"accounts that table `{board.portraits}` marks as `{board.test_accounts}`")
    return f"{told} Left out, and counted in `excluded_events`: {'; '.join(out)}." if out else told


def _told_acquisition(board: AcquisitionSpec) -> str:
    how = board.attribution
    begins = "that is no touch" if how.active is None else f"where `{how.active}`"
    owed = f"column `{how.channel_column}` of table `users`" if not how.touches else f"the {how.model} touch"
    told = (
        f"Board `{board.name}`: `{how.entity}` is acquired with its first row {begins}, through {owed}; money in "
        f"{board.currency}, margin is `{board.margin_sql}`, a customer has a row where `{board.customer}` within "
        f"{board.customer_days} days."
    )
    return told if how.test_accounts is None else f"{told} Left out: accounts marked as `{how.test_accounts}`."


def _sentence(grain: Grain, by: Sequence[str]) -> str:
    return f"By {' and '.join((grain, *by))}"


def _how_to_read(metric: MetricSpec) -> str:
    if metric.shape in ("cohort", "unbounded"):
        head = " Per entity of the cohort." if metric.unit == "money" else ""
        return f"A row is a cohort, a column its age; cells that are not over yet are blank.{head}"
    if metric.shape == "funnel":
        return "All periods whose entities had their time, together."
    if metric.shape == "states":
        return "Periods that are not over are pale."
    return "Hollow points are not over, or see too little of history."


def _exact(figure: object) -> str:
    text = f"{figure:,}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _figure(value: float | None, metric: MetricSpec) -> str:
    if value is None:
        return "–"
    if metric.unit == "share":
        return f"{100 * value:.2f} %"
    if metric.unit == "times":
        return number_text(value, style="times", digits=2)
    return number_text(value, digits=0 if metric.unit in ("users", "count") else 2)
