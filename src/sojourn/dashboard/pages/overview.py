"""Overview: where growth stands, how it changed, and which channels and countries moved it."""

import polars as pl

from sojourn.dashboard.boards import dimension_values, grain_of, published
from sojourn.dashboard.figures import day_words, effects_chart, words
from sojourn.dashboard.filters import Filters
from sojourn.dashboard.homes import CATALOGUE
from sojourn.dashboard.movers import Moved, biggest, moved
from sojourn.dashboard.numbers import figure_text
from sojourn.dashboard.pages._shared import definition_of, no_metric, over_time, style_of, tiles_of, unit_of
from sojourn.dashboard.parts import Cell, Drawn, Part, View, nothing
from sojourn.dashboard.reader import Reader

MOVED = ("active_users", "new_users", "revenue", "arpu", "paying_share")
MOST_BARS, MOST_ROWS = 7, 8
RULE = (
    "Of a sum: each segment's change. Of a ratio: its rate effect (how its own figure "
    "changed, at its mean weight) plus its "
    "mix effect (how its weight changed, against the whole). All effects add up to the "
    "change. Compared are the last two "
    "periods that are over."
)


def _free_dims(reader: Reader, filters: Filters) -> list[str]:
    """The dimensions that no filter holds fast, the channel first; of one value alone nothing can be told."""
    fixed = filters.conditions(channel=reader.spec.channel)
    dims = [dim for dim, values in dimension_values(reader).items() if dim not in fixed and len(values) > 1]
    return sorted(dims, key=lambda dim: dim != reader.spec.channel)


def _why(name: str) -> Part:
    def make(reader: Reader, filters: Filters) -> Drawn:
        if not published(reader, name):
            return nothing(no_metric(name, reader))
        dims = _free_dims(reader, filters)
        if not dims:
            return nothing("No dimension is left to tell segments apart by. Clear a filter, or declare portrait_dims.")
        why = moved(reader, name, filters, by=dims[0])
        spec, grain = CATALOGUE[name], grain_of(reader, filters)
        style, unit = style_of(spec), unit_of(spec, reader)
        figure = effects_chart(_steps(why, dims[0]), style=style, unit=unit)
        first = why.parts.row(0, named=True)
        told = figure_text(abs(first["effect"]), style="number" if style == "percent" else style, unit=unit)
        if style == "percent":
            told = f"{100 * abs(first['effect']):.2f} points"
        before, after = (figure_text(level, style=style, unit=unit) for level in (why.before, why.after))
        days = [day_words(day, grain) for day in (why.start, why.end)]
        said = (
            f"From {before} ({days[0]}) to {after} ({days[1]}). Moved most by {words(dims[0]).lower()}: "
            f"{words(first[dims[0]])}, {'up' if first['effect'] >= 0 else 'down'} {told}."
        )
        return Drawn(why.parts, figure, said=said, note=said)

    title = f"Why {CATALOGUE[name].title.lower()} moved"
    return Part(f"why_{name}", title, f"{RULE} {definition_of(name)}", make, "half")


def _steps(why: Moved, by: str) -> pl.DataFrame:
    """The bars of the chart: the largest effects, the rest as one, and all together."""
    parts = list(zip(why.parts[by].to_list(), why.parts["effect"].to_list(), strict=True))
    shown, rest = parts[:MOST_BARS], parts[MOST_BARS:]
    rows = [(words(name), effect, "part") for name, effect in shown]
    if rest:
        rows.append((f"{len(rest)} others", sum(effect for _, effect in rest), "part"))
    return pl.DataFrame([*rows, ("All together", why.change, "sum")], schema=["label", "change", "kind"], orient="row")


def _movers(reader: Reader, filters: Filters) -> Drawn:
    names = [name for name in MOVED if published(reader, name)]
    if not names:
        return nothing(no_metric("active_users", reader))
    table = biggest(reader, names, filters, by=_free_dims(reader, filters), most=MOST_ROWS)
    if table.is_empty():
        return nothing("What moved the figures takes two periods that are over. Widen the dates, or come back later.")
    shown = table.select(
        metric=pl.col("metric").replace_strict({name: CATALOGUE[name].title for name in names}),
        segment=pl.concat_str(pl.col("dimension").map_elements(words, return_dtype=pl.String), pl.lit(": "),
                              pl.col("segment").map_elements(words, return_dtype=pl.String)),
        before="before", after="after", relative="relative",
    )  # fmt: skip
    cells = {
        "metric": Cell("Figure"),
        "segment": Cell("Segment"),
        "before": Cell("Before", "number", told=lambda row: _said(row["metric"], row["before"], reader)),
        "after": Cell("After", "number", told=lambda row: _said(row["metric"], row["after"], reader)),
        "relative": Cell("Moved the whole by", "change"),
    }
    return Drawn(shown, cells=cells, said="The segments that moved the figures most.")


def _said(title: str, value: float | None, reader: Reader) -> str:
    spec = next(CATALOGUE[name] for name in MOVED if CATALOGUE[name].title == title)
    return figure_text(value, style=style_of(spec), unit=unit_of(spec, reader))


OVERVIEW = View(
    "overview",
    "Overview",
    "The latest period that is over, against the one before it, and what made the difference.",
    (
        over_time("active_users", by_channel=True),
        over_time("revenue", bars=True),
        _why("active_users"),
        _why("revenue"),
        Part(
            "movers",
            "What moved most",
            f"{RULE} Segments of every dimension, by how far they moved the whole figure.",
            _movers,
            "half",
        ),
        over_time("new_users", bars=True),
    ),
    tiles=tiles_of(["active_users", "new_users", "revenue", "arpu", "paying_share", "stickiness"]),
)
