"""Predictions come in as they were made; a log that is only added to comes out, and what became of them.

Table `prediction_log` (partition `model`, `as_of`, `made`) has a row per user and task: what was predicted, by which
version of which model, from which features. Table `backtests` (partition `model`, `as_of`) has, for every task whose
days are over, the figures of those predictions.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import polars as pl

from sojourn.core import fingerprint
from sojourn.evaluate import BootstrapSpec, Task, bootstrap_metrics
from sojourn.features import FeatureSpec
from sojourn.lifetime import FittedRetention
from sojourn.operate.declared import WatchSpec
from sojourn.operate.drift import sampled
from sojourn.operate.registry import Kind, Registry, Watched
from sojourn.rollups import Ledger, RollupSpec, ahead, refreshed, window_query
from sojourn.warehouse import PartitionInfo, Warehouse
from sojourn.warehouse.engine import identifier, literal

LOG, BACKTESTS = "prediction_log", "backtests"
PREDICTIONS: Mapping[Kind, str] = {"ltv": "predictions", "retention": "retention_predictions"}
TRUTH, SAID = "truth", "said"
SCHEMA = {
    "made": pl.String,
    "version": pl.String,
    "task": pl.String,
    "days": pl.Int64,
    "users": pl.Int64,
    "metric": pl.String,
    "value": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
}


def log_predictions(
    warehouse: Warehouse, registry: Registry, version: str, *, as_of: date
) -> tuple[PartitionInfo | None, bool]:
    """Add the stored predictions of a day to the log, once; returns the partition, and whether it was there already.

    `user_id, task, prediction, model_version, fingerprint, features`: the last two are the model's and that of what it
    was asked about. Predictions that were made again from other features are added beside the first.
    """
    stored = warehouse.partition(PREDICTIONS[registry.kind], {"as_of": str(as_of)})
    if stored is None:
        return None, False
    place = {"model": registry.kind, "as_of": str(as_of), "made": stored.fingerprint}
    there = warehouse.partition(LOG, place)
    if there is not None:
        return there, True
    relation = warehouse.relation(PREDICTIONS[registry.kind], only=[{"as_of": str(as_of)}])
    features = "inputs" if registry.kind == "retention" else literal(_features_of(warehouse, as_of))
    queries = [
        f"SELECT user_id, {literal(each.task)} AS task, CAST({identifier(each.column)} AS DOUBLE) AS prediction, "
        f"model_version, fingerprint, {features} AS features FROM {relation}"
        for each in registry.about(version).watched
    ]
    with warehouse.writing(LOG) as writer:
        mark = fingerprint("prediction log", *place.values())
        return writer.put(place, " UNION ALL ".join(queries), order_by=["task", "user_id"], fingerprint=mark), False


@dataclass(frozen=True)
class Backtested:
    """The days whose predictions were judged anew, and how many were judged already."""

    judged: tuple[date, ...]
    current: int
    rows: int


def backtest(
    warehouse: Warehouse, registry: Registry, *, end: date, features: FeatureSpec | None, watch: WatchSpec
) -> Backtested:
    """Judge every logged prediction whose days are over by `end`, the first day that is not known, where not done yet.

    Late rows that change what came have it judged again. Each user in the log counts, who did nothing as well.
    """
    places = [place for place in warehouse.places(LOG) if place["model"] == registry.kind]
    if not places:
        return Backtested((), 0, 0)
    watched = {each for about in registry.versions() for each in about.watched}
    found, judged, current, rows = None, [], 0, 0
    for day, made in _by_day(places):
        as_of = date.fromisoformat(day)
        due = {each for each in watched if as_of + timedelta(days=each.days) <= end}
        if not due:
            continue
        found = found or refreshed(warehouse, _rollup_of(registry, features), end=end)
        wanted = _wanted(warehouse, found, as_of, due, made, watch)
        place = {"model": registry.kind, "as_of": day}
        if warehouse.fingerprint_of(BACKTESTS, place) == wanted:
            current += 1
            continue
        table = _judge(warehouse, found, as_of, sorted(due, key=lambda each: each.task), made, watch)
        with warehouse.writing(BACKTESTS) as writer:
            rows += writer.put(place, table, order_by=["made", "task", "metric"], fingerprint=wanted).rows
        judged.append(as_of)
    return Backtested(tuple(judged), current, rows)


def _by_day(places: Sequence[dict[str, str]]) -> Iterator[tuple[str, list[dict[str, str]]]]:
    for day in sorted({place["as_of"] for place in places}):
        yield day, [place for place in places if place["as_of"] == day]


def _rollup_of(registry: Registry, features: FeatureSpec | None) -> RollupSpec:
    base = features or FeatureSpec()
    if registry.kind == "ltv":
        return base.rollup
    latest = registry.load(registry.versions()[-1].version)
    assert isinstance(latest, FittedRetention)
    return latest.spec.features(base).rollup


def _wanted(
    warehouse: Warehouse,
    found: Ledger,
    as_of: date,
    due: set[Watched],
    made: Sequence[dict[str, str]],
    watch: WatchSpec,
) -> str:
    came = [found.input_of(as_of, as_of + timedelta(days=each.days)) for each in due]
    logged = [str(warehouse.fingerprint_of(LOG, place)) for place in made]
    asked = (watch.sample_users, watch.replicates, found.definition.fingerprint)
    return fingerprint("backtest", str(as_of), *sorted(map(str, due)), *sorted(came), *logged, *map(str, asked))


def _judge(
    warehouse: Warehouse,
    found: Ledger,
    as_of: date,
    due: Sequence[Watched],
    made: Sequence[dict[str, str]],
    watch: WatchSpec,
) -> pl.DataFrame:
    names = sorted({each.aggregate for each in due})
    days = sorted({each.days for each in due})
    came = window_query(warehouse, found, as_ofs=[as_of], reading={name: [ahead(n) for n in days] for name in names})
    rows: list[tuple[object, ...]] = []
    for place in made:
        users = sampled(warehouse, warehouse.relation(LOG, only=[place]), watch.sample_users * len(due))
        with warehouse.engine.table(users.select("user_id").unique()) as name:
            truth = warehouse.engine.frame(f"SELECT * FROM ({came}) WHERE user_id IN (SELECT user_id FROM {name})")
        for each in due:
            said = users.filter(pl.col("task") == each.task)
            if said.height:
                rows += _figures(said, truth, each, place["made"], watch)
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def _figures(
    said: pl.DataFrame, truth: pl.DataFrame, each: Watched, made: str, watch: WatchSpec
) -> Iterator[tuple[object, ...]]:
    column = f"{each.aggregate}_{ahead(each.days).name}"
    label = pl.col(column).cast(pl.Float64).fill_null(0.0)
    both = said.join(truth.select("user_id", column), on="user_id", how="left").select(
        "user_id",
        ((label == 0).cast(pl.Float64) if each.is_absence else label).alias(TRUTH),
        pl.col("prediction").alias(SAID),
    )
    task = Task(name=each.task, kind=each.kind, truth=TRUTH, models=(SAID,))
    figures = bootstrap_metrics(both, task=task, bootstrap=BootstrapSpec(replicates=watch.replicates))[SAID]
    for metric, figure in figures.items():
        yield (
            made,
            said["fingerprint"][0],
            each.task,
            each.days,
            both.height,
            metric,
            figure.value,
            figure.low,
            figure.high,
        )


def _features_of(warehouse: Warehouse, as_of: date) -> str:
    return warehouse.fingerprint_of("features", {"as_of": str(as_of)}) or ""
