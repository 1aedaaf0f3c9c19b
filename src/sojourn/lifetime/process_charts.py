"""What a purchase process says, drawn: who is alive, and how purchases add up week by week."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from sojourn.core import BadInput
from sojourn.evaluate.theme import COLORS, color_of, plotly_template
from sojourn.lifetime.purchase_process import PurchaseProcess


def alive_chart(model: PurchaseProcess, *, age_days: int = 365, most: int = 20) -> Any:
    """The probability of being alive, for customers seen for `age_days`: by purchases and by days since the last one.

    As a Plotly figure: one row for each number of purchases after the first, up to `most`.
    """
    x = np.arange(most + 1)
    since = np.linspace(0, age_days, 61).round()
    grid = pl.DataFrame(
        {
            "user_id": np.arange(x.size * since.size),
            "frequency": np.repeat(x, since.size),
            "recency_days": np.tile(age_days - since, x.size) * (np.repeat(x, since.size) > 0),
            "age_days": np.full(x.size * since.size, age_days),
        }
    )
    alive = model.predict(grid)["alive_prob"].to_numpy().reshape(x.size, since.size)
    figure = _figure()
    figure.add_heatmap(
        x=since,
        y=x,
        z=alive,
        zmin=0,
        zmax=1,
        colorscale=[[0, COLORS["accent_soft"]], [0.5, COLORS["bar"]], [1, COLORS["accent"]]],
        colorbar={"title": "P(alive)", "tickformat": ".0%", "thickness": 12, "outlinewidth": 0},
        hovertemplate="%{y} purchases after the first<br>the last %{x:.0f} days ago<br>alive %{z:.0%}<extra></extra>",
    )
    figure.update_xaxes(title_text="Days since the last purchase", showgrid=False)
    return figure.update_yaxes(title_text="Purchases after the first", showgrid=False)


def tracking_chart(weeks: pl.DataFrame, *, models: Mapping[str, str], known_until: int) -> Any:
    """Cumulative purchases by week, as they came and as each model says: a Plotly figure.

    Reads `week`, `actual`, and a column for each of `models` (column: its name in words). `known_until` is the last
    week that the models have seen. Raises `BadInput` for a table without rows.
    """
    if weeks.is_empty():
        raise BadInput("lifetime.tracking_chart got a table without weeks. Give it a row a week: week, actual, ...")
    figure = _figure()
    figure.add_scatter(
        x=weeks["week"],
        y=weeks["actual"],
        name="Actual",
        mode="lines",
        line={"color": COLORS["ink"], "width": 3},
        hovertemplate="Week %{x}<br>%{y:,.0f} purchases<extra>Actual</extra>",
    )
    for at, (column, words) in enumerate(models.items()):
        figure.add_scatter(
            x=weeks["week"],
            y=weeks[column],
            name=words,
            mode="lines",
            line={"color": color_of(at), "width": 2, "dash": ("dash", "dot", "dashdot")[at % 3]},
            hovertemplate=f"Week %{{x}}<br>%{{y:,.0f}} purchases<extra>{words}</extra>",
        )
    figure.add_vline(x=known_until, line={"color": COLORS["other"], "width": 1})
    figure.add_annotation(
        x=known_until, y=1, yref="paper", text="not seen by any model →", showarrow=False, xanchor="left", xshift=6
    )
    figure.update_xaxes(title_text="Week", showgrid=False)
    return figure.update_yaxes(
        title_text="Purchases after the first, all customers", rangemode="tozero", tickformat=","
    )


def _figure() -> Any:
    import plotly.graph_objects as go

    return go.Figure(layout={"template": plotly_template()})
