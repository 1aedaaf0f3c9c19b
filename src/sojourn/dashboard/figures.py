"""The charts of the pages, as Plotly figures: small tables in, one look out; nothing unfinished is drawn as done."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from functools import cache
from math import isfinite
from typing import Any

import polars as pl

from sojourn.dashboard.numbers import figure_text, money_digits
from sojourn.dashboard.spec import Grain
from sojourn.evaluate.theme import COLORS, color_of, plotly_template

IMMATURE = "not over yet, or not seen whole"
FEW = 14  # points that each get a dot
MOST_TICKS = 6  # as many dates as a phone's width holds
NUMBERS = 54  # pixels for the figures of an axis, the longest being as "−$999k"
DAY_MS = 86_400_000
PERIOD_MS = {"day": DAY_MS, "week": 7 * DAY_MS, "month": 30 * DAY_MS}
HEAT = ["#f3f7f8", "#cfe1e8", "#9bc3d2", "#5b93a9", "#2a7390", "#0f5f7d", "#0a4259"]
GREY = ["#f2f1ed", "#d5d4cd"]
BAD = "#c2453a"


def blank() -> Any:
    """A figure with nothing in it; `in_our_look` dresses it when it is done."""
    import plotly.graph_objects as go

    layout = {"template": None, "hovermode": "x unified", "margin": {"l": 4, "r": 8, "t": 14, "b": 4}}
    return go.Figure(layout=layout)


@cache
def look_of_all() -> dict[str, Any]:
    """The Plotly template of every chart, as plain values."""
    look: dict[str, Any] = plotly_template().to_plotly_json()
    return look


def _room(figure: Any, **sides: int) -> Any:
    """Room for the labels of the axes, in pixels: Plotly draws a chart twice to find out itself."""
    figure.update_layout(margin=sides)
    figure.update_xaxes(automargin=False)
    return figure.update_yaxes(automargin=False)


def in_our_look(figure: Any, *, height: int) -> dict[str, Any]:
    """The figure as plain values, of this height; a page carries the look of all once, and its script adds it."""
    plain: dict[str, Any] = figure.to_plotly_json()
    plain["layout"].pop("template", None)
    plain["layout"] |= {"height": height, "autosize": True}
    return plain


def as_json(plain: Any) -> str:
    """Plain values as JSON: days as people write them, and null for what is no number."""

    def finite(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: finite(each) for key, each in value.items()}
        if isinstance(value, list | tuple):
            return [finite(each) for each in value]
        return None if isinstance(value, float) and not isfinite(value) else value

    return json.dumps(finite(plain), default=lambda day: day.isoformat(), separators=(",", ":"), allow_nan=False)


def time_chart(
    table: pl.DataFrame,
    *,
    grain: Grain,
    name: str,
    style: str = "number",
    unit: str = "",
    bars: bool = False,
    by: str | None = None,
    order: Sequence[str] = (),
) -> Any:
    """`value` by `start`, one line or stack of bars for each value of `by`; open and dotted, or hatched, where not
    `mature`.

    A value of `by` has the colour of its place in `order`, so that it has the same in every chart.
    """
    figure = blank()
    parts = [(name, 0, table)] if by is None else _parts(table, by, order)
    form = number_format(style, unit, values=table["value"])
    for label, place, part in parts:
        if bars:
            _add_bars(figure, part, label=label, color=color_of(place), form=form, grain=grain)
        else:
            _add_line(figure, part, label=label, color=color_of(place), form=form)
    figure.update_layout(showlegend=by is not None, barmode="stack")
    number_axis(figure, style=style, unit=unit)
    return time_axis(figure, grain, table["start"])


def _parts(table: pl.DataFrame, by: str, order: Sequence[str]) -> list[tuple[str, int, pl.DataFrame]]:
    """The parts of the table with their labels and their places in `order`; those without one come last."""
    parts = {str(key): part for (key,), part in table.partition_by(by, as_dict=True, maintain_order=True).items()}
    ranked = [*(key for key in order if key in parts), *sorted(key for key in parts if key not in order)]
    places = {key: order.index(key) if key in order else len(order) + at for at, key in enumerate(ranked)}
    return [(words(key), places[key], parts[key]) for key in ranked]


def _add_line(figure: Any, part: pl.DataFrame, *, label: str, color: str, form: str) -> None:
    """A line through what is over; dotted to what is not, which stands as an open circle of its own."""
    days, values, over = part["start"].to_list(), part["value"].to_list(), part["mature"].to_list()
    firm = [value if done else None for value, done in zip(values, over, strict=True)]
    line = {"color": color, "width": 2.4}
    figure.add_scatter(
        x=days, y=firm, name=label, mode="lines+markers", line=line, legendgroup=label, hovertemplate=form,
        marker={"size": _dots(firm), "color": color, "line": {"width": 0}},
    )  # fmt: skip
    soft = [None if done else value for value, done in zip(values, over, strict=True)]
    if all(value is None for value in soft):
        return
    # The figures beside what is not over join the two lines, at the beginning of history as at its end.
    near = [at for at, done in enumerate(over) if done and not all(over[max(0, at - 1) : at + 2])]
    joined = [value if not over[at] or at in near else None for at, value in enumerate(values)]
    figure.add_scatter(
        x=days, y=joined, name=label, mode="lines", line={**line, "dash": "dot", "width": 2}, showlegend=False,
        legendgroup=label, hoverinfo="skip",
    )  # fmt: skip
    ring = {"symbol": "circle-open", "color": color, "size": _dots(soft, 7), "line": {"width": 1.8}}
    figure.add_scatter(
        x=days, y=soft, name=label, mode="markers", marker=ring, showlegend=False, legendgroup=label,
        hovertemplate=f"{form} ({IMMATURE})",
    )  # fmt: skip


def _dots(values: Sequence[float | None], size: int = 5) -> int | list[int]:
    """The size of each point's dot: all where they are few, else those alone, which no line would show."""
    there = [value is not None for value in values]
    if sum(there) <= FEW:
        return size
    alone = [
        here and not any(there[max(0, at - 1) : at]) and not any(there[at + 1 : at + 2])
        for at, here in enumerate(there)
    ]
    return [size if each else 0 for each in alone]


def _add_bars(figure: Any, part: pl.DataFrame, *, label: str, color: str, form: str, grain: Grain) -> None:
    over = part["mature"].to_list()
    pattern = {
        "shape": ["" if done else "/" for done in over],
        "fgcolor": "#ffffff",
        "fgopacity": 0.75,
        "size": 7,
        "fillmode": "overlay",
    }
    told = ["" if done else f" ({IMMATURE})" for done in over]
    figure.add_bar(
        x=part["start"].to_list(), y=part["value"].to_list(), name=label, marker={"color": color, "pattern": pattern},
        customdata=told, hovertemplate=f"{form}%{{customdata}}", width=0.72 * PERIOD_MS[grain], legendgroup=label,
    )  # fmt: skip


def stacked_chart(table: pl.DataFrame, *, grain: Grain, states: Mapping[str, tuple[str, str, int]]) -> Any:
    """Bars of `value` by `start` for each `state`: its label, its colour, and 1 above or -1 below the line."""
    figure = blank()
    for state, (label, color, sign) in states.items():
        part = table.filter(pl.col("state") == state)
        signed = part.with_columns(value=pl.col("value") * sign)
        _add_bars(figure, signed, label=label, color=color, form="%{y:,.0f}", grain=grain)
    figure.update_layout(barmode="relative", showlegend=True)
    number_axis(figure, style="number", unit="")
    return time_axis(figure, grain, table["start"])


def triangle_chart(table: pl.DataFrame, *, grain: Grain, style: str = "percent", unit: str = "") -> Any:
    """`value` by `cohort` (down) and `age` (across); cells that are not mature are grey, however high."""
    figure = blank()
    cohorts = table["cohort"].unique().sort(descending=True).to_list()
    ages = table["age"].unique().sort().to_list()
    labels = [day_words(day, grain) for day in cohorts]
    few = len(ages) <= 26 and len(cohorts) <= 32
    seen = table.filter("mature")["value"]
    high = float(seen.max() or 1.0) if seen.len() else 1.0  # type: ignore[arg-type]
    number = ".0%" if style == "percent" else ".3~s" if high >= 1000 else ",.0f" if high >= 100 else ",.2f"
    # The unit inside of the format: before it, it would stand in empty cells too.
    form = f"%{{z:{'$' if unit == '$' else ''}{number}}}"
    for mature, scale in ((True, HEAT), (False, GREY)):
        cells = _grid(table.filter(pl.col("mature") == mature), cohorts, ages)
        if not any(value is not None for row in cells for value in row):
            continue
        figure.add_heatmap(
            z=cells, x=ages, y=labels, colorscale=scale, showscale=False, xgap=2, ygap=2, zmin=0, zmax=high,
            texttemplate=form if few else None, textfont={"size": 11},
            hovertemplate=f"%{{y}}<br>{grain} %{{x}}: {form}{'' if mature else f' ({IMMATURE})'}<extra></extra>",
            hoverongaps=False,
        )  # fmt: skip
    figure.update_layout(hovermode="closest")
    figure.update_xaxes(
        title_text=f"{grain.capitalize()}s since the first", side="top", showgrid=False, ticklen=0, nticks=14
    )
    _room(figure, l=86, t=50)
    return figure.update_yaxes(showgrid=False, type="category", autorange="reversed", nticks=18, ticklen=4)


def _grid(table: pl.DataFrame, cohorts: Sequence[date], ages: Sequence[int]) -> list[list[float | None]]:
    found = {(cohort, age): value for cohort, age, value in table.select("cohort", "age", "value").iter_rows()}
    return [[found.get((cohort, age)) for age in ages] for cohort in cohorts]


def curve_chart(
    table: pl.DataFrame,
    *,
    x: str,
    x_title: str,
    style: str = "percent",
    unit: str = "",
    by: str | None = None,
    order: Sequence[str] = (),
) -> Any:
    """`value` by `x` with the band from `low` to `high` where the table has one; one curve for each value of `by`."""
    figure = blank()
    parts = [("", 0, table)] if by is None else _parts(table, by, order)
    form = number_format(style, unit, values=table["value"])
    for label, place, part in parts:
        color = color_of(place)
        if "low" in part.columns:
            ends = part["high"].to_list() + part["low"].to_list()[::-1]
            xs = part[x].to_list() + part[x].to_list()[::-1]
            figure.add_scatter(
                x=xs, y=ends, fill="toself", fillcolor=faded(color), line={"width": 0}, hoverinfo="skip",
                showlegend=False, mode="lines", legendgroup=label,
            )  # fmt: skip
        figure.add_scatter(
            x=part[x].to_list(), y=part["value"].to_list(), name=label, mode="lines+markers", marker={"size": 5},
            line={"color": color, "width": 2.2}, legendgroup=label,
            hovertemplate=form,
        )  # fmt: skip
    figure.update_layout(showlegend=by is not None)
    number_axis(figure, style=style, unit=unit)
    return _age_axis(figure, x_title, table[x])


def cohort_chart(table: pl.DataFrame, *, grain: Grain, style: str, unit: str = "", even: bool = False) -> Any:
    """A figure by `age` in days, a colour a `cohort`: `value` solid, `forecast` dashed in its band; `even` marks 1."""
    figure = blank()
    form = number_format(style, unit, values=table["value"])
    known = table.filter(pl.any_horizontal(pl.col("value", "forecast").is_not_null()))
    for index, ((cohort,), part) in enumerate(known.partition_by("cohort", as_dict=True, maintain_order=True).items()):
        color, label = color_of(index), day_words(cohort, grain)
        seen, ahead = part.filter(pl.col("value").is_not_null()), part.filter(pl.col("forecast").is_not_null())
        if ahead.height and seen.height:
            # The forecast begins where the observed ends, so that the line does not jump over nothing.
            ahead = ahead.filter(pl.col("age") > seen["age"].max())
        if ahead.height:
            _add_forecast(figure, ahead, color=color, label=label, form=form)
        figure.add_scatter(
            x=seen["age"].to_list(), y=seen["value"].to_list(), name=label, mode="lines+markers", legendgroup=label,
            line={"color": color, "width": 2.4}, hovertemplate=form,
            marker={"size": _dots(seen["value"].to_list()), "color": color},
        )  # fmt: skip
    if even:
        figure.add_hline(y=1, line={"color": COLORS["muted"], "width": 1, "dash": "dot"})
        figure.add_annotation(
            x=1, xref="paper", y=1, text="paid back", showarrow=False, xanchor="right", yanchor="bottom",
            font={"size": 12, "color": COLORS["muted"]},
        )  # fmt: skip
    figure.update_layout(showlegend=True)
    number_axis(figure, style=style, unit=unit)
    return _age_axis(figure, "Days since acquisition", known["age"])


def _age_axis(figure: Any, title: str, ages: pl.Series) -> Any:
    """The axis of ages: whole ones, each of them where they are few."""
    _room(figure, l=NUMBERS, b=52)
    few = {"dtick": 1} if ages.n_unique() <= FEW else {"nticks": 10}
    return figure.update_xaxes(title_text=title, showgrid=False, zeroline=False, tickformat=",d", **few)


def _add_forecast(figure: Any, ahead: pl.DataFrame, *, color: str, label: str, form: str) -> None:
    xs = ahead["age"].to_list()
    band = ahead["high"].to_list() + ahead["low"].to_list()[::-1]
    figure.add_scatter(
        x=xs + xs[::-1], y=band, fill="toself", fillcolor=faded(color), line={"width": 0}, hoverinfo="skip",
        showlegend=False, mode="lines", legendgroup=label,
    )  # fmt: skip
    figure.add_scatter(
        x=xs, y=ahead["forecast"].to_list(), name=f"{label}, forecast", mode="lines", showlegend=False,
        line={"color": color, "width": 2, "dash": "dash"}, legendgroup=label, hovertemplate=form,
    )  # fmt: skip


def hours_chart(table: pl.DataFrame, *, days: Sequence[str]) -> Any:
    """`value` by `weekday` (1 to 7, down, called `days`) and `hour` (across)."""
    figure = blank()
    found = {(weekday, hour): value for weekday, hour, value in table.select("weekday", "hour", "value").iter_rows()}
    cells = [[found.get((weekday, hour), 0.0) for hour in range(24)] for weekday in range(1, 8)]
    figure.add_heatmap(
        z=cells, x=[f"{hour:02d}" for hour in range(24)], y=list(days), colorscale=HEAT, showscale=False,
        xgap=2, ygap=2,
        zmin=0, hovertemplate="%{y}, %{x}:00: %{z:,.0f}<extra></extra>",
    )  # fmt: skip
    figure.update_layout(hovermode="closest")
    _room(figure, l=86, b=46)
    figure.update_xaxes(title_text="Hour of the day", showgrid=False, type="category", ticklen=2)
    return figure.update_yaxes(showgrid=False, autorange="reversed", type="category", ticklen=4)


def place_hours_chart(table: pl.DataFrame, *, value: str, places: Sequence[str]) -> Any:
    """A share, `value`, by `place` (down, in this order) and `hour` (across, '00' to '23'); blank where it is null."""
    figure = blank()
    hours = [f"{hour:02d}" for hour in range(24)]
    found = {(place, hour): share for place, hour, share in table.select("place", "hour", value).iter_rows()}
    cells = [[found.get((place, hour)) for hour in hours] for place in places]
    figure.add_heatmap(
        z=cells, x=hours, y=[words(place) for place in places], colorscale=HEAT, showscale=False, xgap=2, ygap=2,
        zmin=0, zmax=1, hoverongaps=False, hovertemplate="%{y}, %{x}:00: %{z:.1%}<extra></extra>",
        texttemplate="%{z:.0%}", textfont={"size": 11},
    )  # fmt: skip
    figure.update_layout(hovermode="closest")
    figure.update_xaxes(title_text="Hour of the day", showgrid=False, type="category", ticklen=2)
    return figure.update_yaxes(showgrid=False, autorange="reversed", type="category", ticklen=4)


def effects_chart(table: pl.DataFrame, *, style: str, unit: str) -> Any:
    """What each `label` added (`change`), as bars from zero, the first on top; the `kind` 'sum' is all of them."""
    figure = blank()
    colors = {True: COLORS["good"], False: BAD}
    sums = [COLORS["bar"] if kind == "sum" else colors[change >= 0] for kind, change in zip(
        table["kind"], table["change"], strict=True)]  # fmt: skip
    texts = [_effect_text(change, style=style, unit=unit) for change in table["change"]]
    figure.add_bar(
        x=table["change"].to_list(), y=table["label"].to_list(), orientation="h", marker_color=sums, text=texts,
        textposition="outside", cliponaxis=False, hovertemplate="%{y}: %{text}<extra></extra>",
        textfont={"size": 12, "color": COLORS["ink"]},
    )  # fmt: skip
    low, high = min(0.0, *table["change"]), max(0.0, *table["change"])
    room = 0.24 * ((high - low) or 1.0)  # for the texts at the ends of the bars
    ends = [low - room if low else 0.0, high + room if high else room]
    figure.update_layout(showlegend=False, hovermode="closest", bargap=0.34)
    figure.update_xaxes(range=ends, showgrid=False, showticklabels=False, zeroline=True, zerolinecolor=COLORS["other"])
    return figure.update_yaxes(autorange="reversed", type="category", showgrid=False, ticklen=4)


def _effect_text(change: float, *, style: str, unit: str) -> str:
    if not change:
        return "0"
    if style == "percent":
        return f"{'−' if change < 0 else '+'}{abs(100 * change):.2f} pts"
    return f"{'' if change < 0 else '+'}{figure_text(change, unit=unit)}"


def bar_chart(table: pl.DataFrame, *, x: str, style: str = "number", unit: str = "", x_title: str = "") -> Any:
    """`value` by `x`, with `predicted` as a mark where the table has one."""
    figure = blank()
    form = number_format(style, unit, values=table["value"])
    name = "Observed" if "predicted" in table.columns else ""
    figure.add_bar(
        x=table[x].to_list(), y=table["value"].to_list(), name=name, marker_color=COLORS["bar"],
        hovertemplate=form,
    )  # fmt: skip
    if "predicted" in table.columns:
        mark = {"symbol": "diamond", "size": 10, "color": color_of(1), "line": {"width": 1.5, "color": "#fff"}}
        figure.add_scatter(
            x=table[x].to_list(), y=table["predicted"].to_list(), name="Forecast", mode="markers", marker=mark,
            hovertemplate=form, cliponaxis=False,
        )  # fmt: skip
    figure.update_layout(showlegend="predicted" in table.columns)
    number_axis(figure, style=style, unit=unit)
    _room(figure, l=NUMBERS, b=52)
    return figure.update_xaxes(title_text=x_title, showgrid=False, type="category")


def number_format(style: str, unit: str, *, values: Iterable[float | None]) -> str:
    """Plotly's template of a number of this style, of these values; money has its unit and as many digits as needed."""
    if style == "percent":
        return "%{y:.1%}"
    if style == "times":
        return "%{y:.2f}×"
    return f"{unit}%{{y:,.{money_digits(values)}f}}" if unit else "%{y:,.4~r}"


def number_axis(figure: Any, *, style: str, unit: str) -> Any:
    """The axis of the figures: from zero, few lines, percent or money as said."""
    if style == "percent":
        return figure.update_yaxes(rangemode="tozero", nticks=6, zeroline=False, tickformat=".0%")
    if style == "times":
        return figure.update_yaxes(rangemode="tozero", nticks=6, zeroline=False, tickformat=",.2~f", ticksuffix="×")
    # "~s" writes 0.3 as 300m, for milli: what is small is written out.
    high = max((abs(value) for trace in figure.data for value in trace.y or () if value is not None), default=0.0)
    form = "~s" if high >= 1000 else ",.0f" if high >= 10 else ",.2f" if unit else ",.2~f"
    return figure.update_yaxes(rangemode="tozero", nticks=6, zeroline=False, tickformat=form, tickprefix=unit)


def time_axis(figure: Any, grain: Grain, starts: Iterable[date]) -> Any:
    """The axis of periods: a tick below the beginning of one, never between two, with the year where it is new."""
    every = sorted(set(starts))
    hover = {"day": "%a %d %b %Y", "week": "week of %d %b %Y", "month": "%B %Y"}[grain]
    step = -(-len(every) // MOST_TICKS) or 1
    shown = every[::-1][::step][::-1]
    years = [None, *(day.year for day in shown)]
    texts = [f"{day:%b}" if grain == "month" else f"{day.day} {day:%b}" for day in shown]
    texts = [text if years[at] == shown[at].year else f"{text}<br>{shown[at].year}" for at, text in enumerate(texts)]
    margin = timedelta(milliseconds=0.6 * PERIOD_MS[grain])
    ends = [instant(every[0]) - margin, instant(every[-1]) + margin] if every else None
    _room(figure, l=NUMBERS, b=42)
    return figure.update_xaxes(
        showgrid=False, hoverformat=hover, type="date", tickmode="array", tickvals=shown, ticktext=texts, range=ends
    )


def instant(day: date) -> datetime:
    """The beginning of a day, as Plotly counts."""
    return datetime(day.year, day.month, day.day)  # noqa: DTZ001


def day_words(day: date, grain: Grain) -> str:
    """The period that begins on this day, in words.

    >>> day_words(date(2025, 3, 3), "week"), day_words(date(2025, 3, 1), "month")
    ('3 Mar 2025', 'Mar 2025')
    """
    return f"{day:%b %Y}" if grain == "month" else f"{day.day} {day:%b %Y}"


def words(name: str) -> str:
    """A value of a dimension as a reader says it.

    >>> words("paid_social"), words("US")
    ('Paid social', 'US')
    """
    return name.replace("_", " ").capitalize() if name.islower() else name.replace("_", " ")


def faded(color: str) -> str:
    """The colour as a veil over others.

    >>> faded("#0f5f7d")
    'rgba(15,95,125,0.15)'
    """
    red, green, blue = (int(color[at : at + 2], 16) for at in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.15)"
