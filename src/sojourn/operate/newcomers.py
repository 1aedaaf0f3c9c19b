"""Users whose first days have just passed come in; what each will have spent by day 90 comes out, as tables."""

from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from sojourn.core import fingerprint
from sojourn.features import FeatureSpec
from sojourn.lifetime import LifetimeSpec, Newcomers, NewcomerSpec, compare_newcomers, log_days, valued
from sojourn.operate._local import on_duckdb
from sojourn.rollups import ledger
from sojourn.warehouse import Warehouse

PREDICTED, COHORTS = "newcomer_predictions", "newcomer_cohorts"
# Beside the log, what newcomers are known by and what their money is worth.
BESIDE = ("users", "costs", "rates")


def write_newcomers(
    warehouse: Warehouse,
    spec: NewcomerSpec,
    *,
    as_of: date,
    features: FeatureSpec | None = None,
    money: LifetimeSpec | None = None,
) -> tuple[int, bool]:
    """Bring partition `as_of` of the two tables up to what is known before that day; the rows, and whether they were.

    Table `newcomer_predictions`: `user_id`, `first_day`, `seen_on` (the day on which the user had the task's age),
    `task`, `prediction`, `low`, `high`, `model`, of everyone whose outcome is not known yet. Table `newcomer_cohorts`:
    as `Newcomers.cohorts` has it, with `seen_on` for its `as_of`. Raises as `compare_newcomers` does.
    """
    money = money or LifetimeSpec()
    store, place = on_duckdb(warehouse), {"as_of": str(as_of)}
    mark = _mark(store, spec, as_of=as_of, features=features, money=money)
    there = store.partition(PREDICTED, place)
    if there is not None and there.fingerprint == mark == store.fingerprint_of(COHORTS, place):
        return there.rows, True
    with TemporaryDirectory() as aside:
        found = compare_newcomers(store, spec=spec, out=Path(aside), features=features, money=money, end=as_of)
    cohorts = pl.concat([each.cohorts for each in found]).rename({"as_of": "seen_on"})
    with store.writing(COHORTS) as writer:
        order = ["age_days", "seen_on", "segment", "value"]
        writer.put(place, cohorts, order_by=order, fingerprint=mark)
    with store.writing(PREDICTED) as writer:
        rows = pl.concat([_rows(each) for each in found])
        return writer.put(place, rows, order_by=["task", "user_id"], fingerprint=mark).rows, False


def _rows(found: Newcomers) -> pl.DataFrame:
    task = found.comparison.spec.name
    return found.predictions.select(
        "user_id",
        "first_day",
        pl.col("as_of").alias("seen_on"),
        pl.lit(task).alias("task"),
        pl.col(task).cast(pl.Float64).alias("prediction"),
        pl.col(f"{task}_low").cast(pl.Float64).alias("low"),
        pl.col(f"{task}_high").cast(pl.Float64).alias("high"),
        pl.lit(found.comparison.chosen).alias("model"),
    )


def _mark(
    store: Warehouse, spec: NewcomerSpec, *, as_of: date, features: FeatureSpec | None, money: LifetimeSpec
) -> str:
    used = valued(store, features=features, spec=money)
    first, _ = log_days(store)
    came = ledger(store, used.rollup, end=as_of).input_of(first, max(as_of, first + timedelta(days=1)))
    beside = [f"{name} {info.partition} {info.fingerprint}" for name in BESIDE for info in store.partitions(name)]
    return fingerprint(PREDICTED, str(as_of), spec.to_json(), used.to_json(), money.to_json(), came, *beside)
