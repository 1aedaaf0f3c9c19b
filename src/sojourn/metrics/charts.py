"""A metric's `metric_table` comes in, its chart goes out: lines, stacked bars, a triangle or a funnel, by its shape."""

from collections.abc import Iterator, Sequence
from typing import Any

import polars as pl

from sojourn.core import BadInput, EmptyInput, need_columns
from sojourn.evaluate.theme import COLORS, color_of, plotly_template
from sojourn.metrics.catalogue import Grain, MetricSpec
from sojourn.metrics.tables import triangle

MOST_SERIES = 8
REST = "all others"
STATES = {"new": 0, "returning": 5, "resurrected": 2, "dormant": 4}
# Light to dark in the accent's hue; an empty cell stays the colour of paper.
SHADES = ((0.0, "#eef5f7"), (0.35, "#a9cbd7"), (0.7, "#4b8ba3"), (1.0, "#0f5f7d"))
FORMATS = {"share": ".1%", "users": ",.0f", "count": ",.0f"}
GROUP = "_group"


def metric_chart(table: pl.DataFrame, metric: MetricSpec, *, grain: Grain = "day", by: Sequence[str] = ()) -> Any:
    """The Plotly figure of one metric over time, or by cohort and age.

    Figures that are not mature are drawn hollow and dashed, or left blank in a triangle. Of many dimensions the largest
    are drawn, and of sums and counts all others as one. Raises `EmptyInput` for a table without rows, and `BadInput`
    for a triangle or a funnel by dimensions.
    """
    need_columns(table, ["start", *by, *metric.beside, "value", "numerator", "mature"], where="metrics.metric_chart")
    if table.is_empty():
        raise EmptyInput(f"There is nothing to draw of metric {metric.name!r}. Ask for days that have data.")
    if by and metric.shape not in ("total", "bracket"):
        raise BadInput(
            f"The chart of {metric.name!r} has one triangle or one set of bars, and none by {', '.join(by)}. "
            f"Leave out --by, or take its table."
        )
    if metric.shape == "funnel":
        return _funnel(table)
    if metric.shape in ("cohort", "unbounded"):
        return _triangle(table, metric, grain if metric.shape == "cohort" else "day")
    return _states(table, metric) if metric.shape == "states" else _lines(table, metric, by)


def _figure(height: int = 400) -> Any:
    import plotly.graph_objects as go

    return go.Figure(layout={"template": plotly_template(), "height": height})


def tick_format(metric: MetricSpec) -> str:
    """How Plotly writes this metric's numbers."""
    return FORMATS.get(metric.unit, ",.4~g")


def _lines(table: pl.DataFrame, metric: MetricSpec, by: Sequence[str]) -> Any:
    figure = _figure()
    x = "cohort" if metric.shape == "bracket" else "start"
    parts = [*by, *(["bracket"] if metric.shape == "bracket" else [])]
    for index, (name, series) in enumerate(_series(table, metric, parts, x=x)):
        color = COLORS["other"] if name == REST else color_of(index)
        for trace in _line(series, metric, name=name or metric.title, color=color, x=x):
            figure.add_scatter(
                **trace, showlegend=bool(parts) and trace["mode"] != "markers" and "dash" not in trace["line"]
            )
    figure.update_xaxes(title_text="First active day" if x == "cohort" else None, showgrid=False)
    return figure.update_yaxes(
        title_text=metric.title, tickformat=".0%" if metric.unit == "share" else tick_format(metric), rangemode="tozero"
    )


def _series(
    table: pl.DataFrame, metric: MetricSpec, parts: Sequence[str], *, x: str
) -> Iterator[tuple[str, pl.DataFrame]]:
    """Each series with its name, the largest first; what is beyond the largest as one, where it adds up."""
    if not parts:
        yield "", table.sort(x)
        return
    named = table.with_columns(pl.concat_str([pl.col(part) for part in parts], separator=" · ").alias(GROUP))
    size = pl.col("numerator" if metric.denominator is None and metric.shape == "total" else "denominator")
    order = (
        named.group_by(GROUP)
        .agg(size.cast(pl.Float64).sum().alias("size"))
        .sort("size", GROUP, descending=[True, False])
    )
    names = order[GROUP].to_list()
    kept = names if len(names) <= MOST_SERIES else names[: MOST_SERIES - 1]
    for name in kept:
        yield name.replace("_", " "), named.filter(pl.col(GROUP) == name).sort(x)
    if len(names) > len(kept) and metric.kind != "ratio":
        rest = named.filter(~pl.col(GROUP).is_in(kept)).group_by(x)
        yield REST, rest.agg(pl.col("value").sum(), pl.col("mature").all()).sort(x)


def _line(series: pl.DataFrame, metric: MetricSpec, *, name: str, color: str, x: str) -> Iterator[dict[str, Any]]:
    """A solid line through what is mature, a dashed one that joins the rest, and hollow points on it."""
    hover = f"%{{x|%-d %b %Y}}<br>{name}: %{{y:{tick_format(metric)}}}"
    mature = series["mature"].to_list()
    days, values = series[x].to_list(), series["value"].to_list()
    solid = [value if is_mature else None for value, is_mature in zip(values, mature, strict=True)]
    line = {"color": color, "width": 2.2}
    yield {"x": days, "y": solid, "mode": "lines", "name": name, "line": line, "legendgroup": name,
           "hovertemplate": f"{hover}<extra></extra>"}  # fmt: skip
    if all(mature):
        return
    near = [not here or not all(mature[max(at - 1, 0) : at + 2]) for at, here in enumerate(mature)]
    dashed = [value if is_near else None for value, is_near in zip(values, near, strict=True)]
    yield {"x": days, "y": dashed, "mode": "lines", "name": name, "legendgroup": name, "hoverinfo": "skip",
           "line": {**line, "width": 1.4, "dash": "dot"}}  # fmt: skip
    open_days = [day for day, is_mature in zip(days, mature, strict=True) if not is_mature]
    open_values = [value for value, is_mature in zip(values, mature, strict=True) if not is_mature]
    marker = {"size": 7, "color": COLORS["paper"], "line": {"color": color, "width": 1.6}}
    yield {"x": open_days, "y": open_values, "mode": "markers", "name": name, "legendgroup": name, "marker": marker,
           "line": {}, "hovertemplate": f"{hover}<br>not all of it is known yet<extra></extra>"}  # fmt: skip


def _states(table: pl.DataFrame, metric: MetricSpec) -> Any:
    """Bars stacked by state; those who went away hang below zero."""
    figure = _figure()
    for index, state in enumerate(metric.states):
        rows = table.filter(pl.col("state") == state).sort("start")
        sign = -1 if state == "dormant" else 1
        name = state.replace("_", " ").capitalize()
        figure.add_bar(
            x=rows["start"].to_list(),
            y=[sign * value for value in rows["value"]],
            customdata=rows["value"].to_list(),
            name=name,
            marker_color=color_of(STATES.get(state, index)),
            marker_opacity=[1.0 if is_mature else 0.45 for is_mature in rows["mature"]],
            hovertemplate=f"%{{x|%-d %b %Y}}<br>{name}: %{{customdata:{tick_format(metric)}}}<extra></extra>",
        )
    figure.update_layout(barmode="relative", bargap=0.18)
    figure.update_xaxes(showgrid=False)
    title = f"{metric.title} (gone below zero)" if "dormant" in metric.states else metric.title
    return figure.update_yaxes(title_text=title, tickformat=",.0f")


def _triangle(table: pl.DataFrame, metric: MetricSpec, grain: Grain) -> Any:
    """Cohorts down, ages across; a cell that is not mature is blank, and so is not drawn where all are."""
    wide = triangle(table, per_head=metric.unit == "money")
    wide = wide.select("cohort", "size", *(age for age in wide.columns[2:] if wide[age].count()))
    ages = wide.columns[2:]
    wide = wide.filter(pl.any_horizontal(pl.col(ages).is_not_null())) if ages else wide
    cohorts = [f"{day:%-d %b %Y}" for day in wide["cohort"]]
    cells = wide.select(ages).to_numpy()
    shown = wide.select(pl.col(ages).exclude("0")).to_numpy() if metric.unit == "share" and "0" in ages else cells
    high = max((float(value) for row in shown for value in row if value is not None and value == value), default=1.0)
    figure = _figure(height=max(340, min(900, 120 + 24 * len(cohorts))))
    fits = len(ages) <= 16 and len(cohorts) <= 40
    form = {"share": ".0%", "money": ",.2f"}.get(metric.unit, tick_format(metric))
    figure.add_heatmap(
        z=cells,
        x=[int(age) for age in ages],
        y=cohorts,
        customdata=[[size] * len(ages) for size in wide["size"]],
        zmin=0,
        # The first column of retention is all ones, and would leave the rest one pale shade.
        zmax=high or 1.0,
        colorscale=[list(shade) for shade in SHADES],
        xgap=2,
        ygap=2,
        texttemplate=f"%{{z:{form}}}" if fits else None,
        hoverongaps=False,
        colorbar={"tickformat": form, "thickness": 12, "outlinewidth": 0, "len": 0.9},
        hovertemplate=f"Cohort of %{{y}} (%{{customdata:,}})<br>age %{{x}}: "
        f"%{{z:{tick_format(metric)}}}<extra></extra>",
    )
    figure.update_xaxes(
        title_text=f"Age in {grain}s",
        side="top",
        showgrid=False,
        zeroline=False,
        type="category" if metric.shape == "unbounded" else None,
    )
    return figure.update_yaxes(autorange="reversed", showgrid=False, type="category")


def _funnel(table: pl.DataFrame) -> Any:
    """All mature periods together: how many of the first step reached each."""
    mature = table.filter("mature")
    rows = mature if mature.height else table
    steps = rows.group_by("step", "step_name").agg(pl.col("numerator").cast(pl.Float64).sum()).sort("step")
    first = steps["numerator"][0]
    shares = [number / first if first else 0.0 for number in steps["numerator"]]
    figure = _figure(height=120 + 64 * steps.height)
    figure.add_bar(
        y=[name.replace("_", " ") for name in steps["step_name"]],
        x=shares,
        orientation="h",
        marker_color=COLORS["bar"],
        text=[f"<b>{share:.1%}</b>  {number:,.0f}" for share, number in zip(shares, steps["numerator"], strict=True)],
        textposition="outside",
        cliponaxis=False,
        hovertemplate="%{y}: %{x:.2%}<extra></extra>",
    )
    figure.update_xaxes(
        title_text="Share of the entities of step one",
        tickformat=".0%",
        range=[0, 1.22],
        tickvals=[0, 0.25, 0.5, 0.75, 1],
    )
    return figure.update_yaxes(autorange="reversed", showgrid=False)
