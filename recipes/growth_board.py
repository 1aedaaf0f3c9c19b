"""A growth board: what each channel costs, what its cohorts bring, when they pay back, and whether the forecast held.

    python recipes/growth_board.py [--users 6000] [--data FOLDER] [--out growth-board] [--json PATH]

First a simulated app whose costs, channels and truth are known. After 150 days a model predicts every user; its sums
are drawn beside what was observed, by cohort and channel. Then the app lives on for 60 days, and the forecast is
compared with what came, beside two baselines: nothing more comes, and each cohort grows as older ones did. The pages
are OUT/growth-board.html, and OUT/why.html on what moved the cost of a user.

Then, where FOLDER holds `intendo_small/` (default: the environment variable SOJOURN_DATA; docs/data.md says where
from), the same board for a mobile game's sessions and purchases by channel: OUT/mobile-game.html. It has no costs, and
nobody else's are lent to it.
"""

import argparse
import json
import os
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from sojourn.evaluate import Callout, Report
from sojourn.events import IngestSpec, WorldSpec, ingest, simulate
from sojourn.lifetime import LifetimeSpec, fit_models, score_users
from sojourn.metrics import (
    AcquisitionSpec,
    AttributionSpec,
    WhySpec,
    acquisition_page,
    channel_summary,
    why_moved,
    why_page,
    write_acquisition,
)
from sojourn.warehouse import Warehouse

START, KNOWN_DAYS, LATER_DAYS = date(2025, 1, 1), 150, 60
TODAY = START + timedelta(days=KNOWN_DAYS)
MODEL = LifetimeSpec(
    horizons_days=(30, 60),
    models={"ltv_30": "two_stage", "ltv_60": "two_stage", "churn_30": "churn_trees"},
    step_days=15,
    train_as_ofs=4,
)
BOARD = AcquisitionSpec(
    attribution=AttributionSpec(active="event = 'launch'", campaign_column="campaign"),
    margin_share=0.7,  # the store keeps 30 %
    horizon_days=KNOWN_DAYS + LATER_DAYS,
)
GAME = AcquisitionSpec(
    name="game",
    attribution=AttributionSpec(active="event = 'launch'"),
    margin="CASE WHEN event = 'purchase' THEN amount * 0.7 ELSE amount END",  # the store takes nothing of ads
    customer="event = 'purchase'",
)
LEARNED = datetime(2016, 1, 2, tzinfo=UTC)
PLAYS = """
    SELECT player_id AS user_id, session_start AS ts, 'launch' AS event
    FROM read_parquet('{folder}/all_sessions.parquet')
    UNION ALL BY NAME
    SELECT player_id AS user_id, "time" AS ts, CASE item_type WHEN 'iap' THEN 'purchase' ELSE 'ad' END AS event,
           item_revenue AS amount
    FROM read_parquet('{folder}/all_revenue.parquet')
"""
PLAYERS = """
    SELECT player_id AS user_id, acquisition AS channel, country, start_day AS valid_from
    FROM read_parquet('{folder}/user_summary.parquet')
"""


def main() -> None:
    """Live, predict, draw; live on, compare; then the game."""
    options = arguments()
    figures = simulated(options.out, users=options.users)
    print(told(figures))
    if (options.data / "intendo_small").is_dir():
        figures["game"] = mobile_game(options.data / "intendo_small", out=options.out)
        print(f"mobile game: {len(figures['game'])} channels, without costs: {options.out / 'mobile-game.html'}")
    else:
        print(f"{options.data} has no folder intendo_small: the mobile game is left out (--data FOLDER)")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2, default=str) + "\n")


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=6000)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("SOJOURN_DATA", "data")))
    parser.add_argument("--out", type=Path, default=Path("growth-board"), help="a new or an empty folder")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.out.exists() and any(options.out.iterdir()):
        parser.error(f"{options.out} is not empty. Give a new folder: --out DIR")
    return options


def simulated(out: Path, *, users: int) -> dict[str, Any]:
    """The board of the simulated app on day 150, and what became of its forecasts."""
    warehouse = Warehouse.create(out / "app")
    world = WorldSpec(users=users, days=KNOWN_DAYS, start=START, seed=7, install_days=KNOWN_DAYS)
    print(simulate(warehouse, world).summary())
    model = fit_models(warehouse, spec=MODEL, out=out / "models")
    score_users(warehouse, model=model)
    write_acquisition(warehouse, BOARD)
    forecast, so_far = cohort_revenue(warehouse), known(warehouse)
    page = acquisition_page(warehouse, BOARD, title="Growth board: a simulated app on day 150")
    channels = channel_summary(warehouse, BOARD)
    cost = WhySpec(name="cpi", start=date(2025, 3, 1), end=date(2025, 4, 1), grain="month", by=("channel", "campaign"))
    why = why_moved(warehouse, cost)
    why_page(why).write(out / "why.html")

    simulate(warehouse, world.with_changes(days=KNOWN_DAYS + LATER_DAYS))
    write_acquisition(warehouse, BOARD)
    figures = judged(forecast, so_far, truth=cohort_revenue(warehouse))
    figures |= {"channels": channels.to_dicts(), "why": why.told()}
    held = Callout(f"**And then?** {told(figures)}", tone="good" if figures["ratio"] < 1 else "warning")
    Report(page.title, subtitle=page.subtitle, parts=(held, *page.parts)).write(out / "growth-board.html")
    return figures


def cohort_revenue(warehouse: Warehouse) -> pl.DataFrame:
    """Revenue of each monthly cohort and channel by age: observed where mature, and the forecast with its band."""
    table = warehouse.frame("metric_acquired_revenue").filter(pl.col("grain") == "month")
    # Forecasts are per user acquired; how many a cohort has is known from its first day on.
    keys = ["cohort", "channel", "campaign"]
    acquired = table.filter(pl.col("age") == 0).select(*keys, acquired=pl.col("denominator").cast(pl.Float64))
    both = table.join(acquired, on=keys)
    money = {name: pl.col(name) * pl.col("acquired") for name in ("forecast", "forecast_low", "forecast_high")}
    summed = both.with_columns(**money).group_by("cohort", "channel", "age").agg(
        pl.col("numerator").sum().cast(pl.Float64), pl.col(*money).sum(), pl.col("mature").all(),
        whole=(pl.col("forecast").is_not_null() | (pl.col("acquired") == 0)).all() & (pl.col("acquired").sum() > 0),
    )  # fmt: skip
    return summed.sort("cohort", "channel", "age")


def known(warehouse: Warehouse) -> pl.DataFrame:
    """What each day's cohort had brought by each age that it had reached, channel by channel."""
    table = warehouse.frame("metric_acquired_value").drop_nulls("acquired_on")
    return table.group_by("acquired_on", "channel", "age").agg(pl.col("revenue").sum().cast(pl.Float64))


def judged(forecast: pl.DataFrame, so_far: pl.DataFrame, *, truth: pl.DataFrame) -> dict[str, Any]:
    """Each cohort and channel at the farthest age that was forecast: what was said, and what came."""
    keys = ["cohort", "channel"]
    actual = truth.filter("mature").select(*keys, "age", actual="numerator")
    both = forecast.filter("whole").join(actual, on=[*keys, "age"])
    farthest = both.sort("age").group_by(keys).last()
    rows = farthest.join(carried_on(so_far), on=keys, how="left").sort(keys)
    errors = {
        name: float((rows[column] - rows["actual"]).abs().mean())  # type: ignore[arg-type]
        for name, column in {"forecast": "forecast", "nothing_more": "now", "as_older_cohorts": "grown"}.items()
    }
    inside = rows.select(pl.col("actual").is_between("forecast_low", "forecast_high").mean()).item()
    return {
        "mean_error_usd": errors,
        "ratio": errors["forecast"] / errors["as_older_cohorts"],
        "inside_band": inside,
        "total_forecast_usd": rows["forecast"].sum(),
        "total_usd": rows["actual"].sum(),
        "cells": rows.height,
        "cohorts": rows.select(*keys, "age", "forecast", "forecast_low", "forecast_high", "actual").to_dicts(),
    }


def carried_on(so_far: pl.DataFrame) -> pl.DataFrame:
    """The baseline: every day's cohort goes on as older ones did at the ages to come, all channels alike.

    From one age to the next all cohorts that have reached it grew by some factor; the factors are multiplied up, and
    end where no cohort is old enough.
    """
    days = pl.DataFrame({"acquired_on": pl.date_range(START, TODAY, closed="left", eager=True)})
    ages = pl.DataFrame({"age": range(KNOWN_DAYS)}, schema={"age": pl.Int32})
    reached = pl.col("acquired_on") + pl.duration(days=pl.col("age")) < TODAY
    dense = days.join(ages, how="cross").filter(reached).join(so_far.select("channel").unique(), how="cross")
    dense = dense.join(so_far, on=["acquired_on", "channel", "age"], how="left").sort("acquired_on", "channel", "age")
    dense = dense.with_columns(total=pl.col("revenue").fill_null(0.0).cum_sum().over("acquired_on", "channel"))
    before = pl.col("total").shift(1).over("acquired_on", "channel")
    factors = dense.with_columns(before=before).drop_nulls("before").group_by("age").agg(
        factor=pl.col("total").sum() / pl.col("before").sum()
    )  # fmt: skip
    growth = {int(age): float(factor) for age, factor in factors.iter_rows()}
    last = dense.group_by("acquired_on", "channel").last()
    cohort = pl.col("acquired_on").dt.month_start()
    month_end = cohort.dt.offset_by("1mo") - pl.duration(days=1)
    to_age = (pl.lit(TODAY) - month_end).dt.total_days() - 1 + LATER_DAYS
    rows = last.with_columns(cohort=cohort, to_age=to_age)
    grown = [
        total * product(growth.get(at, 1.0) for at in range(age + 1, to + 1))
        for total, age, to in rows.select("total", "age", "to_age").iter_rows()
    ]
    return rows.with_columns(grown=pl.Series(grown)).group_by("cohort", "channel").agg(
        now=pl.col("total").sum(), grown=pl.col("grown").sum()
    )  # fmt: skip


def product(factors: Any) -> float:
    """All of them multiplied."""
    found = 1.0
    for each in factors:
        found *= each
    return found


def told(figures: dict[str, Any]) -> str:
    """The headline in a sentence."""
    errors = figures["mean_error_usd"]
    off = "${forecast:,.0f} on average, growth as of older cohorts by ${as_older_cohorts:,.0f}, expecting nothing more"
    return (
        f"{LATER_DAYS} days later, the forecast of each cohort and channel was off by {off.format(**errors)} by "
        f"${errors['nothing_more']:,.0f}. In all ${figures['total_forecast_usd']:,.0f} were expected and "
        f"${figures['total_usd']:,.0f} came; {figures['inside_band']:.0%} of {figures['cells']} cells lay inside the "
        "band, which promises 80% for the luck of users alone."
    )


def mobile_game(folder: Path, *, out: Path) -> list[dict[str, Any]]:
    """The board of a game without costs: channels, value and retention of those they brought."""
    warehouse = Warehouse.create(out / "game")
    for table, query in (("events", PLAYS), ("users", PLAYERS)):
        ingest(warehouse, IngestSpec(table=table, query=query.format(folder=folder)), as_of=LEARNED)
    write_acquisition(warehouse, GAME)
    acquisition_page(warehouse, GAME, title="A mobile game by channel").write(out / "mobile-game.html")
    return channel_summary(warehouse, GAME).to_dicts()


if __name__ == "__main__":
    main()
