"""Spend by a network that reads what a user did, event by event and day by day: for several horizons, never falling."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sojourn.core import BadInput, Estimator, need_columns
from sojourn.lifetime._boost import Floats, user_groups
from sojourn.lifetime._design import KEYS, PACE_FLOOR_SHARE, Pace
from sojourn.lifetime._learning import need_spend, need_spenders, need_users
from sojourn.lifetime._sequence_input import Reader
from sojourn.lifetime._store import load_model, save_model
from sojourn.lifetime.spec import Days, NetworkSpec, ValueSpec

LONGEST_LOG = 20.0


class SequenceValueSpec(ValueSpec, NetworkSpec):
    """A `ValueSpec` with the network's settings.

    `horizons_days` are predicted together, each no less than the one before; empty: `horizon_days` alone. Of `boost`
    the groups and the seed count.
    """

    horizons_days: tuple[Days, ...] = ()

    @property
    def horizons(self) -> tuple[int, ...]:
        """The horizons, shortest first."""
        return tuple(sorted(set(self.horizons_days))) or (self.horizon_days,)

    def names(self) -> list[str]:
        """The columns of predictions: `ltv_<N>`."""
        return [f"ltv_{days}" for days in self.horizons]

    def labels(self) -> list[str]:
        """The columns of what was spent."""
        return [f"label_{self.value}_{days}d" for days in self.horizons]


class SequenceValue(Estimator):
    """Expected spend over each horizon: a recurrent network with a zero-inflated log-normal head (Wang et al. 2019).

    For each span between two horizons the head says how likely any spend is, and the mean and the spread of its
    logarithm, starting from the user's pace (`Pace`). The spans' means are never negative, so a longer horizon never
    holds less than a shorter one. Departures from the paper: events and days are read in order by two GRUs; the pace
    is where the logarithm starts; spreads are bounded; each span's mean is multiplied by `scale_`, so that held-out
    totals come out right.

    Reads the feature columns, those of `features.sequence_table`, and the labels of all horizons (null: the window had
    not ended; a span is learned from where both its ends are known). Writes `user_id, as_of` and `ltv_<N>` per horizon.
    One network per group of users (`boost.groups`), each stopped on the group it leaves out; their mean predicts.

    Learned: `reader_`, `pace_`, `floor_`, `nets_`, `scale_`, and `held_out_` (after `fit` only, not saved): the rows
    whose longest label is known, with `truth` (of the longest horizon) and every prediction by the network that has not
    seen the user. Needs the extra `torch`.
    """

    reader_: Reader
    pace_: Pace
    floor_: float
    nets_: list[Any]
    scale_: Floats
    held_out_: pl.DataFrame

    def __init__(self, spec: SequenceValueSpec | None = None) -> None:
        self.spec: SequenceValueSpec = spec or SequenceValueSpec()

    def fit(self, table: pl.DataFrame) -> Self:
        """Learn from rows with a known label of the shortest horizon."""
        from sojourn.lifetime import _sequence_net as network

        where = "lifetime.SequenceValue.fit"
        known = self._known(table, where)
        self.reader_ = Reader.learn(known, spec=self.spec, events=self.spec.events, where=where)
        self.pace_ = Pace.learn(known, spec=self.spec.with_changes(horizon_days=1), where=where)
        target = self._spans(known)
        pace = self.pace_.of(known)
        self.floor_ = PACE_FLOOR_SHARE * float(
            max(pace.mean(), np.nanmean(target.sum(axis=1)) / self.spec.horizons[-1])
        )
        lessons = network.Lessons(self.reader_.read(known, where=where), target, self._start(known))
        group = user_groups(known["user_id"], boost=self.spec.boost)
        how = network.Training(self._shape(network), network.ziln_loss, self.spec, self.spec.boost.seed)
        self.nets_ = network.train_each(lessons, group=group, how=how)
        self._scale(lessons, group, known)
        return self

    def predict(self, table: pl.DataFrame) -> pl.DataFrame:
        """`user_id, as_of` and `ltv_<N>` of each horizon, in the order of the table."""
        self.check_fitted("nets_")
        inputs = self.reader_.read(table, where="lifetime.SequenceValue.predict")
        means = np.mean([self._means(net, inputs, self._start(table)) for net in self.nets_], axis=0)
        return table.select(KEYS).with_columns(self._columns(means * self.scale_))

    def save(self, path: Path) -> None:
        """Write `model.json` and `net_<group>.safetensors` into the folder `path`."""
        from sojourn.lifetime import _sequence_net as network

        self.check_fitted("nets_")
        network.save_nets(self.nets_, path)
        learned = {
            "reader": self.reader_.to_dict(),
            "pace": self.pace_.to_dict(),
            "floor": self.floor_,
            "scale": self.scale_.tolist(),
        }
        save_model(path, model=self, learned=learned)

    @classmethod
    def load(cls, path: Path) -> Self:
        """The model that `save` wrote. Raises `UnreadableSource`."""
        from sojourn.lifetime import _sequence_net as network

        whole = load_model(path, model=cls)
        model, learned = cls(SequenceValueSpec(**whole["spec"])), whole["learned"]
        model.reader_ = Reader.from_dict(learned["reader"])
        model.pace_ = Pace.from_dict(learned["pace"])
        model.floor_, model.scale_ = learned["floor"], np.array(learned["scale"])
        groups = model.spec.boost.groups
        model.nets_ = network.load_nets(
            path, shape=model._shape(network), groups=groups, where="lifetime.SequenceValue.load"
        )
        return model

    def _known(self, table: pl.DataFrame, where: str) -> pl.DataFrame:
        first, longest = self.spec.labels()[0], self.spec.with_changes(horizon_days=self.spec.horizons[-1])
        need_columns(table, [*KEYS, *self.spec.labels()], where=where)
        known = table.filter(pl.col(first).is_not_null()).sort("as_of", "user_id")
        if known[longest.label].null_count() == known.height:
            raise BadInput(
                f"{where}: {longest.label!r} is empty in all rows: no label window of {longest.horizon_days} days had "
                "ended when the data ends. Use shorter horizons, earlier as-of dates, or a longer log."
            )
        need_users(known, where=where)
        need_spend(known, spec=longest, where=where)
        need_spenders(known, spec=longest, where=where)
        return known

    def _spans(self, table: pl.DataFrame) -> Floats:
        """What was spent between one horizon and the next (rows, horizons); NaN where that is not known."""
        sums = table.select(pl.col(self.spec.labels()).cast(pl.Float64)).to_numpy()
        return np.asarray(np.maximum(np.diff(sums, axis=1, prepend=0.0), 0.0))

    def _start(self, table: pl.DataFrame) -> Floats:
        """The logarithm of what each span would bring by going on as before (rows, horizons)."""
        days = np.diff(self.spec.horizons, prepend=0)
        return np.asarray(np.log(np.outer(self.pace_.of(table) + self.floor_, days)))

    def _means(self, net: Any, inputs: Any, start: Floats) -> Floats:
        """The expected spend of each span (rows, horizons)."""
        from sojourn.lifetime import _sequence_net as network

        odds, middle, spread = np.split(network.outputs(net, inputs), 3, axis=1)
        sigma = network.spread_of(network.torch.from_numpy(spread)).numpy()
        logs = np.clip(start + middle + sigma**2 / 2, -LONGEST_LOG, LONGEST_LOG)
        return np.asarray(np.exp(logs) / (1 + np.exp(-np.clip(odds, -50, 50))))

    def _scale(self, lessons: Any, group: NDArray[np.int64], known: pl.DataFrame) -> None:
        means = np.zeros_like(lessons.target)
        for left_out, net in enumerate(self.nets_):
            mine = np.flatnonzero(group == left_out)
            means[mine] = self._means(net, lessons.inputs.take(mine), lessons.start[mine])
        there = ~np.isnan(lessons.target)
        told, came = np.where(there, means, 0).sum(axis=0), np.nansum(lessons.target, axis=0)
        self.scale_ = np.where((told > 0) & (came > 0), came / np.where(told > 0, told, 1.0), 1.0)
        longest = self.spec.labels()[-1]
        rows = known.select(KEYS).with_columns(
            pl.Series("truth", known[longest].cast(pl.Float64)), *self._columns(means * self.scale_)
        )
        self.held_out_ = rows.drop_nulls("truth")

    def _columns(self, means: Floats) -> Sequence[pl.Series]:
        sums = np.cumsum(means, axis=1)
        return [pl.Series(name, sums[:, at]) for at, name in enumerate(self.spec.names())]

    def _shape(self, network: Any) -> Any:
        outputs = 3 * len(self.spec.horizons)
        return network.Shape(self.reader_.width, self.spec.width, outputs, self.spec.dropout)
