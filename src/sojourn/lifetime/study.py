"""The whole work on a warehouse, one function per verb: compare, fit, predict, evaluate, or all of it at once."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path

import polars as pl

from sojourn.core import BadInput, progress, say
from sojourn.evaluate import BootstrapSpec, Scores, write_metrics
from sojourn.evaluate.scores import write_whole
from sojourn.features import FeatureSpec
from sojourn.lifetime._seen import Seen, need_unseen
from sojourn.lifetime._store import write_table
from sojourn.lifetime.compare import Comparison, compare
from sojourn.lifetime.distribution_proof import DISTRIBUTION_SCHEMA, judge_distributions
from sojourn.lifetime.evaluation import evaluate_model
from sojourn.lifetime.evidence import Evidence
from sojourn.lifetime.extrapolation import bases_of
from sojourn.lifetime.forecast import Lifetime, only_task
from sojourn.lifetime.history import short_tasks, within_log
from sojourn.lifetime.learnable import without_short, without_unlearnable
from sojourn.lifetime.log_end import known_end, log_days
from sojourn.lifetime.report import Outlook, write_report
from sojourn.lifetime.segments import segment_scores
from sojourn.lifetime.spec import LifetimeSpec, ValueSpec
from sojourn.lifetime.tables import comparison_table, judged_table, scoring_table, training_table
from sojourn.lifetime.targets import (
    TargetSpec,
    high_spenders_at_risk,
    likely_high_spenders,
    profiles,
    write_list,
)
from sojourn.lifetime.value_cohorts import COHORT_SCHEMA, value_cohorts
from sojourn.warehouse import Warehouse

METRICS_FILE, REPORT_FILE = "metrics.json", "report.html"
COMPARISON_FILE, SEGMENTS_FILE = "comparison.csv", "segments.csv"
DISTRIBUTIONS_FILE, COHORTS_FILE = "distributions.csv", "cohorts.csv"
PREDICTIONS_FILE, MODELS_FOLDER = "predictions.parquet", "models"
HIGH_SPENDERS_FILE, AT_RISK_FILE = "likely_high_spenders.csv", "high_spenders_at_risk.csv"


@dataclass(frozen=True)
class Predicted:
    """Predictions of one day, and the lists made of them."""

    predictions: pl.DataFrame
    outlook: Outlook


@dataclass(frozen=True)
class Bench:
    """What `compare_models` found: a comparison per task that could be judged, and what goes beside them."""

    comparisons: tuple[Comparison, ...]
    evidence: Evidence

    def summary(self) -> pl.DataFrame:
        """A short table: `task, model, chosen`, and the figures of the last fold that the task is judged by.

        A model that did not finish, or took no part, has no figures, and says so in `chosen`.
        """
        return pl.concat([_summary(comparison) for comparison in self.comparisons], how="diagonal")

    def spreads(self) -> pl.DataFrame:
        """How good the spreads told of users' spend are, by task: see `judge_distribution`."""
        found = [proof.table for proof in self.evidence.distributions.values()]
        return pl.concat(found) if found else pl.DataFrame(schema=DISTRIBUTION_SCHEMA)


@dataclass(frozen=True)
class Study:
    """All that `run_study` found: a comparison per task, the models fitted on everything known, and what they say."""

    comparisons: tuple[Comparison, ...]
    model: Lifetime
    predicted: Predicted
    evidence: Evidence = field(default_factory=Evidence)

    def summary(self) -> pl.DataFrame:
        """As `Bench.summary`."""
        return Bench(self.comparisons, self.evidence).summary()


def run_study(
    warehouse: Warehouse,
    *,
    spec: LifetimeSpec,
    out: Path,
    features: FeatureSpec | None = None,
    end: date | None = None,
) -> Study:
    """Compare the models of every task, fit the chosen ones on everything known by `end`, and predict from that day on.

    Writes into the folder `out`: what `compare_models` writes, `models/`, `predictions.parquet`,
    `likely_high_spenders.csv`, `high_spenders_at_risk.csv`. `end` defaults to the day after the log's last
    (`log_days`). Raises `BadInput` as `compare_models` does, and for a task that can't be judged, isn't extrapolated,
    and has no model named.
    """
    end = known_end(warehouse, end)
    spec, cut = _within_log(warehouse, spec, end)
    with progress("Features of past dates", total=1) as advance:
        table = training_table(warehouse, spec=spec, features=features, end=end)
        advance(1)
    short = short_tasks(spec, log_days=(end - log_days(warehouse)[0]).days)
    bench = _compare_all(warehouse, table, short=short, spec=spec, features=features, cut=cut)
    named = {*spec.models, *bases_of(table, spec=spec)}
    for name, why in bench.evidence.left_out.items():
        if name not in named:
            raise BadInput(f"lifetime.run_study: {name} has no model: {why}")
    picked = {comparison.spec.name: comparison.chosen for comparison in bench.comparisons}
    with progress("Models on everything known, predictions, report", total=3) as advance:
        model = Lifetime(spec.with_changes(models={**picked, **spec.models})).fit(table)
        model.save(out / MODELS_FOLDER)
        advance(1)
        users = scoring_table(warehouse, features=features, as_of=end, spec=spec, flows=bool(model.refunds_))
        predicted = _predict(model, users, out)
        advance(1)
        # That they are extrapolated the report says by itself.
        kept = {name: why for name, why in bench.evidence.left_out.items() if name in spec.models}
        evidence = replace(bench.evidence, left_out=kept)
        _write_comparisons(bench, out)
        write_report(
            out / REPORT_FILE, comparisons=bench.comparisons, spec=spec, outlook=predicted.outlook, evidence=evidence
        )
        advance(1)
    return Study(bench.comparisons, model, predicted, evidence)


def compare_models(
    warehouse: Warehouse,
    *,
    spec: LifetimeSpec,
    out: Path,
    features: FeatureSpec | None = None,
    end: date | None = None,
) -> Bench:
    """Compare the models of every task that can be judged; write what was found into `out`.

    A task that the log is too short for, or too few users, is left out, and why is said (`Bench.evidence.left_out`).
    Horizons that nobody asked for are cut to what the log can judge (`Bench.evidence.cut`).
    The files are `metrics.json`, `comparison.csv`, `segments.csv`, `distributions.csv` (how good the spreads told of
    users' spend are), `cohorts.csv` (`value_cohorts`) and `report.html`. Raises `BadInput` where no task can be judged.
    """
    end = known_end(warehouse, end)
    spec, cut = _within_log(warehouse, spec, end)
    with progress("Features of past dates", total=1) as advance:
        table, short = comparison_table(warehouse, spec=spec, features=features, end=end)
        advance(1)
    bench = _compare_all(warehouse, table, short=short, spec=spec, features=features, cut=cut)
    _write_comparisons(bench, out)
    write_report(out / REPORT_FILE, comparisons=bench.comparisons, spec=spec, evidence=bench.evidence)
    return bench


def fit_models(
    warehouse: Warehouse,
    *,
    spec: LifetimeSpec,
    out: Path,
    features: FeatureSpec | None = None,
    end: date | None = None,
) -> Lifetime:
    """Fit a `Lifetime` on everything known by `end` and save it into the folder `out`.

    Horizons that nobody asked for are cut as by `compare_models`. A horizon that can neither be learned nor be
    extrapolated is left out, which a line on stderr says before anything is learned. Raises `BadInput` there where none
    is left, or where churn cannot be learned.
    """
    end = known_end(warehouse, end)
    spec, cut = _within_log(warehouse, spec, end)
    left = without_short(spec, log_days=(end - log_days(warehouse)[0]).days)
    table = training_table(warehouse, spec=left.spec, features=features, end=end)
    left = without_unlearnable(left, table=table)
    for sentence in [cut, *(f"{name} is left out: {why}" for name, why in left.out.items())]:
        if sentence:
            say(sentence)
    model = Lifetime(left.spec).fit(table.drop(left.labels(table)))
    model.save(out)
    return model


def predict_users(
    warehouse: Warehouse,
    *,
    model: Lifetime,
    out: Path,
    features: FeatureSpec | None = None,
    as_of: date | None = None,
    seen: Seen = "refuse",
) -> Predicted:
    """Predict every user as of a day (default: the day after the log's last, `log_days`); write predictions and lists.

    A day that the models have seen the future of is refused, as by `evaluate_model`; with `seen="warn"`, a replay, a
    line on stderr says so.
    """
    day = known_end(warehouse, as_of)
    need_unseen(warehouse, model, as_of=day, where="lifetime.predict_users", seen=seen)
    users = scoring_table(warehouse, features=features, as_of=day, spec=model.spec, flows=bool(model.refunds_))
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
    day = as_of or model.known_until
    table = judged_table(warehouse, spec=model.spec, as_of=day, features=features, flows=bool(model.refunds_))
    scores = evaluate_model(model, table=table, bootstrap=BootstrapSpec(replicates=model.spec.replicates))
    write_metrics(out / METRICS_FILE, scores.values())
    return scores


def scores_summary(scores: Mapping[str, Scores]) -> pl.DataFrame:
    """A short table of scores: `task, model, chosen`, and the figures that the task is judged by."""
    return pl.concat([_short(each) for each in scores.values()], how="diagonal")


def _within_log(warehouse: Warehouse, spec: LifetimeSpec, end: date) -> tuple[LifetimeSpec, str]:
    return within_log(spec, log_days=(end - log_days(warehouse)[0]).days)


def _compare_all(
    warehouse: Warehouse,
    table: pl.DataFrame,
    *,
    short: Mapping[str, str],
    spec: LifetimeSpec,
    features: FeatureSpec | None,
    cut: str,
) -> Bench:
    """Every task that can be judged, compared; `short` are those that the log is too short for, and why."""
    bases = bases_of(table, spec=spec)
    grown = {
        name: f". `sojourn ltv fit` will extrapolate it from {base.name}, and mark it" for name, base in bases.items()
    }
    left_out = {name: f"{why}{grown.get(name, '')}" for name, why in short.items()}
    tasks = [task for task in spec.tasks() if task.name not in short]
    found: list[Comparison] = []
    first: BadInput | None = None
    with progress("Models compared", total=len(tasks)) as advance:
        for task in tasks:
            try:
                bootstrap = BootstrapSpec(replicates=spec.replicates)
                found.append(compare(only_task(table, task), spec=task, level=spec.level, bootstrap=bootstrap))
            except BadInput as fault:
                first, left_out[task.name] = first or fault, str(fault)
            advance(1)
    if not found:
        assert first is not None
        raise first
    values = [one for one in found if isinstance(one.spec, ValueSpec)]
    with progress("Cohorts and spreads", total=2) as advance:
        cohorts = {
            one.spec.name: value_cohorts(warehouse, comparison=one, spec=spec, features=features) for one in values
        }
        advance(1)
        distributions, unlearned = judge_distributions(table, comparisons=values)
        advance(1)
    return Bench(tuple(found), Evidence({**left_out, **unlearned}, distributions, cohorts, cut))


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


def _write_comparisons(bench: Bench, out: Path) -> None:
    comparisons, cohorts = bench.comparisons, list(bench.evidence.cohorts.values())
    write_metrics(out / METRICS_FILE, [comparison.scores for comparison in comparisons])
    tables = {
        COMPARISON_FILE: pl.concat([comparison.table() for comparison in comparisons]),
        SEGMENTS_FILE: pl.concat([segment_scores(comparison) for comparison in comparisons]),
        DISTRIBUTIONS_FILE: bench.spreads(),
        COHORTS_FILE: pl.concat(cohorts) if cohorts else pl.DataFrame(schema=COHORT_SCHEMA),
    }
    for name, table in tables.items():
        write_whole(out / name, table.write_csv())


def _summary(comparison: Comparison) -> pl.DataFrame:
    out = {name: "did not finish" for name in comparison.failed if name not in comparison.scores.models}
    out |= dict.fromkeys(comparison.absent, "took no part")
    unfinished = [{"task": comparison.spec.name, "model": name, "chosen": why} for name, why in out.items()]
    short = _short(comparison.scores)
    return pl.concat([short, pl.DataFrame(unfinished)], how="diagonal") if unfinished else short


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
