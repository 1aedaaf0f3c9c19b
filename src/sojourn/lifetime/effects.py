"""What moves a prediction: the mean size of each feature's contribution, in plain words."""

import re

import numpy as np
import polars as pl

from sojourn.core import BadInput, Estimator
from sojourn.lifetime._boost import Ensemble, Floats
from sojourn.lifetime._design import Design
from sojourn.lifetime.refunds import ApartValue
from sojourn.lifetime.stack import Stack

MOST_ROWS = 2_000
EFFECT_SCHEMA = {
    "feature": pl.String,
    "words": pl.String,
    "theme": pl.String,
    "share": pl.Float64,
    "direction": pl.String,
}
NOUNS = {
    "events": "events",
    "active_days": "active days",
    "spend": "spend",
    "purchases": "purchases",
    "purchase_days": "days with a purchase",
    "refunds": "refunds",
    "spend_gross": "what was paid",
    "spend_refunded": "money back",
}
FIXED = {
    "tenure_days": "days since first seen",
    "recency_days": "days since last active",
    "purchase_recency_days": "days since the last purchase",
    "purchase_tenure_days": "days since the first purchase",
    "day_ahead": "days ahead",
    "target_weekday": "weekday of the day predicted",
    "age_days": "days since first seen, on the day predicted",
    "same_weekday_last": "active on this weekday last time",
    "same_weekday_share": "share of active days on this weekday, last weeks",
    "weekday_share_ever": "share of this weekday in all active days",
    "push_recency_days": "days since the last push",
    "overdue": "time since last active, against the usual gap",
    "purchase_overdue": "time since the last purchase, against the usual gap",
}
LATELY = "Lately: day by day, this weekday"
PORTRAIT = "Who they are"
THEMES = (
    (re.compile(r"active_(\d+d_ago|(share|half)_\d+d)|same_weekday_\w+|weekday_share_ever"), LATELY),
    (re.compile(r"last_event_\d+d"), "Rhythm: gaps, recency, weekdays"),
    (re.compile(r"day_ahead|target_weekday|age_days"), "Which day is predicted"),
    (re.compile(r"push(es|ed)?_(\d+d|half_\d+d|recency_days|propensity_\d+d)"), "Pushes received"),
    (re.compile(r".+_of_\d+d"), "Trend: lately against before"),
    (re.compile(r".*(recency_days|gap_\w+_days|overdue|day_share)"), "Rhythm: gaps, recency, weekdays"),
    (re.compile(r"(mean|largest|last)_purchase_\d+d|\w+_day_(mean|std|largest|last)"), "Size of a purchase"),
    (re.compile(r"(events|active_days|purchases|purchase_days|refunds)_.+"), "How often they come and buy"),
    (re.compile(r".*tenure_days"), "How long they have been here"),
    (re.compile(r"\w+_(\d+d|all|per_day)"), "How much they spent"),
)
PHRASES = (
    (re.compile(r"last_event_(\d+)d"), "what the last event was, last {0} days"),
    (re.compile(r"active_(\d+)d_ago"), "active {0} days before"),
    (re.compile(r"active_share_(\d+)d"), "share of active days, last {0} days"),
    (re.compile(r"active_half_(\d+)d"), "active days, weight halving every {0} days"),
    (re.compile(r"pushed_half_(\d+)d"), "pushes, weight halving every {0} days"),
    (re.compile(r"push_propensity_(\d+)d"), "probability of being pushed, last {0} days"),
    (re.compile(r"(\w+)_(\d+)d_of_(\d+)d"), "share of the last {2} days' {0} that fell in the last {1}"),
    (re.compile(r"(\w+)_decayed_(\d+)d"), "{0} a day, weight halving every {1} days"),
    (re.compile(r"(mean|largest|last)_purchase_(\d+)d"), "{0} purchase of the last {1} days"),
    (re.compile(r"(\w+)_day_(mean|std|largest|last)"), "{0} on a day with any: {1}"),
    (re.compile(r"purchase_gap_(mean|std|longest|last)_days"), "days between purchases: {0}"),
    (re.compile(r"gap_(mean|std|longest|last)_days"), "days between active days: {0}"),
    (re.compile(r"(\w+day)_share"), "share of active days that are {0}s"),
    (re.compile(r"(\w+)_(?:all|per_day)"), "{0} a day since first seen"),
    (re.compile(r"(\w+?)_(\d+)d"), "{0} a day, last {1} days"),
)


def feature_effects(model: Estimator, *, table: pl.DataFrame) -> pl.DataFrame:
    """Which features move the predictions for these users most: `feature, words, theme, share, direction`, largest
    first.

    `share` is the mean absolute contribution (SHAP values of the trees, averaged over users and boosters) as a share of
    all features' together; `direction` says whether more of the feature goes with a higher prediction. At most 2,000
    users, evenly spread over the table, are read. A model of two stages has both stages weighted equally, and a stack
    its members by their weights.

    Of a model that takes refunds apart, the effects are those on what is paid. Empty for models without trees.
    """
    model = paying(model)
    if isinstance(model, Stack):
        return _of_members(model, table)
    stages, design = stages_of(model)
    if design is None:
        return pl.DataFrame(schema=EFFECT_SCHEMA)
    if table.is_empty():
        raise BadInput("lifetime.feature_effects got a table without rows. Pass the users that the model is for.")
    return _effects(stages, design, table)


def paying(model: Estimator) -> Estimator:
    """The model itself, or of one that takes refunds apart that of what is paid."""
    return model.gross_ if isinstance(model, ApartValue) else model


def stages_of(model: Estimator) -> tuple[list[Ensemble], Design | None]:
    """The trees of each stage of a model and the design that they read; no design for a model without trees."""
    stages = [part for part in vars(model).values() if isinstance(part, Ensemble)]
    return stages, vars(model).get("design_") if stages else None


def feature_words(name: str) -> str:
    """A feature in plain words.

    >>> feature_words("spend_90d"), feature_words("purchase_recency_days")
    ('spend a day, last 90 days', 'days since the last purchase')
    >>> feature_words("spend_30d_of_90d"), feature_words("household_size")
    ("share of the last 90 days' spend that fell in the last 30", 'household size')
    """
    if name in FIXED:
        return FIXED[name]
    for pattern, phrase in PHRASES:
        if match := pattern.fullmatch(name):
            return phrase.format(*(_noun(part) for part in match.groups()))
    return name.replace("_", " ")


def _theme(name: str) -> str:
    return next((theme for pattern, theme in THEMES if pattern.fullmatch(name)), PORTRAIT)


def _of_members(stack: Stack, table: pl.DataFrame) -> pl.DataFrame:
    """The effects of the members that have any, weighted; the direction is that of the heaviest member."""
    found = [
        feature_effects(member, table=table).with_columns(pl.col("share") * stack.weights_[name])
        for name, member in stack.members_.items()
    ]
    shares = pl.concat(found).group_by("feature", "words", "theme", maintain_order=True)
    summed = shares.agg(pl.col("share").sum(), pl.col("direction").first())
    return summed.with_columns(pl.col("share") / pl.col("share").sum()).sort(
        "share", "feature", descending=[True, False]
    )


def _effects(stages: list[Ensemble], design: Design, table: pl.DataFrame) -> pl.DataFrame:
    rows = table.gather_every(max(1, -(-table.height // MOST_ROWS)))
    matrix = design.matrix(rows.drop(pl.selectors.starts_with("label_")), where="lifetime.feature_effects")
    added = [_scaled(stage.effects(matrix)) for stage in stages]
    share = np.mean([np.abs(part).sum(axis=0) for part in added], axis=0)
    direction = np.mean([_slopes(matrix, part) for part in added], axis=0)
    return pl.DataFrame(
        {
            "feature": design.names,
            "words": [feature_words(name) for name in design.names],
            "theme": [_theme(name) for name in design.names],
            "share": share,
            "direction": [
                _direction(slope, name in design.words) for slope, name in zip(direction, design.names, strict=True)
            ],
        },
        schema=EFFECT_SCHEMA,
    ).sort("share", "feature", descending=[True, False])


def _scaled(added: Floats) -> Floats:
    """Contributions as shares of all contributions together."""
    total = np.abs(added).sum()
    return np.asarray(added / total) if total > 0 else added


def _slopes(matrix: Floats, added: Floats) -> Floats:
    """Correlation of each feature with what it adds; 0 where either does not vary."""
    known = np.isfinite(matrix)
    n = np.maximum(known.sum(axis=0), 1)
    x = np.where(known, matrix, 0.0)
    x = np.where(known, x - x.sum(axis=0) / n, 0.0)
    y = np.where(known, added, 0.0)
    y = np.where(known, y - y.sum(axis=0) / n, 0.0)
    scale = np.sqrt((x**2).sum(axis=0) * (y**2).sum(axis=0))
    return np.asarray(np.divide((x * y).sum(axis=0), scale, out=np.zeros_like(scale), where=scale > 0))


def _direction(slope: float, is_word: bool) -> str:
    if is_word or abs(slope) < 0.2:
        return "depends"
    return "more, higher" if slope > 0 else "more, lower"


def _noun(part: str) -> str:
    return NOUNS.get(part, part.replace("_", " ")).replace("std", "spread")
