"""Daily activity four weeks ahead: every model beside the dumb ones, and beside the best that could be known.

Run it as `python -m benchmarks.lifetime_retention`: on a simulated app and on real receipts, Brier score, AUC (mean
over days ahead) and the picked model's difference from each by paired bootstrap (95 % intervals over users). On the app
also the Bayes-optimal forecast from the log, and the true chance given what nobody can see.
"""

import tempfile
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.measure import arguments, show
from sojourn.evaluate import BootstrapSpec, Difference, Interval
from sojourn.events import (
    COMPLETE_JOURNEY_ZONE,
    PushPlan,
    WorldSpec,
    best_activity,
    ingest_complete_journey,
    simulate,
    truth_activity,
)
from sojourn.features import SequenceSpec
from sojourn.lifetime import RetentionComparison, RetentionSpec, compare_activity, judge, retention_table
from sojourn.warehouse import Warehouse

WORLD = WorldSpec(users=5_000, days=180, start=date(2025, 1, 1), seed=7, install_days=150)
SMALL_WORLD = WORLD.with_changes(users=800, days=130, install_days=100)
APP = RetentionSpec(active="event = 'launch'", sequences=SequenceSpec())
RECEIPTS = RetentionSpec(sequences=SequenceSpec())
PARTICLES, DRAWS = 1024, 64


def rows(*, quick: bool) -> list[dict[str, Any]]:
    """One row per data set and model; `quick` is a small app alone."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found = list(_app(folder, quick=quick))
        return found if quick else [*found, *_receipts(folder)]


def _app(folder: Path, *, quick: bool) -> Iterator[dict[str, Any]]:
    world = SMALL_WORLD if quick else WORLD
    warehouse = Warehouse.create(folder / "app")
    simulate(warehouse, world)
    found = _compared(warehouse, APP, quick=quick)
    yield from _told("app", found)
    plan = PushPlan(as_of=found.final.fold.test, horizon_days=APP.horizon_days, otherwise="campaigns")
    bounds = {
        "best that can be known": best_activity(world, plan, particles=64 if quick else PARTICLES),
        "truth, which nobody sees": truth_activity(world, plan, draws=DRAWS),
    }
    yield from _bounds("app", found, bounds)


def _receipts(folder: Path) -> Iterator[dict[str, Any]]:
    warehouse = Warehouse.create(folder / "receipts", COMPLETE_JOURNEY_ZONE)
    ingest_complete_journey(warehouse)
    yield from _told("receipts", _compared(warehouse, RECEIPTS, quick=False))


def _compared(warehouse: Warehouse, spec: RetentionSpec, *, quick: bool) -> RetentionComparison:
    table = retention_table(warehouse, spec=spec)
    return compare_activity(table, spec=spec, bootstrap=BootstrapSpec(replicates=100 if quick else 500))


def _told(data: str, found: RetentionComparison) -> Iterator[dict[str, Any]]:
    for name, figures in found.scores.models.items():
        yield {
            "data": data,
            "model": name + (" *" if name == found.chosen else ""),
            "users": found.final.predictions.height,
            **_figures(figures),
            "picked_minus_it_brier": _difference(found.differences.get(name, {}).get("brier")),
            "picked_minus_it_auc": _difference(found.differences.get(name, {}).get("auc")),
        }


def _bounds(data: str, found: RetentionComparison, bounds: dict[str, pl.DataFrame]) -> Iterator[dict[str, Any]]:
    """The picked model beside forecasts that know the world's equations, on the same users and resamples."""
    table = found.final.predictions
    for name, days in bounds.items():
        lists = (
            days.sort("user_id", "day").group_by("user_id", maintain_order=True).agg(pl.col("active_prob").alias(name))
        )
        table = table.join(lists, on="user_id", how="left", maintain_order="left")
    judged = judge(table, models=[found.chosen, *bounds], bootstrap=BootstrapSpec(replicates=200))
    intervals = judged.intervals()
    for name in bounds:
        difference = judged.difference(found.chosen, name)
        yield {
            "data": data,
            "model": name,
            "users": table.height,
            **_figures(intervals[name]),
            "picked_minus_it_brier": _difference(difference["brier"]),
            "picked_minus_it_auc": _difference(difference["auc"]),
        }


def _figures(found: Mapping[str, Interval]) -> dict[str, str]:
    return {name: f"{found[name].value:.4f}" for name in ("brier", "auc")}


def _difference(found: Difference | None) -> str:
    if found is None or found.value is None or found.low is None or found.high is None:
        return ""
    return f"{found.value:+.4f} [{found.low:+.4f}, {found.high:+.4f}]"


def main() -> None:
    """Print the table."""
    options = arguments(__doc__ or "")
    found = rows(quick=options.quick)
    show("Activity on each of 28 days ahead, last fold (* picked on earlier folds)", found, to=options.json)


if __name__ == "__main__":
    main()
