"""What several pages do alike: a metric over time as a panel, its latest figure as a tile, its definition in words."""

from collections.abc import Callable, Sequence
from datetime import date

import polars as pl

from sojourn.dashboard.acquired import COSTS_FIRST
from sojourn.dashboard.boards import dimension_values, grain_of, metric, published
from sojourn.dashboard.figures import day_words, time_chart, words
from sojourn.dashboard.filters import Filters
from sojourn.dashboard.homes import CATALOGUE, dims_of_metric
from sojourn.dashboard.numbers import figure_text
from sojourn.dashboard.parts import Cell, Drawn, Part, Tile, Tone, Width, nothing
from sojourn.dashboard.reader import Reader
from sojourn.dashboard.spec import Grain
from sojourn.evaluate.parts import Style
from sojourn.metrics import ACQUISITION_METRICS, METRICS, MetricSpec

EDGES = (
    "A day is the business day of the warehouse's zone; a row that came twice counts "
    "once; late rows repair the days they "
    "belong to; test accounts and excluded rows are left out. What is not over yet is dotted, hatched or grey."
)


def definition_of(name: str) -> str:
    """A metric's formula and edge rules, as a sentence."""
    spec = CATALOGUE[name]
    return f"{spec.title} = {spec.formula}. {EDGES}"


def style_of(spec: MetricSpec) -> Style:
    """How a metric's figures are written."""
    styles: dict[str, Style] = {"share": "percent", "times": "times"}
    return styles.get(spec.unit, "number")


def unit_of(spec: MetricSpec, reader: Reader) -> str:
    """What goes before a metric's figures."""
    return reader.spec.unit if spec.unit.startswith("money") else ""


def over_time(
    name: str, *, title: str | None = None, bars: bool = False, by_channel: bool = False, width: Width = "half"
) -> Part:
    """A panel of one metric by period, parted by channel where asked."""

    def make(reader: Reader, filters: Filters) -> Drawn:
        spec, grain = CATALOGUE[name], grain_of(reader, filters)
        if not published(reader, name):
            return nothing(no_metric(name, reader))
        parted = by_channel and filters.channel is None
        by = (
            reader.spec.channel if parted and reader.spec.channel in dims_of_metric(reader, name, grain=grain) else None
        )
        table = metric(reader, name, filters, by=[by] if by else [])
        if by and spec.numerator == "cost":
            # A channel that never cost anything is free, which is no line along the bottom.
            table = table.filter(pl.col("numerator").sum().over(by) > 0)
        if table.is_empty():
            return nothing(
                f"{spec.title}: nothing is known of these days yet. Widen the dates, or choose a longer period."
            )
        style, unit = style_of(spec), unit_of(spec, reader)
        figure = time_chart(
            table, grain=grain, name=spec.title, style=style, unit=unit, bars=bars, by=by, order=channels(reader)
        )
        return Drawn(table, figure, said=said_of(table, spec.title, reader, filters))

    return Part(
        f"{name}_by_channel" if by_channel else name, title or CATALOGUE[name].title, definition_of(name), make, width
    )


def channels(reader: Reader) -> list[str]:
    """The channels in the order of their colours."""
    return dimension_values(reader).get(reader.spec.channel, [])


def no_metric(name: str, reader: Reader) -> str:
    """Why a metric is not there, and the line that makes it."""
    if name in ACQUISITION_METRICS:
        return COSTS_FIRST
    return (
        f"{METRICS[name].title}: board '{reader.spec.board}' has not published this metric "
        "yet. Make it: sojourn metrics "
        "backfill"
    )


def said_of(table: pl.DataFrame, title: str, reader: Reader, filters: Filters) -> str:
    """What a chart over time shows, for whoever cannot see it."""
    grain = grain_of(reader, filters)
    if table.is_empty():
        return f"{title}: no figure."
    first, last = min(table["start"]), max(table["start"])
    return f"{title} by {grain}, from {first} to {last}; the same figures are in the CSV."


def tile_of(name: str, reader: Reader, filters: Filters, *, more_is: Tone = "good") -> Tile | None:
    """A metric's latest period that is over, with its change against the one before; None where it is not published."""
    spec, grain = CATALOGUE[name], grain_of(reader, filters)
    if not published(reader, name):
        return None
    table = metric(reader, name, filters)
    over = table.filter(pl.col("mature"))
    style, unit = style_of(spec), unit_of(spec, reader)
    if over.is_empty():
        return Tile(spec.title, "–", against="no period is over yet", definition=definition_of(name))
    values = over["value"].to_list()
    latest, before = values[-1], values[-2] if len(values) > 1 else None
    change, tone = change_of(latest, before, style=style, more_is=more_is)
    against = period_words(over["start"][-1], grain)
    text = figure_text(latest, style=style, unit=unit)
    return Tile(spec.title, text, change, tone, against, values[-26:], definition_of(name))


def period_words(day: date, grain: Grain) -> str:
    """The period that begins on this day, as a tile says it."""
    return f"{'week of ' if grain == 'week' else ''}{day_words(day, grain)}"


def change_of(latest: float | None, before: float | None, *, style: Style, more_is: Tone = "good") -> tuple[str, Tone]:
    """The change in words (points for shares, per cent for the rest), and whether that is good news."""
    if latest is None or before is None or (style != "percent" and not before):
        return "", "calm"
    if style == "percent":
        moved = latest - before
        told = f"{'−' if moved < 0 else '+'}{abs(100 * moved):.1f} pts"
    else:
        moved = latest / before - 1
        told = figure_text(moved, style="change")
    if abs(moved) < 0.0005:
        return told, "calm"
    return told, more_is if moved > 0 else ("bad" if more_is == "good" else "good")


def tiles_of(names: Sequence[str]) -> Callable[[Reader, Filters], list[Tile]]:
    """The tiles of these metrics, leaving out those that the board does not publish."""

    def tiles(reader: Reader, filters: Filters) -> list[Tile]:
        found = [tile_of(name, reader, filters) for name in names]
        return [tile for tile in found if tile is not None]

    return tiles


def heading(name: str, style: Style = "text", *, unit: str = "", digits: int | None = None) -> Cell:
    """A column's cell whose heading is its name in words."""
    return Cell(words(name), style, digits, unit)
