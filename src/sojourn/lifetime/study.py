"""The whole work on a warehouse, one function per verb: compare, fit, predict, evaluate, or all of it at once."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import polars as pl

from sojourn.core import progress
from sojourn.evaluate import BootstrapSpec, Scores, write_metrics
from sojourn.evaluate.scores import write_whole
from sojourn.features import FeatureSpec
from sojourn.lifetime._store import write_table
from sojourn.lifetime.compare import Comparison, compare
from sojourn.lifetime.evaluation import evaluate_model
from sojourn.lifetime.forecast import Lifetime, only_task
from sojourn.lifetime.report import Outlook, write_report
from sojourn.lifetime.segments import segment_scores
from sojourn.lifetime.spec import LifetimeSpec
from sojourn.lifetime.tables import judged_table, scoring_table, training_table
from sojourn.lifetime.targets import (
    TargetSpec,
    high_spenders_at_risk,
    likely_high_spenders,
    profiles,
    write_list,
)
from sojourn.warehouse import Warehouse

METRICS_FILE, REPORT_FILE = "metrics.json", "report.html"
COMPARISON_FILE, SEGMENTS_FILE = "comparison.csv", "segments.csv"
PREDICTIONS_FILE, MODELS_FOLDER = "predictions.parquet", "models"
HIGH_SPENDERS_FILE, AT_RISK_FILE = "likely_high_spenders.csv", "high_spenders_at_risk.csv"


@dataclass(frozen=True)
class Predicted:
    """Predictions of one day, and the lists made of them."""

    predictions: pl.DataFrame
    outlook: Outlook


@dataclass(frozen=True)
class Study:
    """All that `run_study` found: a comparison per task, the models fitted on everything known, and what they say."""

    comparisons: tuple[Comparison, ...]
    model: Lifetime
    predicted: Predicted

    def summary(self) -> pl.DataFrame:
        """A short table: `task, model, chosen`, and the figures of the last fold that the task is judged by."""
        return pl.concat([_summary(comparison) for comparison in self.comparisons], how="diagonal")


def run_study(
    warehouse: Warehouse,
    *,
    spec: LifetimeSpec,
    out: Path,
    features: FeatureSpec | None = None,
    end: date | None = None,
) -> Study:
    """Compare the models of every task, fit the chosen ones on everything known by `end`, and predict from that day on.

    Writes into the folder `out`: `metrics.json`, `comparison.csv`, `segments.csv`, `report.html`, `models/`,
    `predictions.parquet`, `likely_high_spenders.csv`, `high_spenders_at_risk.csv`. `end` defaults to the day after the
    last in the log.
    """
    with progress("Features of past dates", total=1) as advance:
        table = training_table(warehouse, spec=spec, features=features, end=end)
        advance(1)
    comparisons = _compare_all(table, spec)
    picked = {comparison.spec.name: comparison.chosen for comparison in comparisons}
    with progress("Models on everything known, predictions, report", total=3) as advance:
        model = Lifetime(spec.with_changes(models={**picked, **spec.models})).fit(table)
        model.save(out / MODELS_FOLDER)
        advance(1)
        users = scoring_table(warehouse, features=features, as_of=end, sequences=spec.sequences)
        predicted = _predict(model, users, out)
        advance(1)
        _write_comparisons(comparisons, out)
        write_report(out / REPORT_FILE, comparisons=comparisons, spec=spec, outlook=predicted.outlook)
        advance(1)
    return Study(comparisons, model, predicted)


def compare_models(
    warehouse: Warehouse,
    *,
    spec: LifetimeSpec,
    out: Path,
    features: FeatureSpec | None = None,
    end: date | None = None,
) -> tuple[Comparison, ...]:
    """Compare the models of every task; write what was found into `out`.

    The files are `metrics.json`, `comparison.csv`, `segments.csv` and `report.html`.
    """
    comparisons = _compare_all(training_table(warehouse, spec=spec, features=features, end=end), spec)
    _write_comparisons(comparisons, out)
    write_report(out / REPORT_FILE, comparisons=comparisons, spec=spec)
    return comparisons


def fit_models(
    warehouse: Warehouse,
    *,
    spec: LifetimeSpec,
    out: Path,
    features: FeatureSpec | None = None,
    end: date | None = None,
) -> Lifetime:
    """Fit a `Lifetime` on everything known by `end` and save it into the folder `out`."""
    model = Lifetime(spec).fit(training_table(warehouse, spec=spec, features=features, end=end))
    model.save(out)
    return model


def predict_users(
    warehouse: Warehouse,
    *,
    model: Lifetime,
    out: Path,
    features: FeatureSpec | None = None,
    as_of: date | None = None,
) -> Predicted:
    """Predict every user as of a day (default: the day after the last in the log); write predictions and lists."""
    users = scoring_table(warehouse, features=features, as_of=as_of, sequences=model.spec.sequences)
    return _predict(model, users, out)


def evaluate_models(
    warehouse: Warehouse,
    *,
    model: Lifetime,
    out: Path,
    features: FeatureSpec | None = None,
    as_of: date | None = None,
) -> dict[str, Scores]:
    """Judge saved models on a day they have not seen (default: the first such); write `metrics.json` into `out`."""
    table = judged_table(warehouse, spec=model.spec, as_of=as_of or model.known_until, features=features)
    scores = evaluate_model(model, table=table, bootstrap=BootstrapSpec(replicates=model.spec.replicates))
    write_metrics(out / METRICS_FILE, scores.values())
    return scores


def scores_summary(scores: Mapping[str, Scores]) -> pl.DataFrame:
    """A short table of scores: `task, model, chosen`, and the figures that the task is judged by."""
    return pl.concat([_short(each) for each in scores.values()], how="diagonal")


def _compare_all(table: pl.DataFrame, spec: LifetimeSpec) -> tuple[Comparison, ...]:
    bootstrap = BootstrapSpec(replicates=spec.replicates)
    found = []
    with progress("Models compared", total=len(spec.tasks())) as advance:
        for task in spec.tasks():
            found.append(compare(only_task(table, task), spec=task, level=spec.level, bootstrap=bootstrap))
            advance(1)
    return tuple(found)


def _predict(model: Lifetime, features: pl.DataFrame, out: Path) -> Predicted:
    predictions = model.predict(features)
    write_table(predictions, out / PREDICTIONS_FILE)
    users, targets = profiles(features, predictions=predictions, spec=model.spec), TargetSpec()
    outlook = Outlook(
        profiles=users,
        high_spenders=likely_high_spenders(users, spec=targets),
        at_risk=high_spenders_at_risk(users, spec=targets),
        fingerprint=model.fingerprint_,
    )
    write_list(outlook.high_spenders, path=out / HIGH_SPENDERS_FILE)
    write_list(outlook.at_risk, path=out / AT_RISK_FILE)
    return Predicted(predictions, outlook)


def _write_comparisons(comparisons: tuple[Comparison, ...], out: Path) -> None:
    write_metrics(out / METRICS_FILE, [comparison.scores for comparison in comparisons])
    write_whole(out / COMPARISON_FILE, pl.concat([comparison.table() for comparison in comparisons]).write_csv())
    write_whole(out / SEGMENTS_FILE, pl.concat([segment_scores(comparison) for comparison in comparisons]).write_csv())


def _summary(comparison: Comparison) -> pl.DataFrame:
    return _short(comparison.scores)


def _short(scores: Scores) -> pl.DataFrame:
    metrics = ("auc", "brier", "bias") if scores.kind == "probability" else ("mae", "gini", "bias")
    rows = [
        {
            "task": scores.task,
            "model": name,
            "chosen": "*" if name == scores.chosen else "",
            **{metric: figures[metric].value for metric in metrics},
        }
        for name, figures in scores.models.items()
    ]
    return pl.DataFrame(rows)
