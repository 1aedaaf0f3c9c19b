"""All tasks together: the models that earlier folds picked, fitted on everything known, saved, and asked for users."""

import json
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

import numpy as np
import polars as pl

from sojourn import __version__
from sojourn.core import Estimator, fingerprint, need_columns
from sojourn.evaluate import BootstrapSpec
from sojourn.lifetime._boost import Floats
from sojourn.lifetime._design import KEYS, labelled
from sojourn.lifetime._store import load_model, save_model
from sojourn.lifetime.compare import choose
from sojourn.lifetime.interval import SpendInterval, fit_interval, with_interval
from sojourn.lifetime.models import baselines_of, load_model_of, make_model, usable
from sojourn.lifetime.spec import ChurnSpec, LifetimeSpec, ValueSpec

INTERVAL, BASELINES = "interval", "baselines"


class Lifetime(Estimator):
    """What each user will spend in the days to come, how sure that is, and how likely the user is to slip away.

    Reads one table for all tasks: `user_id, as_of`, features, and the labels of every task, null where a label window
    had not ended. A task's model is the one named in `spec.models`, else the one that earlier folds pick (`choose`).
    Each is then fitted on the latest `train_as_ofs` dates with a known label.

    `predict` writes `user_id, as_of`, per horizon `ltv_<N>, ltv_<N>_low, ltv_<N>_high` (units of the value; the
    interval holds the truth for a share `level` of users; a longer horizon never holds less than a shorter one),
    `churn_prob_<N>`, and on every row `model_version` and `fingerprint`, which say by what it was predicted.

    Learned: `chosen_` (model by task), `models_`, `intervals_`, `baselines_` (the task's dumb models, for
    `evaluate_model`), `trained_on_` (as-of dates by task), `fingerprint_`.
    """

    chosen_: dict[str, str]
    models_: dict[str, Estimator]
    intervals_: dict[str, SpendInterval]
    baselines_: dict[str, dict[str, Estimator]]
    trained_on_: dict[str, tuple[date, ...]]
    fingerprint_: str

    def __init__(self, spec: LifetimeSpec | None = None) -> None:
        self.spec: LifetimeSpec = spec or LifetimeSpec()

    def fit(self, table: pl.DataFrame) -> Self:
        """Choose where no model is named, fit every task, learn the intervals; returns itself."""
        need_columns(table, [*KEYS, *(task.label for task in self.spec.tasks())], where="lifetime.Lifetime.fit")
        self.chosen_, self.models_, self.intervals_, self.baselines_, self.trained_on_ = {}, {}, {}, {}, {}
        for task in self.spec.tasks():
            self._fit_task(only_task(table, task), task)
        self.fingerprint_ = self._fingerprint()
        return self

    @property
    def known_until(self) -> date:
        """The first day of which nothing was seen: predictions from this day on are honest."""
        self.check_fitted("trained_on_")
        ends = (self.trained_on_[task.name][-1] + timedelta(days=task.horizon_days) for task in self.spec.tasks())
        return max(ends)

    def predict(self, table: pl.DataFrame) -> pl.DataFrame:
        """Every prediction for every row, in the order of the table; label columns are not read."""
        self.check_fitted("models_")
        features = table.drop(pl.selectors.starts_with("label_"))
        found = features.select(KEYS)
        for task in self.spec.tasks():
            predicted = self.models_[task.name].predict(features)
            if isinstance(task, ChurnSpec):
                found = found.with_columns(predicted[task.name].alias(churn_column(task)))
                continue
            both = with_interval(self.intervals_[task.name], features=features, predicted=predicted)
            found = found.with_columns(both.drop(KEYS))
        found = found.with_columns(rising(found, [task.name for task in self.spec.value_tasks()]))
        return found.with_columns(model_version=pl.lit(f"sojourn {__version__}"), fingerprint=pl.lit(self.fingerprint_))

    def columns(self) -> list[str]:
        """The columns that `predict` writes, in order.

        >>> Lifetime(LifetimeSpec(horizons_days=(30,))).columns()[2:6]
        ['ltv_30', 'ltv_30_low', 'ltv_30_high', 'churn_prob_30']
        """
        values = [
            name for task in self.spec.value_tasks() for name in (task.name, f"{task.name}_low", f"{task.name}_high")
        ]
        return [*KEYS, *values, churn_column(self.spec.churn_task()), "model_version", "fingerprint"]

    def save(self, path: Path) -> None:
        """Write `model.json`, and one folder a task, into the folder `path`."""
        self.check_fitted("models_")
        self._save_parts(path)
        learned = {
            "chosen": self.chosen_,
            "trained_on": {name: [day.isoformat() for day in days] for name, days in self.trained_on_.items()},
            "fingerprint": self.fingerprint_,
        }
        save_model(path, model=self, learned=learned)

    @classmethod
    def load(cls, path: Path) -> Self:
        """The models that `save` wrote. Raises `UnreadableSource`."""
        whole = load_model(path, model=cls)
        model, learned = cls(LifetimeSpec(**whole["spec"])), whole["learned"]
        model.chosen_ = dict(learned["chosen"])
        model.trained_on_ = {
            name: tuple(date.fromisoformat(day) for day in days) for name, days in learned["trained_on"].items()
        }
        model.fingerprint_ = learned["fingerprint"]
        model.models_ = {name: load_model_of(path / name) for name in model.chosen_}
        values = [task.name for task in model.spec.value_tasks()]
        model.intervals_ = {name: SpendInterval.load(path / name / INTERVAL) for name in values}
        model.baselines_ = {
            task.name: {name: load_model_of(path / task.name / BASELINES / name) for name in baselines_of(task)}
            for task in model.spec.tasks()
        }
        return model

    def _fit_task(self, table: pl.DataFrame, task: ValueSpec | ChurnSpec) -> None:
        named = self.spec.models.get(task.name)
        bootstrap = BootstrapSpec(replicates=self.spec.replicates)
        chosen = named or choose(table, spec=task, bootstrap=bootstrap).chosen
        known = labelled(table, spec=task, where="lifetime.Lifetime.fit")
        days = tuple(known["as_of"].unique().sort()[-task.train_as_ofs :])
        rows = known.filter(pl.col("as_of").is_in(days))
        self.trained_on_[task.name], self.chosen_[task.name] = days, chosen
        able = task.with_changes(models=usable(task, table=rows))
        self.models_[task.name] = make_model(chosen, spec=able).fit(rows)
        self.baselines_[task.name] = {name: make_model(name, spec=task).fit(rows) for name in baselines_of(task)}
        if isinstance(task, ValueSpec):
            self.intervals_[task.name] = fit_interval(self.models_[task.name], table=rows, level=self.spec.level)

    def _fingerprint(self) -> str:
        """Sixteen digits for the settings and for every byte that the models and intervals are saved as."""
        with TemporaryDirectory() as folder:
            saved = self._save_parts(Path(folder))
            texts = [part for path in saved for part in (path.name, path.read_text(encoding="utf-8"))]
        return fingerprint(self.spec.to_json(), json.dumps(self.chosen_), *texts)

    def _save_parts(self, path: Path) -> list[Path]:
        for name, model in self.models_.items():
            model.save(path / name)
        for name, interval in self.intervals_.items():
            interval.save(path / name / INTERVAL)
        for task, baselines in self.baselines_.items():
            for name, model in baselines.items():
                model.save(path / task / BASELINES / name)
        return sorted(found for found in path.rglob("*") if found.is_file())


def rising(table: pl.DataFrame, names: Sequence[str]) -> list[pl.Series]:
    """The predictions and ends of intervals of these horizons, shortest first, made to rise row by row.

    Models of different horizons know nothing of each other. Where a longer one says less, both take the mean, and so
    on until all rise (the nearest rising numbers: isotonic regression, by pooling adjacent violators).

    >>> table = pl.DataFrame({"ltv_30": [4.0, 1.0], "ltv_90": [2.0, 3.0]})
    >>> [column.to_list() for column in rising(table, ["ltv_30", "ltv_90"])]
    [[3.0, 1.0], [3.0, 3.0]]
    """
    found = []
    for end in ("", "_low", "_high"):
        columns = [f"{name}{end}" for name in names if f"{name}{end}" in table.columns]
        sums = np.cumsum(np.insert(table.select(columns).to_numpy(), 0, 0.0, axis=1), axis=1)
        pooled = [_pooled(sums, at) for at in range(len(columns))]
        found += [pl.Series(name, column) for name, column in zip(columns, pooled, strict=True)]
    return found


def _pooled(sums: Floats, at: int) -> Floats:
    """The place `at` of the nearest rising numbers: of the stretches around it, the largest smallest mean."""

    def mean(first: int, last: int) -> Floats:
        return np.asarray((sums[:, last + 1] - sums[:, first]) / (last + 1 - first))

    lasts = range(at, sums.shape[1] - 1)
    smallest = [np.min([mean(first, last) for last in lasts], axis=0) for first in range(at + 1)]
    return np.asarray(np.max(smallest, axis=0))


def churn_column(task: ChurnSpec) -> str:
    """The column of the churn probability: `churn_prob_<days>`."""
    return f"churn_prob_{task.horizon_days}"


def only_task(table: pl.DataFrame, task: ValueSpec | ChurnSpec) -> pl.DataFrame:
    """The table without the labels of other tasks: a feature must never be one of them."""
    return table.drop([name for name in table.columns if name.startswith("label_") and name != task.label])
