"""Predicted uplift and doubly robust scores go in; how well the order is goes out: deciles, Qini, gain over budget."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

from sojourn.core import BadInput, need_columns, need_rows
from sojourn.effects._errors import estimate
from sojourn.effects._log import Floats, Ints
from sojourn.effects.spec import SCORE, UPLIFT, RankingSpec
from sojourn.evaluate import Interval

SHARES = np.linspace(0, 1, 101)
BUDGETS = (10, 20, 30, 50)
FOLD = "fold"


@dataclass(frozen=True)
class Ranking:
    """How well an order of users finds those whom treating helps.

    `figures`, each with its interval over resampled users, in units of the outcome per user of the whole population:
    `qini`, the area between the gain curve and the straight line that a random order has on average; `auuc`, the
    area under the gain curve; `gain_<N>`, the gain of treating the first N percent; `gain_all`, of treating all.
    `random` is the Qini of random scores: their mean, and the ends between which 95 % of them lie; a Qini that lies
    between them is worth nothing. `curve` has `share, gain, low, high, at_random`.
    """

    figures: dict[str, Interval]
    random: Interval
    curve: pl.DataFrame

    def table(self) -> pl.DataFrame:
        """One row per figure: `figure, value, low, high`; the random scores' last, as `qini_random`."""
        rows = {**self.figures, "qini_random": self.random}
        return pl.DataFrame([{"figure": name, **each.model_dump()} for name, each in rows.items()])


def qini(
    held_out: pl.DataFrame, *, arm: str = "treated", by: str | None = None, spec: RankingSpec | None = None
) -> Ranking:
    """How good the order by `uplift_<arm>` (or by column `by`) is, judged by `score_<arm>`.

    Reads `user_id`, both columns and `fold` where there is one, as `Uplift.held_out_` has them: each fold's models have
    a level of their own, so users are compared inside their fold and folds are laid side by side. Equal predictions
    stay together: between the ends of such a group the curve is straight.

    Raises `MissingColumn`, `EmptyInput`.

    >>> rows = {"user_id": ["a", "b", "c", "d"], "uplift_treated": [4, 3, 2, 1], "score_treated": [1.0, 1.0, 0.0, 0.0]}
    >>> qini(pl.DataFrame(rows)).figures["qini"].value
    0.125
    """
    spec = spec or RankingSpec()
    order = _order(held_out, by=by or f"{UPLIFT}{arm}", score=f"{SCORE}{arm}", where="effects.qini")
    whole = order.read(np.ones(order.users))
    draws = [order.read(weight) for weight in _draws(order.users, spec)]
    values = {name: np.array([draw.figures[name] for draw in draws]) for name in whole.figures}
    figures = {name: _interval(whole.figures[name], values[name], spec.level) for name in whole.figures}
    gains = np.array([draw.gains for draw in draws])
    tail = (1 - spec.level) / 2
    low, high = np.quantile(gains, [tail, 1 - tail], axis=0)
    curve = pl.DataFrame(
        {"share": SHARES, "gain": whole.gains, "low": low, "high": high, "at_random": SHARES * whole.gains[-1]}
    )
    return Ranking(figures, _of_random(order, spec), curve)


def uplift_deciles(
    held_out: pl.DataFrame, *, arm: str = "treated", by: str | None = None, level: float = 0.95
) -> pl.DataFrame:
    """Users in ten groups by predicted uplift, decile 1 the highest: what was predicted, and the effect on them.

    Columns: `decile, rows, users, predicted_mean, effect, low, high`, the interval with rows of a user going together.
    Reads what `qini` reads. Equal predictions stay together, and a decile into which no group of them falls is left
    out: where all are predicted the same there is one row.
    """
    by, score = by or f"{UPLIFT}{arm}", f"{SCORE}{arm}"
    place = _places(held_out, by=by, score=score, where="effects.uplift_deciles")
    decile = np.minimum((10 * (1 - place)).astype(np.int64) + 1, 10)
    user = held_out["user_id"].rank("dense").cast(pl.Int64).to_numpy() - 1
    scores, said = _floats(held_out[score]), _floats(held_out[by])
    rows = []
    for number in np.unique(decile):
        mine = decile == number
        mean = float(scores[mine].mean())
        found = estimate(mean, scores[mine] - mean, user=np.unique(user[mine], return_inverse=True)[1])
        low, high = found.ends(level)
        rows.append(
            {
                "decile": int(number),
                "rows": int(mine.sum()),
                "users": len(np.unique(user[mine])),
                "predicted_mean": float(said[mine].mean()),
                "effect": mean,
                "low": low,
                "high": high,
            }
        )
    return pl.DataFrame(rows)


@dataclass(frozen=True)
class _Read:
    figures: dict[str, float]
    gains: Floats


@dataclass(frozen=True)
class _Order:
    """Scores in the order of treatment; `starts` are the first places of groups of equal predictions."""

    score: Floats
    user: Ints
    starts: Ints
    users: int

    def read(self, user_weight: Floats) -> _Read:
        """The figures where each user counts so often."""
        weight = user_weight[self.user]
        total = weight.sum()
        share = np.concatenate([[0.0], np.cumsum(np.add.reduceat(weight, self.starts)) / total])
        gain = np.concatenate([[0.0], np.cumsum(np.add.reduceat(weight * self.score, self.starts)) / total])
        auuc = float((np.diff(share) * (gain[1:] + gain[:-1])).sum() / 2)
        at = {f"gain_{percent}": float(np.interp(percent / 100, share, gain)) for percent in BUDGETS}
        figures = {"qini": auuc - float(gain[-1]) / 2, "auuc": auuc, **at, "gain_all": float(gain[-1])}
        return _Read(figures, np.interp(SHARES, share, gain))


def _order(held_out: pl.DataFrame, *, by: str, score: str, where: str) -> _Order:
    place = _places(held_out, by=by, score=score, where=where)
    user = held_out["user_id"].rank("dense").cast(pl.Int64).to_numpy() - 1
    scores = _floats(held_out[score])
    return _in_order(place, scores, user)


def _in_order(place: Floats, score: Floats, user: Ints) -> _Order:
    # By user and score inside a group of equals, so that the order of rows cannot change the last digit.
    order = np.lexsort((score, user, -place))
    starts = np.flatnonzero(np.diff(place[order], prepend=np.inf) != 0)
    return _Order(score[order], user[order], starts.astype(np.int64), int(user.max()) + 1)


def _places(held_out: pl.DataFrame, *, by: str, score: str, where: str) -> Floats:
    """Where each row stands in its fold, from 0 (lowest prediction) to 1; equals share their middle."""
    need_columns(held_out, ["user_id", by, score], where=where)
    need_rows(held_out, where=where, mend="Pass Uplift(spec).fit(table).held_out_")
    for name in (by, score):
        if held_out[name].null_count() or not np.isfinite(_floats(held_out[name])).all():
            raise BadInput(f"{where}: column {name!r} has values that are no number. Leave those rows out.")
    middle, rows = pl.col(by).rank("average"), pl.len()
    if FOLD in held_out.columns:
        middle, rows = middle.over(FOLD), rows.over(FOLD)
    return held_out.select(place=(middle - 0.5) / rows)["place"].to_numpy()


def _floats(column: pl.Series) -> Floats:
    return column.cast(pl.Float64).to_numpy()


def _draws(users: int, spec: RankingSpec) -> Iterator[Floats]:
    rng = np.random.default_rng(spec.seed)
    for _ in range(spec.replicates):
        yield np.bincount(rng.integers(users, size=users), minlength=users).astype(np.float64)


def _of_random(order: _Order, spec: RankingSpec) -> Interval:
    """The Qini of scores that are drawn at random, one a row."""
    rng = np.random.default_rng([spec.seed, 1])
    ones = np.ones(order.users)
    found = [
        _in_order(rng.permutation(len(order.score)).astype(np.float64), order.score, order.user)
        .read(ones)
        .figures["qini"]
        for _ in range(spec.random_scores)
    ]
    return _interval(float(np.mean(found)), np.asarray(found), 0.95)


def _interval(value: float, draws: Floats, level: float) -> Interval:
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value=value, low=float(low), high=float(high))
