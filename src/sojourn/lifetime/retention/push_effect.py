"""What a push does to the days that follow, learned from decisions whose probability was recorded."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import polars as pl

from sojourn.core import BadInput, Estimator, need_columns
from sojourn.lifetime._boost import SLICE_ROWS, user_groups
from sojourn.lifetime._design import KEYS
from sojourn.lifetime._store import load_model, save_model
from sojourn.lifetime.retention._days import Floats, days_list, matrix_of
from sojourn.lifetime.retention._pushes import PROPENSITY, PUSHED_AHEAD
from sojourn.lifetime.retention._response import Decisions, Response, basis, fit_response
from sojourn.lifetime.retention._rows import in_order, without_days
from sojourn.lifetime.retention.activity import AHEAD
from sojourn.lifetime.retention.spec import ActivitySpec
from sojourn.lifetime.retention.trees import DailyTrees

EFFECT, RATE = "push_effect", "push_rate"
LEAST_DECISIONS = 100
MOST_WORDS = 12
LEAST_SHARE = 0.02
# A user's own rate of pushes counts as much as all users' once so many days are known.
RATE_DAYS, OWN_DAYS = 28, 7


@dataclass(frozen=True)
class Traits:
    """The columns by which effects may differ: words as 0 and 1, numbers as logarithms, all centred and scaled."""

    words: Mapping[str, tuple[str, ...]]
    numbers: tuple[str, ...]
    centre: Floats
    scale: Floats

    @classmethod
    def learn(cls, table: pl.DataFrame) -> "Traits":
        """The traits of these users: words and truth values with few values, and how long, how lately, how often."""
        words = {}
        for name in without_days(table).columns:
            if name in KEYS or table[name].dtype not in (pl.String, pl.Boolean):
                continue
            counts = (
                table[name]
                .cast(pl.String)
                .drop_nulls()
                .value_counts()
                .filter(pl.col("count") >= LEAST_SHARE * table.height)
            )
            values = tuple(sorted(counts[name]))
            if 2 <= len(values) <= MOST_WORDS or (values and counts["count"].sum() < (1 - LEAST_SHARE) * table.height):
                words[name] = values[:MOST_WORDS]
        wanted = ("tenure_days", "recency_days", "active_days_7d", "active_days_30d", "pushes_7d", "push_recency_days")
        numbers = tuple(name for name in wanted if name in table.columns)
        raw = cls(words, numbers, np.zeros(0), np.ones(0))._raw(table)
        spread = raw.std(axis=0)
        return cls(words, numbers, raw.mean(axis=0), np.where(spread > 0, spread, 1.0))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Traits":
        """The traits that `to_dict` described."""
        words = {name: tuple(known) for name, known in values["words"].items()}
        return cls(words, tuple(values["numbers"]), np.array(values["centre"]), np.array(values["scale"]))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        words = {name: list(known) for name, known in self.words.items()}
        plain = {"centre": self.centre.tolist(), "scale": self.scale.tolist()}
        return {"words": words, "numbers": list(self.numbers), **plain}

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns of `of`, without the first, which is 1."""
        return (*(f"{name} = {value}" for name, values in self.words.items() for value in values), *self.numbers)

    def of(self, table: pl.DataFrame, *, where: str) -> Floats:
        """The traits of each row, the first column 1. Raises `MissingColumn`."""
        need_columns(table, [*self.words, *self.numbers], where=where)
        return np.column_stack([np.ones(table.height), (self._raw(table) - self.centre) / self.scale])

    def _raw(self, table: pl.DataFrame) -> Floats:
        parts = [
            (table[name].cast(pl.String) == value).fill_null(value=False).cast(pl.Float64).to_numpy()
            for name, values in self.words.items()
            for value in values
        ]
        # A number that is not known counts as a long time: never pushed, never active.
        parts += [np.log1p(table[name].cast(pl.Float64).fill_null(60.0).clip(0).to_numpy()) for name in self.numbers]
        return np.column_stack(parts) if parts else np.zeros((table.height, 0))


class PushEffect(Estimator):
    """By how much one push raises or lowers the log-odds of activity on each of the following days, user by user.

    Reads `activity_table` with pushes, at as many as-of dates as there are: each row whose `propensity_ahead` begins
    with a probability strictly between 0 and 1 is a decision on that day; `decision_table` makes a table of nothing
    else. Two things are learned: the forecast that does not know of the push (`DailyTrees`, of users left out), and the
    response (`_response`), shrunk as far as users left out ask for.

    `predict` writes `user_id, as_of`, the list `push_effect` (log-odds, by days since the push) and the list
    `push_rate` (pushes expected on each day ahead, going on as before: the user's own rate of the last 28 days, pulled
    towards that of all). `planned_days` turns them into days.

    Learned: `traits_`, `response_`, `rate_` (pushes a day of all decided users), `decisions_` (how many taught).
    """

    traits_: Traits
    response_: Response
    rate_: float
    decisions_: int

    def __init__(self, spec: ActivitySpec | None = None) -> None:
        self.spec: ActivitySpec = spec or ActivitySpec()

    def fit(self, table: pl.DataFrame) -> Self:
        """Learn from decisions of the log. Raises `BadInput` when chance decided too few of them."""
        where = "lifetime.PushEffect.fit"
        need_columns(table, [PUSHED_AHEAD, PROPENSITY], where=where)
        known = in_order(table, needed=AHEAD, where=where)
        decided = _decided(known, where=where)
        self.rate_ = float((decided["pushes_28d"] / decided["tenure_days"].clip(1, RATE_DAYS)).mean() or 0.0)  # type: ignore[arg-type]
        self.traits_ = Traits.learn(decided)
        user = decided["user_id"].rank("dense").to_numpy().astype(np.int64) - 1
        propensity, sent = _first(decided[PROPENSITY]), _first(decided[PUSHED_AHEAD])
        decisions = Decisions(
            z=self.traits_.of(decided, where=where),
            centred=sent - propensity,
            m=_held_out(DailyTrees(self.spec).fit(decided), decided),
            y=matrix_of(decided[AHEAD]),
            user=user,
        )
        self.response_ = fit_response(decisions, seed=self.spec.boost.seed)
        self.decisions_ = decided.height
        return self

    @staticmethod
    def can_learn(table: pl.DataFrame) -> bool:
        """Whether chance decided on enough pushes, either way, for `fit` to learn from."""
        return min(_by_chance(table)[1:]) >= LEAST_DECISIONS

    def predict(self, table: pl.DataFrame) -> pl.DataFrame:
        """`user_id, as_of`, the effect by days since a push, and the rate of pushes, in the order of the table."""
        self.check_fitted("response_")
        shown = np.zeros((table.height, self.spec.horizon_days), dtype=bool)
        effect = self.response_.log_odds(self.traits(table)) @ basis(self.spec.horizon_days).T
        return table.select(key for key in KEYS if key in table.columns).with_columns(
            days_list(effect, hidden=shown, name=EFFECT, kind=pl.Float64),
            days_list(self._rates(table), hidden=shown, name=RATE, kind=pl.Float64),
        )

    def traits(self, table: pl.DataFrame) -> Floats:
        """The columns by which effects differ, for each row; the first is 1."""
        self.check_fitted("traits_")
        return self.traits_.of(table, where="lifetime.PushEffect.predict")

    def _rates(self, table: pl.DataFrame) -> Floats:
        need_columns(table, ["pushes_28d", "tenure_days"], where="lifetime.PushEffect.predict")
        days = table["tenure_days"].clip(1, RATE_DAYS).to_numpy()
        rate = (table["pushes_28d"].to_numpy() + OWN_DAYS * self.rate_) / (days + OWN_DAYS)
        return np.repeat(np.clip(rate, 0.0, 1.0)[:, None], self.spec.horizon_days, axis=1)

    def curve(self) -> pl.DataFrame:
        """The effect of one push on the log-odds of the mean decided user: `day_since, effect, low, high` (95 %)."""
        self.check_fitted("response_")
        phi = basis(self.spec.horizon_days)
        columns = len(self.traits_.names) + 1
        means = np.arange(phi.shape[1]) * columns
        mean = phi @ self.response_.coefficients[means]
        error = np.sqrt(np.einsum("ka,ab,kb->k", phi, self.response_.covariance[np.ix_(means, means)], phi))
        ends = {"low": mean - 1.96 * error, "high": mean + 1.96 * error}
        return pl.DataFrame({"day_since": np.arange(len(phi)), "effect": mean, **ends})

    def differences(self) -> pl.DataFrame:
        """By what effects differ: `trait, effect, low, high`, log-odds on the first day for one spread more of it."""
        self.check_fitted("response_")
        columns, parts = len(self.traits_.names) + 1, basis(1).shape[1]
        gather = np.arange(parts)[:, None] * columns + np.arange(1, columns)
        first = self.response_.coefficients[gather].sum(axis=0)
        blocks = self.response_.covariance[gather[:, None, :], gather[None, :, :]]
        error = np.sqrt(np.maximum(blocks.sum(axis=(0, 1)), 0))
        found = {
            "trait": self.traits_.names,
            "effect": first,
            "low": first - 1.96 * error,
            "high": first + 1.96 * error,
        }
        return pl.DataFrame(found).sort(pl.col("effect").abs(), "trait", descending=[True, False])

    def save(self, path: Path) -> None:
        """Write `model.json` into the folder `path`."""
        self.check_fitted("response_")
        response = {name: np.asarray(part).tolist() for name, part in vars(self.response_).items()}
        learned = {"traits": self.traits_.to_dict(), "response": response, "rate": self.rate_}
        learned["decisions"] = self.decisions_
        save_model(path, model=self, learned=learned)

    @classmethod
    def load(cls, path: Path) -> Self:
        """The effects that `save` wrote. Raises `UnreadableSource`."""
        whole = load_model(path, model=cls)
        model, learned = cls(ActivitySpec(**whole["spec"])), whole["learned"]
        model.traits_ = Traits.from_dict(learned["traits"])
        found = learned["response"]
        model.response_ = Response(
            np.array(found["coefficients"]), np.array(found["covariance"]), found["penalty"], found["slow"]
        )
        model.rate_, model.decisions_ = learned["rate"], learned["decisions"]
        return model


def _first(lists: pl.Series) -> Floats:
    return lists.list.first().cast(pl.Float64).to_numpy()


def _by_chance(table: pl.DataFrame) -> tuple[pl.DataFrame, int, int]:
    """The rows whose day chance decided on, how many were sent a push and how many not."""
    chance = pl.col(PROPENSITY).list.first()
    decided = table.filter((chance > 0) & (chance < 1) & pl.col(PUSHED_AHEAD).list.first().is_not_null())
    sent = int(_first(decided[PUSHED_AHEAD]).sum()) if decided.height else 0
    return decided, sent, decided.height - sent


def _decided(known: pl.DataFrame, *, where: str) -> pl.DataFrame:
    """The rows whose day chance decided on. Raises `BadInput` when they are too few."""
    decided, sent, kept = _by_chance(known)
    if min(sent, kept) < LEAST_DECISIONS:
        raise BadInput(
            f"{where} needs at least {LEAST_DECISIONS} decisions to push and as many not to, made with a recorded "
            f"propensity strictly between 0 and 1; it found {sent} and {kept}. Look from more as-of dates, or let "
            "chance decide about a share of pushes."
        )
    return decided


def _held_out(model: DailyTrees, decided: pl.DataFrame) -> Floats:
    """The forecast of each decided row by the trees that never saw its user: (rows, days)."""
    group = user_groups(decided["user_id"], boost=model.spec.boost)
    size = max(1, SLICE_ROWS // model.spec.horizon_days)
    parts = [
        model.held_out_probabilities(decided.slice(at, size), group=group[at : at + size])
        for at in range(0, decided.height, size)
    ]
    return np.clip(np.concatenate(parts), 1e-4, 1 - 1e-4)
