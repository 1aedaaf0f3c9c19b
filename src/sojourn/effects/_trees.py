"""Gradient-boosted trees that may also be none at all: stopped on users held out, from a table binned once."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sojourn.effects._log import Floats, Ints
from sojourn.effects.spec import TreesSpec

if TYPE_CHECKING:
    from lightgbm import Booster

HELD_SHARE = 5  # one in so many users of the training rows says when to stop
SLICE_ROWS = 200_000
Rows = NDArray[np.intp]


@dataclass(frozen=True)
class Trees:
    """A constant, and trees on top of it where they helped users who were held out."""

    base: float
    booster: "Booster | None" = None
    rounds: int | None = None  # how many of its trees are read; None: all

    def __call__(self, matrix: Floats) -> Floats:
        """The prediction of each row."""
        if self.booster is None:
            return np.full(len(matrix), self.base)
        slices = range(0, len(matrix), SLICE_ROWS)
        parts = [self._raw(matrix[at : at + SLICE_ROWS]) for at in slices]
        return self.base + np.concatenate(parts or [np.zeros(0)])

    def _raw(self, matrix: Floats) -> Floats:
        assert self.booster is not None
        return np.asarray(self.booster.predict(matrix, num_iteration=self.rounds, num_threads=1), dtype=np.float64)


@dataclass
class Binned:
    """Codes binned once, so that many models of some of the rows cost little. Bins look at covariates alone."""

    codes: Floats
    categorical: tuple[int, ...]
    seed: int
    _data: Any = field(init=False, repr=False, default=None)

    def __post_init__(self) -> None:
        if self.codes.shape[1]:
            from lightgbm import Dataset

            self._data = Dataset(
                self.codes, categorical_feature=list(self.categorical), params=_binning(), free_raw_data=False
            ).construct()

    def stopped(
        self, rows: Rows, *, target: Floats, user: Ints, spec: TreesSpec, weight: Floats | None = None
    ) -> Trees:
        """Trees that learn `target` (rows of the whole table) from these rows.

        A fifth of their users says how many trees help; so many are then learned from all of them, perhaps none.
        """
        base = _mean(target[rows], None if weight is None else weight[rows])
        if self._data is None or len(rows) < 4 * spec.min_leaf_rows:
            return Trees(base)
        held = _held(user[rows], seed=self.seed)
        rounds = self._rounds(rows[~held], rows[held], target=target, spec=spec, weight=weight)
        return Trees(base) if rounds == 0 else self.grown(rows, target=target, spec=spec, weight=weight, rounds=rounds)

    def grown(self, rows: Rows, *, target: Floats, spec: TreesSpec, rounds: int, weight: Floats | None = None) -> Trees:
        """So many trees learned from these rows. Without covariates it is the mean."""
        import lightgbm

        base = _mean(target[rows], None if weight is None else weight[rows])
        if self._data is None:
            return Trees(base)
        data = self._part(rows, target - base, weight)
        booster = lightgbm.train(_parameters(spec, len(rows), self.seed), data, rounds)
        return Trees(base, booster.free_dataset())

    def _rounds(self, train: Rows, held: Rows, *, target: Floats, spec: TreesSpec, weight: Floats | None) -> int:
        """How many trees are best on the held-out rows; 0 when the mean alone is."""
        import lightgbm

        base = _mean(target[train], None if weight is None else weight[train])
        data, valid = (self._part(rows, target - base, weight) for rows in (train, held))
        found: dict[str, Any] = {}
        callbacks = [lightgbm.early_stopping(spec.patience, verbose=False), lightgbm.record_evaluation(found)]
        parameters = _parameters(spec, len(train), self.seed)
        lightgbm.train(parameters, data, spec.rounds, valid_sets=[valid], callbacks=callbacks)
        losses = np.asarray(next(iter(found.values()))["l2"])
        none = _mean((target[held] - base) ** 2, None if weight is None else weight[held])
        return int(losses.argmin()) + 1 if losses.min() < none else 0

    def _part(self, rows: Rows, target: Floats, weight: Floats | None) -> Any:
        # Constructed first: a part takes its parent's labels when it is made, and would forget those set before.
        data = self._data.subset(rows.tolist()).construct().set_label(target[rows])
        return data if weight is None else data.set_weight(weight[rows])


def user_groups(user: Ints, *, groups: int, seed: int) -> Ints:
    """A group for each row, the same for all rows of a user; groups hold equally many users."""
    order = np.random.default_rng(seed).permutation(int(user.max()) + 1) % groups
    return np.asarray(order[user], dtype=np.int64)


def rows_of(group: Ints, *, without: Sequence[int]) -> Rows:
    """The rows that are in none of these groups."""
    return np.flatnonzero(~np.isin(group, list(without)))


def _held(user: Ints, *, seed: int) -> NDArray[np.bool_]:
    names, place = np.unique(user, return_inverse=True)
    chosen = np.random.default_rng([seed, len(names)]).permutation(len(names)) % HELD_SHARE == 0
    return np.asarray(chosen[place])


def _mean(values: Floats, weight: Floats | None) -> float:
    return float(np.average(values, weights=weight))


def _binning() -> dict[str, Any]:
    return {"verbose": -1, "min_data_in_bin": 3, "num_threads": 1, "max_bin": 63, "feature_pre_filter": False}


def _parameters(spec: TreesSpec, rows: int, seed: int) -> dict[str, Any]:
    return {
        **_binning(),
        "objective": "regression",
        "metric": "l2",
        "boost_from_average": False,
        "learning_rate": spec.learning_rate,
        "num_leaves": spec.leaves,
        # Small tables get smaller leaves, or nothing could be learned.
        "min_data_in_leaf": max(5, min(spec.min_leaf_rows, rows // 20)),
        "feature_fraction": spec.feature_share,
        "lambda_l2": spec.ridge,
        "cat_smooth": 20.0,
        "seed": seed,
        "deterministic": True,
        "force_row_wise": True,
    }
