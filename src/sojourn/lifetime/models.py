"""The models by name: made for a task, and read back from a folder without knowing which one lies there."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import get_args

import polars as pl

from sojourn.core import Estimator, UnreadableSource
from sojourn.lifetime._store import FILE
from sojourn.lifetime.baselines import Baseline, BaselineSpec
from sojourn.lifetime.churn import ChurnBaseline, ChurnBaselineSpec, ChurnTrees
from sojourn.lifetime.process_value import ProcessValue, ProcessValueSpec, columns_read
from sojourn.lifetime.purchase_process import ProcessModel
from sojourn.lifetime.refunds import ApartValue, ApartValueSpec, has_flows
from sojourn.lifetime.sequence_value import SequenceValue, SequenceValueSpec
from sojourn.lifetime.single_stage import SingleStage, SingleStageSpec
from sojourn.lifetime.spec import ChurnSpec, ValueSpec
from sojourn.lifetime.two_stage import TwoStage

LEAST_BUYERS = 90
APART = {"two_stage_apart": "two_stage", "median_scaled_apart": "median_scaled"}
CLASSES: tuple[type[Estimator], ...] = (
    SingleStage,
    TwoStage,
    ApartValue,
    SequenceValue,
    ProcessValue,
    Baseline,
    ChurnTrees,
    ChurnBaseline,
)


def make_model(name: str, *, spec: ValueSpec | ChurnSpec) -> Estimator:
    """The unfitted model of this name for this task.

    >>> type(make_model("two_stage", spec=ValueSpec(horizon_days=30))).__name__
    'TwoStage'
    """
    fields = ChurnSpec.model_fields if isinstance(spec, ChurnSpec) else ValueSpec.model_fields
    shared = {field: getattr(spec, field) for field in fields}
    if isinstance(spec, ChurnSpec):
        return ChurnTrees(spec) if name == "churn_trees" else ChurnBaseline(ChurnBaselineSpec(**shared, rule=name))
    if name == "two_stage":
        return TwoStage(spec)
    if name in APART:
        return ApartValue(ApartValueSpec(**shared, paid_by=APART[name]))
    if name in ("pareto_nbd", "mbgnbd", "bgnbd"):
        return ProcessValue(ProcessValueSpec(**shared, process=name))
    if name == "sequence":
        return SequenceValue(SequenceValueSpec(**shared))
    if name in ("median", "median_scaled", "mean", "tweedie"):
        return SingleStage(SingleStageSpec(**shared, objective=name))
    return Baseline(BaselineSpec(**shared, rule=name))


def usable(spec: ValueSpec | ChurnSpec, *, table: pl.DataFrame) -> tuple[str, ...]:
    """The task's models that can learn from this table.

    Purchase processes need to know when users bought, and buyers: `LEAST_BUYERS` users who bought, and a third of them
    again; with fewer there is no process to learn. Models that take refunds apart need the labels of both parts.
    """
    names: tuple[str, ...] = spec.models
    if isinstance(spec, ChurnSpec):
        return names
    out: set[str] = set() if has_flows(table, spec=spec) else {*APART}
    processes = set(get_args(ProcessModel))
    if processes & {*names} and not tells_of_buyers(table, value=spec.value):
        out |= processes
    return tuple(name for name in names if name not in out) or names


def tells_of_buyers(table: pl.DataFrame, *, value: str) -> bool:
    """Whether a table says when users bought, and has enough who did, and who did again."""
    if not {*columns_read(value)} <= {*table.columns}:
        return False
    days = table.group_by("user_id").agg(pl.col("purchase_days_all").max())["purchase_days_all"].fill_null(0)
    return int((days > 0).sum()) >= LEAST_BUYERS and int((days > 1).sum()) >= LEAST_BUYERS // 3


def baselines_of(spec: ValueSpec | ChurnSpec) -> tuple[str, ...]:
    """The dumb models of a task: those without trees."""
    return ("recency", "base_rate") if isinstance(spec, ChurnSpec) else ("pace", "repeat", "always_mean", "zero")


def load_model_of(path: Path) -> Estimator:
    """The fitted model in this folder, of whichever kind. Raises `UnreadableSource`."""
    try:
        kind = json.loads((path / FILE).read_text(encoding="utf-8"))["model"]
        known: Mapping[str, type[Estimator]] = {each.__name__: each for each in CLASSES}
        return known[kind].load(path)
    except (OSError, ValueError, KeyError, TypeError) as fault:
        raise UnreadableSource(
            f"lifetime: {path} holds no model of this room ({fault}). Fit one: sojourn ltv fit --out {path.parent}"
        ) from fault


def model_label(name: str, *, spec: ValueSpec | ChurnSpec) -> str:
    """The model in words, for tables and charts."""
    days = spec.horizon_days
    labels = {
        "median": "Trees, median",
        "median_scaled": "Trees, scaled median",
        "mean": "Trees, mean",
        "tweedie": "Trees, Tweedie",
        "two_stage": "Trees, two stages",
        "two_stage_apart": "Trees, two stages, refunds apart",
        "median_scaled_apart": "Trees, scaled median, refunds apart",
        "sequence": "Network over sequences",
        "pareto_nbd": "Pareto/NBD, gamma-gamma",
        "mbgnbd": "MBG/NBD, gamma-gamma",
        "bgnbd": "BG/NBD, gamma-gamma",
        "pace": "Average of past rates",
        "repeat": f"Last {days} days again",
        "always_mean": "Same mean for all",
        "zero": "Always zero",
        "churn_trees": "Trees, calibrated",
        "recency": "Recency alone",
        "base_rate": "Base rate for all",
    }
    return labels[name]
