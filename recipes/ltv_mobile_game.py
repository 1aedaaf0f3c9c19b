"""A mobile game: what 1,231 players will spend in 30 days, by every model, on logs of sessions, purchases and ads.

    python recipes/ltv_mobile_game.py [--data FOLDER] [--out ltv-mobile-game] [--json PATH]

FOLDER holds `intendo_small/` (default: the environment variable SOJOURN_DATA; docs/data.md says where from). A session
is a launch, what is bought in the game and what an ad pays are amounts; each player's channel, country and device stand
beside. Every model is fitted on past dates, one is picked on the earlier folds, all are tested once on the last. The
table goes to stdout, the report to OUT/report.html.
"""

import argparse
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sojourn.events import IngestSpec, ingest
from sojourn.lifetime import (
    Comparison,
    LifetimeSpec,
    SpendDistribution,
    SpendDistributionSpec,
    cohort_sums,
    compare_models,
    model_label,
    training_table,
)
from sojourn.warehouse import Warehouse

SPEC = LifetimeSpec(horizons_days=(30,), unit="$")
LEARNED = datetime(2016, 1, 2, tzinfo=UTC)
EVENTS = """
    SELECT player_id AS user_id, session_start AS ts, 'launch' AS event, session_duration AS minutes
    FROM read_parquet('{folder}/all_sessions.parquet')
    UNION ALL BY NAME
    SELECT player_id AS user_id, "time" AS ts, CASE item_type WHEN 'iap' THEN 'purchase' ELSE 'ad' END AS event,
           item_revenue AS amount, item_name AS item_id
    FROM read_parquet('{folder}/all_revenue.parquet')
"""
PLAYERS = """
    SELECT player_id AS user_id, acquisition AS channel, country, device_name AS device, start_day AS valid_from
    FROM read_parquet('{folder}/user_summary.parquet')
"""


def main() -> None:
    """Ingest, compare, tell."""
    options = arguments()
    folder = options.data / "intendo_small"
    warehouse = Warehouse.create(options.out / "warehouse")
    for table, query in (("events", EVENTS), ("users", PLAYERS)):
        report = ingest(warehouse, IngestSpec(table=table, query=query.format(folder=folder)), as_of=LEARNED)
        print(f"{table}: {report.kept:,} rows")
    [value, _] = compare_models(warehouse, spec=SPEC, out=options.out).comparisons
    print(told(value))
    channels = by_channel(warehouse)
    print(channels)
    if options.json:
        figures = {"picked": value.chosen, "models": value.scores.model_dump(mode="json")["models"]}
        options.json.write_text(json.dumps({**figures, "channels": channels.to_dicts()}, indent=2) + "\n")


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("SOJOURN_DATA", "data")))
    parser.add_argument("--out", type=Path, default=Path("ltv-mobile-game"), help="a new or an empty folder")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if not (options.data / "intendo_small").is_dir():
        parser.error(f"{options.data} has no folder intendo_small. Say where it lies: --data FOLDER")
    if options.out.exists() and any(options.out.iterdir()):
        parser.error(f"{options.out} is not empty. Give a new folder: --out DIR")
    return options


def told(found: Comparison) -> str:
    """Every model on the last fold, and how much the picked one is ahead of it or behind."""
    lines = [f"{found.spec.name}, {found.scores.rows:,} players on {found.final.fold.test}"]
    lines.append(f"{'model':<34}{'MAE':>8}{'Gini':>8}{'bias':>8}   picked minus it, MAE")
    for name, figures in found.scores.models.items():
        mae, gini, bias = (figures[metric].value or 0.0 for metric in ("mae", "gini", "bias"))
        apart = found.differences.get(name, {}).get("mae")
        ahead = f"{apart.value:+.2f} [{apart.low:+.2f}, {apart.high:+.2f}]" if apart else ""
        star = "* " if name == found.chosen else "  "
        lines.append(f"{star}{model_label(name, spec=found.spec):<32}{mae:>8.2f}{gini:>8.3f}{bias:>+8.1%}   {ahead}")
    return "\n".join(lines)


def by_channel(warehouse: Warehouse) -> Any:
    """What the players of each channel will spend together, with an 80 % interval, beside what they did."""
    import polars as pl

    spec = SpendDistributionSpec(horizon_days=30)
    table = training_table(warehouse, spec=SPEC).drop("label_purchases_30d").drop_nulls(spec.label)
    days = table["as_of"].unique().sort()
    last = days[-1]
    past = table.filter(pl.col("as_of") <= last - pl.duration(days=30))
    recent = past["as_of"].unique().sort()[-spec.train_as_ofs :].to_list()
    law = SpendDistribution(spec).fit(past.filter(pl.col("as_of").is_in(recent)))
    now = table.filter(pl.col("as_of") == last)
    actual = now.group_by("channel").agg(actual=pl.col(spec.label).sum())
    both = cohort_sums(law, table=now, by=["channel"]).join(actual, on="channel", nulls_equal=True)
    return both.sort("channel").with_columns(pl.col("expected", "low", "high", "actual").round())


if __name__ == "__main__":
    main()
