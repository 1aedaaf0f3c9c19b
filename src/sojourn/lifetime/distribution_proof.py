"""Whether the spread told of each user's spend is right, and how wide it is, beside what needs no model."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from sojourn.core import BadInput, doing
from sojourn.evaluate import coverage_by_decile, crps, level_grid, pit_distance, randomised_pit
from sojourn.lifetime._boost import Floats
from sojourn.lifetime._design import KEYS, Pace, labelled
from sojourn.lifetime._thinned import thinned
from sojourn.lifetime.compare import Comparison
from sojourn.lifetime.distribution import SpendDistribution, SpendDistributionSpec
from sojourn.lifetime.forecast import only_task
from sojourn.lifetime.spec import ValueSpec

LEVELS, BINS, LEVEL = level_grid(99), 20, 0.8
ENDS = np.array([(1 - LEVEL) / 2, (1 + LEVEL) / 2])
DISTRIBUTION, LIKE_PACE, INTERVAL = "distribution", "users of like pace", "interval"
# Quantiles of all users at once would not fit in memory; so many say enough.
MOST_USERS = 50_000
TOP_DECILES = 3
DISTRIBUTION_SCHEMA = {
    "task": pl.String,
    "spread": pl.String,
    "users": pl.Int64,
    "crps": pl.Float64,
    "pit_distance": pl.Float64,
    "level": pl.Float64,
    "inside": pl.Float64,
    "inside_top": pl.Float64,
    "width": pl.Float64,
}


@dataclass(frozen=True)
class DistributionProof:
    """What the last fold says of spreads: `table` (see `judge_distribution`), and by spread where truths came to lie.

    `pit` has each user's place in the predicted distribution, from 0 to 1: even when it is calibrated.
    """

    table: pl.DataFrame
    pit: Mapping[str, Floats] = field(repr=False)


def judge_distribution(table: pl.DataFrame, *, comparison: Comparison) -> DistributionProof:
    """`SpendDistribution`, what users of like pace did, and the chosen model's interval, on the last fold's users.

    Reads what `compare` read. The distribution learns from the dates that the last fold's models learned from; users of
    like pace are `BINS` groups by mean past spend a day. Of more than 50,000 users every so-manieth by name is taken.

    Columns: `task`, `spread` (`distribution`, `users of like pace`, `interval`), `users`; `crps` and `width` (of the
    interval at `level`, on average) in units of the value; `pit_distance`, the largest gap between places and evenness;
    `inside`, the share of users within the interval, `inside_top` among the three highest tenths of its middle. An
    interval has neither `crps` nor `pit_distance`. Raises `BadInput` for a probability, and what
    `SpendDistribution.fit` raises.
    """
    task = comparison.spec
    if not isinstance(task, ValueSpec):
        raise BadInput(f"lifetime.judge_distribution judges values; {task.name} is a probability.")
    known, fold = labelled(table, spec=task, where="lifetime.judge_distribution"), comparison.final.fold
    train = thinned(known.filter(pl.col("as_of").is_in(fold.train[-task.train_as_ofs :])))
    test = known.filter(pl.col("as_of") == fold.test).sort(KEYS)
    test = test.gather_every(max(1, -(-test.height // MOST_USERS)))
    settings = {name: getattr(task, name) for name in ValueSpec.model_fields}
    law = SpendDistribution(SpendDistributionSpec(**settings)).fit(train)
    truth = _spent(test, task)
    spreads = {
        DISTRIBUTION: (law.quantiles(test, levels=LEVELS), law.quantiles(test, levels=ENDS)),
        LIKE_PACE: like_pace(train, test, task=task),
    }
    rows, pit = [], {}
    for name, (quantiles, ends) in spreads.items():
        pit[name] = randomised_pit(truth, quantiles)
        figures = {"crps": float(crps(truth, quantiles).mean()), "pit_distance": pit_distance(pit[name])}
        rows.append({"spread": name, **figures, **_held(truth, ends[:, 0], ends[:, 1], level=LEVEL)})
    rows.append({"spread": INTERVAL, **_of_interval(comparison, test)})
    named = [{"task": task.name, "users": test.height, **row} for row in rows]
    shown = pl.DataFrame(named, schema=DISTRIBUTION_SCHEMA)
    # As means of many rows: their last digits differ from run to run.
    return DistributionProof(shown.with_columns(pl.selectors.float().round_sig_figs(10)), pit)


def judge_distributions(
    table: pl.DataFrame, *, comparisons: Iterable[Comparison]
) -> tuple[dict[str, DistributionProof], dict[str, str]]:
    """`judge_distribution` of each value task, by its name; and why there is none, where too few users spent."""
    found: dict[str, DistributionProof] = {}
    unlearned: dict[str, str] = {}
    for comparison in comparisons:
        name = comparison.spec.name
        doing(f"{name}: spread")
        try:
            found[name] = judge_distribution(only_task(table, comparison.spec), comparison=comparison)
        except BadInput as fault:
            unlearned[f"{name}, spread"] = str(fault)
    return found, unlearned


def like_pace(train: pl.DataFrame, test: pl.DataFrame, *, task: ValueSpec) -> tuple[Floats, Floats]:
    """The quantiles of what users of like pace spent, at `LEVELS` and at `ENDS` (rows, levels): no model is needed."""
    pace = Pace.learn(train, spec=task, where="lifetime.like_pace")
    before, now = pace.of(train), pace.of(test)
    edges = np.unique(np.quantile(before, np.arange(1, BINS) / BINS))
    place, spent = np.searchsorted(edges, before), _spent(train, task)
    groups = [spent[place == each] for each in range(len(edges) + 1)]
    # Ties can leave a group without anyone: all users stand for it.
    all_levels = np.stack([np.quantile(group if len(group) else spent, [*LEVELS, *ENDS]) for group in groups])
    found = all_levels[np.searchsorted(edges, now)]
    return found[:, : len(LEVELS)], found[:, len(LEVELS) :]


def _spent(table: pl.DataFrame, task: ValueSpec) -> Floats:
    """What was spent; more returned than bought counts as nothing."""
    return table[task.label].cast(pl.Float64).clip(lower_bound=0.0).to_numpy()


def _of_interval(comparison: Comparison, test: pl.DataFrame) -> dict[str, float]:
    """How the chosen model's interval did on these users."""
    low, high = f"{comparison.spec.name}_low", f"{comparison.spec.name}_high"
    both = test.select(KEYS).join(comparison.predictions, on=KEYS, how="left", maintain_order="left")
    ends = (both[name].to_numpy() for name in (low, high))
    return _held(both["truth"].to_numpy(), *ends, level=comparison.level)


def _held(truth: Floats, low: Floats, high: Floats, *, level: float) -> dict[str, float]:
    """How often intervals held, and how wide they are."""
    shares = coverage_by_decile(truth, low=low, high=high, predicted=(low + high) / 2)
    top = shares.filter(pl.col("decile") <= TOP_DECILES)
    inside_top = float(np.average(top["covered"].to_numpy(), weights=top["rows"].to_numpy()))
    return {
        "level": level,
        "inside": float(shares["covered"][0]),
        "inside_top": inside_top,
        "width": float(shares["width_mean"][0]),
    }
