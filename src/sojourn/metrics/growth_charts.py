"""The charts of acquisition and explanation, as Plotly figures: what moved a metric, and when cohorts pay back."""

from datetime import date
from typing import Any, Literal

import polars as pl

from sojourn.core import BadInput, need_columns
from sojourn.evaluate import number_text
from sojourn.evaluate.parts import Style
from sojourn.evaluate.theme import COLORS, color_of, plotly_template
from sojourn.metrics.catalogue import Grain, MetricSpec
from sojourn.metrics.why import Why

ENDS = ("forecast", "forecast_low", "forecast_high")


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
    margin: pl.DataFrame,
    cost: pl.DataFrame,
    *,
    cohort: date | None = None,
    grain: Grain = "month",
    label: str = "Margin ÷ acquisition cost",
) -> Any:
    """Cohorts' way to their payback: observed as a solid line, forecast dashed with its band, paid back at 1.

    `margin` is `metric_acquired_margin` and `cost` is `metric_ltv_cac`, of one grain. Without `cohort` there is one
    line per cohort, of the channels that cost something in it; with it, one per such channel of that cohort. Raises
    `MissingColumn`, and `BadInput` when nothing is left to draw.
    """
    lines = payback_lines(margin, cost, by="cohort" if cohort is None else "channel", cohort=cohort)
    if lines.is_empty():
        raise BadInput("metrics.payback_chart: no cohort with a cost is left to draw. Name one that has.")
    figure, name = _figure(height=420), lines.columns[0]
    last = lines.drop_nulls("value").group_by(name).agg(pl.col("value").last())
    order = lines.select(pl.col(name).unique()).join(last, on=name, how="left")
    order = order.sort(name) if cohort is None else order.sort("value", name, descending=[True, False], nulls_last=True)
    for index, each in enumerate(order[name]):
        told = period_text(each, grain) if cohort is None else str(each)
        _draw_line(figure, lines.filter(pl.col(name) == each), name=told, index=index)
    figure.add_hline(
        y=1,
        line={"color": COLORS["muted"], "width": 1.5, "dash": "dot"},
        annotation_text="paid back",
        annotation_position="top left",
        annotation_font={"size": 12, "color": COLORS["muted"]},
    )
    figure.update_xaxes(title_text="Days since acquisition", rangemode="tozero", showgrid=False)
    return figure.update_yaxes(title_text=label, ticksuffix="×", tickformat=".3~g", rangemode="tozero")


def cohort_chart(table: pl.DataFrame, metric: MetricSpec, *, grain: Grain = "month", most: int = 6) -> Any:
    """How a metric of acquired cohorts grows with their age: a line for each of the latest `most` cohorts.

    `table` is a `growth_table` without dimensions. Solid where all of the cohort has reached the age; dashed, with its
    band, where it is forecast. Raises `MissingColumn`, and `BadInput` when there is no cohort to draw.
    """
    need_columns(table, ["cohort", "age", "value", "mature"], where="metrics.cohort_chart")
    told = table.with_columns(value=pl.when("mature").then("value"))
    told = told.with_columns(pl.lit(None, pl.Float64).alias(name) for name in ENDS if name not in table.columns)
    lines = told.rename({"forecast_low": "low", "forecast_high": "high"})
    lines = lines.filter(pl.col("value").is_not_null() | pl.col("forecast").is_not_null()).sort("cohort", "age")
    if lines.is_empty():
        raise BadInput(
            f"metrics.cohort_chart: no cohort of {metric.name} is whole at any age yet. Ask for earlier ones."
        )
    form, suffix = ".1~%" if metric.unit == "share" else ",.3~g", "×" if metric.unit == "times" else ""
    figure = _figure(height=420)
    for index, cohort in enumerate(lines["cohort"].unique().sort()[-most:]):
        rows = lines.filter(pl.col("cohort") == cohort)
        _draw_line(figure, rows, name=period_text(cohort, grain), index=index, form=form, suffix=suffix)
    figure.update_xaxes(title_text="Days since acquisition", rangemode="tozero", showgrid=False)
    return figure.update_yaxes(title_text=metric.title, ticksuffix=suffix, tickformat=form, rangemode="tozero")


def retention_chart(table: pl.DataFrame, *, by: str = "channel") -> Any:
    """The share of those acquired that is active at each age, one line per value of `by`, cohorts together.

    `table` is `metric_acquired_retention` of one grain. An age counts those who have reached it; the first day, on
    which everybody is active, is left out. Each point is the mean of the seven days around it: weeks do not show.
    """
    need_columns(table, [by, "age", "numerator", "denominator"], where="metrics.retention_chart")
    summed = table.filter(pl.col("age") > 0).group_by(by, "age").agg(pl.col("numerator", "denominator").sum())
    whole = (
        summed.with_columns(pl.col("numerator", "denominator").cast(pl.Float64))
        .sort(by, "age")
        .with_columns(pl.col("numerator", "denominator").rolling_sum(7, min_samples=1, center=True).over(by))
        .filter(pl.col("denominator") > 0)
    )
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


def place_hour_chart(table: pl.DataFrame, *, label: str, style: Style = "percent") -> Any:
    """A metric of supply and demand as a map of places and hours: numerators over denominators, all periods together.

    `table` is such as `metric_fill_rate` of one grain. A cell without a denominator is left blank.
    """
    need_columns(table, ["place", "hour", "numerator", "denominator"], where="metrics.place_hour_chart")
    summed = table.group_by("place", "hour").agg(pl.col("numerator", "denominator").sum().cast(pl.Float64))
    value = pl.when(pl.col("denominator") > 0).then(pl.col("numerator") / pl.col("denominator"))
    cells = summed.with_columns(value=value)
    places = sorted(cells["place"].unique(), reverse=True)
    hours = [f"{hour:02d}" for hour in range(24)]
    values = {(place, hour): each for place, hour, each in cells.select("place", "hour", "value").iter_rows()}
    tick = ".0%" if style == "percent" else ",.2~f"
    figure = _figure(height=150 + 46 * len(places))
    figure.add_heatmap(
        x=hours,
        y=places,
        z=[[values.get((place, hour)) for hour in hours] for place in places],
        colorscale=[[0, "#f3d9b8"], [0.5, "#b9d3dc"], [1, COLORS["accent"]]],
        # Shares keep one scale, so that two maps can be compared.
        **({"zmin": 0, "zmax": 1} if style == "percent" else {}),
        xgap=2,
        ygap=2,
        colorbar={"title": {"text": label, "side": "right"}, "tickformat": tick, "thickness": 12, "outlinewidth": 0},
        hovertemplate=f"%{{y}}, %{{x}}:00<br>{label.lower()} %{{z:{tick}}}<extra></extra>",
    )
    figure.update_xaxes(title_text="Hour of the day", type="category", showgrid=False)
    return figure.update_yaxes(showgrid=False, tickfont={"size": 13, "color": COLORS["ink"]})


def period_text(start: date, grain: Grain) -> str:
    """A period as people name it.

    >>> period_text(date(2025, 3, 1), "month"), period_text(date(2025, 3, 3), "week")
    ('March 2025', 'week of 3 Mar 2025')
    """
    if grain == "month":
        return f"{start:%B %Y}"
    return f"{'week of ' if grain == 'week' else ''}{start.day} {start:%b %Y}"


def payback_lines(
    margin: pl.DataFrame, cost: pl.DataFrame, *, by: Literal["cohort", "channel"], cohort: date | None = None
) -> pl.DataFrame:
    """`by`, `age`, `value`, `forecast`, `low`, `high`: margin up to each age over what acquisition cost.

    Of the channels that cost something in a cohort, all campaigns together, since users may come without a campaign
    that costs have. `value` is null where not all have reached the age, a forecast where not all have one.
    """
    keys = ["cohort", "channel", "campaign"]
    needed = [*keys, "age", "numerator", "denominator", "mature", "forecast", "forecast_low", "forecast_high"]
    need_columns(margin, needed, where="metrics.payback_lines: margin")
    need_columns(cost, [*keys, "age", "denominator"], where="metrics.payback_lines: cost")
    spent = cost.filter(pl.col("age") == 0).group_by("cohort", "channel")
    paid = spent.agg(cost=pl.col("denominator").sum().cast(pl.Float64)).filter(pl.col("cost") > 0)
    paid = paid if cohort is None else paid.filter(pl.col("cohort") == cohort)
    first = margin.filter(pl.col("age") == 0).select(*keys, acquired=pl.col("denominator").cast(pl.Float64))
    rows = margin.join(paid.drop("cost"), on=["cohort", "channel"]).join(first, on=keys)
    whole = rows.filter(pl.col("age") == 0).group_by(by).agg(whole=pl.col("acquired").sum())
    whole = whole.join(paid.group_by(by).agg(pl.col("cost").sum()), on=by)
    ends = {"forecast": "forecast", "low": "forecast_low", "high": "forecast_high"}
    is_told = pl.col("forecast").is_not_null() | (pl.col("acquired") == 0)
    summed = rows.group_by(by, "age").agg(
        (pl.col("numerator").sum().cast(pl.Float64)).alias("observed"),
        pl.col("mature").all(),
        *((pl.col(column) * pl.col("acquired")).sum().alias(name) for name, column in ends.items()),
        told=pl.col("acquired").filter(is_told).sum(),
        is_ahead=pl.col("forecast").is_not_null().any(),
    )
    ahead = pl.col("is_ahead") & (pl.col("told") == pl.col("whole"))
    return (
        summed.join(whole, on=by)
        .select(
            by,
            "age",
            value=pl.when("mature").then(pl.col("observed") / pl.col("cost")),
            **{name: pl.when(ahead).then(pl.col(name) / pl.col("cost")) for name in ends},
        )
        .sort(by, "age")
    )


def _draw_line(
    figure: Any, rows: pl.DataFrame, *, name: str, index: int, form: str = ".3~g", suffix: str = "×"
) -> None:
    color = color_of(index)
    seen, ahead = rows.drop_nulls("value"), rows.drop_nulls("forecast")
    figure.add_scatter(
        x=seen["age"].to_list(),
        y=seen["value"].to_list(),
        name=name,
        legendgroup=name,
        showlegend=not seen.is_empty(),
        mode="lines",
        line={"color": color, "width": 2.5},
        hovertemplate=f"{name}<br>day %{{x}}: %{{y:{form}}}{suffix}<extra></extra>",
    )
    if ahead.is_empty():
        return
    x = ahead["age"].to_list()
    figure.add_scatter(
        x=[*x, *reversed(x)],
        y=[*ahead["high"].to_list(), *reversed(ahead["low"].to_list())],
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
        showlegend=seen.is_empty(),
        mode="lines",
        line={"color": color, "width": 2, "dash": "dash"},
        hovertemplate=f"{name}<br>day %{{x}}: %{{y:{form}}}{suffix} expected<extra></extra>",
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
