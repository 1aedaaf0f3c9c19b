"""Market: the two sides beside each other, supply and demand by hour and place, and how much of it was served."""

from datetime import date

import polars as pl

from sojourn.core import EmptyInput, MissingTable
from sojourn.dashboard.boards import grain_of, metric, published
from sojourn.dashboard.figures import curve_chart, place_hours_chart, time_chart, words
from sojourn.dashboard.filters import Filters
from sojourn.dashboard.homes import CATALOGUE
from sojourn.dashboard.numbers import figure_text
from sojourn.dashboard.pages._shared import EDGES, change_of, definition_of, no_metric, period_words, said_of
from sojourn.dashboard.pages.retention import TOO_YOUNG, by_age, cohort_table
from sojourn.dashboard.parts import Cell, Drawn, Part, Tile, View, nothing
from sojourn.dashboard.reader import Reader
from sojourn.dashboard.spec import Grain
from sojourn.evaluate.parts import Style
from sojourn.metrics import MARKET_METRICS

NO_MARKET = (
    "Supply and demand have not been counted yet. Declare [supply_demand] with supply, demand and served, then run: "
    "sojourn metrics supply"
)
ONE_SIDE = (
    "Only one side has metrics. Declare the other as a board of its own, [metrics.boards.drivers], then run: sojourn "
    "metrics backfill"
)
SHOWN_PLACES = 6
SIDES = {"supply": "Supply hours", "demand": "Demand", "served": "Served"}


def market_rows(reader: Reader, filters: Filters, *, grain: Grain) -> pl.DataFrame:
    """`start`, `place`, `hour`, `supply`, `demand`, `served`, `mature`: of the periods that the filters let through.

    Without dates the latest, as many as the dashboard declares. Raises `MissingTable`, `EmptyInput`.
    """
    if not reader.has("metric_fill_rate"):
        raise MissingTable(NO_MARKET)
    tables = ["metric_fill_rate", "metric_supply_hours"]

    def rows() -> pl.DataFrame:
        served, supply = (_frame(reader, table, grain) for table in tables)
        keys = ["start", "place", "hour"]
        both = served.select(*keys, "mature", served="numerator", demand="denominator").join(
            supply.select(*keys, supply="numerator"), on=keys
        )
        return both.with_columns(pl.col("served", "demand", "supply").cast(pl.Float64)).sort(keys)

    found: pl.DataFrame = reader.kept(f"market/{grain}", tables=tables, make=rows)
    begin, end = filters.start or date.min, filters.end or date.max
    found = found.filter(pl.col("start").is_between(begin, end))
    if found.is_empty():
        raise EmptyInput("Supply and demand have no figure between these days. Choose other dates, or clear them.")
    if filters.start is None:
        found = found.filter(pl.col("start").is_in(_last(found, reader.spec.periods(grain))))
    return found


def _frame(reader: Reader, table: str, grain: Grain) -> pl.DataFrame:
    places = [place for place in reader.warehouse.places(table) if place["grain"] == grain]
    if not places:
        raise MissingTable(NO_MARKET)
    board = places[0]["board"]
    return reader.warehouse.frame(table, only=[place for place in places if place["board"] == board])


def _last(table: pl.DataFrame, periods: int) -> list[date]:
    starts: list[date] = table["start"].unique().sort().tail(periods).to_list()
    return starts


def balance(rows: pl.DataFrame, by: list[str]) -> pl.DataFrame:
    """The sums of each `by`, with `fill_rate` (served / demand) and `pressure` (demand / supply), null over zero."""
    sums = rows.group_by(by).agg(pl.col("supply", "demand", "served").sum(), pl.col("mature").all())
    return sums.with_columns(
        fill_rate=pl.when(pl.col("demand") > 0).then(pl.col("served") / pl.col("demand")),
        pressure=pl.when(pl.col("supply") > 0).then(pl.col("demand") / pl.col("supply")),
    ).sort(by)


def _tiles(reader: Reader, filters: Filters) -> list[Tile]:
    if not reader.has("metric_fill_rate"):
        return []
    grain = grain_of(reader, filters)
    table = balance(market_rows(reader, filters, grain=grain), ["start"]).filter("mature")
    if table.is_empty():
        return []
    wanted: dict[str, tuple[str, Style]] = {
        "supply": ("supply_hours", "number"),
        "demand": ("demand", "number"),
        "fill_rate": ("fill_rate", "percent"),
        "pressure": ("pressure", "number"),
    }
    tiles = []
    for column, (name, style) in wanted.items():
        spec, values = MARKET_METRICS[name], table[column].to_list()
        calm = column == "pressure"
        change, tone = change_of(values[-1], values[-2] if len(values) > 1 else None, style=style)
        told = period_words(table["start"][-1], grain)
        text = figure_text(values[-1], style=style)
        tiles.append(Tile(spec.title, text, change, "calm" if calm else tone, told, values[-26:], _formula(name)))
    return tiles


def _formula(name: str) -> str:
    return f"{MARKET_METRICS[name].title} = {MARKET_METRICS[name].formula}. {EDGES}"


def _sides(name: str) -> Part:
    def make(reader: Reader, filters: Filters) -> Drawn:
        boards = [board for board in reader.boards() if published(reader.on(board), name)]
        if len(boards) < 2:
            return nothing(ONE_SIDE if boards else no_metric(name, reader))
        parts = [metric(reader.on(board), name, filters).with_columns(board=pl.lit(board)) for board in boards]
        table, spec = pl.concat(parts), CATALOGUE[name]
        figure = time_chart(table, grain=grain_of(reader, filters), name=spec.title, by="board", order=boards)
        return Drawn(table, figure, said=said_of(table, f"{spec.title} of each side", reader, filters))

    return Part(f"{name}_by_side", f"{CATALOGUE[name].title}, side by side", definition_of(name), make, "half")


def _retention(reader: Reader, filters: Filters) -> Drawn:
    boards = [board for board in reader.boards() if published(reader.on(board), "retention")]
    if len(boards) < 2:
        return nothing(ONE_SIDE if boards else no_metric("retention", reader))
    tables = [by_age(cohort_table(reader.on(board), filters, "retention")) for board in boards]
    table = pl.concat([part.with_columns(board=pl.lit(board)) for part, board in zip(tables, boards, strict=True)])
    table, grain = table.filter(pl.col("age") > 0), grain_of(reader, filters)
    if table.is_empty():
        return nothing(TOO_YOUNG)
    figure = curve_chart(table, x="age", x_title=f"{grain.capitalize()}s since the first", by="board", order=boards)
    return Drawn(table, figure, said=f"Retention by age of {len(boards)} sides.")


def _balance(reader: Reader, filters: Filters) -> Drawn:
    grain = grain_of(reader, filters)
    table = balance(market_rows(reader, filters, grain=grain), ["start"])
    long = table.unpivot(index=["start", "mature"], on=list(SIDES), variable_name="side", value_name="value")
    long = long.with_columns(pl.col("side").replace(SIDES))
    figure = time_chart(long, grain=grain, name="Balance", by="side", order=list(SIDES.values()))
    return Drawn(table, figure, said=said_of(table, "Supply hours, demand and what was served", reader, filters))


def _fill(reader: Reader, filters: Filters) -> Drawn:
    grain = grain_of(reader, filters)
    rows = market_rows(reader, filters, grain=grain)
    busiest = balance(rows, ["place"]).sort("demand", "place", descending=[True, False])["place"].to_list()
    table = balance(rows, ["start", "place"]).filter(pl.col("fill_rate").is_not_null())
    shown = table.filter(pl.col("place").is_in(busiest[:SHOWN_PLACES])).with_columns(value="fill_rate")
    if shown.is_empty():
        return nothing("Nobody asked for anything in these days. Widen the dates.")
    figure = time_chart(shown, grain=grain, name="Fill rate", style="percent", by="place", order=busiest)
    note = f"The {SHOWN_PLACES} places with most demand of {len(busiest)}." if len(busiest) > SHOWN_PLACES else ""
    return Drawn(table, figure, said=said_of(table, "Fill rate by place", reader, filters), note=note)


def _hours(reader: Reader, filters: Filters) -> Drawn:
    table = balance(market_rows(reader, filters, grain=grain_of(reader, filters)), ["place", "hour"])
    busiest = table.group_by("place").agg(pl.col("demand").sum()).sort("demand", "place", descending=[True, False])
    shown = table.filter(pl.col("place").is_in(busiest["place"].head(20).implode()))
    figure = place_hours_chart(shown, value="fill_rate", places=busiest["place"].head(20).to_list())
    worst = shown.filter(pl.col("fill_rate").is_not_null()).sort("fill_rate", "place", "hour").head(1)
    told = "".join(
        f"Served least: {words(place)} at {hour}:00, {figure_text(rate, style='percent')}."
        for place, hour, rate in worst.select("place", "hour", "fill_rate").iter_rows()
    )
    return Drawn(table, figure, said=f"Fill rate by place and hour. {told}", note=told)


def _places(reader: Reader, filters: Filters) -> Drawn:
    table = balance(market_rows(reader, filters, grain=grain_of(reader, filters)), ["place"]).drop("mature")
    cells = {
        "place": Cell("Place", told=lambda row: words(row["place"])),
        "supply": Cell("Supply hours", "number", 0),
        "demand": Cell("Demand", "number", 0),
        "served": Cell("Served", "number", 0),
        "fill_rate": Cell("Fill rate", "percent"),
        "pressure": Cell("Demand per supply hour", "number", 2),
    }
    table = table.sort("demand", "place", descending=[True, False])
    return Drawn(table, cells=cells, shown=20, said="Supply, demand and what was served, by place.")


def _is_market(reader: Reader) -> bool:
    return reader.has("metric_fill_rate") or len(reader.boards()) > 1


RETAINED = f"Active of age a / those whose age a is over, over all cohorts, with Wilson's 95 % interval. {EDGES}"
MARKET = View(
    "market",
    "Market",
    "Both sides beside each other; how much was asked for, where and when, and how much of it was served.",
    (
        Part("balance", "Supply and demand", _formula("supply_hours"), _balance, "half"),
        Part("fill", "Fill rate by place", _formula("fill_rate"), _fill, "half"),
        Part("hours", "Fill rate by place and hour", _formula("fill_rate"), _hours, height=360),
        Part("places", "Places", f"{_formula('fill_rate')} {_formula('pressure')}", _places),
        _sides("active_users"),
        _sides("new_users"),
        Part("retention_by_side", "Retention, side by side", RETAINED, _retention),
    ),
    tiles=_tiles,
    controls=("from", "to", "grain"),
    wanted=_is_market,
)
