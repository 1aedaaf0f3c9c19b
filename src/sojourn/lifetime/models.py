"""The models of a task by name, which of them can learn from a table, and what they are called."""

from pathlib import Path
from typing import get_args

import polars as pl

from sojourn.core import Estimator
from sojourn.lifetime._members import load_member, make_member
from sojourn.lifetime.process_value import columns_read
from sojourn.lifetime.purchase_process import ProcessModel
from sojourn.lifetime.spec import ChurnSpec, ValueSpec
from sojourn.lifetime.stack import Stack, StackSpec

LEAST_BUYERS = 90


def make_model(name: str, *, spec: ValueSpec | ChurnSpec) -> Estimator:
    """The unfitted model of this name for this task.

    >>> type(make_model("two_stage", spec=ValueSpec(horizon_days=30))).__name__
    'TwoStage'
    """
    return _stack(spec) if name == "stack" and isinstance(spec, ValueSpec) else make_member(name, spec=spec)


def fit_all(names: tuple[str, ...], *, spec: ValueSpec | ChurnSpec, table: pl.DataFrame) -> dict[str, Estimator]:
    """The models of these names, fitted on this table; a stack is made of the others as they are."""
    fitted = {name: make_member(name, spec=spec).fit(table) for name in names if name != "stack"}
    if "stack" in names and isinstance(spec, ValueSpec):
        fitted["stack"] = _stack(spec).weigh(fitted)
    return {name: fitted[name] for name in names}


def usable(spec: ValueSpec | ChurnSpec, *, table: pl.DataFrame) -> tuple[str, ...]:
    """The task's models that can learn from this table: purchase processes need to know when users bought, and buyers.

    `LEAST_BUYERS` users who bought, and a third of them again: with fewer there is no process to learn.
    """
    names: tuple[str, ...] = spec.models
    processes = set(get_args(ProcessModel))
    if isinstance(spec, ChurnSpec) or not processes & {*names} or _tells_of_buyers(table, value=spec.value):
        return names
    return tuple(name for name in names if name not in processes) or names


def _tells_of_buyers(table: pl.DataFrame, *, value: str) -> bool:
    if not {*columns_read(value)} <= {*table.columns}:
        return False
    days = table.group_by("user_id").agg(pl.col("purchase_days_all").max())["purchase_days_all"].fill_null(0)
    return int((days > 0).sum()) >= LEAST_BUYERS and int((days > 1).sum()) >= LEAST_BUYERS // 3


def baselines_of(spec: ValueSpec | ChurnSpec) -> tuple[str, ...]:
    """The dumb models of a task: those without trees."""
    return ("recency", "base_rate") if isinstance(spec, ChurnSpec) else ("pace", "repeat", "always_mean", "zero")


def load_model_of(path: Path) -> Estimator:
    """The fitted model in this folder, of whichever kind. Raises `UnreadableSource`."""
    return load_member(path, also=(Stack,))


def model_label(name: str, *, spec: ValueSpec | ChurnSpec) -> str:
    """The model in words, for tables and charts."""
    days = spec.horizon_days
    labels = {
        "median": "Trees, median",
        "median_scaled": "Trees, scaled median",
        "mean": "Trees, mean",
        "tweedie": "Trees, Tweedie",
        "two_stage": "Trees, two stages",
        "sequence": "Network over sequences",
        "pareto_nbd": "Pareto/NBD, gamma-gamma",
        "mbgnbd": "MBG/NBD, gamma-gamma",
        "bgnbd": "BG/NBD, gamma-gamma",
        "stack": "Several models, weighted",
        "pace": "Average of past rates",
        "repeat": f"Last {days} days again",
        "always_mean": "Same mean for all",
        "zero": "Always zero",
        "churn_trees": "Trees, calibrated",
        "recency": "Recency alone",
        "base_rate": "Base rate for all",
    }
    return labels[name]


def _stack(spec: ValueSpec) -> Stack:
    return Stack(StackSpec(**{field: getattr(spec, field) for field in ValueSpec.model_fields}))
