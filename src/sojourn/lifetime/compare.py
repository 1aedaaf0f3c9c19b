"""All models of a task on the same folds: chosen on the earlier ones, tested once on the last."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from itertools import pairwise
from math import exp

import polars as pl

from sojourn.core import BadInput, Estimator, MissingExtra, doing
from sojourn.evaluate import (
    BootstrapSpec,
    Difference,
    Fold,
    Scores,
    Split,
    SplitSpec,
    Task,
    bootstrap_all,
    coverage_table,
    split_fingerprint,
    time_split,
)
from sojourn.lifetime._bias import bias_but_one, total_bias
from sojourn.lifetime._design import KEYS, labelled
from sojourn.lifetime._learning import LEAST_SPENDERS, LEAST_USERS, need_users
from sojourn.lifetime._members import fit_members, in_a_sentence, need_finite
from sojourn.lifetime._outliers import held_in
from sojourn.lifetime._thinned import thinned
from sojourn.lifetime.history import days_needed, knob, longest_horizon
from sojourn.lifetime.interval import TRUTH, fit_interval, with_interval
from sojourn.lifetime.models import need_learned, stack_of, took_no_part, usable
from sojourn.lifetime.spec import ChurnSpec, ValueSpec
from sojourn.lifetime.stack import left_undone

# What a model leaves undone, by kind of task: an error, and how far the ranking is from perfect.
LEFT_UNDONE = {"value": ("mae", "gini"), "probability": ("brier", "auc")}

# Nothing is decided by the intervals of the earlier folds' figures: fewer resamples say enough.
EARLIER_REPLICATES = 100


@dataclass(frozen=True)
class FoldResult:
    """One fold: the dates trained on, every model's scores, and the predictions beside the truth (`user_id, as_of`).

    `held_out_bias` by model: how far the total of its held-out predictions is off, on the days that it learned from;
    `held_out_bias_but_one`: without the one user who makes most of that. `failed`: models that did not finish, and why.
    `differences[name]`: the chosen model minus that one; none before one is chosen.
    """

    fold: Fold
    scores: Scores
    predictions: pl.DataFrame
    held_out_bias: Mapping[str, float]
    held_out_bias_but_one: Mapping[str, float]
    models: Mapping[str, Estimator] = field(repr=False)
    failed: Mapping[str, str] = field(default_factory=dict)
    differences: Mapping[str, Mapping[str, Difference]] = field(default_factory=dict)


@dataclass(frozen=True)
class Choice:
    """Which model the earlier folds picked. `loss` by model: lower is better, see `choose`.

    `spec.models` and `loss` have the models that finished on every one of these folds; `failed` says why others did
    not, and `absent` why some took no part (`took_no_part`).
    """

    spec: ValueSpec | ChurnSpec
    split: Split
    fingerprint: str
    chosen: str
    loss: Mapping[str, float]
    folds: tuple[FoldResult, ...]
    failed: Mapping[str, str] = field(default_factory=dict)
    absent: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Comparison:
    """A choice, and how every model did on the last fold, which no choice has seen.

    `differences[name]` are chosen minus that model on the same resampled users; `predictions` has `user_id, as_of,
    truth`, one column per model, and for values the chosen model's interval (`<task>_low, <task>_high`), whose measured
    coverage is in `coverage`. `features` are the last fold's, which the predictions were made from. `outliers` of the
    outcomes learned from there counted only in part: one user had more than a tenth of the money of a date.
    """

    choice: Choice
    final: FoldResult
    differences: Mapping[str, Mapping[str, Difference]]
    predictions: pl.DataFrame
    features: pl.DataFrame = field(repr=False)
    level: float = 0.8
    coverage: pl.DataFrame | None = None
    outliers: int = 0

    @property
    def spec(self) -> ValueSpec | ChurnSpec:
        """The task."""
        return self.choice.spec

    @property
    def chosen(self) -> str:
        """The model that the earlier folds picked."""
        return self.choice.chosen

    @property
    def scores(self) -> Scores:
        """Every model on the last fold, with intervals."""
        return self.final.scores

    @property
    def model(self) -> Estimator:
        """The chosen model as it was tested: fitted on what was known at the last fold's date."""
        return self.final.models[self.chosen]

    @property
    def failed(self) -> Mapping[str, str]:
        """The models that did not finish on some fold, and why."""
        return {**self.final.failed, **self.choice.failed}

    @property
    def absent(self) -> Mapping[str, str]:
        """The models that took no part, and why."""
        return self.choice.absent

    def table(self) -> pl.DataFrame:
        """All figures of all folds: `task, fold (its as-of date), model, metric, value, low, high`."""
        parts = [
            result.scores.table().select(
                pl.lit(self.spec.name).alias("task"), pl.lit(result.fold.test).alias("fold"), pl.all()
            )
            for result in (*self.choice.folds, self.final)
        ]
        return pl.concat(parts)


def compare(
    table: pl.DataFrame, *, spec: ValueSpec | ChurnSpec, level: float = 0.8, bootstrap: BootstrapSpec | None = None
) -> Comparison:
    """Fit every model of the task on each fold, choose on the earlier folds, test once on the last.

    Reads `user_id, as_of`, features, and the task's label (null where its window had not ended). `level` is that of
    the intervals of single users. Models that the table tells too little for take no part (`usable`). A model that
    dies, or answers what is no finite number, drops out (`Comparison.failed`); where it was the one picked, the best of
    those left is.

    Raises `BadInput` when history is too short for two folds and when no model that learns finishes, `MissingColumn`,
    `EmptyInput`.
    """
    choice = choose(table, spec=spec, bootstrap=bootstrap)
    spec = choice.spec
    known = labelled(table, spec=spec, where="lifetime.compare")
    result = run_fold(known, fold=choice.split.final, choice=choice, bootstrap=bootstrap)
    names: tuple[str, ...] = tuple(name for name in spec.models if name in result.models)
    choice = replace(choice, spec=spec.with_changes(models=names), chosen=result.scores.chosen or choice.chosen)
    spec = choice.spec
    predictions, coverage = _with_interval(result, known=known, choice=choice, level=level)
    features = known.filter(pl.col("as_of") == result.fold.test).drop(pl.selectors.starts_with("label_"))
    outliers = _outliers(thinned(known.filter(rows_of(result.fold, spec)[0])), spec)
    return Comparison(choice, result, result.differences, predictions, features, level, coverage, outliers)


def _outliers(train: pl.DataFrame, spec: ValueSpec | ChurnSpec) -> int:
    if isinstance(spec, ChurnSpec):
        return 0
    truth = train[spec.label].cast(pl.Float64).to_numpy()
    return int((held_in(truth, as_of=train["as_of"]) != truth).sum())


def choose(table: pl.DataFrame, *, spec: ValueSpec | ChurnSpec, bootstrap: BootstrapSpec | None = None) -> Choice:
    """The model that did best on the folds before the last one, which is not looked at.

    A model's loss is the geometric mean, over these folds, of three parts: its error (MAE; Brier for a probability),
    what its ranking lacks (1 - Gini; 1 - AUC), and how far its totals are off (1 + |bias| on held-out users of the days
    it learned from: on the fold itself the total moves with the season, for all models alike, and would favour the one
    that errs the way the season went). Ten per cent more of any part counts the same, whatever the currency. The first
    of equals wins.
    """
    known = labelled(table, spec=spec, where="lifetime.compare")
    need_users(known, where="lifetime.compare")
    split = with_spenders(split_of(known["as_of"].unique(), spec=spec), known=known, spec=spec)
    earliest = known.filter(rows_of(split.folds[0], spec)[0])
    absent = took_no_part(spec, table=earliest)
    spec = spec.with_changes(models=usable(spec, table=earliest))
    _need_users_in_folds(split, known=known, spec=spec)
    choice = Choice(spec, split, split_fingerprint(known, split=split), "", {}, ())
    bootstrap = bootstrap or BootstrapSpec()
    fewer = bootstrap.with_changes(replicates=min(bootstrap.replicates, EARLIER_REPLICATES))
    folds = tuple(run_fold(known, fold=fold, choice=choice, bootstrap=fewer) for fold in split.selection)
    names: tuple[str, ...] = tuple(name for name in spec.models if all(name in result.models for result in folds))
    failed = {name: f"as of {each.fold.test}, {why}" for each in folds for name, why in each.failed.items()}
    if not names:
        raise BadInput(f"lifetime.compare: no model of {spec.name} has finished on every fold. {_told(failed)}")
    loss = {name: _loss(name, folds) for name in names}
    spec = spec.with_changes(models=names)
    return Choice(spec, split, choice.fingerprint, min(loss, key=loss.__getitem__), loss, folds, failed, absent)


def split_of(as_ofs: Iterable[date], *, spec: ValueSpec | ChurnSpec) -> Split:
    """The folds: as many as history allows, up to `spec.folds`, at least two. Raises `BadInput`."""
    days = sorted(set(as_ofs))
    if not days:
        raise BadInput(f"lifetime.compare: {spec.name} has no as-of date whose label window had ended.")
    for folds in range(spec.folds, 1, -1):
        try:
            return time_split(days, spec=SplitSpec(horizon_days=spec.horizon_days, folds=folds, early_stop=0))
        except BadInput as fault:
            last = fault
    raise BadInput(_too_short(days, spec)) from last


def _too_short(days: list[date], spec: ValueSpec | ChurnSpec) -> str:
    """What folds need, and which setting needs less: told from the dates alone, as tables of one's own have no more."""
    horizon = spec.horizon_days
    step = min(((later - day).days for day, later in pairwise(days)), default=horizon)
    there = (days[-1] - days[0]).days + horizon
    shorter = longest_horizon(there, step_days=step)
    return (
        f"lifetime.compare: {spec.name} needs as-of dates that span {2 * horizon} days, to choose on one window of "
        f"{horizon} days and test on a later one, and so {days_needed(horizon, step_days=step)} days of log after the "
        f"history (history_days) of the first; there {'is' if len(days) == 1 else 'are'} {len(days)}, from {days[0]} "
        f"to {days[-1]}, with {there} days of log. Bring a longer log, "
        + (f"look less far ahead: {knob(spec, days=shorter)}, " if shorter else "look less far ahead, ")
        + f"or name the model yourself: models = {{{spec.name} = '{spec.models[0]}'}}"
    )


def with_spenders(split: Split, *, known: pl.DataFrame, spec: ValueSpec | ChurnSpec) -> Split:
    """The folds without early ones in which too few users spent to learn from, as where a log begins; at least two."""
    if isinstance(spec, ChurnSpec):
        return split
    spenders = [
        known.filter(rows_of(fold, spec)[0], pl.col(spec.label) > 0)["user_id"].n_unique() for fold in split.folds
    ]
    first = next((at for at, count in enumerate(spenders) if count >= LEAST_SPENDERS), len(spenders))
    return split.with_changes(folds=split.folds[min(first, len(split.folds) - 2) :])


def _need_users_in_folds(split: Split, *, known: pl.DataFrame, spec: ValueSpec | ChurnSpec) -> None:
    """Raise `BadInput` where a fold knows too few users to learn from; its baselines alone would prove nothing."""
    for fold in split.folds:
        users = known.filter(rows_of(fold, spec)[0])["user_id"].n_unique()
        if users < LEAST_USERS:
            raise BadInput(
                f"lifetime.compare: {users} users are known to the fold tested on {fold.test}, and {LEAST_USERS} are "
                "needed to learn from; baselines alone would be no comparison. Bring more users or a longer log, or "
                f"look less far ahead than {spec.horizon_days} days"
            )


def run_fold(known: pl.DataFrame, *, fold: Fold, choice: Choice, bootstrap: BootstrapSpec | None = None) -> FoldResult:
    """Fit every model on the latest dates known at the fold's test date, and score them on it.

    Of very many rows the models learn from some users' (`thinned`). Models that do not finish are left out. The chosen
    one is `choice.chosen`, or if that one did not finish, the one with the lowest `choice.loss` of those that did.
    Raises as `need_learned` does.
    """
    spec = choice.spec
    train, test = (known.filter(part) for part in rows_of(fold, spec))
    train = thinned(train)
    models, said, failed = _fitted(spec, train=train, test=test)
    need_learned(spec.models, failed=failed, spec=spec)
    names: tuple[str, ...] = tuple(name for name in spec.models if name in said)
    predictions = test.select(*KEYS, truth_of(spec)).with_columns(said[name].alias(name) for name in names)
    ranked = sorted((name for name in names if name in choice.loss), key=choice.loss.__getitem__)
    task, chosen = task_of(spec).with_changes(models=names), ranked[0] if ranked else None
    doing(f"{spec.name}: figures, {test.height:,} users")
    figures, differences = bootstrap_all(predictions, task=task, against=chosen, bootstrap=bootstrap)
    scores = Scores(
        task=task.name, kind=task.kind, split=choice.fingerprint, rows=test.height, chosen=chosen, models=figures
    )
    held: dict[str, pl.DataFrame] = {name: vars(models[name])["held_out_"] for name in names}
    return FoldResult(
        fold,
        scores,
        predictions,
        {name: total_bias(table, said=spec.name) for name, table in held.items()},
        {name: bias_but_one(table, said=spec.name) for name, table in held.items()},
        {name: models[name] for name in names},
        {name: in_a_sentence(fault) for name, fault in failed.items()},
        differences,
    )


def _fitted(
    spec: ValueSpec | ChurnSpec, *, train: pl.DataFrame, test: pl.DataFrame
) -> tuple[dict[str, Estimator], dict[str, pl.Series], dict[str, Exception]]:
    """The models of a task, what each says of the test's rows, and the errors of those that did not finish.

    A stack is made of the others as they are, without those that said nothing of use on the test.
    """
    models, failed = fit_members((name for name in spec.models if name != "stack"), spec=spec, table=train)
    answers = {name: _answer(model, test=test, spec=spec) for name, model in models.items()}
    if "stack" in spec.models and isinstance(spec, ValueSpec):
        useful = {name: models[name] for name, answer in answers.items() if isinstance(answer, pl.Series)}
        if useful:
            models["stack"] = stack_of(useful, spec=spec)
            answers["stack"] = _answer(models["stack"], test=test, spec=spec)
    said = {name: answer for name, answer in answers.items() if isinstance(answer, pl.Series)}
    silent = {name: answer for name, answer in answers.items() if isinstance(answer, Exception)}
    return models, said, {**failed, **silent}


def _answer(model: Estimator, *, test: pl.DataFrame, spec: ValueSpec | ChurnSpec) -> pl.Series | Exception:
    """What a model says of each row, or what went wrong."""
    try:
        answer = model.predict(test)[spec.name]
        need_finite(answer, of="the users it is tested on")
    except MissingExtra:
        raise
    except Exception as fault:  # as in `fit_members`
        return fault
    return answer


def truth_of(spec: ValueSpec | ChurnSpec) -> pl.Expr:
    """What happened, as a number: spend, or 1 where the user did nothing."""
    label = pl.col(spec.label) == 0 if isinstance(spec, ChurnSpec) else pl.col(spec.label)
    return label.cast(pl.Float64).alias(TRUTH)


def _with_interval(
    result: FoldResult, *, known: pl.DataFrame, choice: Choice, level: float
) -> tuple[pl.DataFrame, pl.DataFrame | None]:
    """The predictions with the chosen model's interval, and how often it held; probabilities have none."""
    spec = choice.spec
    if isinstance(spec, ChurnSpec):
        return result.predictions, None
    train, test = (known.filter(part) for part in rows_of(result.fold, spec))
    interval = fit_interval(result.models[choice.chosen], table=train, level=level)
    named = result.predictions.with_columns(pl.col(choice.chosen).alias(spec.name))
    both = with_interval(interval, features=test, predicted=named)
    return both.drop(spec.name), coverage_table(both, spec=interval.conformal_.spec)


def rows_of(fold: Fold, spec: ValueSpec | ChurnSpec) -> tuple[pl.Expr, pl.Expr]:
    """Which rows a fold trains on (the latest dates), and which it tests on."""
    return pl.col("as_of").is_in(fold.train[-spec.train_as_ofs :]), pl.col("as_of") == fold.test


def task_of(spec: ValueSpec | ChurnSpec) -> Task:
    """The task as `evaluate` sees it."""
    kind = "probability" if isinstance(spec, ChurnSpec) else "value"
    return Task(name=spec.name, kind=kind, truth=TRUTH, models=spec.models)


def _loss(name: str, folds: Iterable[FoldResult]) -> float:
    logs: list[float] = []
    for result in folds:
        error, order = LEFT_UNDONE[result.scores.kind]
        figures = result.scores.models[name]
        logs += left_undone(error=figures[error].value, ranking=figures[order].value, bias=result.held_out_bias[name])
    return exp(sum(logs) / len(logs))


def _told(failed: Mapping[str, str]) -> str:
    return "; ".join(f"{name}: {why}" for name, why in failed.items())
