"""What a newcomer will have spent by day 90, told on day 1, 3 or 7: what acquisition is bought on."""

from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import polars as pl

from sojourn.core import progress
from sojourn.evaluate import BootstrapSpec, write_metrics
from sojourn.evaluate.scores import write_whole
from sojourn.features import FeatureSpec, LabelSpec, newcomer_table
from sojourn.lifetime._design import KEYS
from sojourn.lifetime._store import write_table
from sojourn.lifetime.compare import Comparison, compare
from sojourn.lifetime.interval import fit_interval, with_interval
from sojourn.lifetime.log_end import known_end
from sojourn.lifetime.models import make_model
from sojourn.lifetime.money import valued
from sojourn.lifetime.newcomer_report import EVERYONE, newcomer_report
from sojourn.lifetime.segments import few_words, segment_scores
from sojourn.lifetime.spec import LifetimeSpec, NewcomerSpec, ValueSpec
from sojourn.warehouse import Warehouse

COHORT_SCHEMA = pl.Schema(
    {
        "age_days": pl.Int64,
        "as_of": pl.Date,
        "segment": pl.String,
        "value": pl.String,
        "users": pl.Int64,
        "spent": pl.Float64,
        "forecast": pl.Float64,
    }
)


@dataclass(frozen=True)
class Newcomers:
    """What was found at one age.

    `predictions` are of everyone whose outcome is not yet known: `user_id, as_of, first_day`, the task's column and
    both ends of its interval. `cohorts` has a row per cohort (`as_of`), for everyone and for each word of the
    portrait: `age_days, as_of, segment, value, users`, and means per user in units of the value: `spent`, null where
    the outcome is not yet known, and `forecast`, made before it was (null for cohorts that were only learned from).
    """

    comparison: Comparison
    predictions: pl.DataFrame = field(repr=False)
    cohorts: pl.DataFrame = field(repr=False)


def compare_newcomers(
    warehouse: Warehouse,
    *,
    spec: NewcomerSpec,
    out: Path,
    features: FeatureSpec | None = None,
    money: LifetimeSpec | None = None,
    end: date | None = None,
) -> tuple[Newcomers, ...]:
    """At every age: compare the models on past newcomers, and predict those whose outcome is not yet known.

    Writes into the folder `out`: `metrics.json`, `comparison.csv`, `segments.csv`, `cohorts.csv`, `report.html`, and
    `<task>.parquet` with the predictions of each age. Nothing from `end` on is known (default: as `log_days` has it).
    `money` declares currency, rates and margin. Raises `BadInput` when the log is too short for two folds, as `valued`
    does, and as `features.newcomer_table` does.
    """
    tasks, end = spec.tasks(), known_end(warehouse, end)
    features = valued(warehouse, features=features, spec=money or LifetimeSpec())
    with progress("Newcomers, age by age", total=len(tasks)) as advance:
        found = []
        for task in tasks:
            found.append(_at_age(warehouse, task, spec=spec, features=features, end=end))
            advance(1)
    write_metrics(out / "metrics.json", [each.comparison.scores for each in found])
    tables = {
        "comparison.csv": pl.concat([each.comparison.table() for each in found]),
        "segments.csv": pl.concat([segment_scores(each.comparison) for each in found]),
        "cohorts.csv": pl.concat([each.cohorts for each in found]),
    }
    for name, table in tables.items():
        write_whole(out / name, table.write_csv())
    for each in found:
        write_table(each.predictions, out / f"{each.comparison.spec.name}.parquet")
    newcomer_report([each.comparison for each in found], cohorts=tables["cohorts.csv"], spec=spec).write(
        out / "report.html"
    )
    return tuple(found)


def _at_age(
    warehouse: Warehouse, task: ValueSpec, *, spec: NewcomerSpec, features: FeatureSpec, end: date | None
) -> Newcomers:
    assert task.age_days is not None
    wanted = features.with_changes(labels=LabelSpec(aggregates=(task.value,), horizons_days=(task.horizon_days,)))
    table = newcomer_table(
        warehouse, wanted, age_days=task.age_days, by_days=spec.by_days, step_days=spec.step_days, end=end
    )
    plain = table.drop("first_day")
    comparison = compare(plain, spec=task, level=spec.level, bootstrap=BootstrapSpec(replicates=spec.replicates))
    known, coming = (plain.filter(pl.col(task.label).is_null() == unknown) for unknown in (False, True))
    predictions = _predict(known, coming, comparison=comparison, level=spec.level)
    days = table.select(*KEYS, "first_day")
    return Newcomers(
        comparison,
        predictions.join(days, on=KEYS, how="left").select(*KEYS, "first_day", pl.exclude(*KEYS, "first_day")),
        _cohorts(plain, predictions, comparison),
    )


def _predict(known: pl.DataFrame, coming: pl.DataFrame, *, comparison: Comparison, level: float) -> pl.DataFrame:
    """The chosen model, fitted on the latest cohorts whose outcome is known, asked for those whose is not."""
    task = comparison.spec
    assert isinstance(task, ValueSpec)
    latest = known["as_of"].unique().sort()[-task.train_as_ofs :]
    rows = known.filter(pl.col("as_of").is_in(latest.implode()))
    model = make_model(comparison.chosen, spec=task).fit(rows)
    interval = fit_interval(model, table=rows, level=level)
    users = coming.drop(task.label)
    return with_interval(interval, features=users, predicted=model.predict(users))


def _cohorts(table: pl.DataFrame, predictions: pl.DataFrame, comparison: Comparison) -> pl.DataFrame:
    task = comparison.spec
    assert isinstance(task, ValueSpec)
    folds = (*comparison.choice.folds, comparison.final)
    told = [
        *(each.predictions.select(*KEYS, pl.col(comparison.chosen).alias("forecast")) for each in folds),
        predictions.select(*KEYS, pl.col(task.name).alias("forecast")),
    ]
    # A fold's cohort may also be among those not yet known: the later look counts.
    forecasts = pl.concat(told).unique(KEYS, keep="last", maintain_order=True)
    rows = table.join(forecasts, on=KEYS, how="left").with_columns(pl.lit("all").alias(EVERYONE))
    parts = []
    for segment in (EVERYONE, *few_words(table)):
        grouped = rows.group_by("as_of", pl.col(segment).fill_null("unknown").alias("value"))
        counted = grouped.agg(
            users=pl.len().cast(pl.Int64),
            spent=pl.when(pl.col(task.label).null_count() == 0).then(pl.col(task.label).mean()),
            forecast=pl.when(pl.col("forecast").null_count() == 0).then(pl.col("forecast").mean()),
        )
        parts.append(
            counted.with_columns(
                age_days=pl.lit(task.age_days).cast(pl.Int64), segment=pl.lit(segment.replace("_", " "))
            )
        )
    return pl.concat(parts).select(list(COHORT_SCHEMA)).cast(COHORT_SCHEMA).sort("segment", "value", "as_of")
