"""The charts of a page on effects, as Plotly figures: forest, Qini curve, uplift by decile, effect by day."""

from typing import Any

import polars as pl

from sojourn.core import need_columns
from sojourn.effects.ranking import Ranking
from sojourn.evaluate import number_text
from sojourn.evaluate.parts import Style
from sojourn.evaluate.theme import COLORS, color_of, plotly_template

METHOD_LABELS = {
    "difference": "Difference in means",
    "weighted": "Weighted by propensity",
    "cuped": "CUPED",
    "doubly_robust": "Doubly robust",
}


def forest_chart(effects: pl.DataFrame, *, style: Style = "number", unit: str = "") -> Any:
    """Effects of an `average_effects` table as dots with intervals: a row per arm and method, zero drawn."""
    need_columns(effects, ["arm", "method", "effect", "low", "high"], where="effects.forest_chart")
    arms = list(dict.fromkeys(effects["arm"]))
    rows = sorted(effects.iter_rows(named=True), key=lambda row: arms.index(row["arm"]))
    figure = _figure(height=110 + 44 * len(rows))
    for row in reversed(rows):
        color = color_of(arms.index(row["arm"]))
        label = f"{row['arm']} · {METHOD_LABELS[row['method']]}"
        text = number_text(row["effect"], style="change" if style == "percent" else style, digits=2, unit=unit)
        figure.add_scatter(
            x=[row["effect"]],
            y=[label],
            mode="markers+text",
            text=[f"<b>{text}</b>"],
            textposition="top center",
            textfont={"size": 12, "color": COLORS["ink"]},
            marker={"size": 11, "color": color, "symbol": "circle" if row.get("unbiased", True) else "circle-open"},
            error_x=_whiskers(row["effect"], row["low"], row["high"], color=color, thickness=3),
            showlegend=False,
            cliponaxis=False,
            hovertemplate=f"{label}<br>{text}<extra></extra>",
        )
    figure.add_vline(x=0, line={"color": COLORS["muted"], "width": 1.5, "dash": "dot"})
    figure.update_xaxes(title_text="Effect, beside the control", tickprefix=unit, tickformat=_format(style))
    names = {"size": 13, "color": COLORS["ink"]}
    return figure.update_yaxes(showgrid=False, tickfont=names, range=[-0.6, len(rows) - 0.3])


def qini_chart(ranking: Ranking, *, others: dict[str, Ranking] | None = None, style: Style = "number") -> Any:
    """What treating the first share of users gains, with its band; a random order is the straight line.

    `others` are drawn as plain lines with their names.
    """
    curve = ranking.curve
    shares = curve["share"].to_list()
    figure = _figure()
    figure.add_scatter(
        x=[*shares, *reversed(shares)],
        y=[*curve["high"].to_list(), *reversed(curve["low"].to_list())],
        mode="lines",
        fill="toself",
        fillcolor="rgba(15, 95, 125, 0.14)",
        line={"width": 0},
        name="95 % interval",
        hoverinfo="skip",
    )
    figure.add_scatter(
        x=shares,
        y=curve["gain"].to_list(),
        mode="lines",
        name="By predicted uplift",
        line={"color": color_of(0), "width": 2.5},
        hovertemplate="first %{x:.0%} treated<br>gain %{y:.4~g}<extra></extra>",
    )
    for index, (name, other) in enumerate((others or {}).items(), start=1):
        line = {"color": color_of(index), "width": 2}
        figure.add_scatter(x=shares, y=other.curve["gain"].to_list(), mode="lines", name=name, line=line)
    figure.add_scatter(
        x=[0, 1],
        y=[0, curve["gain"][-1]],
        mode="lines",
        name="Any order, on average",
        line={"color": COLORS["other"], "width": 2, "dash": "dot"},
        hoverinfo="skip",
    )
    figure.update_xaxes(title_text="Share of users treated, highest predictions first", tickformat=".0%", range=[0, 1])
    return figure.update_yaxes(title_text="Gain per user of all", tickformat=_format(style, fine=True))


def uplift_decile_chart(deciles: pl.DataFrame, *, style: Style = "number") -> Any:
    """Predicted beside measured uplift by decile of `uplift_deciles`, with the interval of what was measured."""
    need_columns(deciles, ["decile", "predicted_mean", "effect", "low", "high"], where="effects.uplift_decile_chart")
    x = [str(decile) for decile in deciles["decile"]]
    figure = _figure()
    effect = deciles["effect"].to_list()
    figure.add_bar(
        x=x,
        y=effect,
        name="Measured",
        marker_color=COLORS["bar"],
        error_y=_whiskers_of(deciles),
        hovertemplate="decile %{x}<br>measured %{y:.4~g}<extra></extra>",
    )
    figure.add_scatter(
        x=x,
        y=deciles["predicted_mean"].to_list(),
        name="Predicted",
        mode="markers",
        marker={"symbol": "diamond", "size": 10, "color": color_of(1), "line": {"width": 1.5, "color": "#fff"}},
        hovertemplate="decile %{x}<br>predicted %{y:.4~g}<extra></extra>",
    )
    figure.update_xaxes(title_text="Decile of users by predicted uplift (1 = highest)", type="category", showgrid=False)
    return figure.update_yaxes(title_text="Effect per user", tickformat=_format(style, fine=True), zeroline=True)


def retention_effect_chart(curve: pl.DataFrame, *, truth: list[float] | None = None) -> Any:
    """The effect on the share of users active by day, from `RetentionEffect.curve`; `truth` is drawn where known."""
    need_columns(
        curve, ["day", "effect", "low", "high", "band_low", "band_high"], where="effects.retention_effect_chart"
    )
    days = curve["day"].to_list()
    figure = _figure()
    for low, high, name, alpha in (
        ("band_low", "band_high", "95 % band, all days at once", 0.09),
        ("low", "high", "95 % interval of the day", 0.16),
    ):
        figure.add_scatter(
            x=[*days, *reversed(days)],
            y=[*curve[high].to_list(), *reversed(curve[low].to_list())],
            mode="lines",
            fill="toself",
            fillcolor=f"rgba(15, 95, 125, {alpha})",
            line={"width": 0},
            name=name,
            hoverinfo="skip",
        )
    figure.add_scatter(
        x=days,
        y=curve["effect"].to_list(),
        mode="lines+markers",
        name="Estimate",
        line={"color": color_of(0), "width": 2.5},
        hovertemplate="day %{x}<br>%{y:+.2%}<extra></extra>",
    )
    if truth is not None:
        line = {"color": color_of(1), "width": 2, "dash": "dash"}
        figure.add_scatter(x=days, y=truth, mode="lines", name="Truth", line=line)
    figure.add_hline(y=0, line={"color": COLORS["muted"], "width": 1.5, "dash": "dot"})
    figure.update_xaxes(title_text="Days after the decision", dtick=max(1, len(days) // 10), showgrid=False)
    return figure.update_yaxes(title_text="Effect on the share active", tickformat="+.1%")


def _figure(height: int = 380) -> Any:
    import plotly.graph_objects as go

    return go.Figure(layout={"template": plotly_template(), "height": height})


def _format(style: Style, *, fine: bool = False) -> str:
    if style in ("percent", "change"):
        return ".2%" if fine else ".1%"
    return ",.3~g"


def _whiskers(middle: float, low: float, high: float, *, color: str, thickness: float) -> dict[str, Any]:
    reach = {"array": [max(high - middle, 0.0)], "arrayminus": [max(middle - low, 0.0)]}
    return {"type": "data", "symmetric": False, **reach, "color": color, "thickness": thickness, "width": 0}


def _whiskers_of(deciles: pl.DataFrame) -> dict[str, Any]:
    return {
        "type": "data",
        "symmetric": False,
        "array": (deciles["high"] - deciles["effect"]).to_list(),
        "arrayminus": (deciles["effect"] - deciles["low"]).to_list(),
        "color": COLORS["ink"],
        "thickness": 1.5,
        "width": 0,
    }
