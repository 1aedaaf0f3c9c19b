"""Gradient-boosted trees trained on groups of users: every training row also has a prediction that never saw it."""

import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sojourn.core import UnreadableSource
from sojourn.evaluate.scores import write_whole
from sojourn.lifetime.spec import BoostSpec

if TYPE_CHECKING:
    from lightgbm import Booster

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
# Trees are read in slices so that scoring millions of users needs the memory of one slice.
SLICE_ROWS = 200_000
LEAST_ROUNDS = 10
_KNOWN: "ContextVar[dict[str, Ensemble] | None]" = ContextVar("known", default=None)


@dataclass(frozen=True)
class Rows:
    """What trees learn from. `matrix` (rows, features); `group` says which model leaves the row out.

    `categorical` holds the positions of features whose numbers are codes; `start` is the score each row begins with.
    """

    matrix: Floats
    target: Floats
    group: Ints
    categorical: tuple[int, ...] = ()
    weight: Floats | None = None
    start: Floats | None = None

    def only(self, keep: NDArray[np.bool_]) -> "Rows":
        """These rows where `keep` is true."""
        cut = {name: part[keep] for name in ("weight", "start") if (part := getattr(self, name)) is not None}
        return replace(self, matrix=self.matrix[keep], target=self.target[keep], group=self.group[keep], **cut)

    def mark(self, *settings: str) -> str:
        """Digits that equal rows and settings share, and others do not."""
        found = blake2b(repr((settings, self.categorical, self.matrix.shape)).encode())
        for part in (self.matrix, self.target, self.group, self.weight, self.start):
            found.update(b"none" if part is None else np.ascontiguousarray(part).data)
        return found.hexdigest()


@dataclass(frozen=True)
class Ensemble:
    """One booster per group of users, and how many trees of each are read."""

    boosters: "tuple[Booster, ...]"
    rounds: int

    def raw(self, matrix: Floats) -> Floats:
        """Mean score of the boosters per row, before any link function."""
        slices = range(0, len(matrix), SLICE_ROWS)
        return np.concatenate([self._mean(matrix[at : at + SLICE_ROWS]) for at in slices] or [np.zeros(0)])

    def held_out(self, rows: Rows) -> Floats:
        """The score of each row by the one booster that has not seen its user."""
        score = np.zeros(len(rows.target))
        for group, booster in enumerate(self.boosters):
            mine = rows.group == group
            if mine.any():
                score[mine] = _raw(booster, rows.matrix[mine], self.rounds)
        return score

    def effects(self, matrix: Floats) -> Floats:
        """What each feature adds to each row's score (rows, features): mean SHAP values over the boosters."""
        parts = [
            booster.predict(matrix, pred_contrib=True, num_iteration=self.rounds, num_threads=1)[:, :-1]
            for booster in self.boosters
        ]
        return np.asarray(np.mean(parts, axis=0))

    def save(self, folder: Path, *, name: str) -> None:
        """Write `<name>_<group>.txt`, LightGBM's own text, only the trees that are read."""
        for group, booster in enumerate(self.boosters):
            write_whole(folder / f"{name}_{group}.txt", booster.model_to_string(num_iteration=self.rounds))

    @classmethod
    def load(cls, folder: Path, *, name: str, groups: int, rounds: int) -> "Ensemble":
        """What `save` wrote. Raises `UnreadableSource`."""
        from lightgbm import Booster

        texts = [_read(folder / f"{name}_{group}.txt") for group in range(groups)]
        return cls(tuple(Booster(model_str=text) for text in texts), rounds)

    def _mean(self, matrix: Floats) -> Floats:
        with ThreadPoolExecutor(_workers(len(self.boosters))) as pool:
            scores = list(pool.map(lambda booster: _raw(booster, matrix, self.rounds), self.boosters))
        return np.asarray(np.mean(scores, axis=0))


def cross_fit(rows: Rows, *, objective: Mapping[str, Any], boost: BoostSpec) -> Ensemble:
    """One booster per group, trained on the other groups and stopped early on its own.

    All boosters are then cut to the median of the rounds found, so that no group chooses its own number. Each
    trains in one thread, several side by side: the numbers depend neither on the machine's cores nor on their load.
    """
    known = _KNOWN.get()
    asked = "" if known is None else rows.mark(repr(sorted(objective.items())), boost.to_json())
    if known is not None and asked in known:
        return known[asked]

    def fit(group: int) -> "tuple[Booster, int]":
        held = rows.group == group
        if not rows.target[~held].any():  # one group has all that there is: nothing could be learned without it
            held = np.zeros_like(held)
        return _train(rows.only(~held), rows.only(held), {**_parameters(boost, len(held)), **objective}, boost)

    groups = range(boost.groups)
    with ThreadPoolExecutor(_workers(boost.groups)) as pool:
        fitted = list(pool.map(fit, groups))
    rounds = int(np.median([best for _, best in fitted]))
    found = Ensemble(tuple(booster for booster, _ in fitted), max(rounds, min(LEAST_ROUNDS, boost.rounds)))
    if known is not None:
        known[asked] = found
    return found


@contextmanager
def grown_once() -> Iterator[None]:
    """Within this block, trees that several models ask for, of the same rows by the same settings, grow once.

    So do the medians of two models, and refunds that two models subtract. What is found is the same, only sooner.
    """
    outer = _KNOWN.set({})
    try:
        yield
    finally:
        _KNOWN.reset(outer)


def user_groups(users: pl.Series, *, boost: BoostSpec) -> Ints:
    """A group number for each row, the same for all rows of a user; groups are of equal size."""
    names = users.unique().sort()
    order = np.random.default_rng(boost.seed).permutation(len(names)) % boost.groups
    found = pl.DataFrame({users.name: users}).join(
        pl.DataFrame({users.name: names, "group": order}), on=users.name, how="left", maintain_order="left"
    )
    return found["group"].to_numpy()


def _train(train: Rows, held: Rows, parameters: dict[str, Any], boost: BoostSpec) -> "tuple[Booster, int]":
    import lightgbm

    data = _dataset(train)
    stop = lightgbm.early_stopping(boost.patience, verbose=False)
    valid = _dataset(held, data) if len(held.target) else None
    booster = lightgbm.train(
        parameters, data, boost.rounds, valid_sets=[valid] if valid else [], callbacks=[stop] if valid else []
    )
    # Every fold's models are kept until the report is written: their data need not be.
    booster.free_dataset()
    return booster, booster.best_iteration if valid else boost.rounds


def _dataset(rows: Rows, reference: Any = None) -> Any:
    from lightgbm import Dataset

    return Dataset(
        rows.matrix,
        label=rows.target,
        weight=rows.weight,
        init_score=rows.start,
        categorical_feature=list(rows.categorical),
        reference=reference,
        params={"verbose": -1, "min_data_in_bin": 3, "num_threads": 1, "max_bin": 63},
    )


def _parameters(boost: BoostSpec, n_rows: int) -> dict[str, Any]:
    return {
        "learning_rate": boost.learning_rate,
        "num_leaves": boost.leaves,
        # Small tables get smaller leaves: at least twenty leaves' worth of rows, or nothing could be learned.
        "min_data_in_leaf": max(1, min(boost.min_leaf_rows, n_rows // 20)),
        "feature_fraction": boost.feature_share,
        "bagging_fraction": boost.row_share,
        "bagging_freq": 1,
        "seed": boost.seed,
        "num_threads": 1,
        "deterministic": True,
        "force_row_wise": True,
        "max_bin": 63,
        "verbose": -1,
    }


def _raw(booster: "Booster", matrix: Floats, rounds: int) -> Floats:
    return np.asarray(booster.predict(matrix, raw_score=True, num_iteration=rounds, num_threads=1), dtype=np.float64)


def _workers(jobs: int) -> int:
    return max(1, min(jobs, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as fault:
        raise UnreadableSource(f"lifetime: cannot read {path}: {fault.strerror}. Was the model saved there?") from fault
