"""From a table of activity to the rows that trees read: one per user and day ahead."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sojourn.core import need_columns, need_rows
from sojourn.lifetime._design import KEYS, Design
from sojourn.lifetime.retention._days import Floats, matrix_of
from sojourn.lifetime.retention._pushes import PUSHED_BEFORE
from sojourn.lifetime.retention.activity import BEFORE, BESIDE
from sojourn.lifetime.retention.spec import ActivitySpec

Ints = NDArray[np.int64]
LAGS = 7
RECENT_DAYS = (3, 14, 21)
HALF_LIVES_DAYS = (2, 5, 12)
# What a row says of the day that is predicted, and only of that day.
OF_THE_DAY = (
    "day_ahead",
    "target_weekday",
    "age_days",
    "same_weekday_last",
    "same_weekday_share",
    "weekday_share_ever",
)


@dataclass(frozen=True)
class DayDesign:
    """How users and days ahead become numbers: features, lately active days, and what the day itself is."""

    features: Design
    history_days: int
    horizon_days: int
    with_pushes: bool

    @classmethod
    def learn(cls, table: pl.DataFrame, *, spec: ActivitySpec, where: str) -> "DayDesign":
        """The design of these columns. Raises as `Design.learn` does."""
        features = Design.learn(without_days(table), spec=spec, where=where)  # type: ignore[arg-type]
        return cls(features, spec.history_days, spec.horizon_days, PUSHED_BEFORE in table.columns)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "DayDesign":
        """The design that `to_dict` described."""
        return cls(
            Design.from_dict(values["features"]), values["history_days"], values["horizon_days"], values["with_pushes"]
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "features": self.features.to_dict(),
            "history_days": self.history_days,
            "horizon_days": self.horizon_days,
            "with_pushes": self.with_pushes,
        }

    @property
    def user_names(self) -> tuple[str, ...]:
        """The columns that are of the user, the same for every day ahead."""
        lately = [f"active_{lag}d_ago" for lag in range(1, LAGS + 1)]
        lately += [f"active_share_{days}d" for days in RECENT_DAYS] + [f"active_half_{d}d" for d in HALF_LIVES_DAYS]
        pushes = [f"pushed_half_{days}d" for days in HALF_LIVES_DAYS] if self.with_pushes else []
        return (*self.features.names, *lately, *pushes)

    @property
    def names(self) -> tuple[str, ...]:
        """The columns of `rows`."""
        return (*self.user_names, *OF_THE_DAY)

    @property
    def categorical(self) -> tuple[int, ...]:
        """The positions of the columns that hold codes."""
        return (*self.features.categorical, self.names.index("target_weekday"))

    @property
    def words(self) -> Mapping[str, tuple[str, ...]]:
        """The columns whose numbers are codes, which have no more and less."""
        return {**self.features.words, "target_weekday": tuple("0123456")}

    def matrix(self, table: pl.DataFrame, *, where: str) -> Floats:
        """One line per row of the table, each looking another number of days ahead: what `feature_effects` reads."""
        row = np.arange(table.height)
        return self.rows(table, self.of_users(table, where=where), row=row, day=row % self.horizon_days)

    def of_users(self, table: pl.DataFrame, *, where: str) -> Floats:
        """The columns `user_names` of each row of the table."""
        need_columns(table, [*KEYS, "tenure_days", BEFORE, *([PUSHED_BEFORE] if self.with_pushes else [])], where=where)
        before = matrix_of(table[BEFORE])
        parts = [self.features.matrix(without_days(table), where=where), before[:, :LAGS]]
        parts += [_share(before[:, :days])[:, None] for days in RECENT_DAYS]
        parts += [_decayed(before, days)[:, None] for days in HALF_LIVES_DAYS]
        if self.with_pushes:
            pushed = matrix_of(table[PUSHED_BEFORE])
            parts += [_decayed(pushed, days)[:, None] for days in HALF_LIVES_DAYS]
        return np.column_stack(parts)

    def rows(self, table: pl.DataFrame, users: Floats, *, row: Ints, day: Ints) -> Floats:
        """One line for each pair of a row of the table and a day ahead of it."""
        before = matrix_of(table[BEFORE])
        same = same_weekdays(before, row=row, day=day)
        weekday = (table["as_of"].dt.weekday().to_numpy().astype(np.int64)[row] - 1 + day) % 7
        ever = weekday_shares(table)[row, weekday]
        age = table["tenure_days"].to_numpy()[row] + day
        return np.column_stack([users[row], day, weekday, age, same[:, 0], _share(same), ever])


def without_days(table: pl.DataFrame) -> pl.DataFrame:
    """The table without the lists of days, which are not features."""
    return table.drop([name for name in BESIDE if name in table.columns])


def in_order(table: pl.DataFrame, *, needed: str, where: str) -> pl.DataFrame:
    """The rows that know at least one day of the list column `needed`, in an order that the table's own cannot
    influence.

    Raises `MissingColumn`, `EmptyInput`.
    """
    need_columns(table, [*KEYS, "tenure_days", BEFORE, needed], where=where)
    known = table.filter(pl.col(needed).list.drop_nulls().list.len() > 0).sort("as_of", "user_id")
    need_rows(known, where=where, mend="Use as-of dates that have known days after them.")
    return known


def same_weekdays(before: Floats, *, row: Ints, day: Ints) -> Floats:
    """What the user did on the day's own weekday in the last weeks, the last first: (rows, weeks); unseen is NaN."""
    weeks = before.shape[1] // 7
    lag = 6 - day % 7  # position in `before`, whose first entry is yesterday
    return np.asarray(before[row[:, None], lag[:, None] + 7 * np.arange(weeks)])


def weekday_shares(table: pl.DataFrame) -> Floats:
    """The share of each weekday in a user's active days, Monday first, where the table tells; else NaN."""
    names = [f"{name}_share" for name in ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")]
    if not set(names) <= set(table.columns):
        return np.full((table.height, 7), np.nan)
    return table.select(names).cast(pl.Float64).to_numpy()


def sampled_days(truth: Floats, *, days_per_row: int, seed: int) -> tuple[Ints, Ints]:
    """Pairs of row and day ahead to learn from: one known day out of each of `days_per_row` parts of the horizon."""
    n_rows, n_days = truth.shape
    parts = min(days_per_row, n_days)
    edges = np.linspace(0, n_days, parts + 1).astype(np.int64)
    luck = np.random.default_rng(seed).random((n_rows, parts))
    day = edges[:-1] + np.floor(luck * np.diff(edges)).astype(np.int64)
    row = np.repeat(np.arange(n_rows), parts)
    known = np.isfinite(truth[row, day.reshape(-1)])
    return row[known], day.reshape(-1)[known]


def _share(bits: Floats) -> Floats:
    seen = np.isfinite(bits)
    count = seen.sum(axis=1)
    held = np.where(seen, bits, 0).sum(axis=1)
    return np.asarray(np.divide(held, count, out=np.full(len(bits), np.nan), where=count > 0))


def _decayed(bits: Floats, half_life_days: int) -> Floats:
    """The share of active days with a weight that halves; only days since the user was first seen count."""
    weights = np.where(np.isfinite(bits), 0.5 ** (np.arange(bits.shape[1]) / half_life_days), 0.0)
    total = weights.sum(axis=1)
    held = (weights * np.nan_to_num(bits)).sum(axis=1)
    return np.asarray(np.divide(held, total, out=np.full(len(bits), np.nan), where=total > 0))
