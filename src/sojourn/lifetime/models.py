"""The models of a task by name, which of them can learn from a table, and what they are called."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import get_args

import polars as pl

from sojourn.core import BadInput, Estimator, SojournError
from sojourn.lifetime._members import in_a_sentence, load_member, make_member
from sojourn.lifetime.process_value import columns_read
from sojourn.lifetime.purchase_process import ProcessModel
from sojourn.lifetime.refunds import APART, has_flows
from sojourn.lifetime.spec import ChurnSpec, ValueSpec
from sojourn.lifetime.stack import Stack, StackSpec

LEAST_BUYERS = 90


def make_model(name: str, *, spec: ValueSpec | ChurnSpec) -> Estimator:
    """The unfitted model of this name for this task.

    >>> type(make_model("two_stage", spec=ValueSpec(horizon_days=30))).__name__
    'TwoStage'
    """
    return _stack(spec) if name == "stack" and isinstance(spec, ValueSpec) else make_member(name, spec=spec)


def stack_of(members: Mapping[str, Estimator], *, spec: ValueSpec) -> Stack:
    """A stack made of models just fitted on one table, as they are."""
    return _stack(spec).weigh(members)


def need_learned(names: Iterable[str], *, failed: Mapping[str, Exception], spec: ValueSpec | ChurnSpec) -> None:
    """Raise why, where none of the models that learn has finished: baselines alone are no comparison.

    An error of ours is raised as it is, of the first model. Where none of `names` learns, none is missed.
    """
    learned = [name for name in names if name not in (*baselines_of(spec), "stack")]
    if not learned or any(name not in failed for name in learned):
        return
    first = failed[learned[0]]
    if isinstance(first, SojournError):
        raise first
    told = "; ".join(f"{name}: {in_a_sentence(failed[name])}" for name in learned)
    raise BadInput(f"lifetime.compare: no model of {spec.name} has finished. {told}") from first


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


def took_no_part(spec: ValueSpec | ChurnSpec, *, table: pl.DataFrame) -> dict[str, str]:
    """Why purchase processes are not among the models usable on this table, by name; empty where they are.

    Models that take refunds apart are not told of where nothing flows back: there is nothing to take apart.
    """
    out = {*spec.models} - {*usable(spec, table=table)} - {*APART}
    if not out or not isinstance(spec, ValueSpec):
        return {}
    why = "the table does not say when users bought"
    if {*columns_read(spec.value)} <= {*table.columns}:
        bought, again = _buyers(table)
        why = f"{bought} users bought, {again} of them again, and {LEAST_BUYERS} and {LEAST_BUYERS // 3} are needed"
    return {name: why for name in spec.models if name in out}


def tells_of_buyers(table: pl.DataFrame, *, value: str) -> bool:
    """Whether a table says when users bought, and has enough who did, and who did again."""
    if not {*columns_read(value)} <= {*table.columns}:
        return False
    bought, again = _buyers(table)
    return bought >= LEAST_BUYERS and again >= LEAST_BUYERS // 3


def _buyers(table: pl.DataFrame) -> tuple[int, int]:
    """How many users bought, and how many on more than one day."""
    days = table.group_by("user_id").agg(pl.col("purchase_days_all").max())["purchase_days_all"].fill_null(0)
    return int((days > 0).sum()), int((days > 1).sum())


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
        "two_stage_apart": "Trees, two stages, refunds apart",
        "median_scaled_apart": "Trees, scaled median, refunds apart",
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
