"""The chance to be active on each coming day, by a network that reads what a user did, in order."""

from pathlib import Path
from typing import Any, Self

import numpy as np
import polars as pl

from sojourn.core import Estimator
from sojourn.evaluate import Recalibration, RecalibrationSpec
from sojourn.lifetime._boost import user_groups
from sojourn.lifetime._design import KEYS
from sojourn.lifetime._learning import need_users
from sojourn.lifetime._sequence_input import Inputs, Reader
from sojourn.lifetime._store import load_model, save_model
from sojourn.lifetime.retention._days import Floats, matrix_of
from sojourn.lifetime.retention._rows import Ints, in_order, same_weekdays, sampled_days, without_days
from sojourn.lifetime.retention._said import need_both, said
from sojourn.lifetime.retention.activity import AHEAD, BEFORE
from sojourn.lifetime.retention.spec import ActivitySpec
from sojourn.lifetime.spec import NetworkSpec

SCORE = "score"
HALF_LIFE_DAYS = 12
WEEK = 7


class DailyNetworkSpec(ActivitySpec, NetworkSpec):
    """An `ActivitySpec` with the network's settings. Of `boost` the groups and the seed count."""


class DailyNetwork(Estimator):
    """The calibrated probability to be active on each of the days from `as_of` on, as `DailyTrees` gives it.

    Two GRUs read the user's last events and days, beside the features and the active days before `as_of` one by one.
    The head has a number for each day ahead and one for each weekday; they are added to the log-odds of the user's own
    share of active days, of late and on the same weekday, so that a network that learned nothing says that share. All
    known days ahead are learned at once. One network per group of users (`boost.groups`), each stopped on the group it
    leaves out; their mean log-odds are calibrated against what users did that the network had not seen.

    Reads a table of `activity_table` with the columns of `features.sequence_table`. Predicts `user_id, as_of,
    active_prob, expected_days`. Learned: `reader_`, `share_` (of active days), `nets_`, `calibration_`, and `held_out_`
    (after `fit` only, not saved) as in `DailyTrees`. Needs the extra `torch`.
    """

    reader_: Reader
    share_: float
    nets_: list[Any]
    calibration_: Recalibration
    held_out_: pl.DataFrame

    label = AHEAD

    def __init__(self, spec: DailyNetworkSpec | None = None) -> None:
        self.spec: DailyNetworkSpec = spec or DailyNetworkSpec()

    def fit(self, table: pl.DataFrame) -> Self:
        """Learn from rows of `activity_table` with sequences; days that are not known are left out."""
        from sojourn.lifetime import _sequence_net as network

        where = "lifetime.DailyNetwork.fit"
        known = in_order(table, needed=self.label, where=where)
        need_users(known, where=where)
        truth = matrix_of(known[self.label])
        row, day = sampled_days(truth, days_per_row=self.spec.days_per_row, seed=self.spec.boost.seed)
        need_both(truth[row, day], label=self.label, where=where)
        self.share_ = float(np.nanmean(truth))
        plain = _with_days(known)
        self.reader_ = Reader.learn(plain, spec=self.spec, events=self.spec.events, where=where)  # type: ignore[arg-type]
        start = self._start(known)
        lessons = network.Lessons(self.reader_.read(plain, where=where), truth, start)
        group = user_groups(known["user_id"], boost=self.spec.boost)
        how = network.Training(self._shape(network), network.daily_loss, self.spec, self.spec.boost.seed)
        self.nets_ = network.train_each(lessons, group=group, how=how)
        odds = np.zeros(truth.shape)
        for left_out, net in enumerate(self.nets_):
            mine = np.flatnonzero(group == left_out)
            odds[mine] = self._odds([net], lessons.inputs.take(mine), start[mine])
        self._calibrate(known, truth, row, day, odds)
        return self

    def predict(self, table: pl.DataFrame) -> pl.DataFrame:
        """`user_id, as_of`, the probability on each day ahead and their sum, in the order of the table."""
        self.check_fitted("calibration_")
        inputs = self.reader_.read(_with_days(table), where="lifetime.DailyNetwork.predict")
        score = _chance(self._odds(self.nets_, inputs, self._start(table)))
        users = table["user_id"].gather(np.repeat(np.arange(table.height), self.spec.horizon_days))
        lines = pl.DataFrame({"user_id": users, SCORE: score.reshape(-1)})
        return said(table, self.calibration_.predict(lines)["prob"].to_numpy().reshape(score.shape))

    def save(self, path: Path) -> None:
        """Write `model.json`, `net_<group>.safetensors` and the folder `calibration` into the folder `path`."""
        from sojourn.lifetime import _sequence_net as network

        self.check_fitted("calibration_")
        network.save_nets(self.nets_, path)
        self.calibration_.save(path / "calibration")
        save_model(path, model=self, learned={"reader": self.reader_.to_dict(), "share": self.share_})

    @classmethod
    def load(cls, path: Path) -> Self:
        """The model that `save` wrote. Raises `UnreadableSource`."""
        from sojourn.lifetime import _sequence_net as network

        whole = load_model(path, model=cls)
        model, learned = cls(DailyNetworkSpec(**whole["spec"])), whole["learned"]
        model.reader_, model.share_ = Reader.from_dict(learned["reader"]), learned["share"]
        groups = model.spec.boost.groups
        model.nets_ = network.load_nets(
            path, shape=model._shape(network), groups=groups, where="lifetime.DailyNetwork.load"
        )
        model.calibration_ = Recalibration.load(path / "calibration")
        return model

    def _odds(self, nets: list[Any], inputs: Inputs, start: Floats) -> Floats:
        """The mean log-odds of these networks (rows, days)."""
        from sojourn.lifetime import _sequence_net as network

        begin = network.torch.from_numpy(start)
        parts = [
            network.daily_odds(network.torch.from_numpy(network.outputs(net, inputs)), begin).numpy() for net in nets
        ]
        return np.asarray(np.mean(parts, axis=0))

    def _start(self, table: pl.DataFrame) -> Floats:
        """The log-odds of the user's own share for each day ahead, then the weekday of the first (rows, days + 1)."""
        before, days = matrix_of(table[BEFORE]), self.spec.horizon_days
        seen = np.isfinite(before)
        weights = np.where(seen, 0.5 ** (np.arange(before.shape[1]) / HALF_LIFE_DAYS), 0.0)
        lately, weight = (weights * np.nan_to_num(before)).sum(axis=1), weights.sum(axis=1)
        start = np.empty((table.height, days + 1))
        for ahead in range(days):
            same = same_weekdays(before, row=np.arange(table.height), day=np.full(table.height, ahead))
            held = lately + np.nansum(same, axis=1) + self.share_
            share = held / (weight + np.isfinite(same).sum(axis=1) + 1)
            start[:, ahead] = np.log(share) - np.log1p(-share)
        start[:, days] = table["as_of"].dt.weekday().to_numpy() - 1
        return start

    def _calibrate(self, known: pl.DataFrame, truth: Floats, row: Ints, day: Ints, odds: Floats) -> None:
        held = known[row].select(KEYS)
        held = held.with_columns(
            day_ahead=pl.Series(day), truth=truth[row, day], score=pl.Series(_chance(odds[row, day]))
        )
        recalibration = RecalibrationSpec(score=SCORE, truth="truth", method="beta", output="prob")
        self.calibration_ = Recalibration(recalibration).fit(held)
        self.held_out_ = held.drop(SCORE).with_columns(self.calibration_.predict(held)["prob"])

    def _shape(self, network: Any) -> Any:
        outputs = self.spec.horizon_days + WEEK
        return network.Shape(self.reader_.width, self.spec.width, outputs, self.spec.dropout)


def _with_days(table: pl.DataFrame) -> pl.DataFrame:
    """The table without its lists of days, and each day before as a column of its own: what a `Reader` reads."""
    before = matrix_of(table[BEFORE])
    columns = [pl.Series(f"active_{back + 1}d_ago", before[:, back]) for back in range(before.shape[1])]
    return without_days(table).with_columns(columns)


def _chance(odds: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-np.clip(odds, -50, 50))))
