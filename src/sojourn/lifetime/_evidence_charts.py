"""Charts of the evidence: places in predicted distributions, and cohorts with what was foretold of them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from sojourn.evaluate import number_text
from sojourn.evaluate.theme import COLORS, color_of, plotly_template

PLACES, LEAST_USERS = 10, 20


def places_chart(pit: Mapping[str, Any]) -> Any:
    """Histograms of places in predicted distributions, the first as bars, others as lines; even is the dashed line."""
    import plotly.graph_objects as go

    figure = go.Figure(layout={"template": plotly_template(), "bargap": 0.06})
    edges = np.linspace(0, 1, PLACES + 1)
    middle = (edges[:-1] + edges[1:]) / 2
    highest = 0.0
    for at, (name, places) in enumerate(pit.items()):
        share = np.histogram(places, bins=edges)[0] / max(len(places), 1)
        highest = max(highest, float(share.max()))
        hover = "%{y:.1%} of users between %{customdata}<extra></extra>"
        ends = [f"{low:.0%} and {low + 1 / PLACES:.0%}" for low in edges[:-1]]
        common = {"x": middle, "y": share, "name": name, "customdata": ends, "hovertemplate": hover}
        if at == 0:
            figure.add_bar(**common, marker={"color": COLORS["bar"]})
        else:
            line = {"color": color_of(1), "width": 2, "shape": "hvh"}
            figure.add_scatter(**common, mode="lines", line=line)
    figure.add_hline(y=1 / PLACES, line={"color": COLORS["ink"], "width": 1.5, "dash": "dash"})
    figure.update_xaxes(
        title_text="Place in the predicted distribution", tickformat=".0%", showgrid=False, range=[0, 1]
    )
    return figure.update_yaxes(title_text="Share of users", tickformat=".0%", range=[0, max(1.15 * highest, 0.2)])


def cohorts_chart(cells: pl.DataFrame, *, unit: str, days: int) -> Any:
    """Spend per user by cohort and period (`value_cohorts`); a period ahead shows its forecast with what came below."""
    import plotly.graph_objects as go

    shown = cells.filter(pl.col("users") >= LEAST_USERS).with_columns(rate=pl.coalesce("observed", "forecast"))
    if shown.is_empty():
        shown = cells.with_columns(rate=pl.coalesce("observed", "forecast"))
    sizes = dict(shown.select("cohort", "users").unique().sort("cohort").iter_rows())
    names = [f"{day:%d %b %Y}  ·  {users:,}" for day, users in sizes.items()]
    periods = list(range(int(str(shown["period"].min())), int(str(shown["period"].max())) + 1))
    rows = {(row["cohort"], row["period"]): row for row in shown.iter_rows(named=True)}
    grid = [[rows.get((day, period)) for period in periods] for day in sizes]
    top = float(shown["rate"].quantile(0.97) or 1.0)
    figure = go.Figure(layout={"template": plotly_template(), "height": 120 + 44 * len(names)})
    figure.add_heatmap(
        x=periods,
        y=names,
        z=[[None if cell is None else cell["rate"] for cell in line] for line in grid],
        text=[[_cell_text(cell, unit) for cell in line] for line in grid],
        texttemplate="%{text}",
        textfont={"size": 11},
        zmin=0,
        zmax=1.6 * top,
        colorscale=[[0, COLORS["paper"]], [1, COLORS["accent"]]],
        showscale=False,
        xgap=2,
        ygap=2,
        hovertemplate=f"first seen from %{{y}}<br>period %{{x}}: {unit}%{{z:,.4~g}} per user<extra></extra>",
    )
    for line, row in enumerate(grid):
        for period, cell in zip(periods, row, strict=True):
            if cell is not None and cell["state"] == "ahead":
                figure.add_shape(**_frame(period, line))
    figure.update_xaxes(title_text=f"Periods of {days} days since first seen", side="top", dtick=1, showgrid=False)
    return figure.update_yaxes(title_text="First seen from  ·  users", autorange="reversed", showgrid=False)


def _cell_text(cell: Mapping[str, Any] | None, unit: str) -> str:
    if cell is None:
        return ""
    if cell["state"] == "observed":
        return number_text(cell["observed"], unit=unit)
    return f"<b>{number_text(cell['forecast'], unit=unit)}</b><br>{number_text(cell['came'], unit=unit)}"


def _frame(period: int, line: int) -> dict[str, Any]:
    return {
        "type": "rect",
        "x0": period - 0.46,
        "x1": period + 0.46,
        "y0": line - 0.45,
        "y1": line + 0.45,
        "line": {"color": color_of(1), "width": 1.6},
    }
