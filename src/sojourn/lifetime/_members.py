"""The models that learn by themselves, by name: made for a task, and read back from a folder by what lies there."""

import json
from collections.abc import Mapping
from pathlib import Path

from sojourn.core import Estimator, UnreadableSource
from sojourn.lifetime._store import FILE
from sojourn.lifetime.baselines import Baseline, BaselineSpec
from sojourn.lifetime.churn import ChurnBaseline, ChurnBaselineSpec, ChurnTrees
from sojourn.lifetime.process_value import ProcessValue, ProcessValueSpec
from sojourn.lifetime.sequence_value import SequenceValue, SequenceValueSpec
from sojourn.lifetime.single_stage import SingleStage, SingleStageSpec
from sojourn.lifetime.spec import ChurnSpec, ValueSpec
from sojourn.lifetime.two_stage import TwoStage

CLASSES: tuple[type[Estimator], ...] = (
    SingleStage,
    TwoStage,
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
    if name in ("pareto_nbd", "mbgnbd", "bgnbd"):
        return ProcessValue(ProcessValueSpec(**shared, process=name))
    if name == "sequence":
        return SequenceValue(SequenceValueSpec(**shared))
    if name in ("median", "median_scaled", "mean", "tweedie"):
        return SingleStage(SingleStageSpec(**shared, objective=name))
    return Baseline(BaselineSpec(**shared, rule=name))


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
