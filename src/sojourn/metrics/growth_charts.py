"""The charts of acquisition and explanation, as Plotly figures: what moved a metric, and when cohorts pay back."""

from collections.abc import Sequence
from datetime import date
from typing import Any

import polars as pl

from sojourn.core import BadInput, need_columns
from sojourn.evaluate import number_text
from sojourn.evaluate.parts import Style
from sojourn.evaluate.theme import COLORS, color_of, plotly_template
from sojourn.metrics.catalogue import Grain
from sojourn.metrics.why import Why


def why_chart(why: Why, *, most: int = 8, style: Style = "number", unit: str = "") -> Any:
    """A waterfall from the metric before to the metric after, the segments that moved it most first.

    Beyond `most` segments the rest are one bar. Hovering shows rate and mix effect. `style` and `unit` as in `Column`.
    """
    shown = [part for part in why.parts if part.effect] or list(why.parts)
    rest = shown[most:] if len(shown) > most + 1 else []
    shown = shown[: len(shown) - len(rest)]
    names = [" · ".join(part.segment) for part in shown]
    effects, notes = [float(part.effect) for part in shown], [_parts_note(part, why, style, unit) for part in shown]
    if rest:
        names.append(f"{len(rest)} others")
        effects.append(float(sum(part.effect for part in rest)))
        notes.append("")
    ends = [float(why.before), float(why.after)]
    texts = [_text(ends[0], style, unit), *(_text(each, style, unit, change=True) for each in effects)]
    figure = _figure(height=420)
    figure.add_waterfall(
        x=[period_text(why.spec.start, why.spec.grain), *names, period_text(why.spec.end, why.spec.grain)],
        y=[ends[0], *effects, ends[1]],
        measure=["absolute", *["relative"] * len(effects), "total"],
        text=[*texts, _text(ends[1], style, unit)],
        textposition="outside",
        textfont={"size": 12, "color": COLORS["ink"]},
        customdata=["", *notes, ""],
        hovertemplate="<b>%{x}</b><br>%{text}%{customdata}<extra></extra>",
        connector={"line": {"color": COLORS["other"], "width": 1}},
        increasing={"marker": {"color": COLORS["bar"]}},
        decreasing={"marker": {"color": color_of(1)}},
        totals={"marker": {"color": COLORS["ink"]}},
        cliponaxis=False,
    )
    figure.update_xaxes(type="category", showgrid=False, tickangle=-30 if len(names) > 5 else 0)
    # A bar from zero would hide what moved: the axis holds every step with some room.
    steps = [ends[0]]
    for effect in effects:
        steps.append(steps[-1] + effect)
    room = 0.18 * (max(steps) - min(steps) or abs(ends[0]) or 1.0)
    low = min(steps) - room
    tick = ".1%" if style in ("percent", "change") else ",.4~g"
    figure.update_yaxes(
        tickprefix=unit, tickformat=tick, range=[0 if low < 0 <= min(steps) else low, max(steps) + room]
    )
    return figure.update_layout(showlegend=False)


def payback_chart(
    table: pl.DataFrame,
    *,
    by: str = "channel",
    cohort: date | None = None,
    only: Sequence[str] | None = None,
    grain: Grain = "month",
    label: str = "Margin ÷ acquisition cost",
) -> Any:
    """Cohorts' way to their payback: observed as a solid line, forecast dashed with its band, paid back at 1.

    `table` is `metric_ltv_cac` (or `metric_roas`) of one grain. With `cohort`, one line per value of `by`, those in
    `only` when given; without, one line per cohort with all of `by` together. Only mature cells are drawn solid. Raises
    `MissingColumn`, and `BadInput` when nothing is left to draw.
    """
    need_columns(
        table, ["cohort", by, "age", "numerator", "denominator", "mature", "forecast"], where="metrics.payback_chart"
    )
    rows = table if cohort is None else table.filter(pl.col("cohort") == cohort)
    rows = rows if only is None else rows.filter(pl.col(by).is_in(list(only)))
    line = by if cohort is not None else "cohort"
    curves = cohort_lines(rows, line=line)
    if curves.is_empty():
        raise BadInput("metrics.payback_chart: no cohort with a cost is left to draw. Name one that has.")
    figure = _figure(height=420)
    order = curves.filter("is_observed").group_by(line).agg(pl.col("value").last()).sort("value", descending=True)
    names = order[line].to_list() if cohort is not None else sorted(curves[line].unique())
    for index, name in enumerate(names):
        label_of_line = str(name) if cohort is not None else period_text(name, grain)
        _draw_line(figure, curves.filter(pl.col(line) == name).sort("age"), name=label_of_line, index=index)
    figure.add_hline(
        y=1,
        line={"color": COLORS["muted"], "width": 1.5, "dash": "dot"},
        annotation_text="paid back",
        annotation_position="top left",
        annotation_font={"size": 12, "color": COLORS["muted"]},
    )
    figure.update_xaxes(title_text="Days since acquisition", rangemode="tozero", showgrid=False)
    return figure.update_yaxes(title_text=label, ticksuffix="×", tickformat=".3~g", rangemode="tozero")


def retention_chart(table: pl.DataFrame, *, by: str = "channel") -> Any:
    """The share of those acquired that is active at each age, one line per value of `by`, cohorts together.

    `table` is `metric_acquired_retention` of one grain. An age counts those who have reached it; the first day, on
    which everybody is active, is left out.
    """
    need_columns(table, [by, "age", "numerator", "denominator"], where="metrics.retention_chart")
    summed = table.filter(pl.col("age") > 0).group_by(by, "age").agg(pl.col("numerator", "denominator").sum())
    whole = summed.with_columns(pl.col("numerator", "denominator").cast(pl.Float64)).filter(pl.col("denominator") > 0)
    # Ages that only a handful has reached are noise: they end a line before its tail frays.
    most = whole.group_by(by).agg(most=pl.col("denominator").max())
    whole = whole.join(most, on=by).filter(pl.col("denominator") >= 0.2 * pl.col("most")).sort("age")
    figure = _figure(height=400)
    for index, name in enumerate(most.sort("most", by, descending=[True, False])[by]):
        rows = whole.filter(pl.col(by) == name)
        figure.add_scatter(
            x=rows["age"].to_list(),
            y=(rows["numerator"] / rows["denominator"]).to_list(),
            name=str(name),
            mode="lines",
            line={"color": color_of(index), "width": 2.2, "shape": "spline", "smoothing": 0.4},
            hovertemplate=f"{name}<br>day %{{x}}: %{{y:.1%}}<extra></extra>",
        )
    figure.update_xaxes(title_text="Days since acquisition", showgrid=False, rangemode="tozero")
    return figure.update_yaxes(title_text="Share active that day", tickformat=".0%", rangemode="tozero")


def period_text(start: date, grain: Grain) -> str:
    """A period as people name it.

    >>> period_text(date(2025, 3, 1), "month"), period_text(date(2025, 3, 3), "week")
    ('March 2025', 'week of 3 Mar 2025')
    """
    if grain == "month":
        return f"{start:%B %Y}"
    return f"{'week of ' if grain == 'week' else ''}{start.day} {start:%b %Y}"


def cohort_lines(rows: pl.DataFrame, *, line: str) -> pl.DataFrame:
    """Per line and age: `value` of mature cells (`is_observed`), and `forecast, low, high` where there are any.

    Sums over everything else; a forecast is summed only at ages at which every part of the line has one.
    """
    cost = rows.filter(pl.col("age") == 0).group_by(line).agg(whole=pl.col("denominator").sum().cast(pl.Float64))
    seen = rows.filter("mature").group_by(line, "age").agg(pl.col("numerator", "denominator").sum().cast(pl.Float64))
    seen = seen.select(line, "age", value=pl.col("numerator") / pl.col("denominator"))
    spent = rows.filter(pl.col("age") == 0).select("cohort", *_dims(rows), spent=pl.col("denominator").cast(pl.Float64))
    ahead = rows.drop_nulls("forecast").join(spent, on=["cohort", *_dims(rows)])
    ends = {name: (pl.col(name) * pl.col("spent")).sum() for name in ("forecast", "forecast_low", "forecast_high")}
    summed = ahead.group_by(line, "age").agg(told=pl.col("spent").sum(), **ends).join(cost, on=line)
    summed = summed.filter((pl.col("told") - pl.col("whole")).abs() < 1e-6)
    told = summed.select(line, "age", *(pl.col(name) / pl.col("whole") for name in ends))
    both = seen.join(told, on=[line, "age"], how="full", coalesce=True).join(cost, on=line).filter(pl.col("whole") > 0)
    return both.with_columns(is_observed=pl.col("value").is_not_null()).sort(line, "age")


def _dims(rows: pl.DataFrame) -> list[str]:
    return [name for name in ("channel", "campaign") if name in rows.columns]


def _draw_line(figure: Any, rows: pl.DataFrame, *, name: str, index: int) -> None:
    color = color_of(index)
    seen, ahead = rows.filter("is_observed"), rows.drop_nulls("forecast")
    figure.add_scatter(
        x=seen["age"].to_list(),
        y=seen["value"].to_list(),
        name=name,
        legendgroup=name,
        mode="lines",
        line={"color": color, "width": 2.5},
        hovertemplate=f"{name}<br>day %{{x}}: %{{y:.3~g}}×<extra></extra>",
    )
    if ahead.is_empty():
        return
    x = ahead["age"].to_list()
    figure.add_scatter(
        x=[*x, *reversed(x)],
        y=[*ahead["forecast_high"].to_list(), *reversed(ahead["forecast_low"].to_list())],
        fill="toself",
        fillcolor=_soft(color),
        line={"width": 0},
        mode="lines",
        legendgroup=name,
        showlegend=False,
        hoverinfo="skip",
    )
    joined = seen.filter(pl.col("age") < x[0]).tail(1)
    figure.add_scatter(
        x=[*joined["age"], *x],
        y=[*joined["value"], *ahead["forecast"]],
        name=f"{name}, forecast",
        legendgroup=name,
        showlegend=False,
        mode="lines",
        line={"color": color, "width": 2, "dash": "dash"},
        hovertemplate=f"{name}<br>day %{{x}}: %{{y:.3~g}}× expected<extra></extra>",
    )


def _parts_note(part: Any, why: Why, style: Style, unit: str) -> str:
    if not why.is_ratio:
        return ""
    rate, mix = (_text(float(each), style, unit, change=True) for each in (part.rate, part.mix))
    return f"<br>rate {rate}, mix {mix}"


def _text(value: float, style: Style, unit: str, *, change: bool = False) -> str:
    if style in ("percent", "change"):
        return number_text(value, style="change" if change else "percent", digits=2)
    text = number_text(value, style=style, unit=unit)
    return f"+{text}" if change and value > 0 else text


def _soft(color: str) -> str:
    red, green, blue = (int(color[at : at + 2], 16) for at in (1, 3, 5))
    return f"rgba({red}, {green}, {blue}, 0.12)"


def _figure(height: int = 380) -> Any:
    import plotly.graph_objects as go

    return go.Figure(layout={"template": plotly_template(), "height": height})
