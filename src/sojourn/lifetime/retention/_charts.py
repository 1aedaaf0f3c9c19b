"""The charts of retention, as Plotly figures; captions belong to the page."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from sojourn.evaluate.theme import COLORS, color_of, plotly_template

MOST_COHORTS, LEAST_USERS = 12, 20


def curve_chart(curve: pl.DataFrame, labels: Mapping[str, str]) -> Any:
    """The share of users active on each day ahead: observed with its band, and the mean forecast of each model."""
    figure = _figure()
    days = curve["day_ahead"].to_list()
    _band(figure, days, curve["low"].to_list(), curve["high"].to_list(), color=COLORS["other"], name="95 % band")
    line = {"color": COLORS["ink"], "width": 2.5}
    figure.add_scatter(x=days, y=curve["observed"].to_list(), mode="lines", name="Observed", line=line)
    for index, (name, label) in enumerate(labels.items()):
        dash = "solid" if index == 0 else "dot"
        line = {"color": color_of(index), "width": 2.5 if index == 0 else 2, "dash": dash}
        figure.add_scatter(x=days, y=curve[name].to_list(), mode="lines", name=label, line=line)
    figure.update_xaxes(title_text="Days ahead (0 = the first day predicted)")
    return figure.update_yaxes(title_text="Share of users active", tickformat=".1%", rangemode="tozero")


def day_chart(by_day: pl.DataFrame, labels: Mapping[str, str], *, figure_name: str, title: str) -> Any:
    """A figure by day ahead, one line per model; the first with its band."""
    figure = _figure()
    for index, (name, label) in enumerate(labels.items()):
        rows = by_day.filter(pl.col("model") == name).sort("day_ahead")
        days, color = rows["day_ahead"].to_list(), color_of(index)
        if index == 0:
            ends = (rows[f"{figure_name}_low"].to_list(), rows[f"{figure_name}_high"].to_list())
            _band(figure, days, *ends, color=color, name="95 % band")
        line = {"color": color, "width": 2.5 if index == 0 else 1.8}
        figure.add_scatter(x=days, y=rows[figure_name].to_list(), mode="lines", name=label, line=line)
    figure.update_xaxes(title_text="Days ahead")
    return figure.update_yaxes(title_text=title, tickformat=".3~f")


def triangle_chart(cells: pl.DataFrame) -> Any:
    """Cohorts by week since first seen; a week ahead shows its forecast with what came below it."""
    import plotly.graph_objects as go

    shown = cells.filter(pl.col("users") >= LEAST_USERS)
    cohorts = shown["cohort"].unique().sort(descending=True).head(MOST_COHORTS).sort()
    shown = shown.filter(pl.col("cohort").is_in(cohorts.implode()))
    shown = shown.with_columns(
        rate=pl.coalesce(pl.when(pl.col("state") == "ahead").then("forecast"), "observed", "forecast")
    )
    sizes = dict(shown.select("cohort", "users").unique().iter_rows())
    names = [f"{day:%d %b}  ·  {sizes[day]:,}" for day in cohorts]
    weeks = list(range(shown.select(pl.col("week").max()).item() + 1))
    rows = {(row["cohort"], row["week"]): row for row in shown.iter_rows(named=True)}
    grid = [[rows.get((day, week)) for week in weeks] for day in cohorts]
    top = float(shown["rate"].quantile(0.97) or 1.0)
    figure = go.Figure(layout={"template": plotly_template(), "height": 110 + 42 * len(names)})
    figure.add_heatmap(
        x=weeks,
        y=names,
        z=[[None if cell is None else cell["rate"] for cell in line] for line in grid],
        text=[[_cell_text(cell) for cell in line] for line in grid],
        texttemplate="%{text}",
        textfont={"size": 11},
        zmin=0,
        zmax=top,
        colorscale=[[0, COLORS["paper"]], [1, COLORS["accent"]]],
        showscale=False,
        xgap=2,
        ygap=2,
        hovertemplate="first seen from %{y}<br>week %{x}: %{z:.1%}<extra></extra>",
    )
    for line, cells_of in enumerate(grid):
        for week, cell in enumerate(cells_of):
            if cell is not None and cell["state"] != "observed":
                figure.add_shape(**_frame(week, line, running=cell["state"] == "running"))
    figure.update_xaxes(title_text="Weeks since first seen", side="top", dtick=1, showgrid=False)
    return figure.update_yaxes(title_text="First seen from · users", autorange="reversed", showgrid=False)


def hazard_chart(hazard: pl.DataFrame, *, days: int = 60, least: int = 50) -> Any:
    """The chance to be lost on each day, with its band, as far as enough users are at risk."""
    shown = hazard.filter((pl.col("day") <= days) & (pl.col("at_risk") >= least))
    figure = _figure(height=340)
    x = shown["day"].to_list()
    _band(figure, x, shown["low"].to_list(), shown["high"].to_list(), color=color_of(0), name="95 % band")
    line = {"color": color_of(0), "width": 2.5}
    figure.add_scatter(x=x, y=shown["hazard"].to_list(), mode="lines", name="Lost on that day", line=line)
    figure.update_xaxes(title_text="Day since first seen (1 = the first)")
    return figure.update_yaxes(title_text="Share of those still there", tickformat=".1%", type="log")


def survival_chart(curves: Mapping[str, pl.DataFrame]) -> Any:
    """Kaplan-Meier curves `day, survival, low, high`, one per segment, with bands."""
    figure = _figure()
    for index, (name, curve) in enumerate(curves.items()):
        x, color = curve["day"].to_list(), color_of(index)
        _band(figure, x, curve["low"].to_list(), curve["high"].to_list(), color=color, name="", shape="hv")
        line = {"color": color, "width": 2.2, "shape": "hv"}
        figure.add_scatter(x=x, y=curve["survival"].to_list(), mode="lines", name=name, line=line)
    figure.update_xaxes(title_text="Days since first seen")
    return figure.update_yaxes(title_text="Share not yet lost", tickformat=".0%", range=[0, 1.02])


def effect_chart(curve: pl.DataFrame) -> Any:
    """What one push changes on the days that follow: log-odds of activity, with the band."""
    figure = _figure(height=340)
    x = curve["day_since"].to_list()
    _band(figure, x, curve["low"].to_list(), curve["high"].to_list(), color=color_of(1), name="95 % band")
    line = {"color": color_of(1), "width": 2.5}
    figure.add_scatter(x=x, y=curve["effect"].to_list(), mode="lines", name="Mean decided user", line=line)
    figure.add_hline(y=0, line={"color": COLORS["other"], "width": 1.5})
    figure.update_xaxes(title_text="Days since the push")
    return figure.update_yaxes(title_text="Change of the log-odds of activity")


def _cell_text(cell: Mapping[str, Any] | None) -> str:
    if cell is None:
        return ""
    if cell["state"] == "observed":
        return f"{cell['observed']:.1%}"
    came = "–" if cell["came"] is None else f"{cell['came']:.1%}"
    return f"<b>{cell['forecast']:.1%}</b><br>{came}"


def _frame(week: int, line: int, *, running: bool) -> dict[str, Any]:
    """A frame around a cell that is not all observed; dotted where part of it is."""
    style = {"color": color_of(1), "width": 1.6, "dash": "dot" if running else "solid"}
    return {
        "type": "rect",
        "x0": week - 0.46,
        "x1": week + 0.46,
        "y0": line - 0.45,
        "y1": line + 0.45,
        "line": style,
    }


def _band(
    figure: Any,
    x: Sequence[Any],
    low: Sequence[Any],
    high: Sequence[Any],
    *,
    color: str,
    name: str,
    shape: str = "linear",
) -> None:
    """A soft band between two lines; without a name it is not in the legend."""
    edge = {"width": 0, "shape": shape}
    common = {"x": list(x), "mode": "lines", "line": edge, "hoverinfo": "skip"}
    figure.add_scatter(**common, y=list(high), showlegend=False)
    fill = {"fill": "tonexty", "fillcolor": _soft(color), "showlegend": bool(name), "name": name}
    figure.add_scatter(**common, y=list(low), **fill)


def _soft(color: str) -> str:
    red, green, blue = (int(color[at : at + 2], 16) for at in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.16)"


def _figure(height: int = 380) -> Any:
    import plotly.graph_objects as go

    return go.Figure(layout={"template": plotly_template(), "height": height})
