"""One look for every page and chart: colours, type and the Plotly template."""

from functools import cache
from typing import Any

FONT = "Inter, 'Segoe UI', 'Helvetica Neue', Roboto, Arial, 'DejaVu Sans', sans-serif"
MONO = "ui-monospace, 'SF Mono', 'Cascadia Mono', Menlo, Consolas, 'DejaVu Sans Mono', monospace"

# Text colours keep a contrast of at least 4.5 to 1 on both `paper` and `page` (WCAG 2.1 AA).
COLORS = {
    "page": "#f6f5f1",
    "paper": "#ffffff",
    "ink": "#17202b",
    "muted": "#5a6572",
    "line": "#e3e1da",
    "grid": "#ecebe6",
    "accent": "#0f5f7d",
    "accent_soft": "#e4eff3",
    "bar": "#5b93a9",
    "good": "#256e48",
    "good_soft": "#e6f2eb",
    "warning": "#a4540a",
    "warning_soft": "#fbeedd",
    "other": "#98a2ad",
}

# Told apart by people with any common colour blindness, and by lightness when printed grey.
CATEGORICAL = ("#0f5f7d", "#e08a2c", "#7a9a3b", "#8d5a9e", "#c2453a", "#5aa9c9", "#6b5b4b", "#98a2ad")


def color_of(index: int) -> str:
    """The colour of the n-th series; after the last the first comes again."""
    return CATEGORICAL[index % len(CATEGORICAL)]


@cache
def plotly_template() -> Any:
    """The Plotly template that every chart of ours uses (built once; Plotly is loaded on first use)."""
    import plotly.graph_objects as go

    axis = {
        "gridcolor": COLORS["grid"],
        "linecolor": COLORS["line"],
        "zerolinecolor": COLORS["line"],
        "zerolinewidth": 1,
        "ticks": "outside",
        "ticklen": 7,
        "tickcolor": "rgba(0,0,0,0)",
        "automargin": True,
        "title": {"font": {"size": 13, "color": COLORS["muted"]}, "standoff": 12},
        "tickfont": {"size": 12, "color": COLORS["muted"]},
    }
    layout = go.Layout(
        font={"family": FONT, "size": 13, "color": COLORS["ink"]},
        colorway=list(CATEGORICAL),
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        margin={"l": 8, "r": 16, "t": 16, "b": 8},
        height=380,
        xaxis=axis,
        yaxis=axis,
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "font": {"size": 12}},
        hoverlabel={"bgcolor": COLORS["paper"], "bordercolor": COLORS["line"], "font": {"family": FONT, "size": 12}},
        hovermode="closest",
        bargap=0.28,
        bargroupgap=0.08,
        dragmode=False,
    )
    return go.layout.Template(layout=layout)
