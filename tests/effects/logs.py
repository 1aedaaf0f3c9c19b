"""Campaign logs with known effects."""

from datetime import date, timedelta

import numpy as np
import polars as pl

from sojourn.effects import EffectSpec, TreesSpec, UpliftSpec
from sojourn.evaluate import Interval

SMALL_TREES = TreesSpec(rounds=40, patience=5, min_leaf_rows=15)
EFFECT = EffectSpec(outcome="outcome_days", outcome_trees=SMALL_TREES, groups=3)
UPLIFT = UpliftSpec(
    outcome="outcome_days",
    outcome_trees=SMALL_TREES,
    trees=TreesSpec(rounds=40, leaves=4, min_leaf_rows=30),
    groups=3,
)


def ends(found: Interval) -> tuple[float, float, float]:
    """Low, value and high of an interval that has them."""
    assert found.low is not None
    assert found.value is not None
    assert found.high is not None
    return found.low, found.value, found.high


def campaign(
    seed: int, *, users: int = 300, decisions: int = 2, effect: float = 0.5, spread: float = 0.0, even: bool = False
) -> pl.DataFrame:
    """Users decided about on several days; those who were lately active are treated less and do more anyway.

    The effect on a row is `effect + spread * taste`, with taste -1 or 1, shown as a word; a user's rows share luck.
    """
    rng = np.random.default_rng(seed)
    user = np.repeat(np.arange(users), decisions)
    taste = rng.choice([-1.0, 1.0], users)[user]
    lately = rng.poisson(2.0, len(user)).astype(float)
    propensity = np.full(len(user), 0.5) if even else np.clip(0.75 - 0.1 * lately, 0.15, 0.85)
    treated = rng.random(len(user)) < propensity
    luck = rng.normal(0, 0.5, users)[user] + rng.normal(0, 0.7, len(user))
    return pl.DataFrame(
        {
            "user_id": [f"u{number:04d}" for number in user],
            "as_of": [date(2025, 1, 1) + timedelta(days=int(day)) for day in np.tile(np.arange(decisions), users)],
            "treatment": treated,
            "propensity": propensity,
            "active_days_7d": lately,
            "taste": np.where(taste > 0, "likes", "dislikes"),
            "outcome_days": 0.6 * lately + luck + treated * (effect + spread * taste),
        }
    )


def decided(seed: int) -> pl.DataFrame:
    """A log from which there is something to learn."""
    return campaign(seed, users=300, spread=0.8)


def three_arms(seed: int, *, users: int = 600) -> pl.DataFrame:
    """One decision a user, arms `a` (+0.4), `b` (-0.2) and control with the chances 0.3, 0.2 and 0.5."""
    rng = np.random.default_rng(seed)
    arm = rng.choice(["a", "b", "control"], users, p=[0.3, 0.2, 0.5])
    before = rng.gamma(2.0, 1.0, users)
    gain = np.select([arm == "a", arm == "b"], [0.4, -0.2], 0.0)
    return pl.DataFrame(
        {
            "user_id": [f"u{number:04d}" for number in range(users)],
            "treatment": arm,
            "propensity_a": 0.3,
            "propensity_b": 0.2,
            "before": before,
            "outcome_days": before + rng.normal(0, 0.5, users) + gain,
        }
    )
