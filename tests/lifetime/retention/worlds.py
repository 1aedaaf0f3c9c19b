"""Users whose chance to be active is known, as the tables that models of daily activity read."""

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import polars as pl

from sojourn.lifetime import ActivitySpec, BoostSpec

FIRST = date(2024, 1, 1)
FAST = BoostSpec(rounds=60, patience=10, groups=3, min_leaf_rows=20)
SPEC = ActivitySpec(horizon_days=14, days_per_row=4, boost=FAST)


@dataclass(frozen=True)
class Life:
    """`active` and `chance` (users, days), the day of arrival, and pushes: `pushed` and `propensity` (NaN: no turn)."""

    active: np.ndarray
    chance: np.ndarray
    arrival: np.ndarray
    pushed: np.ndarray
    propensity: np.ndarray
    likes: np.ndarray
    effect: float


def lives(seed: int, *, users: int = 300, days: int = 120, effect: float = 0.0) -> Life:
    """Users with a rate of their own, most busier on week-ends, who leave for good.

    Pushes act on the log-odds and have halved after two days.

    Half of the users like pushes, by `effect`; the others dislike them as much. Chance decides more often about those
    who were not active the day before, so that comparing pushed with not pushed is biased.
    """
    rng = np.random.default_rng(seed)
    base, leaves = rng.normal(-1.0, 1.3, users), rng.exponential(days, users)
    arrival = rng.integers(0, days // 2, users)
    likes = rng.random(users) < 0.5
    weekend = np.where(rng.random(users) < 0.6, 2.0, -0.8)
    shape = (users, days)
    active, chance, nudge = np.zeros(shape), np.zeros(shape), np.zeros(users)
    pushed, propensity = np.zeros(shape), np.full(shape, np.nan)
    for day in range(days):
        there = (day >= arrival) & (day < arrival + leaves)
        seen = day > arrival
        turn = seen & (rng.random(users) < 0.5)
        before = active[:, day - 1] if day else np.zeros(users)
        propensity[:, day] = np.where(turn, np.where(before > 0, 0.3, 0.6), np.nan)
        pushed[:, day] = turn & (rng.random(users) < propensity[:, day])
        nudge = nudge * 0.5**0.5 + pushed[:, day]
        logit = base + weekend * (day % 7 >= 5) + effect * np.where(likes, 1, -1) * nudge
        chance[:, day] = there / (1 + np.exp(-logit))
        active[:, day] = rng.random(users) < chance[:, day]
        active[arrival == day, day] = 1
    return Life(active, chance, arrival, pushed, propensity, likes, effect)


def seen_from(life: Life, look: int, *, before: int = 28, ahead: int = 14) -> pl.DataFrame:
    """The table of one `as_of`, days after the log's end null."""
    users, days = life.active.shape
    keep = life.arrival < look
    tenure = look - life.arrival
    last = np.where(life.active[:, :look] > 0, np.arange(look), -1).max(axis=1)
    table: dict[str, object] = {
        "user_id": [f"u{user:04d}" for user in range(users)],
        "as_of": [FIRST + timedelta(days=look)] * users,
        "tenure_days": tenure,
        "recency_days": look - np.maximum(last, life.arrival),
        "active_days_all": life.active[:, :look].sum(axis=1).astype(int),
        "active_days_7d": life.active[:, max(look - 7, 0) : look].sum(axis=1).astype(int),
        "likes": np.where(life.likes, "yes", "no"),
        "pushes_7d": life.pushed[:, max(look - 7, 0) : look].sum(axis=1).astype(int),
        "pushes_28d": life.pushed[:, max(look - 28, 0) : look].sum(axis=1).astype(int),
        "push_propensity_28d": [0.5] * users,
    }
    lags = np.arange(look - 1, look - 1 - before, -1)
    unseen = np.arange(1, before + 1) > tenure[:, None]
    coming = np.arange(look, look + ahead)
    unknown = np.broadcast_to(coming >= days, (users, ahead))
    inside, later = np.maximum(lags, 0), np.minimum(coming, days - 1)
    table["active_before"] = listed(life.active[:, inside], unseen)
    table["pushed_before"] = listed(life.pushed[:, inside], unseen)
    table["active_ahead"] = listed(life.active[:, later], unknown)
    table["pushed_ahead"] = listed(life.pushed[:, later], unknown)
    table["propensity_ahead"] = listed(life.propensity[:, later], unknown)
    return pl.DataFrame(table).filter(pl.Series(keep))


def listed(values: np.ndarray, hidden: np.ndarray) -> pl.Series:
    """A list per row; null where hidden or NaN."""
    rows = np.where(hidden, np.nan, values).tolist()
    return pl.Series([[None if cell != cell else cell for cell in row] for row in rows], dtype=pl.List(pl.Float64))


def activity(
    seed: int, *, looks: tuple[int, ...] = (50, 64, 78, 92), ahead: int = 14, **settings: float
) -> pl.DataFrame:
    """Several as-of dates of `lives`."""
    life = lives(seed, **settings)  # type: ignore[arg-type]
    return pl.concat([seen_from(life, look, ahead=ahead) for look in looks]).sort("as_of", "user_id")


def in_order(table: pl.DataFrame, *, days: int = 28) -> pl.DataFrame:
    """The table with sequences: a launch at noon of every active day, a push sent on every day that had one."""
    rows = []
    for active, pushed in table.select("active_before", "pushed_before").rows():
        back = [lag for lag in range(days, 0, -1) if active[lag - 1]]
        launched = [float(bool(active[lag - 1])) for lag in range(days, 0, -1)]
        sent = [float(bool(pushed[lag - 1])) for lag in range(days, 0, -1)]
        ages = [24.0 * lag - 12 for lag in back]
        rows.append((["launch"] * len(back), ages, [None] * len(back), launched, [0.0] * days, sent))
    numbers, daily = pl.List(pl.Float64), pl.Array(pl.Float64, days)
    names = ("seq_event", "seq_age_h", "seq_amount", "seq_day_events", "seq_day_spend", "seq_day_pushes")
    kinds = (pl.List(pl.String), numbers, numbers, daily, daily, daily)
    found = pl.DataFrame(rows, schema=dict(zip(names, kinds, strict=True)), orient="row")
    return pl.concat([table, found], how="horizontal")


def coming_chance(life: Life, look: int, table: pl.DataFrame, *, ahead: int = 14) -> np.ndarray:
    """The true chance of the table's users on each day ahead."""
    rows = table["user_id"].str.slice(1).cast(pl.Int64).to_numpy()
    return life.chance[rows, look : look + ahead]


def true_gain(life: Life, look: int, table: pl.DataFrame, *, ahead: int = 14) -> np.ndarray:
    """What one more push on the first day would have added to the table's users' active days, all else as it was."""
    rows = table["user_id"].str.slice(1).cast(pl.Int64).to_numpy()
    chance = life.chance[rows, look : look + ahead]
    odds = chance / (1 - chance)
    more = life.effect * np.where(life.likes[rows], 1, -1)[:, None] * 0.5 ** (np.arange(ahead) / 2)
    return np.asarray((odds * np.exp(more) / (1 + odds * np.exp(more)) - chance).sum(axis=1))
