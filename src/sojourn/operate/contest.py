"""A candidate and the model in force come in; which of them is better on days that neither has seen comes out."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import polars as pl

from sojourn.core import BadInput, BadSpec
from sojourn.evaluate import (
    METRICS,
    BootstrapSpec,
    Difference,
    Fold,
    Split,
    Task,
    paired_bootstrap,
    split_fingerprint,
)
from sojourn.features import FeatureSpec, feature_table
from sojourn.lifetime import (
    FittedRetention,
    Lifetime,
    activity_table,
    fit_models,
    fit_retention,
    judge,
    judged_table,
)
from sojourn.operate.declared import Declared
from sojourn.operate.drift import reference_of
from sojourn.operate.registry import About, InForce, Kind, Model, Registry, known_until
from sojourn.warehouse import Warehouse

CANDIDATE, INCUMBENT, TRUTH = "candidate", "incumbent", "truth"
Section = TypeVar("Section")
# What a contest is decided by, by kind of task.
DECIDING = {"value": "mae", "probability": "brier"}


@dataclass(frozen=True)
class Contest:
    """The candidate minus the model in force, by task, on the same users as of one day, drawn alike.

    `split` is the fingerprint of the rows and days. The candidate is `better` when the error of a task is lower beyond
    chance (the whole interval of the difference lies below 0) and no task's is higher beyond chance.
    """

    candidate: str
    incumbent: str
    as_of: date
    split: str
    users: int
    differences: Mapping[str, tuple[str, Difference]]

    @property
    def better(self) -> bool:
        """Whether the candidate beats the model in force."""
        highs = [each.high for _, each in self.differences.values() if each.high is not None]
        lows = [each.low for _, each in self.differences.values() if each.low is not None]
        return any(high < 0 for high in highs) and not any(low > 0 for low in lows)

    @property
    def told(self) -> str:
        """The figures in one line."""
        parts = [
            f"{METRICS[name].label} of {task} {_signed(each.value)} [{_signed(each.low)}, {_signed(each.high)}]"
            for task, (name, each) in self.differences.items()
        ]
        return f"{'; '.join(parts)} on {self.users:,} users as of {self.as_of} (rows {self.split})"


def fit_candidate(warehouse: Warehouse, kind: Kind, declared: Declared, *, as_of: date) -> About:
    """Fit a model of this kind on what was known by a day, and keep it in the registry, where it is not in force yet.

    Raises `BadSpec` when its section is not declared, and what the fit raises.
    """
    registry = Registry(warehouse, kind)
    with TemporaryDirectory() as folder:
        out = Path(folder)
        if kind == "ltv":
            spec = _declared_section(declared.lifetime, "lifetime")
            model: Model = fit_models(warehouse, spec=spec, out=out, features=declared.features, end=as_of)
        else:
            asked = _declared_section(declared.retention, "retention")
            model = fit_retention(warehouse, spec=asked, out=out, features=declared.features, end=as_of)
    rows = feature_table(warehouse, declared.features or FeatureSpec(), _trained_on(model))
    reference = reference_of(rows, additive=model.spec.additive)
    return registry.add(model, fitted_as_of=as_of, reference=reference, told=_told(model))


def contest(
    warehouse: Warehouse, registry: Registry, version: str, *, end: date, features: FeatureSpec | None = None
) -> Contest:
    """Judge a version against the one in force on the latest day that neither has seen labels of and whose have come.

    `end` is the first day that is not known. Raises `BadInput` when there is no such day yet, with the first day on
    which there will be, and when the two predict nothing in common.
    """
    incumbent = registry.in_force(end)
    if incumbent is None:
        raise BadInput(f"No model of kind {registry.kind!r} is in force, so {version!r} has nothing to beat.")
    if incumbent.version == version:
        raise BadInput(f"Model {version!r} is in force already.")
    models = {CANDIDATE: registry.load(version), INCUMBENT: registry.load(incumbent.version)}
    as_of = _contest_day(models, end=end)
    judging = _value_contest if registry.kind == "ltv" else _activity_contest
    users, split, found = judging(warehouse, models, as_of, features)
    return Contest(version, incumbent.version, as_of, split, users, found)


def promote(
    warehouse: Warehouse, registry: Registry, version: str, *, as_of: date, features: FeatureSpec | None = None
) -> tuple[InForce, Contest | None]:
    """Put a version in force if it beats the one that is; the first needs to beat none. Raises `BadInput` otherwise."""
    found = registry.about(version)
    if registry.in_force(as_of) is None:
        registry.put_in_force(found.version, as_of=as_of, how="first")
        result = None
    else:
        result = contest(warehouse, registry, found.version, end=as_of, features=features)
        if not result.better:
            raise BadInput(
                f"Model {result.candidate} does not beat {result.incumbent}, which stays in force: {result.told}. "
                f"Fit another: sojourn model fit {registry.kind}"
            )
        registry.put_in_force(found.version, as_of=as_of, how=f"beat {result.incumbent}: {result.told}")
    now = registry.in_force(as_of)
    assert now is not None
    return now, result


def shortest_horizon(model: Model) -> int:
    """The days of the task whose labels come first."""
    return min(_horizons(model))


def _contest_day(models: Mapping[str, Model], *, end: date) -> date:
    unseen = max(known_until(each) for each in models.values())
    shortest = max(shortest_horizon(each) for each in models.values())
    latest = end - timedelta(days=shortest)
    if latest < unseen:
        raise BadInput(
            f"The two models have seen everything before {unseen}, and what comes in the {shortest} days after it is "
            f"not known before {unseen + timedelta(days=shortest)}. Compare them then, or fit a candidate on less: "
            f"sojourn model fit --as-of {latest}"
        )
    return latest


def _value_contest(
    warehouse: Warehouse, models: Mapping[str, Model], as_of: date, features: FeatureSpec | None
) -> tuple[int, str, dict[str, tuple[str, Difference]]]:
    one, two = models[CANDIDATE], models[INCUMBENT]
    assert isinstance(one, Lifetime)
    assert isinstance(two, Lifetime)
    table = judged_table(warehouse, spec=one.spec, as_of=as_of, features=features)
    theirs = {task.name: task.label for task in two.spec.tasks()}
    tasks = [task for task in one.spec.tasks() if task.label in table.columns and theirs.get(task.name) == task.label]
    if not tasks:
        raise BadInput(
            "The two models predict nothing in common that has come to pass. Fit both for the same horizons."
        )
    rows = table.drop([name for name in table.columns if name.startswith("label_")])
    said = {name: each.predict(rows) for name, each in ((CANDIDATE, one), (INCUMBENT, two))}
    found = {}
    for task in tasks:
        is_churn = task.name.startswith("churn_")
        kind = "probability" if is_churn else "value"
        column = task.name.replace("churn_", "churn_prob_") if is_churn else task.name
        truth = (pl.col(task.label) == 0) if is_churn else pl.col(task.label)
        both = table.select("user_id", truth.cast(pl.Float64).alias(TRUTH)).with_columns(
            said[name][column].alias(name) for name in said
        )
        asked = Task(name=task.name, kind=kind, truth=TRUTH, models=(CANDIDATE, INCUMBENT))
        bootstrap = BootstrapSpec(replicates=one.spec.replicates)
        figures = paired_bootstrap(both, task=asked, first=CANDIDATE, second=INCUMBENT, bootstrap=bootstrap)
        found[task.name] = (DECIDING[kind], figures[DECIDING[kind]])
    return table.height, _split(table, as_of, tasks[0].horizon_days), found


def _activity_contest(
    warehouse: Warehouse, models: Mapping[str, Model], as_of: date, features: FeatureSpec | None
) -> tuple[int, str, dict[str, tuple[str, Difference]]]:
    one, two = models[CANDIDATE], models[INCUMBENT]
    assert isinstance(one, FittedRetention)
    assert isinstance(two, FittedRetention)
    days = {each.spec.horizon_days for each in (one, two)}
    if len(days) > 1 or one.spec.active != two.spec.active:
        raise BadInput("The two models predict other days, or another activity. Fit both with the same [retention].")
    table = activity_table(warehouse, [as_of], spec=one.spec, features=features)
    both = table.select("user_id", "as_of", pl.col("active_ahead").alias(TRUTH)).with_columns(
        one.model.predict(table)["active_prob"].alias(CANDIDATE),
        two.model.predict(table)["active_prob"].alias(INCUMBENT),
    )
    bootstrap = BootstrapSpec(replicates=one.spec.replicates)
    figures = judge(both, models=(CANDIDATE, INCUMBENT), bootstrap=bootstrap).difference(CANDIDATE, INCUMBENT)
    name = one.spec.task().name
    return table.height, _split(table, as_of, days.pop()), {name: ("brier", figures["brier"])}


def _split(table: pl.DataFrame, as_of: date, horizon_days: int) -> str:
    fold = Fold(horizon_days=horizon_days, train=(as_of - timedelta(days=horizon_days),), test=as_of)
    split = Split(horizon_days=horizon_days, as_ofs=(*fold.train, as_of), folds=(fold,))
    return split_fingerprint(table, split=split)


def _trained_on(model: Model) -> date:
    """The latest day that the model learned from."""
    if isinstance(model, Lifetime):
        return max(days[-1] for days in model.trained_on_.values())
    return max(model.trained_on)


def _horizons(model: Model) -> list[int]:
    if isinstance(model, Lifetime):
        return [task.horizon_days for task in model.spec.tasks()]
    return [model.spec.horizon_days]


def _told(model: Model) -> str:
    if isinstance(model, Lifetime):
        return ", ".join(f"{task}: {name}" for task, name in model.chosen_.items())
    return model.name


def _declared_section(section: Section | None, name: str) -> Section:
    if section is None:
        raise BadSpec(f"sojourn.toml has no section [{name}], which says what to fit. Add it, empty for the defaults.")
    return section


def _signed(figure: float | None) -> str:
    return "not defined" if figure is None else f"{figure:+.4g}"
