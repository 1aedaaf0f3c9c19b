"""Driver growth: two sides of a ride market, what each side's channels cost, and why riders wait.

    python recipes/driver_growth.py [--drivers 300] [--riders 3000] [--data FOLDER] [--out driver-growth] [--json PATH]

A simulated market whose truth is known: from its ninth week on, drivers of one city come to work less often. Each side
has its own board: drivers are acquired by bonuses and job boards, riders by ads. Supply, demand and the fill rate are
counted by city and hour; the fall of the fill rate is explained by city, and compared with the same market without the
shortage, which is what the shortage really did. The pages are OUT/driver-growth.html, drivers.html and riders.html.

Where FOLDER holds `uber_foil/` (default: the environment variable SOJOURN_DATA; docs/data.md says where from), real
days of six New York bases stand beside: what moved trips per active vehicle from January to February 2015. Those are
another company's, without costs, and nothing of the simulation is joined to them.
"""

import argparse
import json
import os
from datetime import date, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import polars as pl

from sojourn.evaluate import Callout, Card, Cards, Chart, Column, Heading, Part, Report, Table
from sojourn.evaluate.formats import number_text
from sojourn.events import MarketSpec, simulate_market
from sojourn.metrics import (
    AcquisitionSpec,
    AttributionSpec,
    SupplyDemandSpec,
    Why,
    WhySpec,
    acquisition_page,
    channel_summary,
    place_hour_chart,
    ratio_parts,
    why_chart,
    why_moved,
    write_acquisition,
    write_supply_demand,
)
from sojourn.warehouse import Warehouse

START = date(2025, 1, 6)  # a Monday
SHORT_FROM, CITY = START + timedelta(days=56), "Castine"
POINTS = ("_effect", "_change")
BEFORE, AFTER = START + timedelta(days=49), START + timedelta(days=63)
SUPPLY_DEMAND = SupplyDemandSpec(
    supply="event = 'online'", supply_hours="minutes / 60", demand="event = 'request'", served="event = 'trip'"
)
DRIVERS = AcquisitionSpec(
    name="drivers",
    attribution=AttributionSpec(entity="driver_id", active="event = 'online'"),
    costs="driver_costs",
    margin="amount - payout",
    customer="event = 'trip'",
    customer_days=14,
    horizon_days=77,
)
RIDERS = AcquisitionSpec(
    name="riders",
    attribution=AttributionSpec(entity="rider_id", active="event = 'request'"),
    costs="rider_costs",
    margin="amount - payout",
    customer="event = 'trip'",
    customer_days=14,
    horizon_days=77,
)
TITLES = {"drivers": "Drivers: what they cost and bring", "riders": "Riders: what they cost and bring"}


def main() -> None:
    """Simulate, count, explain; then the real bases."""
    options = arguments()
    spec = MarketSpec(
        drivers=options.drivers,
        riders=options.riders,
        start=START,
        seed=11,
        shortage_city=CITY,
        shortage_from=SHORT_FROM,
    )
    market = Warehouse.create(options.out / "market")
    print(simulate_market(market, spec).summary())
    write_supply_demand(market, SUPPLY_DEMAND)
    asked = WhySpec(name="fill_rate", board="market", grain="week", start=BEFORE, end=AFTER, by=("place",))
    why = why_moved(market, asked)
    figures = against_truth(why, calm=without_shortage(spec, options.out / "calm"))
    print(told(figures))
    parts: list[Part] = [*headline(figures), *explained(why), *supply_and_demand(market)]
    for board in (DRIVERS, RIDERS):
        write_acquisition(market, board)
        acquisition_page(market, board, grain="week", title=TITLES[board.name]).write(
            options.out / f"{board.name}.html"
        )
        figures[board.name] = channel_summary(market, board).to_dicts()
        parts += side(board.name, figures[board.name])
    if (options.data / "uber_foil").is_dir():
        bases, real = real_bases(options.data / "uber_foil" / "Uber-Jan-Feb-FOIL.csv")
        figures["bases"] = real
        parts += bases
    else:
        print(f"{options.data} has no folder uber_foil: the real bases are left out (--data FOLDER)")
    subtitle = f"A simulated market of {options.drivers:,} drivers and {options.riders:,} riders, twelve weeks"
    Report("Driver growth", subtitle=subtitle, parts=tuple(parts)).write(options.out / "driver-growth.html")
    print(f"page: {options.out / 'driver-growth.html'}")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2, default=str) + "\n")


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--drivers", type=int, default=300)
    parser.add_argument("--riders", type=int, default=3000)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("SOJOURN_DATA", "data")))
    parser.add_argument("--out", type=Path, default=Path("driver-growth"), help="a new or an empty folder")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.out.exists() and any(options.out.iterdir()):
        parser.error(f"{options.out} is not empty. Give a new folder: --out DIR")
    return options


def without_shortage(spec: MarketSpec, folder: Path) -> float:
    """The fill rate of the week after in the same market, had there been no shortage."""
    calm = Warehouse.create(folder)
    simulate_market(calm, spec.with_changes(shortage_city=None, shortage_from=None))
    write_supply_demand(calm, SUPPLY_DEMAND)
    place = {"board": "market", "grain": "week", "start": str(AFTER)}
    sides = calm.frame("metric_fill_rate", only=[place]).select(pl.col("numerator", "denominator").sum()).row(0)
    return float(sides[0] / sides[1])


def against_truth(why: Why, *, calm: float) -> dict[str, Any]:
    """What the explanation puts on the planted city, beside what the shortage truly did, and the plain change."""
    found = {part.segment[0]: float(part.effect) for part in why.parts}
    return {
        "fill_rate_before": float(why.before),
        "fill_rate_after": float(why.after),
        "without_shortage": calm,
        "true_effect": float(why.after) - calm,
        "explained_city": why.parts[0].segment[0],
        "planted_city": CITY,
        "explained_effect": found[CITY],
        "plain_change": float(why.change),
        "effects": found,
    }


def told(figures: dict[str, Any]) -> str:
    """The headline in a sentence."""
    points = {name: f"{100 * figures[name]:+.1f}".replace("-", "−") for name in figures if name.endswith(POINTS)}
    return (
        f"The fill rate went from {figures['fill_rate_before']:.1%} to {figures['fill_rate_after']:.1%}. The "
        f"explanation names {figures['explained_city']} first and gives it {points['explained_effect']} points; the "
        f"shortage planted in {CITY} truly did {points['true_effect']}. The plain change of all cities is "
        f"{points['plain_change']}."
    )


def headline(figures: dict[str, Any]) -> list[Part]:
    """The figures of the top."""
    points = {
        name: f"{100 * figures[name]:+.1f} points".replace("-", "−") for name in ("true_effect", "explained_effect")
    }
    return [
        Callout(told(figures), tone="good" if figures["explained_city"] == CITY else "warning"),
        Cards(
            [
                Card(
                    "Fill rate before", number_text(figures["fill_rate_before"], style="percent"), f"week of {BEFORE}"
                ),
                Card("Fill rate after", number_text(figures["fill_rate_after"], style="percent"), f"week of {AFTER}"),
                Card(f"Explained by {CITY}", points["explained_effect"], "rate and mix effect"),
                Card("What the shortage did", points["true_effect"], "beside the same market without it"),
            ]
        ),
    ]


def explained(why: Why) -> list[Part]:
    """The waterfall of the fill rate, city by city."""
    chart = Chart(
        why_chart(why, style="percent"),
        title="What moved the fill rate, by city",
        caption="Requests that were served over requests, from one week to the other. The axis does not begin at 0.",
        how_to_read="Each bar is a city's part of the change; together they are the change.",
    )
    return [Heading("Why do riders wait?"), chart]


def supply_and_demand(market: Warehouse) -> list[Part]:
    """Maps of cities and hours, before and since the shortage."""
    parts: list[Part] = [
        Heading(
            "Supply and demand", lead="By city and hour of the day, four weeks before the shortage and four since."
        ),
    ]
    table = market.frame("metric_fill_rate").filter(pl.col("grain") == "day")
    spans = {
        "Fill rate, four weeks before": (SHORT_FROM - timedelta(days=28), SHORT_FROM),
        "Fill rate, four weeks since": (SHORT_FROM, SHORT_FROM + timedelta(days=28)),
    }
    for title, (start, end) in spans.items():
        rows = table.filter(pl.col("start").is_between(start, end, closed="left"))
        parts.append(
            Chart(
                place_hour_chart(rows, label="Fill rate"), title=title, how_to_read="Pale hours leave riders waiting."
            )
        )
    pressure = market.frame("metric_pressure").filter(pl.col("grain") == "day", pl.col("start") >= SHORT_FROM)
    chart = place_hour_chart(pressure, label="Requests per driver hour", style="number")
    parts.append(Chart(chart, title="Requests per driver hour since", caption="A driver serves two an hour at most."))
    return parts


def side(name: str, rows: list[dict[str, Any]]) -> list[Part]:
    """One side's channels."""
    columns = [
        Column("channel", "Channel", style="text"),
        Column("acquired", "Acquired"),
        Column("cost", "Cost", unit="$", digits=0),
        Column("cac", "Per first trip", unit="$", digits=2),
        Column("paying_share", "Made a trip", style="percent"),
        Column("margin", "Margin in 14 days", unit="$", digits=2),
        Column("ltv_cac", "Margin ÷ cost", style="times", digits=2),
    ]
    lead = f"Those acquired at least 14 days ago; all else is in {name}.html."
    return [Heading(name.capitalize(), lead=lead), Table(rows, columns=columns, mark="(all)", mark_label="together")]


def real_bases(file: Path) -> tuple[list[Part], dict[str, Any]]:
    """What moved trips per active vehicle of six real bases from January to February 2015."""
    days = pl.read_csv(file).with_columns(month=pl.col("date").str.to_date("%m/%d/%Y").dt.month())
    sums = days.group_by("month", "dispatching_base_number").agg(pl.col("trips", "active_vehicles").sum())
    sides = [
        {
            (base,): (Fraction(trips), Fraction(vehicles))
            for _, base, trips, vehicles in sums.filter(month=month).sort("dispatching_base_number").iter_rows()
        }
        for month in (1, 2)
    ]
    parts = ratio_parts(*sides)
    before, after = (sum(s[0] for s in each.values()) / sum(s[1] for s in each.values()) for each in sides)
    asked = WhySpec(
        name="trips_per_vehicle_day", start=date(2015, 1, 1), end=date(2015, 2, 1), grain="month", by=("base",)
    )
    why = Why(asked, Fraction(before), Fraction(after), tuple(parts), is_ratio=True, mature=True)
    chart = Chart(
        why_chart(why),
        title="Six real bases: what moved trips per active vehicle and day",
        caption="Uber's days by base, New York, released under freedom of information. The axis does not begin at 0.",
        how_to_read="A base's bar is its own change and that of its share of vehicles; together they are the change.",
    )
    heading = Heading("Real bases, beside", lead="Another company's days. They have no costs, and are joined to none.")
    figures = {"before": float(before), "after": float(after), "effects": why.table().to_dicts()}
    return [heading, chart], figures


if __name__ == "__main__":
    main()
