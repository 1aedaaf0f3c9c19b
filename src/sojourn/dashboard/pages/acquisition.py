"""Acquisition: through which channels users come, what they cost, and when they have paid that back."""

import polars as pl

from sojourn.core import MissingTable
from sojourn.dashboard.boards import published
from sojourn.dashboard.figures import day_words, payback_chart, words
from sojourn.dashboard.filters import Filters
from sojourn.dashboard.pages._shared import COSTS_FIRST, over_time, tile_of
from sojourn.dashboard.parts import Cell, Drawn, Part, Tile, View, nothing
from sojourn.dashboard.reader import Reader
from sojourn.dashboard.spec import Grain

SHOWN_COHORTS = 6
PAYBACK = (
    "Margin up to an age of those acquired through channels that cost something, over "
    "what these cost: at 100 % it has paid itself back. Solid: observed. "
    "Dashed: forecast, with the band of the users' own ranges."
)


def payback_curves(reader: Reader, filters: Filters) -> pl.DataFrame:
    """By `cohort` and `age` in days: `value` (observed, null where not mature), `forecast`, `low` and `high`.

    Summed over the channels that cost something in that cohort, over all their campaigns: users may have none.
    """
    grain = cohort_grain(filters)
    as_number = (pl.col("numerator").cast(pl.Float64), pl.col("denominator").cast(pl.Float64))
    costs = metric_rows(reader, "ltv_cac", filters, grain).with_columns(*as_number).filter(pl.col("age") == 0)
    paid = costs.group_by("cohort", "channel").agg(cost=pl.col("denominator").sum()).filter(pl.col("cost") > 0)
    rows = metric_rows(reader, "acquired_margin", filters, grain).with_columns(*as_number)
    rows = rows.join(paid.select("cohort", "channel"), on=["cohort", "channel"])
    # How many were acquired is known from the first day on; the row of a forecast does not say it again.
    keys = ["cohort", "channel", "campaign"]
    acquired = rows.filter(pl.col("age") == 0).select(*keys, acquired="denominator")
    sides = {"forecast": "forecast", "low": "forecast_low", "high": "forecast_high"}
    summed = (
        rows.join(acquired, on=keys)
        .group_by("cohort", "age")
        .agg(
            pl.col("numerator").sum(),
            pl.col("mature").all(),
            *((pl.col(column) * pl.col("acquired")).sum().alias(name) for name, column in sides.items()),
            told=pl.col("acquired").filter(pl.col("forecast").is_not_null()).sum(),
        )
        .join(paid.group_by("cohort").agg(cost=pl.col("cost").sum()), on="cohort")
        .join(acquired.group_by("cohort").agg(pl.col("acquired").sum()), on="cohort")
    )
    # A sum over channels of which some have no forecast at that age is no forecast of the cohort.
    whole = pl.col("told") == pl.col("acquired")
    return summed.select(
        "cohort",
        "age",
        value=pl.when("mature").then(pl.col("numerator") / pl.col("cost")),
        **{name: pl.when(whole).then(pl.col(name) / pl.col("cost")) for name in sides},
    ).sort("cohort", "age")


def cohort_grain(filters: Filters) -> Grain:
    """Cohorts of acquisition are weeks or months: months unless weeks are asked for."""
    return "week" if filters.grain == "week" else "month"


def metric_rows(reader: Reader, name: str, filters: Filters, grain: Grain) -> pl.DataFrame:
    """A cohort metric's rows as they lie in its table, of the filters' cohorts and channel."""
    table, board = f"metric_{name}", reader.spec.board

    def rows() -> pl.DataFrame:
        places = [p for p in reader.warehouse.places(table) if (p["board"], p["grain"]) == (board, grain)]
        if not places:
            raise MissingTable(COSTS_FIRST)
        return reader.warehouse.frame(table, only=places)

    found: pl.DataFrame = reader.kept(f"rows/{table}/{grain}", tables=[table], make=rows)
    if filters.channel is not None:
        found = found.filter(pl.col("channel") == filters.channel)
    if filters.start is not None:
        found = found.filter(pl.col("start") >= filters.start)
    if filters.end is not None:
        found = found.filter(pl.col("start") <= filters.end)
    return found


def _payback(reader: Reader, filters: Filters) -> Drawn:
    if not published(reader, "ltv_cac"):
        return nothing(COSTS_FIRST)
    table = payback_curves(reader, filters)
    if table.is_empty():
        return nothing(
            "No cohort with costs began between these days, or came through this channel. Clear the filters."
        )
    grain = cohort_grain(filters)
    shown = table.filter(pl.col("cohort").is_in(table["cohort"].unique().sort().tail(SHOWN_COHORTS).implode()))
    figure = payback_chart(shown, grain=grain)
    last = shown.filter(pl.col("value").is_not_null()).group_by("cohort").last().sort("cohort")
    said = "; ".join(
        f"{day_words(day, grain)}: {value:.0%} by day {age}"
        for day, age, value in last.select("cohort", "age", "value").iter_rows()
    )
    return Drawn(table, figure, said=f"Share of cost paid back by cohort. {said}.")


def _payback_table(reader: Reader, filters: Filters) -> Drawn:
    if not reader.has("metric_payback"):
        return nothing(COSTS_FIRST)
    grain = cohort_grain(filters)
    rows = metric_rows(reader, "payback", filters, grain)
    rows = rows.filter(pl.col("status") != "free").sort(["cohort", "cost"], descending=[True, True])
    if rows.is_empty():
        return nothing(
            "No cohort with costs began between these days, or came through this channel. Clear the filters."
        )
    table = rows.select(
        "cohort", "channel", "acquired", "cost", "margin", back=pl.col("margin") / pl.col("cost"), status="status",
        payback_days="payback_days", low="low", high="high",
    )  # fmt: skip
    table = table.with_columns(
        channel=pl.col("channel").replace({"(all)": "all channels"}).map_elements(words, return_dtype=pl.String)
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
    return Drawn(table, cells=cells, shown=40, said="When each cohort has paid back what it cost.")


def _tiles(reader: Reader, filters: Filters) -> list[Tile]:
    wanted = {"acquired_users": "good", "acquisition_cost": "calm", "cpi": "bad", "cac": "bad"}
    found = [tile_of(name, reader, filters, more_is=tone) for name, tone in wanted.items()]  # type: ignore[arg-type]
    tiles = [tile for tile in found if tile is not None]
    if tiles:
        return tiles
    tile = tile_of("new_users", reader, filters)
    return [] if tile is None else [tile]


ACQUISITION = View(
    "acquisition",
    "Acquisition",
    "Through which channels users come, what they cost, and when they have paid that back.",
    (
        over_time("acquired_users", bars=True, by_channel=True, title="Acquired users by channel"),
        over_time("acquisition_cost", bars=True, by_channel=True, title="Cost by channel"),
        over_time("cpi", by_channel=True, title="Cost per acquired user by channel"),
        over_time("cac", by_channel=True, title="Cost per new customer by channel"),
        Part("payback", "Payback of each cohort", PAYBACK, _payback, height=400),
        Part(
            "payback_table",
            "When cohorts pay back",
            f"{PAYBACK} The day is the first age by which margin was at least cost.",
            _payback_table,
        ),
    ),
    tiles=_tiles,
    controls=("from", "to", "grain", "channel"),
)
