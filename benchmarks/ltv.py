"""Every model of value beside its baselines, on real receipts and on a simulated app where about 90 % never pay.

Run it as `python -m benchmarks.ltv`: per data set and horizon a table of every model on the last fold, which no choice
has seen, with the chosen model's difference from each by paired bootstrap (95 % intervals over users).
"""

import tempfile
from collections.abc import Iterator
from datetime import date
from pathlib import Path

from benchmarks.measure import arguments, show
from sojourn.evaluate import Difference
from sojourn.events import COMPLETE_JOURNEY_ZONE, WorldSpec, ingest_complete_journey, simulate
from sojourn.features import FeatureSpec
from sojourn.lifetime import Comparison, LifetimeSpec, compare_models
from sojourn.warehouse import Warehouse

WORLD = WorldSpec(users=12_000, days=365, start=date(2025, 1, 1), seed=11)
SMALL_WORLD = WORLD.with_changes(users=1_000, days=330)


def complete_journey(folder: Path) -> Warehouse:
    """The real receipts."""
    warehouse = Warehouse.create(folder / "receipts", COMPLETE_JOURNEY_ZONE)
    ingest_complete_journey(warehouse)
    return warehouse


def app(folder: Path, *, world: WorldSpec) -> Warehouse:
    """The simulated app."""
    warehouse = Warehouse.create(folder / "app")
    simulate(warehouse, world)
    return warehouse


def rows(name: str, comparison: Comparison) -> Iterator[dict[str, object]]:
    """One row a model."""
    scores = comparison.scores
    for model, figures in scores.models.items():
        against = comparison.differences.get(model, {})
        yield {
            "data": name,
            "task": comparison.spec.name,
            "model": model + (" *" if model == comparison.chosen else ""),
            "users": scores.rows,
            **{
                metric: round(figures[metric].value or 0.0, 4) for metric in ("mae", "rmse", "gini", "spearman", "bias")
            },
            "chosen_minus_it_mae": told(against.get("mae")),
            "chosen_minus_it_gini": told(against.get("gini")),
        }


def told(difference: Difference | None) -> str:
    """A difference with its interval."""
    if difference is None or difference.value is None or difference.low is None or difference.high is None:
        return ""
    return f"{difference.value:+.4g} [{difference.low:+.4g}, {difference.high:+.4g}]"


def main() -> None:
    """Print the table; `--quick` runs the small world alone."""
    options = arguments(__doc__ or "")
    found: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        stores = {"simulated app": app(folder, world=SMALL_WORLD if options.quick else WORLD)}
        if not options.quick:
            stores = {"complete journey": complete_journey(folder), **stores}
        for data, store in stores.items():
            spec = LifetimeSpec(replicates=100 if options.quick else 500)
            for comparison in compare_models(store, spec=spec, out=folder / data, features=FeatureSpec()).comparisons:
                if comparison.scores.kind == "value":
                    found += rows(data, comparison)
    show("Value models on the last fold (* picked on earlier folds)", found, to=options.json)


if __name__ == "__main__":
    main()
