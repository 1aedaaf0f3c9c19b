"""Acquisition: through which channels users come, what they cost, and when they have paid that back."""

from collections.abc import Callable

import polars as pl

from sojourn.dashboard.acquired import (
    COSTS_FIRST,
    cohort_grain,
    cohorts,
    cost_faults,
    metric_rows,
    over_cost,
    per_user,
)
from sojourn.dashboard.boards import published
from sojourn.dashboard.figures import cohort_chart, day_words, words
from sojourn.dashboard.filters import Filters
from sojourn.dashboard.homes import CATALOGUE
from sojourn.dashboard.numbers import figure_text
from sojourn.dashboard.pages._shared import EDGES, over_time, style_of, tile_of, unit_of
from sojourn.dashboard.parts import Cell, Drawn, Part, Tile, View, Width, nothing
from sojourn.dashboard.reader import Reader
from sojourn.evaluate.formats import number_text

SHOWN_COHORTS = 6
PAYBACK = (
    "Margin up to an age of those acquired through channels that cost something, over "
    "what these cost: at 1 it has paid itself back. Solid: observed. "
    "Dashed: forecast, with the band of the users' own ranges."
)
NO_COHORT = "No cohort was acquired between these days, or through this channel and campaign. Clear the filters."
Curve = Callable[[Reader, Filters], pl.DataFrame]


def payback_curves(reader: Reader, filters: Filters) -> pl.DataFrame:
    """LTV : CAC by `cohort` and `age` in days: `value` (observed, null where not mature), `forecast`, `low`, `high`."""
    return over_cost(reader, filters, "acquired_margin")


def _roas(reader: Reader, filters: Filters) -> pl.DataFrame:
    return over_cost(reader, filters, "acquired_revenue")


def _of(name: str) -> Curve:
    return lambda reader, filters: per_user(reader, filters, name)


def _curves(
    part: str, title: str, name: str, curve: Curve, *, definition: str, width: Width, height: int = 320
) -> Part:
    """A panel with one line a cohort: of metric `name`, whose look it has, by `curve`."""

    def make(reader: Reader, filters: Filters) -> Drawn:
        if not published(reader, name):
            return nothing(COSTS_FIRST)
        table, grain = curve(reader, filters), cohort_grain(filters)
        if table.drop("cohort", "age").select(pl.any_horizontal(pl.all().is_not_null().any())).item() is not True:
            return nothing(NO_COHORT if table.is_empty() else f"No {grain} of acquired users is old enough yet.")
        spec = CATALOGUE[name]
        style, unit = style_of(spec), unit_of(spec, reader)
        # At age 0 everybody is active by definition.
        table = table.filter(pl.col("age") > 0) if part == "retained" else table
        shown = table.filter(pl.col("cohort").is_in(table["cohort"].unique().sort().tail(SHOWN_COHORTS).implode()))
        figure = cohort_chart(shown, grain=grain, style=style, unit=unit, even=spec.denominator == "cost")
        last = shown.filter(pl.col("value").is_not_null()).group_by("cohort").last().sort("cohort")
        told = "; ".join(
            f"{day_words(day, grain)}: {figure_text(value, style=style, unit=unit)} by day {age}"
            for day, age, value in last.select("cohort", "age", "value").iter_rows()
        )
        return Drawn(table, figure, said=f"{title}. {told}.")

    return Part(part, title, definition, make, width, height)


def _cohorts(reader: Reader, filters: Filters) -> Drawn:
    if not published(reader, "acquired_margin"):
        return nothing(COSTS_FIRST)
    table, grain, unit = cohorts(reader, filters), cohort_grain(filters), reader.spec.unit
    if table.is_empty():
        return nothing(NO_COHORT)
    cells = {
        "cohort": Cell(f"Acquired in the {grain} of", told=lambda row: day_words(row["cohort"], grain)),
        "acquired": Cell("Users", "number", 0),
        "age": Cell("Age, days", "number", 0),
        "retention": Cell("Active that day", "percent"),
        "revenue": Cell("Revenue a user", "number", None, unit),
        "margin": Cell("Margin a user", "number", None, unit),
        "cost": Cell("Cost", "number", None, unit),
        "roas": Cell("ROAS", "percent", 0),
        "ltv_cac": Cell("LTV : CAC", "times", 2),
        "forecast": Cell("LTV : CAC, forecast", "times", 2),
    }
    cells = {name: cell for name, cell in cells.items() if name in table.columns}
    return Drawn(table, cells=cells, shown=24, said="What each cohort of acquired users brought back, newest first.")


def _payback_table(reader: Reader, filters: Filters) -> Drawn:
    if not reader.has("metric_payback"):
        return nothing(COSTS_FIRST)
    grain = cohort_grain(filters)
    rows = metric_rows(reader, "payback", filters, grain)
    rows = rows.filter(pl.col("status") != "free").sort(["cohort", "cost"], descending=[True, True])
    if rows.is_empty():
        return nothing(f"{NO_COHORT} Only what cost something can pay back.")
    table = rows.select(
        "cohort", "channel", "acquired", "cost", "margin", back=pl.col("margin") / pl.col("cost"), status="status",
        payback_days="payback_days", low="low", high="high",
    )  # fmt: skip
    table = table.with_columns(
        channel=pl.col("channel").replace({"(paid)": "all_that_cost"}).map_elements(words, return_dtype=pl.String)
    )
    unit = reader.spec.unit
    cells = {
        "cohort": Cell(f"Acquired in the {grain} of", told=lambda row: day_words(row["cohort"], grain)),
        "channel": Cell("Channel"),
        "acquired": Cell("Users", "number", 0),
        "cost": Cell("Cost", "number", None, unit),
        "margin": Cell("Margin so far", "number", None, unit),
        "back": Cell("Paid back", "percent", 0),
        "status": Cell("Payback is"),
        "payback_days": Cell("Days", "number", 0),
    }
    return Drawn(table, cells=cells, shown=24, said="When each cohort has paid back what it cost.")


def _tiles(reader: Reader, filters: Filters) -> list[Tile]:
    wanted = {"acquired_users": "good", "acquisition_cost": "calm", "cpi": "bad", "cac": "bad"}
    found = [tile_of(name, reader, filters, more_is=tone) for name, tone in wanted.items()]  # type: ignore[arg-type]
    tiles = [tile for tile in found if tile is not None]
    if tiles:
        return [*tiles, *_back_tiles(reader, filters)]
    tile = tile_of("new_users", reader, filters)
    return [] if tile is None else [tile]


def _back_tiles(reader: Reader, filters: Filters) -> list[Tile]:
    """LTV : CAC and ROAS of the oldest cohort that is shown, the one that had most time."""
    if not published(reader, "ltv_cac"):
        return []
    table = cohorts(reader, filters).filter(pl.col("ltv_cac").is_not_null())
    if table.is_empty():
        return []
    row, grain = table.head(SHOWN_COHORTS).row(-1, named=True), cohort_grain(filters)
    told = f"{day_words(row['cohort'], grain)}, by day {row['age']}"
    if row["forecast"] is not None:
        told += f"; forecast {number_text(row['forecast'], style='times', digits=2)}"
    roas = figure_text(row["roas"], style="percent")
    return [
        Tile("LTV : CAC", number_text(row["ltv_cac"], style="times", digits=2), against=told, definition=PAYBACK),
        Tile("ROAS", roas, against=f"{day_words(row['cohort'], grain)}, by day {row['age']}"),
    ]


def _notices(reader: Reader, filters: Filters) -> list[str]:
    faults = cost_faults(reader)
    stands = " The figures of costs below are from before, as far as there are any."
    return [f"{fault}{stands}" for fault in faults]


ACQUISITION = View(
    "acquisition",
    "Acquisition",
    "Through which channels users come, what they cost, and when they have paid that back.",
    (
        over_time("acquired_users", bars=True, by_channel=True, title="Acquired users by channel"),
        over_time("acquisition_cost", bars=True, by_channel=True, title="Cost by channel"),
        over_time("cpi", by_channel=True, title="Cost per acquired user by channel"),
        over_time("cac", by_channel=True, title="Cost per new customer by channel"),
        _curves(
            "payback",
            "Payback of each cohort: LTV : CAC",
            "ltv_cac",
            payback_curves,
            definition=PAYBACK,
            width="full",
            height=400,
        ),
        _curves(
            "roas",
            "Return on ad spend of each cohort",
            "roas",
            _roas,
            width="half",
            definition="Net revenue up to an age of those acquired through channels that cost something, over what "
            "these cost. Solid: observed. Dashed: forecast, with its band.",
        ),
        _curves(
            "margin",
            "Margin per acquired user",
            "acquired_margin",
            _of("acquired_margin"),
            width="half",
            definition=f"{CATALOGUE['acquired_margin'].formula}, by cohort. Dashed: forecast, with its band. {EDGES}",
        ),
        _curves(
            "retained",
            "Retention of acquired users",
            "acquired_retention",
            _of("acquired_retention"),
            width="half",
            definition=f"{CATALOGUE['acquired_retention'].formula}, of each cohort. {EDGES}",
        ),
        _curves(
            "revenue",
            "Revenue per acquired user",
            "acquired_revenue",
            _of("acquired_revenue"),
            width="half",
            definition=f"{CATALOGUE['acquired_revenue'].formula}, by cohort. Dashed: forecast, with its band. {EDGES}",
        ),
        Part(
            "cohorts",
            "Acquired cohorts",
            "Each cohort at the latest age that all of it has reached: who was active on that day, revenue and margin "
            "per acquired user up to it, and over the cost of the channels that cost something ROAS (revenue) and "
            f"LTV : CAC (margin). The forecast is of the last age that it reaches. {EDGES}",
            _cohorts,
        ),
        Part(
            "payback_table",
            "When cohorts pay back",
            f"{PAYBACK} The day is the first age by which margin was at least cost.",
            _payback_table,
        ),
    ),
    tiles=_tiles,
    notices=_notices,
    controls=("board", "from", "to", "grain", "channel", "segment"),
)
