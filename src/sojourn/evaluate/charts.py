"""The charts of every report, as Plotly figures. Each takes a small table or arrays; captions belong to the page."""

from collections.abc import Mapping, Sequence
from textwrap import wrap
from typing import Any

import numpy as np
import polars as pl

from sojourn.core import BadInput, need_columns
from sojourn.evaluate.bootstrap import Interval
from sojourn.evaluate.curves import gain_curve
from sojourn.evaluate.formats import number_text, range_text
from sojourn.evaluate.metrics import METRICS, Floats, numbers, value_metrics
from sojourn.evaluate.parts import metric_column
from sojourn.evaluate.scores import Scores
from sojourn.evaluate.theme import COLORS, color_of, plotly_template


def decile_chart(deciles: pl.DataFrame, *, unit: str = "") -> Any:
    """Predicted beside actual mean per decile of a `decile_table`, with the interval of the actual mean.

    `unit` goes before the numbers ("$").
    """
    need_columns(
        deciles, ["decile", "predicted_mean", "actual_mean", "actual_low", "actual_high"], where="decile_chart"
    )
    x = [str(decile) for decile in deciles["decile"]]
    actual = deciles["actual_mean"].to_list()
    figure = _figure()
    figure.add_bar(
        x=x,
        y=actual,
        name="Actual",
        marker_color=COLORS["bar"],
        error_y=_whiskers(actual, deciles["actual_low"].to_list(), deciles["actual_high"].to_list()),
        hovertemplate=f"Decile %{{x}}<br>actual {unit}%{{y:,.4~g}}<extra></extra>",
    )
    figure.add_scatter(
        x=x,
        y=deciles["predicted_mean"].to_list(),
        name="Predicted",
        mode="markers",
        marker={"symbol": "diamond", "size": 10, "color": color_of(1), "line": {"width": 1.5, "color": "#fff"}},
        hovertemplate=f"Decile %{{x}}<br>predicted {unit}%{{y:,.4~g}}<extra></extra>",
    )
    figure.update_xaxes(title_text="Decile of users by prediction (1 = highest)", type="category", showgrid=False)
    return figure.update_yaxes(title_text="Mean per user", tickprefix=unit, rangemode="tozero", tickformat=",.4~g")


def gain_chart(truth: Any, predictions: Mapping[str, Any]) -> Any:
    """The share of the total held by the top share of users, one curve per model, with its normalised Gini.

    A perfect order and a random one are drawn for comparison. Raises `BadInput` when the truth sums to nothing.
    """
    y = numbers(truth, what="truth", where="evaluate.gain_chart")
    figure = _figure()
    perfect = gain_curve(y, y)
    figure.add_scatter(
        **_curve(perfect), name="Perfect order", line={"color": COLORS["other"], "dash": "dot", "width": 2}
    )
    for index, (name, pred) in enumerate(predictions.items()):
        gini = number_text(value_metrics(y, pred)["gini"], digits=3)
        line = {"color": color_of(index), "width": 2.5 if index == 0 else 2}
        figure.add_scatter(**_curve(gain_curve(y, pred)), name=f"{name} (Gini {gini})", line=line)
    figure.add_scatter(
        x=[0, 1], y=[0, 1], mode="lines", name="Random order", line={"color": COLORS["other"], "width": 1.5}
    )
    figure.update_xaxes(title_text="Share of users, highest predictions first", tickformat=".0%", range=[0, 1])
    lowest = min(0.0, float(perfect["share_of_total"].min()))  # type: ignore[arg-type]
    return figure.update_yaxes(title_text="Share of the total", tickformat=".0%", range=[lowest, 1.02])


def reliability_chart(tables: Mapping[str, pl.DataFrame]) -> Any:
    """Actual against predicted rate, one line per `calibration_table`; the diagonal is perfect."""
    figure = _figure()
    top = 0.0
    for index, (name, table) in enumerate(tables.items()):
        need_columns(table, ["predicted_mean", "actual_rate", "actual_low", "actual_high"], where="reliability_chart")
        rates = table["actual_rate"].to_list()
        color = color_of(index)
        figure.add_scatter(
            x=table["predicted_mean"].to_list(),
            y=rates,
            name=name,
            mode="lines+markers",
            line={"color": color, "width": 2},
            marker={"size": 8, "color": color},
            error_y=_whiskers(rates, table["actual_low"].to_list(), table["actual_high"].to_list(), color=color),
            hovertemplate="predicted %{x:.1%}<br>actual %{y:.1%}<extra>" + name + "</extra>",
        )
        top = max(top, *table["predicted_mean"], *table["actual_high"])
    end = min(1.0, top * 1.04)
    diagonal = {"color": COLORS["other"], "dash": "dot", "width": 2}
    figure.add_scatter(x=[0, end], y=[0, end], mode="lines", name="Perfect", line=diagonal, hoverinfo="skip")
    figure.update_xaxes(title_text="Predicted probability", tickformat=".0%", range=[0, end])
    return figure.update_yaxes(title_text="Share that did it", tickformat=".0%", range=[0, end])


def interval_chart(scores: Scores, *, metric: str, labels: Mapping[str, str] | None = None) -> Any:
    """One metric of every model as a dot with its interval, the best on top, the chosen model in colour."""
    if metric not in METRICS or any(metric not in figures for figures in scores.models.values()):
        raise BadInput(f"evaluate.interval_chart: {scores.task} has no metric {metric!r}.")
    shown = [(name, figures[metric]) for name, figures in scores.models.items() if figures[metric].value is not None]
    if not shown:
        raise BadInput(f"evaluate.interval_chart: {metric} is undefined for all models of {scores.task}.")
    sign = {"low": -1, "high": 1, "zero": -1}[METRICS[metric].better]
    shown.sort(key=lambda pair: sign * (abs(pair[1].value or 0) if metric == "bias" else pair[1].value or 0))
    figure = _figure(height=max(170, 70 + 46 * len(shown)))
    for name, interval in shown:
        color = COLORS["accent"] if name == scores.chosen else COLORS["other"]
        label = _wrapped((labels or {}).get(name, name))
        figure.add_scatter(**_dot_with_bar(interval, metric=metric, label=label, color=color))
    ends = [end for _, one in shown for end in (one.low, one.value, one.high) if end is not None]
    room = 0.07 * (max(ends) - min(ends) or 1.0)
    percent = metric_column(metric).style == "change"
    figure.update_xaxes(title_text=METRICS[metric].label, tickformat=".0%" if percent else ",.4~g", nticks=8)
    figure.update_xaxes(range=[min(ends) - room, max(ends) + room], zeroline=False)
    names = {"size": 13, "color": COLORS["ink"]}
    return figure.update_yaxes(showgrid=False, tickfont=names, range=[-0.6, len(shown) - 0.3])


def histogram_chart(values: Any, *, label: str, unit: str = "") -> Any:
    """How many users lie where: a histogram with the median drawn. The top 1 % is gathered in the last bar."""
    array = numbers(values, what=label, where="evaluate.histogram_chart")
    end = float(np.quantile(array, 0.99)) if len(array) > 100 else float(array.max())
    counts, edges = np.histogram(np.minimum(array, end), bins=40)
    median = float(np.median(array))
    figure = _figure(height=320)
    figure.add_bar(
        x=((edges[1:] + edges[:-1]) / 2).tolist(),
        y=counts.tolist(),
        width=np.diff(edges).tolist(),
        marker={"color": COLORS["bar"], "line": {"width": 1, "color": COLORS["paper"]}},
        hovertemplate=f"about {unit}%{{x:,.3~g}}<br>%{{y:,}} users<extra></extra>",
        showlegend=False,
    )
    note = f"median {number_text(median, unit=unit)}"
    figure.add_vline(
        x=median, line={"color": color_of(1), "width": 2}, annotation_text=note, annotation_position="top right"
    )
    figure.update_xaxes(title_text=label, tickprefix=unit, tickformat=",.4~g", showgrid=False)
    return figure.update_yaxes(title_text="Users", tickformat=",")


def ecdf_chart(samples: Mapping[str, Any], *, label: str, unit: str = "") -> Any:
    """The share of users at or below each value, one step curve per sample, up to the 99.5th percentile."""
    figure = _figure()
    for index, (name, values) in enumerate(samples.items()):
        array = np.sort(numbers(values, what=name, where="evaluate.ecdf_chart"))
        # Five hundred steps: no eye can tell them from a million.
        share = np.linspace(1 / len(array), 1 if len(array) < 200 else 0.995, min(500, len(array)))
        x = np.quantile(array, share, method="inverted_cdf")
        line = {"color": color_of(index), "width": 2.5, "shape": "hv"}
        figure.add_scatter(x=x.tolist(), y=share.tolist(), mode="lines", name=name, line=line)
    figure.update_xaxes(title_text=label, tickprefix=unit, tickformat=",.4~g")
    return figure.update_yaxes(title_text="Share of users at or below", tickformat=".0%", range=[0, 1.02])


def coverage_chart(coverage: pl.DataFrame, *, level: float) -> Any:
    """Measured coverage by decile of a `coverage_table`, with its interval, against the promised level."""
    need_columns(coverage, ["group", "coverage", "low", "high"], where="evaluate.coverage_chart")
    deciles = coverage.filter(pl.col("group") != "all")
    shares = deciles["coverage"].to_list()
    figure = _figure()
    figure.add_scatter(
        x=deciles["group"].to_list(),
        y=shares,
        mode="markers",
        marker={"size": 11, "color": COLORS["accent"]},
        error_y=_whiskers(shares, deciles["low"].to_list(), deciles["high"].to_list(), color=COLORS["accent"]),
        hovertemplate="decile %{x}<br>%{y:.1%} covered<extra></extra>",
        showlegend=False,
    )
    promised = f"promised {number_text(level, style='percent', digits=0)}"
    figure.add_hline(
        y=level, line={"color": color_of(1), "width": 2}, annotation_text=promised, annotation_position="bottom right"
    )
    figure.update_xaxes(title_text="Decile of users by prediction (1 = highest)", type="category", showgrid=False)
    floor = max(0.0, min([*deciles["low"], level]) - 0.08)
    return figure.update_yaxes(title_text="Truth inside the interval", tickformat=".0%", range=[floor, 1.02])


def _figure(height: int = 380) -> Any:
    import plotly.graph_objects as go

    return go.Figure(layout={"template": plotly_template(), "height": height})


def _curve(curve: pl.DataFrame) -> dict[str, Any]:
    """Points of a gain curve for Plotly: at most about a thousand, which no eye can tell from all of them."""
    step = max(1, curve.height // 1000)
    kept = pl.concat([curve.gather_every(step), curve.tail(1)]).unique(maintain_order=True)
    return {
        "x": kept["share_of_users"].round(5).to_list(),
        "y": kept["share_of_total"].round(5).to_list(),
        "mode": "lines",
        "hovertemplate": "top %{x:.1%} of users<br>%{y:.1%} of the total",
    }


def _dot_with_bar(interval: Interval, *, metric: str, label: str, color: str) -> dict[str, Any]:
    """One row of an interval chart: the value as a dot with its text above, the interval as a bar."""
    column, value = metric_column(metric), interval.value or 0.0
    text = number_text(value, style=column.style, digits=column.digits)
    low, high = (value if end is None else end for end in (interval.low, interval.high))
    return {
        "x": [value],
        "y": [label],
        "mode": "markers+text",
        "text": [f"<b>{text}</b>"],
        "textposition": "top center",
        "textfont": {"size": 12, "color": COLORS["ink"]},
        "marker": {"size": 12, "color": color},
        "error_x": {**_whiskers([value], [low], [high], color=color), "thickness": 3},
        "showlegend": False,
        "cliponaxis": False,
        "hovertemplate": f"{label}<br>{text}<br>{range_text(interval, style=column.style, digits=column.digits)}"
        "<extra></extra>",
    }


def _whiskers(
    middle: Sequence[float], low: Sequence[float], high: Sequence[float], *, color: str = ""
) -> dict[str, Any]:
    mid = np.asarray(middle, dtype=np.float64)
    above: Floats = np.maximum(np.asarray(high, dtype=np.float64) - mid, 0)
    below: Floats = np.maximum(mid - np.asarray(low, dtype=np.float64), 0)
    return {
        "type": "data",
        "symmetric": False,
        "array": above.tolist(),
        "arrayminus": below.tolist(),
        "color": color or COLORS["ink"],
        "thickness": 1.5,
        "width": 0,
    }


def _wrapped(label: str) -> str:
    return "<br>".join(wrap(label, 20))
