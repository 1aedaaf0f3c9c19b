"""The one chart that the shared ones lack: what moves a prediction, theme by theme."""

from typing import Any

import polars as pl

from sojourn.evaluate import number_text
from sojourn.evaluate.theme import COLORS, plotly_template


def theme_chart(effects: pl.DataFrame) -> Any:
    """The share of each theme of a `feature_effects` table as a bar, the largest on top."""
    import plotly.graph_objects as go

    themes = (
        effects.sort("share", descending=True)
        .group_by("theme", maintain_order=True)
        .agg(pl.col("share").sum(), strongest=pl.col("words").first())
        .filter(pl.col("share") > 0)
        .sort("share", "theme")
    )
    shares = themes["share"].to_list()
    figure = go.Figure(layout={"template": plotly_template(), "height": 70 + 44 * themes.height})
    figure.add_bar(
        x=shares,
        y=themes["theme"].to_list(),
        orientation="h",
        marker={"color": COLORS["bar"]},
        text=[number_text(share, style="percent", digits=0) for share in shares],
        textposition="outside",
        cliponaxis=False,
        customdata=themes["strongest"].to_list(),
        hovertemplate="%{y}: %{x:.1%}<br>most of all: %{customdata}<extra></extra>",
    )
    figure.update_xaxes(visible=False, range=[0, 1.12 * max(shares, default=1.0)])
    return figure.update_yaxes(tickfont={"size": 13, "color": COLORS["ink"]}, showgrid=False)
