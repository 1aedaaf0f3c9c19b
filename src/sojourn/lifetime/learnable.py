"""What of the settings can be learned from a log, found out before anything is learned."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl

from sojourn.core import BadInput
from sojourn.lifetime._design import labelled
from sojourn.lifetime._learning import need_spend, need_spenders, need_users
from sojourn.lifetime.compare import rows_of, split_of, with_spenders
from sojourn.lifetime.extrapolation import bases_of
from sojourn.lifetime.history import short_tasks
from sojourn.lifetime.models import tells_of_buyers
from sojourn.lifetime.spec import ChurnSpec, LifetimeSpec, ValueSpec

WHERE = "lifetime.fit_models"


@dataclass(frozen=True)
class Learnable:
    """The settings without the horizons that cannot be learned; `out` says by task why not."""

    spec: LifetimeSpec
    out: Mapping[str, str] = field(default_factory=dict)

    def without(self, why: Mapping[str, str]) -> "Learnable":
        """Without these tasks too. Raises `BadInput` where no horizon is left, and for churn."""
        out = {**self.out, **why}
        churn = self.spec.churn_task().name
        if churn in why:
            raise BadInput(f"{WHERE}: {churn} cannot be learned: {why[churn]}")
        kept = tuple(task.horizon_days for task in self.spec.value_tasks() if task.name not in why)
        if not kept:
            raise BadInput(f"{WHERE}: no horizon can be learned. {_told(out)}")
        # What is named for a task that is left out would name none.
        models = {name: model for name, model in self.spec.models.items() if name not in why}
        return Learnable(self.spec.with_changes(horizons_days=kept, models=models), out) if why else self

    def labels(self, table: pl.DataFrame) -> list[str]:
        """The labels in this table that are of tasks left out alone."""
        kept = {label for task in self.spec.tasks() for label in _labels(task)}
        return [name for name in table.columns if name.startswith("label_") and name not in kept]


def without_short(spec: LifetimeSpec, *, log_days: int) -> Learnable:
    """Without the tasks that the log is too short for, are not named a model for, and have none to be grown from."""
    short = {name: why for name, why in short_tasks(spec, log_days=log_days).items() if name not in spec.models}
    learned = [task.horizon_days for task in spec.value_tasks() if task.name not in short]
    grown = {
        task.name
        for task in spec.value_tasks()
        if learned and task.horizon_days > max(learned) and spec.long_horizons == "extrapolate"
    }
    return Learnable(spec).without({name: why for name, why in short.items() if name not in grown})


def without_unlearnable(left: Learnable, *, table: pl.DataFrame) -> Learnable:
    """Without the tasks that this training table has too few users for, and horizons that nothing can be grown to."""
    spec = left.spec
    grown = bases_of(table, spec=spec)
    tried = [task for task in spec.tasks() if task.name not in grown]
    left = left.without({task.name: why for task in tried if (why := _why_not(table, task, spec=spec))})
    if grown and not tells_of_buyers(table, value=spec.value):
        why = (
            "too few users bought, or bought again, to extrapolate it. Bring more users or a longer log, or look less "
            "far ahead"
        )
        left = left.without(dict.fromkeys(grown, why))
    return left


def _why_not(table: pl.DataFrame, task: ValueSpec | ChurnSpec, *, spec: LifetimeSpec) -> str:
    """Why a task cannot be learned from this table; empty where it can."""
    try:
        known = labelled(table, spec=task, where=WHERE)
        days = known["as_of"].unique().sort()
        lessons = [pl.col("as_of").is_in(days[-task.train_as_ofs :].implode())]
        if task.name not in spec.models:
            split = with_spenders(split_of(days, spec=task), known=known, spec=task)
            lessons += [rows_of(fold, task)[0] for fold in split.folds]
        for lesson in lessons:
            rows = known.filter(lesson)
            need_users(rows, where=WHERE)
            if isinstance(task, ValueSpec):
                need_spend(rows, spec=task, where=WHERE)
                need_spenders(rows, spec=task, where=WHERE)
    except BadInput as fault:
        return str(fault)
    return ""


def _labels(task: ValueSpec | ChurnSpec) -> tuple[str, ...]:
    return (task.label,) if isinstance(task, ChurnSpec) else (task.label, task.gross.label, task.refunded.label)


def _told(out: Mapping[str, str]) -> str:
    return ". ".join(f"{name}: {why}" for name, why in out.items())
