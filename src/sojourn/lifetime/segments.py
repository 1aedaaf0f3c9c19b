"""How the chosen model does on each kind of user of the last fold: new and old, payers or not yet, by portrait."""

from collections.abc import Iterator
from math import isnan

import polars as pl

from sojourn.evaluate import value_metrics
from sojourn.lifetime._design import KEYS
from sojourn.lifetime.compare import Comparison
from sojourn.lifetime.interval import TRUTH
from sojourn.lifetime.spec import ValueSpec

TENURE_DAYS = (30, 90)
MOST_VALUES, LEAST_USERS = 12, 50
SEGMENT_SCHEMA = {
    "task": pl.String,
    "segment": pl.String,
    "value": pl.String,
    "users": pl.Int64,
    "truth": pl.Float64,
    "predicted": pl.Float64,
    "bias": pl.Float64,
    "mae": pl.Float64,
    "gini": pl.Float64,
    "coverage": pl.Float64,
}


def segment_scores(comparison: Comparison) -> pl.DataFrame:
    """The chosen value model on each segment of the last fold's users; empty for a probability.

    Columns: `task`, `segment` (what users are parted by) and `value`; `users`; mean `truth` and mean `predicted` in
    units of the value; `bias` (the segment's total, as a share of the truth), `mae`, `gini`; `coverage`, the share of
    users inside their interval. Figures without a meaning are null.

    Segments are tenure (new users first), whether a user ever spent, and each text column of the features, such as
    country or channel, that has at most 12 values. Of fewer than 50 users nothing is said.
    """
    spec = comparison.spec
    if not isinstance(spec, ValueSpec):
        return pl.DataFrame(schema=SEGMENT_SCHEMA)
    judged = comparison.predictions.join(
        comparison.features.select(*KEYS, *_segments(comparison.features, value=spec.value)), on=KEYS, how="left"
    )
    rows = [
        {"task": spec.name, "segment": name, "value": value, **_figures(part, comparison)}
        for name, value, part in _parts(judged, [name for name in judged.columns if name.startswith("by ")])
    ]
    return pl.DataFrame(rows, schema=SEGMENT_SCHEMA)


def _segments(features: pl.DataFrame, *, value: str) -> list[pl.Expr]:
    found = []
    if "tenure_days" in features.columns:
        first, second = TENURE_DAYS
        days = pl.col("tenure_days")
        new = pl.when(days < first).then(pl.lit(f"under {first} days"))
        known = new.when(days < second).then(pl.lit(f"{first} to {second - 1} days"))
        found.append(known.otherwise(pl.lit(f"{second} days and more")).alias("by time here"))
    if f"{value}_all" in features.columns:
        spent = pl.col(f"{value}_all").fill_null(0) > 0
        found.append(pl.when(spent).then(pl.lit("yes")).otherwise(pl.lit("not yet")).alias("by ever spent"))
    return [*found, *(pl.col(name).fill_null("unknown").alias(f"by {name}") for name in few_words(features))]


def few_words(features: pl.DataFrame) -> list[str]:
    """The text columns that part users into few kinds."""
    words = features.select(pl.selectors.string().exclude(KEYS))
    return [name for name in words.columns if 2 <= words[name].n_unique() <= MOST_VALUES]


def _parts(judged: pl.DataFrame, names: list[str]) -> Iterator[tuple[str, str, pl.DataFrame]]:
    for name in names:
        for (value,), part in sorted(judged.group_by(name), key=lambda each: str(each[0])):
            if part.height >= LEAST_USERS:
                yield name.removeprefix("by ").replace("_", " "), str(value), part


def _figures(part: pl.DataFrame, comparison: Comparison) -> dict[str, float | int | None]:
    truth, predicted = part[TRUTH], part[comparison.chosen]
    figures = value_metrics(truth, predicted)
    told = {name: None if isnan(figures[name]) else figures[name] for name in ("bias", "mae", "gini")}
    low, high = (part[f"{comparison.spec.name}_{end}"] for end in ("low", "high"))
    inside = ((truth >= low) & (truth <= high)).mean()
    return {
        "users": part.height,
        "truth": float(truth.mean() or 0.0),  # type: ignore[arg-type]
        "predicted": float(predicted.mean() or 0.0),  # type: ignore[arg-type]
        **told,
        "coverage": float(inside or 0.0),  # type: ignore[arg-type]
    }
