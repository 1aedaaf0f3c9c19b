"""Ninety days of every user, every morning: an app is simulated, its log rolled up, and each day's work timed.

    python recipes/ninety_days.py [--users 60000] [--out ninety-days] [--json PATH]

Nine aggregates over the last 90 days are written for every user on the last 35 mornings of the log: by `advance`, from
partials, and by the SQL that a team would write, from 90 days of raw events. Both tables are compared, every morning.
The table of costs goes to stdout, the drawing to OUT/ninety-days.html.
"""

import argparse
import json
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from statistics import median
from typing import Any

from sojourn.core import progress
from sojourn.evaluate import Chart, Prose, Report
from sojourn.events import WorldSpec, simulate
from sojourn.rollups import AggregateSpec, RollupSpec, advance, backfill
from sojourn.warehouse import Warehouse

DAYS, MORNINGS, WINDOW_DAYS = 150, 35, 90
SPEC = RollupSpec(
    name="ninety",
    windows_days=(WINDOW_DAYS,),
    aggregates={
        "events": AggregateSpec(function="count"),
        "spend": AggregateSpec(function="sum", expression="amount"),
        "least": AggregateSpec(function="min", expression="amount"),
        "most": AggregateSpec(function="max", expression="amount"),
        "typical": AggregateSpec(function="mean", expression="amount"),
        "days": AggregateSpec(function="active_days"),
        "first": AggregateSpec(function="first", expression="event"),
        "last": AggregateSpec(function="last", expression="event"),
        "since": AggregateSpec(function="recency"),
    },
)
NAIVE = """
    SELECT user_id, count(*) AS events_90d, coalesce(sum(amount), 0) AS spend_90d, min(amount) AS least_90d,
           max(amount) AS most_90d, CAST(sum(amount) AS DOUBLE) / count(amount) AS typical_90d,
           count(DISTINCT day) AS days_90d, arg_min(event, (ts, event_id)) AS first_90d,
           arg_max(event, (ts, event_id)) AS last_90d, DATE '{as_of}' - max(day) AS since_90d
    FROM {events} WHERE day >= DATE '{as_of}' - 90 AND day < DATE '{as_of}' GROUP BY user_id
"""


def main() -> None:
    """Simulate, backfill, advance, compare, draw."""
    options = arguments()
    warehouse = Warehouse.create(options.out / "warehouse")
    world = WorldSpec(users=options.users, days=DAYS)
    print(simulate(warehouse, world).summary())
    first_morning = world.last_day - timedelta(days=MORNINGS)
    print(f"backfill: {len(backfill(warehouse, SPEC, end=first_morning).built)} days, once")
    advance(warehouse, SPEC, day=first_morning - timedelta(days=1))
    rows = []
    with progress("mornings", total=MORNINGS) as done:
        for number in range(MORNINGS):
            rows.append(morning(warehouse, first_morning + timedelta(days=number), out=options.out))
            done(1)
    figures = summary(warehouse, rows)
    print(table(rows), told(figures), sep="\n")
    draw(rows, figures, out=options.out / "ninety-days.html")
    if options.json:
        options.json.write_text(json.dumps({**figures, "mornings": rows}, indent=2) + "\n")


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=60_000)
    parser.add_argument("--out", type=Path, default=Path("ninety-days"), help="a new or an empty folder")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.out.exists() and any(options.out.iterdir()):
        parser.error(f"{options.out} is not empty. Give a new folder: --out DIR")
    return options


def morning(warehouse: Warehouse, day: Any, *, out: Path) -> dict[str, Any]:
    """One morning, both ways: seconds, and whether the tables are the same."""
    as_of = day + timedelta(days=1)
    window = [{"day": str(as_of - timedelta(days=back))} for back in range(WINDOW_DAYS, 0, -1)]
    naive = NAIVE.format(as_of=as_of, events=warehouse.relation("events", only=window))
    report: list[Any] = []
    ours_s = timed(lambda: report.append(advance(warehouse, SPEC, day=day)))
    naive_s = timed(lambda: warehouse.engine.run(f"COPY ({naive}) TO '{out}/naive.parquet' (FORMAT parquet)"))
    names = ", ".join(["user_id", *SPEC.columns()])
    ours = f"SELECT {names} FROM {warehouse.relation('windows_ninety', only=[{'as_of': str(as_of)}])}"
    theirs = f"SELECT {names} FROM '{out}/naive.parquet'"
    differ = f"SELECT count(*) FROM (({ours} EXCEPT {theirs}) UNION ({theirs} EXCEPT {ours}))"
    [(differing,)] = warehouse.engine.rows(differ)
    closed = [f"{cell.grain} {cell.start}" for cell in report[0].partials.compacted]
    return {"as_of": str(as_of), "ours_s": ours_s, "naive_s": naive_s, "closed": closed, "equal": differing == 0}


def timed(work: Callable[[], Any]) -> float:
    """Seconds that the work takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def summary(warehouse: Warehouse, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The headline figures."""
    ours, naive = sum(row["ours_s"] for row in rows), sum(row["naive_s"] for row in rows)
    return {
        "events": sum(day.rows for day in warehouse.partitions("events")),
        "equal": all(row["equal"] for row in rows),
        "ours_median_s": median(row["ours_s"] for row in rows),
        "naive_median_s": median(row["naive_s"] for row in rows),
        "ratio": naive / ours,
    }


def table(rows: list[dict[str, Any]]) -> str:
    """One line a morning."""
    lines = [f"{'as of':<12}{'advance s':>10}{'raw log s':>11}{'ratio':>8}  equal  closed"]
    for row in rows:
        ratio = row["naive_s"] / row["ours_s"]
        closed = ", ".join(row["closed"])
        costs = f"{row['ours_s']:>10.3f}{row['naive_s']:>11.3f}{ratio:>7.1f}x"
        lines.append(f"{row['as_of']:<12}{costs}  {row['equal']!s:<6} {closed}".rstrip())
    return "\n".join(lines)


def told(figures: dict[str, Any]) -> str:
    """The headline in a sentence."""
    return (
        f"{figures['events']:,} events: the raw log takes {figures['ratio']:.1f} times as long, all mornings together; "
        f"{'all tables are equal' if figures['equal'] else 'SOME TABLES DIFFER'}"
    )


def draw(rows: list[dict[str, Any]], figures: dict[str, Any], *, out: Path) -> None:
    """What each morning cost, as bars on a page of its own."""
    import plotly.graph_objects as go

    figure = go.Figure()
    for name, key in (("From 90 days of raw events", "naive_s"), ("From partials (advance)", "ours_s")):
        figure.add_bar(x=[row["as_of"] for row in rows], y=[row[key] for row in rows], name=name)
    figure.update_yaxes(title_text="Seconds", rangemode="tozero").update_xaxes(showgrid=False)
    chart = Chart(
        figure,
        title=f"A morning takes {figures['ours_median_s']:.2f} s instead of {figures['naive_median_s']:.2f} s",
        caption="Seconds that each morning's windows took; both ways write the same table.",
        how_to_read="Taller bars of `advance` are days that close a week or a month, or turn the window's month.",
    )
    words = "Nine aggregates over the last 90 days are written for every user, every morning, and both tables compared."
    Report("Ninety days, every morning", subtitle=told(figures), parts=(Prose(words), chart)).write(out)


if __name__ == "__main__":
    main()
