"""Refunds forecast apart beside forecasts of the difference: CDNOW with simulated returns, and an app with refunds.

Run it as `python -m benchmarks.lifetime_refunds`: per data set and horizon the loss on earlier folds (what `choose`
goes by, 1 is the best of these models) and the last fold's figures, which no choice has seen. Customers of CDNOW send
back a share of their own of what they bought, beta(0.6, 3), some 13 days later. `--quick` takes a small simulated app.
"""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.ltv import SMALL_WORLD, WORLD, app
from benchmarks.measure import arguments, show
from sojourn.evaluate import BootstrapSpec
from sojourn.events.cdnow import ingest_cdnow
from sojourn.lifetime import Comparison, LifetimeSpec, ValueSpec, compare, training_table
from sojourn.lifetime.forecast import only_task
from sojourn.warehouse import Warehouse

MODELS = ("two_stage", "two_stage_apart", "median_scaled", "median_scaled_apart", "pareto_nbd", "pace", "repeat")


def cdnow_with_returns(folder: Path, *, seed: int = 7) -> Warehouse:
    """The purchases of CDNOW, and returns of some of them."""
    bought = Warehouse.create(folder / "bought")
    ingest_cdnow(bought, folder=Path(os.environ["SOJOURN_DATA"]) / "cdnow")
    log = bought.frame("events").select("event_id", "user_id", "ts", "arrived_at", "event", "amount", "day")
    log = log.filter(pl.col("amount") > 0).sort("event_id")
    rng = np.random.default_rng(seed)
    users = log["user_id"].unique().sort()
    share = dict(zip(users, rng.beta(0.6, 3, len(users)), strict=True))
    sent_back = rng.random(log.height) < log["user_id"].replace_strict(share).to_numpy()
    later = pl.duration(days="later")
    returns = log.with_columns(pl.Series("later", 3 + rng.geometric(0.1, log.height))).with_columns(
        pl.format("{}-back", "event_id"),
        (pl.col("ts") + later).alias("ts"),
        (pl.col("day") + later).alias("day"),
        -pl.col("amount"),
        event=pl.lit("return"),
    )
    returns = returns.filter(pl.Series(sent_back), pl.col("day") <= log["day"].max()).select(log.columns)
    both, warehouse = pl.concat([log, returns]), Warehouse.create(folder / "returned")
    with warehouse.writing("events") as writer:
        for (day,), part in both.partition_by("day", as_dict=True, include_key=False).items():
            writer.put({"day": str(day)}, part, order_by=["user_id", "ts", "event_id"], fingerprint=str(day))
    return warehouse


def rows(data: str, comparison: Comparison) -> Iterator[dict[str, object]]:
    """One row a model, those of a pair beside each other."""
    best = min(comparison.choice.loss.values())
    for name, loss in comparison.choice.loss.items():
        figures = comparison.scores.models[name]
        yield {
            "data": f"{data}, {comparison.spec.name}",
            "model": name.replace("median_scaled", "median").replace("_apart", ", apart")
            + (" *" if name == comparison.chosen else ""),
            "loss_before": f"{loss / best:.3f}",
            **{metric: f"{figures[metric].value or 0.0:.4g}" for metric in ("mae", "rmse", "gini", "bias")},
        }


def compared(data: str, warehouse: Warehouse, *, spec: LifetimeSpec) -> Iterator[dict[str, object]]:
    """Both horizons of one warehouse."""
    table = training_table(warehouse, spec=spec)
    for task in spec.value_tasks():
        kept = ValueSpec(**{**task.model_dump(), "models": MODELS})
        found = compare(only_task(table, kept), spec=kept, bootstrap=BootstrapSpec(replicates=20))
        yield from rows(data, found)


def main() -> None:
    """Print the table."""
    options = arguments(__doc__ or "")
    found: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.quick:
            spec = LifetimeSpec(horizons_days=(30,), folds=2, train_as_ofs=3)
            found += compared("app", app(folder, world=SMALL_WORLD), spec=spec)
        else:
            found += compared("CDNOW", cdnow_with_returns(folder), spec=LifetimeSpec())
            found += compared("app", app(folder, world=WORLD), spec=LifetimeSpec())
    show("Refunds apart, and the difference alone (* picked on earlier folds)", found, to=options.json)


if __name__ == "__main__":
    main()
