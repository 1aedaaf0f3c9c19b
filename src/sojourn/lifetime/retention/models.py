"""The models of daily activity by name: made for a task, and read back from a folder."""

import json
from collections.abc import Mapping
from pathlib import Path

from sojourn.core import Estimator, UnreadableSource
from sojourn.lifetime._store import FILE
from sojourn.lifetime.retention.baselines import ActivityBaseline, ActivityBaselineSpec
from sojourn.lifetime.retention.network import DailyNetwork, DailyNetworkSpec
from sojourn.lifetime.retention.process import ProcessActivity
from sojourn.lifetime.retention.spec import ActivitySpec
from sojourn.lifetime.retention.trees import DailyTrees

CLASSES: tuple[type[Estimator], ...] = (DailyTrees, DailyNetwork, ProcessActivity, ActivityBaseline)
LABELS: Mapping[str, str] = {
    "daily_trees": "Trees, day by day",
    "sequence": "Network over sequences",
    "process": "Process (BG/BB)",
    "cohort": "Cohort curve",
    "same_weekday": "Same weekday, last weeks",
    "recent": "Last 14 days, calibrated",
    "recent_raw": "Share of the last 14 days",
}
BASELINES = ("process", "cohort", "same_weekday", "recent", "recent_raw")


def retention_model(name: str, *, spec: ActivitySpec) -> Estimator:
    """The unfitted model of this name. Each reads `activity_table` and predicts `active_prob, expected_days`.

    >>> type(retention_model("daily_trees", spec=ActivitySpec(horizon_days=7))).__name__
    'DailyTrees'
    """
    if name == "daily_trees":
        return DailyTrees(spec)
    if name == "sequence":
        return DailyNetwork(DailyNetworkSpec(**spec.model_dump()))
    if name == "process":
        return ProcessActivity(spec)
    return ActivityBaseline(ActivityBaselineSpec(**{**spec.model_dump(), "rule": name}))


def load_retention_model(path: Path) -> Estimator:
    """The fitted model in this folder, of whichever kind. Raises `UnreadableSource`."""
    try:
        kind = json.loads((path / FILE).read_text(encoding="utf-8"))["model"]
        known = {each.__name__: each for each in CLASSES}
        return known[kind].load(path)
    except (OSError, ValueError, KeyError, TypeError) as fault:
        raise UnreadableSource(
            f"lifetime: {path} holds no model of daily activity ({fault}). Fit one: sojourn retention fit --out {path}"
        ) from fault
