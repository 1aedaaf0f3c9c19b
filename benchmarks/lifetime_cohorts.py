"""How often the interval for what a cohort spends holds the truth, over simulated worlds and on real receipts.

Run it as `python -m benchmarks.lifetime_cohorts`. In each world of 4,000 users the distribution of spend over 30 days
is learned at several origins from what was known then, the shock from earlier folds; cohorts are users of a channel and
a third of tenure. Target: 80 % intervals hold 75 to 85 % of at least 200 cohort sums. Real ones beside them: Complete
Journey by household size.
"""

import tempfile
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.ltv import complete_journey
from benchmarks.measure import arguments, show
from sojourn.core import progress
from sojourn.events import WorldSpec, simulate
from sojourn.lifetime import LifetimeSpec, SpendDistribution, SpendDistributionSpec, cohort_shock, cohort_sums
from sojourn.lifetime import training_table as labelled_rows
from sojourn.warehouse import Warehouse

HORIZON_DAYS, ORIGINS = 30, 4
SPEC = SpendDistributionSpec(horizon_days=HORIZON_DAYS)
TASKS = LifetimeSpec(horizons_days=(HORIZON_DAYS,), folds=6, step_days=15)


def sums(table: pl.DataFrame, *, by: list[str]) -> Iterator[pl.DataFrame]:
    """Expected and actual sums of each cohort at the last origins, each learned from what had ended before it."""
    known = table.drop("label_purchases_30d").filter(pl.col(SPEC.label).is_not_null())
    for origin in known["as_of"].unique().sort()[-ORIGINS:]:
        ended = pl.col("as_of") <= origin - timedelta(days=HORIZON_DAYS)
        past = known.filter(ended)
        days = past["as_of"].unique().sort()[-SPEC.train_as_ofs :]
        law = SpendDistribution(SPEC).fit(past.filter(pl.col("as_of").is_in(days.to_list())))
        now = known.filter(pl.col("as_of") == origin)
        shock = cohort_shock(past, spec=SPEC.with_changes(folds=3))
        actual = now.group_by(by).agg(actual=pl.col(SPEC.label).cast(pl.Float64).clip(lower_bound=0.0).sum())
        found = cohort_sums(law, table=now, by=by, shock=shock)
        bare = cohort_sums(law, table=now, by=by).select(*by, bare_low="low", bare_high="high")
        both = found.join(actual, on=by, nulls_equal=True).join(bare, on=by, nulls_equal=True)
        yield both.with_columns(pl.lit(shock).alias("shock"))


def world(folder: Path, seed: int, *, users: int) -> pl.DataFrame:
    """The labelled rows of a simulated app, with thirds of tenure."""
    warehouse = Warehouse.create(folder / f"app{seed}")
    simulate(warehouse, WorldSpec(users=users, days=300, start=date(2025, 1, 1), seed=seed))
    table = labelled_rows(warehouse, spec=TASKS)
    third = (pl.col("tenure_days").rank("ordinal").over("as_of") - 1) * 3 // pl.len().over("as_of")
    return table.with_columns(age=third)


def row(data: str, found: pl.DataFrame) -> dict[str, Any]:
    """What all these sums come to."""
    inside = pl.col("actual").is_between(pl.col("low"), pl.col("high")).mean()
    bare = pl.col("actual").is_between(pl.col("bare_low"), pl.col("bare_high")).mean()
    width = ((pl.col("high") - pl.col("low")) / pl.col("expected").clip(1)).median()
    told = found.select(inside.alias("inside"), bare.alias("bare"), width.alias("width"), pl.col("shock").mean()).row(0)
    return {
        "data": data,
        "sums": found.height,
        "inside_80": told[0],
        "inside_without_shock": told[1],
        "median_width": told[2],
        "mean_shock": told[3],
        "bias": float(found["expected"].to_numpy().sum() / found["actual"].to_numpy().sum()) - 1,
    }


def main() -> None:
    """Print the table; `--quick` has one small world."""
    options = arguments(__doc__ or "")
    seeds, users = (range(1), 800) if options.quick else (range(5), 4_000)
    parts = []
    with tempfile.TemporaryDirectory() as name, progress("worlds", total=len(seeds)) as done:
        for seed in seeds:
            parts += list(sums(world(Path(name), seed, users=users), by=["channel", "age"]))
            done(1)
        rows = [row("simulated app", pl.concat(parts))]
        if not options.quick:
            table = labelled_rows(complete_journey(Path(name)), spec=TASKS)
            rows.append(row("complete journey", pl.concat(list(sums(table, by=["household_size"])))))
    show("Sums over cohorts: how often the 80 % interval held", rows, to=options.json)


if __name__ == "__main__":
    main()
