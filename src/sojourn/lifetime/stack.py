"""Several value models in one: their mean, weighted as suits users that none of them has seen."""

from collections.abc import Mapping
from math import log
from pathlib import Path
from typing import Self

import numpy as np
import polars as pl
from pydantic import Field

from sojourn.core import BadInput, Estimator
from sojourn.evaluate import value_metrics
from sojourn.lifetime._boost import Floats
from sojourn.lifetime._design import KEYS
from sojourn.lifetime._learning import keyed
from sojourn.lifetime._members import fit_members, in_a_sentence, load_member
from sojourn.lifetime._store import load_model, save_model
from sojourn.lifetime.spec import ValueSpec

MOST_ROWS = 20_000
SMALLEST = 1e-9


class StackSpec(ValueSpec):
    """A `ValueSpec` whose other `models` are the members; weights are whole multiples of 1/`rounds` at the finest."""

    rounds: int = Field(default=12, ge=1, le=100)

    @property
    def members(self) -> tuple[str, ...]:
        """The models that may take part."""
        return tuple(name for name in self.models if name != "stack")


class Stack(Estimator):
    """A weighted mean of the task's other models (stacked generalisation: Wolpert, Neural Networks 5, 1992).

    The weights are chosen on each member's held-out predictions, of users that it had not learned from, by forward
    selection with replacement (Caruana et al., ICML 2004): begin with the best member, add again and again the one that
    makes the mean better, and keep the best mean met on the way. Better is what `choose` goes by, see `left_undone`.
    So the stack is a single model where no mixture helps. A member that cannot be fitted takes no part.

    Reads what its members read; writes `user_id, as_of` and the column `spec.name`. Learned: `weights_` (by member,
    those above 0, which add up to 1), `members_`, `failed_` (why, by member that did not finish), `held_out_` (after
    `fit` only, not saved): as in `SingleStage`.
    """

    weights_: dict[str, float]
    failed_: dict[str, str]
    members_: dict[str, Estimator]
    held_out_: pl.DataFrame

    def __init__(self, spec: StackSpec | None = None) -> None:
        self.spec: StackSpec = spec or StackSpec()

    def fit(self, table: pl.DataFrame) -> Self:
        """Fit every member, then weigh them; returns itself. Raises what the first does where none can be fitted."""
        members, failed = fit_members(self.spec.members, spec=self.spec, table=table)
        if failed and not members:
            raise next(iter(failed.values()))
        self.weigh(members)
        self.failed_ = {name: in_a_sentence(fault) for name, fault in failed.items()}
        return self

    def weigh(self, members: Mapping[str, Estimator]) -> Self:
        """Weigh members just fitted on one table; returns itself. Raises `BadInput` when there is none."""
        if not members:
            raise BadInput("lifetime.Stack has no member to weigh. Name at least one other model: models = ['mean']")
        held: dict[str, pl.DataFrame] = {name: vars(model)["held_out_"] for name, model in members.items()}
        keys = next(iter(held.values())).select(*KEYS, "truth")
        table = keys.with_columns(
            keys.select(KEYS).join(each, on=KEYS, how="left", maintain_order="left")[self.spec.name].alias(name)
            for name, each in held.items()
        )
        self.weights_ = _weights(table, names=tuple(members), rounds=self.spec.rounds)
        self.members_ = {name: members[name] for name in self.weights_}
        self.failed_ = {}
        mean = self._mean({name: table[name] for name in self.weights_})
        self.held_out_ = keys.with_columns(pl.Series(self.spec.name, mean))
        return self

    def predict(self, table: pl.DataFrame) -> pl.DataFrame:
        """`user_id, as_of` and the spend expected, in the order of the table."""
        self.check_fitted("members_")
        said = {name: model.predict(table)[self.spec.name] for name, model in self.members_.items()}
        return keyed(table, self._mean(said), name=self.spec.name)

    def save(self, path: Path) -> None:
        """Write `model.json`, and one folder a member, into the folder `path`."""
        self.check_fitted("members_")
        for name, model in self.members_.items():
            model.save(path / name)
        save_model(path, model=self, learned={"weights": self.weights_, "failed": self.failed_})

    @classmethod
    def load(cls, path: Path) -> Self:
        """The model that `save` wrote. Raises `UnreadableSource`."""
        whole = load_model(path, model=cls)
        model = cls(StackSpec(**whole["spec"]))
        model.weights_ = dict(whole["learned"]["weights"])
        model.failed_ = dict(whole["learned"].get("failed", {}))
        model.members_ = {name: load_member(path / name) for name in model.weights_}
        return model

    def _mean(self, said: Mapping[str, pl.Series]) -> Floats:
        total = sum(weight * said[name].to_numpy() for name, weight in self.weights_.items())
        return np.asarray(total, dtype=np.float64)


def left_undone(*, error: float | None, ranking: float | None, bias: float) -> tuple[float, float, float]:
    """What a model leaves undone, as logarithms to be averaged: its error, what its ranking lacks, how far totals are
    off. Ten per cent more of any part counts the same, whatever the currency.
    """
    lacking = 1 - (0.0 if ranking is None or ranking != ranking else ranking)
    error, lacking, off = (log(max(part, SMALLEST)) for part in (error or 0.0, lacking, 1 + abs(bias)))
    return error, lacking, off


def _weights(table: pl.DataFrame, *, names: tuple[str, ...], rounds: int) -> dict[str, float]:
    """The weights by name, largest first; rows beyond `MOST_ROWS` are thinned out evenly."""
    rows = table.sort(KEYS).gather_every(max(1, -(-table.height // MOST_ROWS)))
    truth = rows["truth"].to_numpy()
    said = {name: rows[name].to_numpy() for name in names}
    picked: list[str] = []
    total, best, kept = np.zeros(len(truth)), np.inf, 1
    for round_ in range(1, rounds + 1):
        losses = {name: _loss(truth, (total + said[name]) / round_) for name in names}
        name = min(names, key=losses.__getitem__)
        picked.append(name)
        total = total + said[name]
        if losses[name] < best:
            best, kept = losses[name], round_
    counts = {name: picked[:kept].count(name) for name in names}
    taken = sorted((name for name in names if counts[name]), key=lambda name: -counts[name])
    return {name: counts[name] / kept for name in taken}


def _loss(truth: Floats, spend: Floats) -> float:
    figures = value_metrics(truth, spend)
    bias = figures["bias"]
    return sum(left_undone(error=figures["mae"], ranking=figures["gini"], bias=0.0 if bias != bias else bias))
