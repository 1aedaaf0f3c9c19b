"""Whether the distribution of each user's spend is calibrated, and how sharp: beside what users of like pace did.

Run it as `python -m benchmarks.lifetime_distributions`. On the last fold of real receipts and of a simulated app,
`SpendDistribution` learns from the dates that were known then. Beside it stands the plain distribution of spend in
twenty bins of pace. Targets: places in the own distribution uniform (a small PIT distance), 80 % intervals that hold
75 to 85 % of users, overall and in the top three deciles, and a CRPS below the bins'. A user who spends exactly nothing
with a chance of 95 % lies inside any interval in 95 of 100 cases: `pit_inside_80`, the share of places between .1 and
.9 where chance decides among those of a mass of zeros, is the figure that such users can be judged by.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.ltv import SMALL_WORLD, WORLD, app, complete_journey
from benchmarks.measure import arguments, show
from sojourn.evaluate import coverage_by_decile, crps, level_grid, pit_distance, randomised_pit
from sojourn.lifetime import LifetimeSpec, SpendDistribution, SpendDistributionSpec, ValueSpec, training_table
from sojourn.lifetime.compare import split_of
from sojourn.warehouse import Warehouse

LEVELS, BINS = level_grid(99), 20
ENDS = np.array([0.1, 0.9])
LEVEL = 0.8


def by_pace(train: pl.DataFrame, test: pl.DataFrame, *, task: ValueSpec) -> np.ndarray[Any, Any]:
    """The quantiles of what users of like pace (`spend_all` a day, in bins) spent: what needs no model."""
    pace = [(each["spend_all"] / each["tenure_days"]).to_numpy() for each in (train, test)]
    edges = np.unique(np.quantile(pace[0], np.arange(1, BINS) / BINS))
    place, spent = np.searchsorted(edges, pace[0]), spend_of(train, task)
    quantiles = np.stack([np.quantile(spent[place == each], [*LEVELS, *ENDS]) for each in range(len(edges) + 1)])
    return np.asarray(quantiles[np.searchsorted(edges, pace[1])])


def spend_of(table: pl.DataFrame, task: ValueSpec) -> np.ndarray[Any, Any]:
    """What was spent; more returned than bought counts as nothing."""
    return table[task.label].cast(pl.Float64).clip(lower_bound=0.0).to_numpy()


def judged(name: str, warehouse: Warehouse, *, spec: LifetimeSpec) -> Iterator[dict[str, Any]]:
    """A row for each horizon."""
    table = training_table(warehouse, spec=spec)
    for task in spec.value_tasks():
        others = [label for label in table.columns if label.startswith("label_") and label != task.label]
        known = table.drop(others).drop_nulls(task.label)
        fold = split_of(known["as_of"].unique(), spec=task).final
        train = known.filter(pl.col("as_of").is_in(list(fold.train[-task.train_as_ofs :])))
        test = known.filter(pl.col("as_of") == fold.test)
        settings = {field: getattr(task, field) for field in ValueSpec.model_fields}
        law = SpendDistribution(SpendDistributionSpec(**settings)).fit(train)
        ours, bins = law.quantiles(test, levels=LEVELS), by_pace(train, test, task=task)
        spent, (low, high) = spend_of(test, task), law.interval(test, level=LEVEL)
        bins, width_of_bins = bins[:, : len(LEVELS)], bins[:, -1] - bins[:, -2]
        held = coverage_by_decile(spent, low=low, high=high, predicted=ours.mean(axis=1))
        overall, *top = held["covered"].to_list()[:4]
        pit = randomised_pit(spent, ours)
        tenth, rest = (np.full(len(pit), end) for end in ENDS)
        by_place = coverage_by_decile(pit, low=tenth, high=rest, predicted=ours.mean(axis=1))
        of_places, *top_places = by_place["covered"].to_list()[:4]
        yield {
            "data": f"{name}, {task.name}",
            "users": test.height,
            "as_of": str(fold.test),
            "crps": float(crps(spent, ours).mean()),
            "crps_of_bins": float(crps(spent, bins).mean()),
            "pit_distance": pit_distance(pit),
            "pit_distance_of_bins": pit_distance(randomised_pit(spent, bins)),
            "inside_80": overall,
            "inside_80_top_deciles": ", ".join(f"{each:.3f}" for each in top),
            "pit_inside_80": of_places,
            "pit_inside_80_top_deciles": ", ".join(f"{each:.3f}" for each in top_places),
            "mean_width": float((high - low).mean()),
            "mean_width_of_bins": float(width_of_bins.mean()),
        }


def main() -> None:
    """Print the table; `--quick` has the small world and 30 days alone."""
    options = arguments(__doc__ or "")
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.quick:
            rows += judged("app", app(folder, world=SMALL_WORLD), spec=LifetimeSpec(horizons_days=(30,)))
        else:
            rows += judged("receipts", complete_journey(folder), spec=LifetimeSpec())
            rows += judged("app", app(folder, world=WORLD), spec=LifetimeSpec())
    show("Distributions of users' spend on the last fold", rows, to=options.json)


if __name__ == "__main__":
    main()
