"""The models that learn by themselves, by name: made for a task, and read back from a folder by what lies there."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import polars as pl

from sojourn.core import BadInput, Estimator, MissingExtra, SojournError, UnreadableSource, doing
from sojourn.lifetime._boost import grown_once
from sojourn.lifetime._store import FILE
from sojourn.lifetime.baselines import Baseline, BaselineSpec
from sojourn.lifetime.churn import ChurnBaseline, ChurnBaselineSpec, ChurnTrees
from sojourn.lifetime.process_value import ProcessValue, ProcessValueSpec
from sojourn.lifetime.refunds import APART, ApartValue, ApartValueSpec
from sojourn.lifetime.sequence_value import SequenceValue, SequenceValueSpec
from sojourn.lifetime.single_stage import SingleStage, SingleStageSpec
from sojourn.lifetime.spec import ChurnSpec, ValueSpec
from sojourn.lifetime.two_stage import TwoStage

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


def make_member(name: str, *, spec: ValueSpec | ChurnSpec) -> Estimator:
    """The unfitted model of this name for this task."""
    fields = ChurnSpec.model_fields if isinstance(spec, ChurnSpec) else ValueSpec.model_fields
    shared = {field: getattr(spec, field) for field in fields}
    if isinstance(spec, ChurnSpec):
        return ChurnTrees(spec) if name == "churn_trees" else ChurnBaseline(ChurnBaselineSpec(**shared, rule=name))
    if name == "two_stage":
        return TwoStage(ValueSpec(**shared))
    if name in APART:
        return ApartValue(ApartValueSpec(**shared, paid_by=APART[name]))
    if name in ("pareto_nbd", "mbgnbd", "bgnbd"):
        return ProcessValue(ProcessValueSpec(**shared, process=name))
    if name == "sequence":
        return SequenceValue(SequenceValueSpec(**shared))
    if name in ("median", "median_scaled", "mean", "tweedie"):
        return SingleStage(SingleStageSpec(**shared, objective=name))
    return Baseline(BaselineSpec(**shared, rule=name))


def fit_members(
    names: Iterable[str], *, spec: ValueSpec | ChurnSpec, table: pl.DataFrame
) -> tuple[dict[str, Estimator], dict[str, Exception]]:
    """The models of these names, fitted on this table; and those that could not be, by what they died of.

    One that says of held-out users what is no finite number has not learned either. A missing extra is raised: it is a
    fault of the installation, not of the model.
    """
    fitted: dict[str, Estimator] = {}
    failed: dict[str, Exception] = {}
    with grown_once():
        for name in names:
            doing(f"{spec.name}: {name}, {table.height:,} rows")
            try:
                model = make_member(name, spec=spec).fit(table)
                need_finite(vars(model)["held_out_"][spec.name], of="held-out users")
            except MissingExtra:
                raise
            except Exception as fault:  # whatever one model dies of, the others are compared
                failed[name] = fault
            else:
                fitted[name] = model
    return fitted, failed


def need_finite(said: pl.Series, *, of: str) -> None:
    """Raise `BadInput` where a model says what is no finite number."""
    missing = said.len() - int(said.is_finite().fill_null(value=False).sum())
    if missing:
        raise BadInput(f"what it says of {of} is no finite number in {missing:,} of {said.len():,} rows")


def in_a_sentence(fault: Exception) -> str:
    """Why a model did not finish: the sentence of an error of ours, or the kind and the first line of any other."""
    if isinstance(fault, SojournError):
        return str(fault)
    return f"{type(fault).__name__}: {(str(fault).splitlines() or ['without a word'])[0]}"


def load_member(path: Path, *, also: tuple[type[Estimator], ...] = ()) -> Estimator:
    """The fitted model in this folder, of whichever of these kinds. Raises `UnreadableSource`."""
    try:
        kind = json.loads((path / FILE).read_text(encoding="utf-8"))["model"]
        known: Mapping[str, type[Estimator]] = {each.__name__: each for each in (*CLASSES, *also)}
        return known[kind].load(path)
    except (OSError, ValueError, KeyError, TypeError) as fault:
        raise UnreadableSource(
            f"lifetime: {path} holds no model of this room ({fault}). Fit one: sojourn ltv fit --out {path.parent}"
        ) from fault
