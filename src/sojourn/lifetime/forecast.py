"""All tasks together: the models that earlier folds picked, fitted on everything known, saved, and asked for users."""

import json
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

import polars as pl

from sojourn import __version__
from sojourn.core import Estimator, fingerprint, need_columns
from sojourn.evaluate import BootstrapSpec
from sojourn.lifetime._design import KEYS, labelled
from sojourn.lifetime._flows import flow_columns
from sojourn.lifetime._rising import rising
from sojourn.lifetime._store import load_model, save_model
from sojourn.lifetime.compare import choose
from sojourn.lifetime.extrapolation import (
    EXTRAPOLATED,
    GROWTH,
    Extrapolation,
    ExtrapolationSpec,
    bases_of,
    extrapolated_column,
)
from sojourn.lifetime.interval import SpendInterval, fit_interval, with_interval
from sojourn.lifetime.models import baselines_of, load_model_of, make_model, usable
from sojourn.lifetime.refunds import ApartValue, RefundForecast, gross_column, has_flows, reconciled, refunds_column
from sojourn.lifetime.spec import ChurnSpec, LifetimeSpec, ValueSpec

INTERVAL, BASELINES, REFUNDS = "interval", "baselines", "refunds"


class Lifetime(Estimator):
    """What each user will spend in the days to come, how sure that is, and how likely the user is to slip away.

    Reads one table for all tasks: `user_id, as_of`, features, and the labels of every task, null where a label window
    had not ended. A task's model is the one named in `spec.models`, else the one that earlier folds pick (`choose`).
    Each is then fitted on the latest `train_as_ofs` dates with a known label.

    `predict` writes `user_id, as_of`, per horizon `ltv_<N>, ltv_<N>_low, ltv_<N>_high` (units of the value; the
    interval holds the truth for a share `level` of users; a longer horizon never holds less than a shorter one),
    `churn_prob_<N>`, and on every row `model_version` and `fingerprint`, which say by what it was predicted.

    Where money flows back, `gross_<N>` and `refunds_<N>` follow each interval, and `ltv_<N>` is their difference: both
    rise over horizons, the difference may fall (`reconciled`). A horizon that history is too short for is what the
    longest learned one grows to (`Extrapolation`), marked by `ltv_<N>_extrapolated`: its error is not measured.

    Learned: `chosen_` (model by task), `models_`, `intervals_`, `refunds_` (by task; empty where nothing flows back),
    `extrapolations_` (by task), `baselines_` (the task's dumb models, for `evaluate_model`), `trained_on_` (as-of dates
    by task), `fingerprint_`.
    """

    chosen_: dict[str, str]
    models_: dict[str, Estimator]
    intervals_: dict[str, SpendInterval]
    refunds_: dict[str, RefundForecast]
    extrapolations_: dict[str, Extrapolation]
    baselines_: dict[str, dict[str, Estimator]]
    trained_on_: dict[str, tuple[date, ...]]
    fingerprint_: str

    def __init__(self, spec: LifetimeSpec | None = None) -> None:
        self.spec: LifetimeSpec = spec or LifetimeSpec()

    def fit(self, table: pl.DataFrame) -> Self:
        """Choose where no model is named, fit every task, learn the intervals; returns itself."""
        need_columns(table, [*KEYS, *(task.label for task in self.spec.tasks())], where="lifetime.Lifetime.fit")
        self.chosen_, self.models_, self.intervals_, self.baselines_, self.trained_on_ = {}, {}, {}, {}, {}
        self.refunds_, self.extrapolations_ = {}, {}
        bases = bases_of(table, spec=self.spec)
        for task in self.spec.tasks():
            if task.name in bases:
                self._extrapolate(table, task, bases[task.name])
            else:
                self._fit_task(only_task(table, task), task)
        self.fingerprint_ = self._fingerprint()
        return self

    @property
    def known_until(self) -> date:
        """The first day of which nothing was seen: predictions from this day on are honest."""
        self.check_fitted("trained_on_")
        learned = (task for task in self.spec.tasks() if task.name in self.models_)
        return max(self.trained_on_[task.name][-1] + timedelta(days=task.horizon_days) for task in learned)

    def predict(self, table: pl.DataFrame) -> pl.DataFrame:
        """Every prediction for every row, in the order of the table; label columns are not read."""
        self.check_fitted("models_")
        features = table.drop(pl.selectors.starts_with("label_"))
        found = features.select(KEYS)
        for task in self.spec.tasks():
            if task.name in self.extrapolations_:
                found = found.with_columns(self._grown(task.name, found, features))
                continue
            predicted = self.models_[task.name].predict(features)
            if isinstance(task, ChurnSpec):
                found = found.with_columns(predicted[task.name].alias(churn_column(task)))
                continue
            both = with_interval(self.intervals_[task.name], features=features, predicted=predicted)
            found = found.with_columns(both.drop(KEYS))
            if self.refunds_:
                found = found.with_columns(self._parts(task, features, predicted).drop(KEYS))
        if self.refunds_:
            found = reconciled(found, tasks=self.spec.value_tasks(), features=features)
        else:
            found = found.with_columns(rising(found, [task.name for task in self.spec.value_tasks()]))
        return found.with_columns(model_version=pl.lit(f"sojourn {__version__}"), fingerprint=pl.lit(self.fingerprint_))

    def _parts(self, task: ValueSpec, features: pl.DataFrame, predicted: pl.DataFrame) -> pl.DataFrame:
        """What is paid and what flows back; by a model of the difference, it and the refunds are what is paid."""
        model = self.models_[task.name]
        if isinstance(model, ApartValue):
            return model.parts(features)
        back = self.refunds_[task.name].predict(features)
        paid = (predicted[task.name] + back[refunds_column(task)]).clip(lower_bound=0.0)
        return back.select(*KEYS, paid.alias(gross_column(task)), refunds_column(task))

    def _grown(self, name: str, found: pl.DataFrame, features: pl.DataFrame) -> list[pl.Series | pl.Expr]:
        """All columns of the base's horizon grown to a longer one, and the mark."""
        extrapolation = self.extrapolations_[name]
        base, task = (
            next(task for task in self.spec.value_tasks() if task.horizon_days == days)
            for days in (extrapolation.spec.base_days, extrapolation.spec.horizon_days)
        )
        growth = extrapolation.predict(features)[GROWTH]
        pairs = zip(self._value_columns(base), self._value_columns(task), strict=False)
        grown: list[pl.Series | pl.Expr] = [(found[old] * growth).alias(new) for old, new in pairs]
        return [*grown, pl.lit(value=True).alias(extrapolated_column(task))]

    def _value_columns(self, task: ValueSpec) -> list[str]:
        parts = (gross_column(task), refunds_column(task)) if vars(self).get("refunds_") else ()
        marks = [extrapolated_column(task)] if task.name in vars(self).get("extrapolations_", {}) else []
        return [task.name, f"{task.name}_low", f"{task.name}_high", *parts, *marks]

    def flow_columns(self) -> list[str]:
        """What `predict` reads beside the plain features: windows of what was paid and refunded, where it learned."""
        return flow_columns(self.spec.value) if vars(self).get("refunds_") else []

    def columns(self) -> list[str]:
        """The columns that `predict` writes, in order.

        >>> Lifetime(LifetimeSpec(horizons_days=(30,))).columns()[2:6]
        ['ltv_30', 'ltv_30_low', 'ltv_30_high', 'churn_prob_30']
        """
        values = [name for task in self.spec.value_tasks() for name in self._value_columns(task)]
        return [*KEYS, *values, churn_column(self.spec.churn_task()), "model_version", "fingerprint"]

    def save(self, path: Path) -> None:
        """Write `model.json`, and one folder a task, into the folder `path`."""
        self.check_fitted("models_")
        self._save_parts(path)
        learned = {
            "chosen": self.chosen_,
            "trained_on": {name: [day.isoformat() for day in days] for name, days in self.trained_on_.items()},
            "fingerprint": self.fingerprint_,
            "refunds": bool(self.refunds_),
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
        learned_tasks = [task for task in model.spec.tasks() if model.chosen_[task.name] != EXTRAPOLATED]
        model.models_ = {task.name: load_model_of(path / task.name) for task in learned_tasks}
        model.extrapolations_ = {
            name: Extrapolation.load(path / name) for name, chosen in model.chosen_.items() if chosen == EXTRAPOLATED
        }
        values = [task.name for task in learned_tasks if isinstance(task, ValueSpec)]
        model.intervals_ = {name: SpendInterval.load(path / name / INTERVAL) for name in values}
        # Models saved before refunds were forecast say nothing of them.
        kept = values if learned.get("refunds") else []
        model.refunds_ = {name: RefundForecast.load(path / name / REFUNDS) for name in kept}
        model.baselines_ = {
            task.name: {name: load_model_of(path / task.name / BASELINES / name) for name in baselines_of(task)}
            for task in learned_tasks
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
            if self.spec.refunds == "apart" and has_flows(table, spec=task):
                self.refunds_[task.name] = RefundForecast(task).fit(rows)
            self.intervals_[task.name] = fit_interval(self.models_[task.name], table=rows, level=self.spec.level)

    def _extrapolate(self, table: pl.DataFrame, task: ValueSpec | ChurnSpec, base: ValueSpec) -> None:
        spec = ExtrapolationSpec(base_days=base.horizon_days, horizon_days=task.horizon_days, value=self.spec.value)
        self.extrapolations_[task.name], self.chosen_[task.name] = Extrapolation(spec).fit(table), EXTRAPOLATED
        self.trained_on_[task.name] = self.trained_on_[base.name]

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
        for name, extrapolation in self.extrapolations_.items():
            extrapolation.save(path / name)
        for name, refunds in self.refunds_.items():
            refunds.save(path / name / REFUNDS)
        for task, baselines in self.baselines_.items():
            for name, model in baselines.items():
                model.save(path / task / BASELINES / name)
        return sorted(found for found in path.rglob("*") if found.is_file())


def churn_column(task: ChurnSpec) -> str:
    """The column of the churn probability: `churn_prob_<days>`."""
    return f"churn_prob_{task.horizon_days}"


def only_task(table: pl.DataFrame, task: ValueSpec | ChurnSpec) -> pl.DataFrame:
    """The table without the labels of other tasks: a feature must never be one of them."""
    own = {task.label} if isinstance(task, ChurnSpec) else {task.label, task.gross.label, task.refunded.label}
    return table.drop([name for name in table.columns if name.startswith("label_") and name not in own])
