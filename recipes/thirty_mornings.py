"""Thirty mornings of a shop: late rows, two broken exports, a new word, a model gone stale; what the daily run caught.

    python recipes/thirty_mornings.py [--users 1500] [--out thirty-mornings] [--json PATH]

A shop's orders are exported every night and `run_day` does each morning's work. Five things go wrong on known days:
rows come late, customers spend less from one day on, an export stops at noon, another has lost a third of its amounts,
and a channel appears that nobody has heard of. What was caught, and when, goes to stdout and is drawn in
OUT/thirty-mornings.html, beside a model that nobody replaces.
"""

import argparse
import json
import tomllib
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from sojourn.core import progress
from sojourn.evaluate import (
    BootstrapSpec,
    Callout,
    Chart,
    Column,
    Heading,
    Prose,
    Report,
    Table,
    Task,
    bootstrap_metrics,
)
from sojourn.lifetime import judged_table
from sojourn.operate import Declared, Registry, RunReport, declared_from, run_day
from sojourn.warehouse import Warehouse

FIRST, HISTORY, MORNINGS, HORIZON = date(2025, 1, 1), 75, 30, 7
LATE, LESS, STOPPED, LOST, STRANGE = 6, 3, 12, 17, 25
SPEND_AFTER = 0.45
SETTINGS = """
[ingest]
columns = {event_id = "order_id", user_id = "customer", ts = "ordered_at", amount = "revenue", event = "'order'"}

[rollups.user]
windows_days = [7, 30]

[rollups.user.aggregates]
events = {function = "count"}
active_days = {function = "active_days"}
spend = {function = "sum", expression = "amount"}
purchases = {function = "count", where = "amount > 0"}
purchase_days = {function = "active_days", where = "amount > 0"}

[checks.feed_until_evening]
kind = "freshness"
max_age_hours = 4

[checks.amounts_there]
kind = "null_share"
column = "amount"
max_share = 0.02

[checks.known_channels]
kind = "allowed"
column = "channel"
values = ["web", "app"]
severity = "warn"

[checks.as_many_as_usual]
kind = "drop"
max_drop = 0.35

[checks.all_counted]
kind = "conservation"

[features]

[lifetime]
horizons_days = [7]
churn_days = 7
step_days = 7
train_as_ofs = 1
replicates = 200
models = {ltv_7 = "mean", churn_7 = "recency"}

[lifetime.boost]
rounds = 60
groups = 2

[run]
refit_days = 7

[watch]
max_psi = 0.5
max_bias = 0.25
max_worse = 1.0
"""
PLANTED = {
    LESS: ("from here on customers spend less than half", "calibration"),
    LATE: ("15 % of the orders of two days ago come only now", "rollup user"),
    STOPPED: ("the export stops at noon; mended next morning", "feed_until_evening"),
    LOST: ("a third of the amounts are missing; mended an hour later", "amounts_there"),
    STRANGE: ("orders from a channel 'telly'", "known_channels"),
}


@dataclass
class Shop:
    """The orders of every day, by file, and what has been exported so far."""

    folder: Path
    orders: pl.DataFrame
    reports: list[tuple[int, str, RunReport]] = field(default_factory=list)

    def of(self, day: date) -> pl.DataFrame:
        """A day's orders."""
        return self.orders.filter(pl.col("ordered_at").dt.date() == day)

    def export(self, rows: pl.DataFrame, name: str) -> None:
        """Write a file of orders, or write it anew."""
        rows.write_csv(self.folder / f"{name}.csv")


def main() -> None:
    """Simulate, run every morning, tell, draw."""
    options = arguments()
    shop = Shop(options.out / "exports", simulated(options.users))
    shop.folder.mkdir(parents=True)
    declared, warehouse = settings(shop), Warehouse.create(options.out / "warehouse")
    start = FIRST + timedelta(days=HISTORY)
    shop.export(shop.orders.filter(pl.col("ordered_at").dt.date() < start), "history")
    with progress("mornings", total=MORNINGS) as done:
        for number in range(1, MORNINGS + 1):
            morning(shop, warehouse, declared, number)
            done(1)
    catches, false_alarms = caught(shop), unplanted(shop)
    biases = bias_by_morning(warehouse, declared)
    figures = {
        "planted": len(PLANTED),
        "caught": sum(each["caught"] is not None for each in catches),
        "false_alarms": false_alarms,
        "mornings": MORNINGS,
        "bias_last": biases[-1],
        "equal": equal(shop, warehouse),
        "catches": catches,
    }
    print(told(figures))
    draw(shop, catches, biases, figures, warehouse, out=options.out / "thirty-mornings.html")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2, default=str) + "\n")


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=1_500)
    parser.add_argument("--out", type=Path, default=Path("thirty-mornings"), help="a new or an empty folder")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.out.exists() and any(options.out.iterdir()):
        parser.error(f"{options.out} is not empty. Give a new folder: --out DIR")
    return options


def settings(shop: Shop) -> Declared:
    """What `sojourn.toml` would declare, with the folder of exports."""
    found = tomllib.loads(SETTINGS)
    found["ingest"]["files"] = [str(shop.folder / "*.csv")]
    return declared_from(found)


def simulated(users: int) -> pl.DataFrame:
    """Every order of every customer, who order at a pace and a price of their own, more at weekends."""
    chance, days = np.random.default_rng(11), HISTORY + MORNINGS
    pace, price = chance.gamma(1.6, 0.09, users), chance.lognormal(3.0, 0.5, users)
    weekday = np.array([(FIRST + timedelta(days=day)).weekday() for day in range(days)])
    counts = chance.poisson(pace[:, None] * np.where(weekday >= 5, 1.25, 0.9)[None, :])
    who, when = np.repeat(np.indices(counts.shape).reshape(2, -1), counts.ravel(), axis=1)
    spend = price[who] * chance.lognormal(0, 0.3, len(who))
    spend *= np.where(when >= HISTORY + LESS - 1, SPEND_AFTER, 1.0)
    seconds = (6 + 17.9 * chance.beta(2, 1.6, len(who))) * 3600
    ordered_at = np.datetime64(FIRST, "us") + (when * 86_400 + seconds.astype(int)).astype("timedelta64[s]")
    return pl.DataFrame(
        {
            "order_id": [f"o{number:07d}" for number in range(len(who))],
            "customer": [f"c{user:05d}" for user in who],
            "ordered_at": ordered_at,
            "revenue": np.round(spend, 2),
            "channel": np.where(chance.random(len(who)) < 0.6, "web", "app"),
        }
    )


def morning(shop: Shop, warehouse: Warehouse, declared: Declared, number: int) -> None:
    """One morning: the night's export comes, whole or not, and the day is run; a mended export is run again."""
    day = FIRST + timedelta(days=HISTORY + number - 1)
    at = datetime(day.year, day.month, day.day, 5, tzinfo=UTC) + timedelta(days=1)
    rows, name = shop.of(day), f"orders-{day}"
    held = pl.col("order_id").hash(7) % 100 < 15
    if number == LATE - 2:
        rows = rows.filter(~held)
    if number == LATE:
        shop.export(shop.of(day - timedelta(days=2)).filter(held), f"late-{day}")
    if number == STOPPED:
        rows = rows.filter(pl.col("ordered_at").dt.hour() < 12)
    if number == STOPPED + 1:
        shop.export(shop.of(day - timedelta(days=1)), f"orders-{day - timedelta(days=1)}")
    if number == LOST:
        rows = rows.with_columns(pl.when(pl.col("order_id").hash(3) % 3 > 0).then("revenue").alias("revenue"))
    if number == STRANGE:
        telly = pl.when(pl.col("order_id").hash(5) % 20 == 0).then(pl.lit("telly")).otherwise("channel")
        rows = rows.with_columns(telly.alias("channel"))
    shop.export(rows, name)
    if number == STOPPED + 1:
        again = run_day(warehouse, declared, day=day - timedelta(days=1), at=at)
        shop.reports.append((STOPPED, "mended", again))
    shop.reports.append((number, "run", run_day(warehouse, declared, day=day, at=at)))
    if number == LOST:
        shop.export(shop.of(day), name)
        again = run_day(warehouse, declared, day=day, at=at + timedelta(hours=1))
        shop.reports.append((number, "mended", again))


def caught(shop: Shop) -> list[dict[str, Any]]:
    """For each planted fault the morning on which it was told, and in which words."""
    found = []
    for number, (what, name) in PLANTED.items():
        hits = [
            (at, told)
            for at, how, report in shop.reports
            for told in _said(report, name)
            if at >= number and how == "run" and (name != "rollup user" or told.startswith("2 days built"))
        ]
        at, words = hits[0] if hits else (None, "")
        found.append({"morning": number, "what": what, "caught": at, "told": words})
    return found


def _said(report: RunReport, name: str) -> list[str]:
    alerts = [each.told for each in report.alerts if name in (each.name, each.source)]
    return alerts or [each.told for each in report.outcomes if each.step == name]


def unplanted(shop: Shop) -> int:
    """How many alerts came before anything explains them."""
    known = {"feed_until_evening": {STOPPED}, "amounts_there": {LOST}, "known_channels": {STRANGE}}
    known["as_many_as_usual"] = {STOPPED}
    alarms = 0
    for number, how, report in shop.reports:
        for each in report.alerts:
            explained = number in known.get(each.name, set()) if each.source == "check" else number >= LESS
            alarms += not explained and how == "run"
    return alarms


def bias_by_morning(warehouse: Warehouse, declared: Declared) -> list[dict[str, Any]]:
    """How far sums of what was predicted on each morning were off: as it was logged, and by the first model."""
    registry = Registry(warehouse, "ltv")
    first = registry.load(registry.standing().history[0].version)
    judged = warehouse.frame("backtests").filter((pl.col("task") == "ltv_7") & (pl.col("metric") == "bias"))
    judged = judged.sort("as_of", "made").unique("as_of", keep="last", maintain_order=True)
    rows = []
    for as_of, value, low, high in judged.select("as_of", "value", "low", "high").rows():
        table = judged_table(warehouse, spec=first.spec, as_of=as_of, features=declared.features)
        both = table.select("user_id", truth=pl.col("label_spend_7d").cast(pl.Float64)).with_columns(
            first.predict(table)["ltv_7"].alias("first")
        )
        task = Task(name="ltv_7", kind="value", truth="truth", models=("first",))
        old = bootstrap_metrics(both, task=task, bootstrap=BootstrapSpec(replicates=50))["first"]["bias"]
        rows.append({"as_of": as_of, "bias": value, "low": low, "high": high, "first_model": old.value})
    return rows


def equal(shop: Shop, warehouse: Warehouse) -> bool:
    """Whether the last morning's windows say what the orders say, every late and mended row in its place."""
    as_of = FIRST + timedelta(days=HISTORY + MORNINGS)
    since = pl.col("ordered_at").dt.date() >= as_of - timedelta(days=30)
    orders = shop.orders.filter(since).group_by("customer").agg(pl.col("revenue").cast(pl.Decimal(18, 4)).sum())
    windows = warehouse.frame("windows_user", only=[{"as_of": str(as_of)}]).filter(pl.col("events_30d") > 0)
    both = orders.join(windows, left_on="customer", right_on="user_id", how="full")
    return both.height == orders.height and both["revenue"].equals(both["spend_30d"].alias("revenue"))


def told(figures: dict[str, Any]) -> str:
    """The headline and a line for each planted fault."""
    lines = [f"{'morning':>7}  {'caught on':>9}  what went wrong"]
    lines += [f"{each['morning']:>7}  {each['caught'] or 'never':>9}  {each['what']}" for each in figures["catches"]]
    return "\n".join([*lines, headline(figures)])


def headline(figures: dict[str, Any]) -> str:
    """One sentence."""
    last = figures["bias_last"]
    return (
        f"{figures['caught']} of {figures['planted']} faults caught, {figures['false_alarms']} false alarms in "
        f"{figures['mornings']} mornings; sums predicted at the end are {last['bias']:+.0%} off, "
        f"by the first model, had nobody replaced it, {last['first_model']:+.0%}"
    )


def draw(
    shop: Shop,
    catches: list[dict[str, Any]],
    biases: list[dict[str, Any]],
    figures: dict[str, Any],
    warehouse: Warehouse,
    *,
    out: Path,
) -> None:
    """The mornings step by step, what was caught, and how far predictions were off."""
    parts = (
        Callout(headline(figures) + ".", tone="good" if figures["caught"] == figures["planted"] else "warning"),
        Prose(
            "Each morning `run_day` takes in the night's export and does what is declared: checks, rollups, "
            "features, predictions, watching. Five things were made to go wrong."
        ),
        catches_table(catches),
        Heading("Every step of every morning"),
        steps_chart(shop),
        Heading("A model gone stale, and replaced"),
        bias_chart(biases, warehouse),
    )
    Report("Thirty mornings", subtitle="What a daily run catches", parts=parts).write(out)


def catches_table(catches: list[dict[str, Any]]) -> Table:
    """What went wrong, in the order of the mornings, and when it was told."""
    rows = [
        {"morning": str(each["morning"]), "what": each["what"], "caught": f"morning {each['caught'] or '-'}"}
        for each in sorted(catches, key=lambda each: each["morning"])
    ]
    columns = (
        Column("morning", "Morning", style="text"),
        Column("what", "What went wrong", style="text"),
        Column("caught", "Told on", style="text"),
    )
    return Table(rows, columns=columns, title="What went wrong, and when it was told")


def steps_chart(shop: Shop) -> Chart:
    """A square for each step of each morning's first run, coloured by its verdict."""
    import plotly.graph_objects as go

    from sojourn.evaluate.theme import COLORS

    groups = {
        "done": COLORS["accent"],
        "passed, or nothing to do": "#a9cbd8",
        "warned": "#e08a2c",
        "failed": "#c2453a",
        "held back": "#98a2ad",
    }
    runs = [(number, report) for number, how, report in shop.reports if how == "run"]
    steps = [each.step for each in runs[-1][1].outcomes]
    figure = go.Figure()
    for name, colour in groups.items():
        points = [
            (number, each.step, each.told)
            for number, report in runs
            for each in report.outcomes
            if _group(each.verdict) == name
        ]
        x, y, words = zip(*points, strict=True) if points else ((), (), ())
        marker = {"symbol": "square", "size": 15, "color": colour}
        hover = "%{y}, morning %{x}<br>%{customdata}<extra></extra>"
        cut = [text if len(text) < 110 else f"{text[:107]}..." for text in words]
        figure.add_scatter(x=x, y=y, mode="markers", name=name, marker=marker, customdata=cut, hovertemplate=hover)
    figure.update_yaxes(categoryorder="array", categoryarray=steps[::-1], showgrid=False, zeroline=False)
    figure.update_xaxes(title_text="Morning", dtick=5, tick0=0, showgrid=False, zeroline=False, range=[0.3, 30.7])
    return Chart(
        figure.update_layout(height=470),
        title="A failed check holds back what needs it, and the next run takes it up",
        caption="The first run of each morning; mended exports are run again within the day or the next morning.",
        how_to_read="A column is a morning. Hover over a square for what the step said.",
    )


def _group(verdict: str) -> str:
    return "passed, or nothing to do" if verdict in {"passed", "current", "skipped"} else verdict


def bias_chart(biases: list[dict[str, Any]], warehouse: Warehouse) -> Chart:
    """The bias of every judged morning, with its interval, and that of the first model."""
    import plotly.graph_objects as go

    start = FIRST + timedelta(days=HISTORY)
    x = [(each["as_of"] - start).days for each in biases]
    figure = go.Figure()
    band = {"mode": "lines", "line": {"width": 0}, "hoverinfo": "skip", "showlegend": False}
    figure.add_scatter(x=x, y=[each["high"] for each in biases], **band)
    fill = {"fill": "tonexty", "fillcolor": "rgba(15,95,125,0.15)"}
    figure.add_scatter(x=x, y=[each["low"] for each in biases], **band, **fill)
    line = {"width": 2.5}
    figure.add_scatter(
        x=x,
        y=[each["first_model"] for each in biases],
        name="Had nobody replaced the first",
        line={**line, "dash": "dot"},
    )
    figure.add_scatter(x=x, y=[each["bias"] for each in biases], name="As predicted on the morning", line=line)
    figure.data[2].line.color, figure.data[3].line.color = "#e08a2c", "#0f5f7d"
    for entry in Registry(warehouse, "ltv").standing().history[1:]:
        at = (entry.as_of - start).days
        figure.add_vline(x=at, line_dash="dash", line_color="#256e48", annotation_text="a better model takes over")
    figure.add_vline(x=LESS - 0.5, line_color="#98a2ad", annotation_text="customers spend less")
    figure.update_yaxes(
        title_text="Sum predicted, against what came",
        tickvals=[-0.5, 0, 0.5, 1, 1.5],
        ticktext=["−50 %", "0", "+50 %", "+100 %", "+150 %"],
    )
    figure.update_xaxes(title_text="Morning of the prediction", dtick=5, tick0=0)
    return Chart(
        figure,
        title="Sums come back once a candidate has learned from the new days",
        caption=f"Spend of the next {HORIZON} days, all customers together; the band is the 95 % interval.",
        how_to_read="0 % is right. In the week before the change predictions miss already: their days reach into it.",
    )


if __name__ == "__main__":
    main()
