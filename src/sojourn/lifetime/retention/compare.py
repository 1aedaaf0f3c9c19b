"""All models of daily activity on the same folds: chosen on the earlier ones, tested once on the last."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from math import exp, log

import polars as pl

from sojourn.core import BadInput, Estimator
from sojourn.evaluate import BootstrapSpec, Difference, Fold, Scores, Split, SplitSpec, split_fingerprint, time_split
from sojourn.lifetime._design import KEYS
from sojourn.lifetime.history import longest_horizon
from sojourn.lifetime.retention._rows import in_order
from sojourn.lifetime.retention._said import PROB
from sojourn.lifetime.retention.activity import AHEAD
from sojourn.lifetime.retention.judge import TRUTH, Judged, judge
from sojourn.lifetime.retention.models import retention_model
from sojourn.lifetime.retention.spec import RetentionSpec

# A choice needs no intervals; the fewest resamples that a BootstrapSpec allows.
CHOICE = BootstrapSpec(replicates=10)
SMALLEST = 1e-9


@dataclass(frozen=True)
class RetentionFold:
    """One fold: `predictions` has `user_id, as_of, truth` and one list column per model, judged in `judged`."""

    fold: Fold
    judged: Judged
    predictions: pl.DataFrame
    models: Mapping[str, Estimator] = field(repr=False)


@dataclass(frozen=True)
class RetentionComparison:
    """Which model the earlier folds picked, and how every model did on the last, which no choice has seen.

    `loss` by model is what the choice went by; `differences[name]` are chosen minus that model on the same resampled
    users; `users` are the last fold's rows of `activity_table`.
    """

    spec: RetentionSpec
    split: Split
    fingerprint: str
    chosen: str
    loss: Mapping[str, float]
    folds: tuple[RetentionFold, ...]
    final: RetentionFold
    differences: Mapping[str, Mapping[str, Difference]]
    users: pl.DataFrame = field(repr=False)

    @property
    def scores(self) -> Scores:
        """Every model on the last fold, with intervals; `auc` is the mean over days ahead."""
        return Scores(
            task=self.spec.task().name,
            kind="probability",
            split=self.fingerprint,
            rows=self.final.predictions.height,
            chosen=self.chosen,
            models=self.final.judged.intervals(),
        )

    @property
    def model(self) -> Estimator:
        """The chosen model as it was tested: fitted on what was known at the last fold's date."""
        return self.final.models[self.chosen]

    def by_day(self) -> pl.DataFrame:
        """Brier score and AUC of every model by day ahead, on every fold (`fold` is its as-of date)."""
        parts = [
            each.judged.by_day.select(pl.lit(each.fold.test).alias("fold"), pl.all())
            for each in (*self.folds, self.final)
        ]
        return pl.concat(parts)


def compare_activity(
    table: pl.DataFrame, *, spec: RetentionSpec, bootstrap: BootstrapSpec | None = None
) -> RetentionComparison:
    """Fit every model of the spec on each fold of an `activity_table`, choose on the earlier folds, test on the last.

    A model's loss is the geometric mean, over the earlier folds, of its Brier score and of 1 - AUC (mean over days
    ahead); the first of equals wins. Only as-of dates with all their days known are used.

    Raises `BadInput` when history is too short for two folds, `MissingColumn`, `EmptyInput`.
    """
    known = whole_horizons(table, where="lifetime.compare_activity")
    split = split_days(known["as_of"].unique().to_list(), spec=spec)
    bootstrap = bootstrap or BootstrapSpec(replicates=spec.replicates)
    folds = tuple(_run(known, fold=fold, spec=spec, bootstrap=CHOICE) for fold in split.selection)
    names: tuple[str, ...] = spec.compared()
    loss = {name: _loss(name, folds) for name in names}
    chosen: str = spec.model or min(loss, key=loss.__getitem__)
    final = _run(known, fold=split.final, spec=spec, bootstrap=bootstrap)
    differences = {name: final.judged.difference(chosen, name) for name in names if name != chosen}
    return RetentionComparison(
        spec=spec,
        split=split,
        fingerprint=split_fingerprint(known, split=split),
        chosen=chosen,
        loss=loss,
        folds=folds,
        final=final,
        differences=differences,
        users=known.filter(pl.col("as_of") == split.final.test),
    )


def whole_horizons(table: pl.DataFrame, *, where: str) -> pl.DataFrame:
    """The rows of as-of dates of which every day ahead is known, in order."""
    known = in_order(table, needed=AHEAD, where=where)
    return known.filter(pl.col(AHEAD).list.eval(pl.element().is_null().any()).list.first().not_())


def split_days(as_ofs: list[date], *, spec: RetentionSpec) -> Split:
    """The folds: as many as history allows, up to `spec.folds`, at least two. Raises `BadInput`."""
    days = sorted(set(as_ofs))
    for folds in range(spec.folds, 1, -1):
        try:
            return time_split(days, spec=SplitSpec(horizon_days=spec.horizon_days, folds=folds, early_stop=0))
        except BadInput as fault:
            last = fault
    seen = f"there are {len(days)}, from {days[0]} to {days[-1]}" if days else "there are none"
    most = longest_horizon((days[-1] - days[0]).days + spec.horizon_days, step_days=spec.step_days) if days else 0
    instead = f", or look less far ahead: horizon_days = {most} in [retention] of sojourn.toml" if most else ""
    raise BadInput(
        f"lifetime.compare_activity needs as-of dates that span {2 * spec.horizon_days} days, to choose on one window "
        f"of {spec.horizon_days} days and test on a later one; {seen}. Bring a longer log{instead}"
    ) from last


def _run(known: pl.DataFrame, *, fold: Fold, spec: RetentionSpec, bootstrap: BootstrapSpec) -> RetentionFold:
    train = known.filter(pl.col("as_of").is_in(fold.train[-spec.train_as_ofs :]))
    test = known.filter(pl.col("as_of") == fold.test)
    names: tuple[str, ...] = spec.compared()
    models = {name: retention_model(name, spec=spec.task()).fit(train) for name in names}
    columns = [model.predict(test)[PROB].alias(name) for name, model in models.items()]
    predictions = test.select(*KEYS, pl.col(AHEAD).alias(TRUTH)).with_columns(columns)
    return RetentionFold(fold, judge(predictions, models=names, bootstrap=bootstrap), predictions, models)


def _loss(name: str, folds: tuple[RetentionFold, ...]) -> float:
    logs = []
    for each in folds:
        figures = each.judged.values[name]
        logs += [log(max(part, SMALLEST)) for part in (figures["brier"], 1 - figures["auc"])]
    return exp(sum(logs) / len(logs))
