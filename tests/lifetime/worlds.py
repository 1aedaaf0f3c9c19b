"""Small worlds with known truth, as the training tables that models of this room read."""

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import polars as pl

from sojourn.evaluate import Scores
from sojourn.lifetime import BoostSpec, LifetimeSpec

FIRST = date(2024, 1, 1)
WINDOWS_DAYS = (1, 7, 14, 30, 60, 90)
SEQUENCE_DAYS = 28
# What a small simulated app is scored by, quickly.
SCORED = LifetimeSpec(
    horizons_days=(14,),
    churn_days=14,
    train_as_ofs=2,
    models={"ltv_14": "two_stage", "churn_14": "churn_trees"},
    boost=BoostSpec(rounds=20, groups=2),
)
FAST = BoostSpec(rounds=80, patience=10, groups=3, min_leaf_rows=20)


@dataclass(frozen=True)
class Log:
    """What every user spent and how often the user bought, by day: two arrays (users, days). Day of arrival (users)."""

    spend: np.ndarray
    purchases: np.ndarray
    arrival: np.ndarray


def shop(seed: int, *, users: int = 400, days: int = 240, payers: float = 1.0) -> Log:
    """Users who buy at a rate of their own, gamma over users, until they leave for good; a share ever buys at all."""
    rng = np.random.default_rng(seed)
    rate = rng.gamma(1.5, 0.08, users) * (rng.random(users) < payers)
    leaves = rng.exponential(3 * days, users)
    arrival = rng.integers(0, days // 3, users)
    day = np.arange(days)
    alive = (day >= arrival[:, None]) & (day < (arrival + leaves)[:, None])
    purchases = rng.poisson(rate[:, None], (users, days)) * alive
    size = rng.lognormal(2, 0.6, users)[:, None] * rng.lognormal(0, 0.4, (users, days))
    return Log(np.round(purchases * size, 2), purchases, arrival)


def table_of(
    log: Log, *, horizons_days: tuple[int, ...] = (30,), step_days: int = 10, first_day: int = 60
) -> pl.DataFrame:
    """Features and labels every `step_days`, counted back from the log's end; labels null where a window is cut."""
    days = log.spend.shape[1]
    looks = range(days - min(horizons_days), first_day - 1, -step_days)
    return pl.concat([_seen_from(log, look, horizons_days) for look in looks]).sort("as_of", "user_id")


def shop_table(seed: int, **settings: float) -> pl.DataFrame:
    """`table_of` a `shop` with 30-day labels."""
    return table_of(shop(seed, **settings))  # type: ignore[arg-type]


def _seen_from(log: Log, look: int, horizons_days: tuple[int, ...]) -> pl.DataFrame:
    users, days = log.spend.shape
    tenure = look - log.arrival
    bought = np.where(log.purchases[:, :look] > 0, np.arange(look), -1).max(axis=1)
    first = np.where(log.purchases[:, :look] > 0, np.arange(look), days).min(axis=1)
    columns: dict[str, object] = {
        "user_id": [f"u{user:05d}" for user in range(users)],
        "as_of": [FIRST + timedelta(days=look)] * users,
    }
    for name, daily in (("spend", log.spend), ("purchases", log.purchases), ("purchase_days", log.purchases > 0)):
        for window in WINDOWS_DAYS:
            columns[f"{name}_{window}d"] = daily[:, max(look - window, 0) : look].sum(axis=1)
        columns[f"{name}_all"] = daily[:, :look].sum(axis=1)
    columns |= {
        "tenure_days": tenure,
        "recency_days": look - np.maximum(bought, log.arrival),
        "purchase_recency_days": pl.Series(np.where(bought >= 0, look - bought, -1)).replace(-1, None),
        "purchase_tenure_days": pl.Series(np.where(bought >= 0, look - first, -1)).replace(-1, None),
        "country": np.array(["de", "fr", "it"])[np.arange(users) % 3],
    }
    for horizon in horizons_days:
        whole = look + horizon <= days
        for name, daily in (("spend", log.spend), ("purchases", log.purchases)):
            total = daily[:, look : look + horizon].sum(axis=1)
            columns[f"label_{name}_{horizon}d"] = (
                pl.Series(total) if whole else pl.Series([None] * users, dtype=pl.Float64)
            )
    labels = [pl.col(name).cast(pl.Float64) for name in columns if name.startswith("label_spend")]
    counts = [pl.col(name).cast(pl.Int64) for name in columns if name.startswith("label_purchases")]
    return pl.DataFrame(columns).with_columns(*labels, *counts).filter(pl.col("tenure_days") >= 1)


def with_sequences(log: Log, table: pl.DataFrame) -> pl.DataFrame:
    """The table with the last events and days of each row, from the log's daily arrays."""
    rows = [_sequence_of(log, int(user[1:]), (as_of - FIRST).days) for user, as_of in table["user_id", "as_of"].rows()]
    days = pl.Array(pl.Float64, SEQUENCE_DAYS)
    schema = {
        "seq_event": pl.List(pl.String),
        "seq_age_h": pl.List(pl.Float64),
        "seq_amount": pl.List(pl.Float64),
        "seq_day_events": days,
        "seq_day_spend": days,
        "seq_day_pushes": days,
    }
    return pl.concat([table, pl.DataFrame(rows, schema=schema, orient="row")], how="horizontal")


def _sequence_of(log: Log, user: int, look: int) -> tuple[list[object], ...]:
    spend, bought = log.spend[user, :look], log.purchases[user, :look]
    days = np.flatnonzero(bought)[-12:]
    last = slice(look - SEQUENCE_DAYS, look)
    ages = [24.0 * (look - day) - 12 for day in days]
    return (
        ["buy"] * len(days),
        ages,
        spend[days].tolist(),
        bought[last].tolist(),
        spend[last].tolist(),
        [0.0] * SEQUENCE_DAYS,
    )


def value_of(scores: Scores, model: str, metric: str) -> float:
    """A figure that is defined."""
    value = scores.models[model][metric].value
    assert value is not None
    return value


def first_and_last(table: pl.DataFrame) -> tuple[date, date]:
    """The first and the last as-of date."""
    days: list[date] = table["as_of"].unique().sort().to_list()
    return days[0], days[-1]
