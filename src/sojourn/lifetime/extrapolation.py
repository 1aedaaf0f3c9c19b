"""Horizons longer than the log can teach: a purchase process says how a forecast that was learned grows further."""

from math import isfinite
from pathlib import Path
from typing import Self, get_args

import numpy as np
import polars as pl

from sojourn.core import BadInput, Estimator, Spec, need_columns
from sojourn.lifetime._boost import Floats
from sojourn.lifetime._design import KEYS
from sojourn.lifetime._learning import keyed
from sojourn.lifetime._store import load_model, save_model
from sojourn.lifetime.compare import split_of
from sojourn.lifetime.models import tells_of_buyers
from sojourn.lifetime.process_value import columns_read, rfm_of
from sojourn.lifetime.purchase_process import ProcessModel, ProcessSpec, PurchaseProcess
from sojourn.lifetime.spec import Days, LifetimeSpec, ValueSpec

EXTRAPOLATED = "extrapolated"
GROWTH = "growth"


class ExtrapolationSpec(Spec):
    """From which horizon to which other, and of which value.

    >>> ExtrapolationSpec(base_days=90, horizon_days=365).most
    4.055555555555555
    """

    base_days: Days = 90
    horizon_days: Days = 365
    value: str = "spend"

    @property
    def most(self) -> float:
        """The most that a forecast can grow: nobody drops out."""
        return self.horizon_days / self.base_days


class Extrapolation(Estimator):
    """By what a forecast of `base_days` grows until `horizon_days`: purchases expected in both, one over the other.

    Of the three purchase processes the one with the highest likelihood is taken (they have equally many parameters).
    As customers only ever drop out, what they buy in equal spans falls: the growth lies between 1 and the ratio of the
    horizons, whatever was fitted. A user who has not bought grows like one who just bought for the first time.

    Reads `purchase_days_all, purchase_tenure_days, purchase_recency_days, <value>_all, tenure_days`, the latest row of
    each user; no label. Writes `user_id, as_of` and `growth`. Learned: `process_`, `newcomer_`.
    """

    process_: PurchaseProcess
    newcomer_: float

    def __init__(self, spec: ExtrapolationSpec | None = None) -> None:
        self.spec: ExtrapolationSpec = spec or ExtrapolationSpec()

    def fit(self, table: pl.DataFrame) -> Self:
        """Fit the processes and keep the likeliest. Raises `BadInput` where too few users bought."""
        where = "lifetime.Extrapolation.fit"
        need_columns(table, [*KEYS, *columns_read(self.spec.value)], where=where)
        if not tells_of_buyers(table, value=self.spec.value):
            raise BadInput(
                f"{where}: too few users bought, or bought again, to extrapolate {self.spec.base_days} days to "
                f"{self.spec.horizon_days}. Take a shorter horizon, or bring more users or a longer log."
            )
        latest = table.sort("as_of", "user_id").group_by("user_id", maintain_order=True).last()
        bought = rfm_of(latest, value=self.spec.value, where=where).table
        models: tuple[ProcessModel, ...] = get_args(ProcessModel)
        fits = [PurchaseProcess(self._process(name)).fit(bought) for name in models]
        usable = [fit for fit in fits if isfinite(fit.log_likelihood_)]
        if not usable:
            raise BadInput(
                f"{where}: no purchase process could be fitted to when users bought. Take a shorter horizon."
            )
        self.process_ = max(usable, key=lambda fit: fit.log_likelihood_)
        first = pl.DataFrame({"user_id": ["new"], "frequency": [0], "recency_days": [0], "age_days": [0]})
        self.newcomer_ = float(self._growth(first)[0])
        return self

    def predict(self, table: pl.DataFrame) -> pl.DataFrame:
        """`user_id, as_of` and by what the forecast grows, in the order of the table."""
        self.check_fitted("process_")
        bought = rfm_of(table, value=self.spec.value, where="lifetime.Extrapolation.predict")
        growth = np.full(table.height, self.newcomer_)
        if not bought.table.is_empty():
            growth[bought.rows] = self._growth(bought.table)
        return keyed(table, growth, name=GROWTH)

    def save(self, path: Path) -> None:
        """Write `model.json` and the folder `process` into the folder `path`."""
        self.check_fitted("process_")
        self.process_.save(path / "process")
        save_model(path, model=self, learned={"newcomer": self.newcomer_})

    @classmethod
    def load(cls, path: Path) -> Self:
        """The model that `save` wrote. Raises `UnreadableSource`."""
        whole = load_model(path, model=cls)
        model = cls(ExtrapolationSpec(**whole["spec"]))
        model.process_, model.newcomer_ = PurchaseProcess.load(path / "process"), whole["learned"]["newcomer"]
        return model

    def _process(self, name: ProcessModel) -> ProcessSpec:
        return ProcessSpec(model=name, horizon_days=self.spec.base_days)

    def _growth(self, bought: pl.DataFrame) -> Floats:
        base, whole = (
            self.process_.expect(bought, horizon_days=days)[f"purchases_{days}"].to_numpy()
            for days in (self.spec.base_days, self.spec.horizon_days)
        )
        strange = ~(np.isfinite(base) & np.isfinite(whole))
        if strange.any():
            raise BadInput(
                f"lifetime.Extrapolation: the purchase process {self.process_.spec.model!r} has no finite forecast for "
                f"{strange.sum():,} of {len(base):,} users, {bought['user_id'][int(strange.argmax())]!r} the first. "
                "Look at when they bought, or take a shorter horizon."
            )
        ratio = np.divide(whole, base, out=np.ones_like(base), where=base > 0)
        return np.asarray(np.clip(ratio, 1.0, self.spec.most))


def bases_of(table: pl.DataFrame, *, spec: LifetimeSpec) -> dict[str, ValueSpec]:
    """The value tasks that the table's history is too short to choose a model for, each with the task to start from.

    That is the longest one that can be learned. A task with a named model is learned, whatever the folds say, and so is
    every task by `long_horizons = "refuse"`; where none can be learned, none is extrapolated.
    """
    tasks = spec.value_tasks()
    learned = [task for task in tasks if task.name in spec.models or _has_folds(table, task)]
    if not learned or spec.long_horizons == "refuse":
        return {}
    base = learned[-1]
    return {task.name: base for task in tasks if task not in learned and task.horizon_days > base.horizon_days}


def extrapolated_column(task: ValueSpec) -> str:
    """The column that marks an extrapolated horizon: `ltv_<days>_extrapolated`."""
    return f"{task.name}_{EXTRAPOLATED}"


def _has_folds(table: pl.DataFrame, task: ValueSpec) -> bool:
    known = table.filter(pl.col(task.label).is_not_null())
    if known.is_empty():
        return False
    try:
        split_of(known["as_of"].unique().to_list(), spec=task)
    except BadInput:
        return False
    return True
