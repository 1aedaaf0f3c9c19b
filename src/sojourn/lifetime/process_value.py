"""Spend by a purchase process times the value of a purchase: no labels needed, so any horizon will do."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import polars as pl

from sojourn.core import BadInput, Estimator, need_columns
from sojourn.lifetime._boost import Floats, user_groups
from sojourn.lifetime._design import KEYS, labelled
from sojourn.lifetime._learning import keyed, need_spend, need_users
from sojourn.lifetime._outliers import held_in, most_of
from sojourn.lifetime._store import load_model, save_model
from sojourn.lifetime.gamma_gamma import GammaGamma
from sojourn.lifetime.purchase_process import ProcessModel, ProcessSpec, PurchaseProcess
from sojourn.lifetime.spec import ValueSpec

NEWCOMER_BINS = 5


class ProcessValueSpec(ValueSpec):
    """A `ValueSpec` with the purchase process: see `PurchaseProcess`."""

    process: ProcessModel = "pareto_nbd"


class ProcessValue(Estimator):
    """Expected spend = expected purchase days (`PurchaseProcess`) x the value of a purchase day (`GammaGamma`).

    Reads `purchase_days_all, purchase_tenure_days, purchase_recency_days, <value>_all, tenure_days` of the feature
    table, and the label. The process learns from each user's latest row alone, and never from the label. It says
    nothing of users who have not bought: they get what such users of like tenure spent, by fifths of tenure.

    Writes `user_id, as_of` and the column `spec.name`. Learned: `process_`, `purchase_`, `newcomers_` (upper ends of
    tenure in days, and mean spend), `most_` (more than anybody spent is not predicted), `held_out_` (after `fit` only,
    not saved): as in `SingleStage`. One user counts only so far, in what a purchase day is worth too (`held_in`).
    """

    process_: PurchaseProcess
    purchase_: GammaGamma
    newcomers_: tuple[list[float], list[float]]
    most_: float
    held_out_: pl.DataFrame

    def __init__(self, spec: ProcessValueSpec | None = None) -> None:
        self.spec: ProcessValueSpec = spec or ProcessValueSpec()

    def fit(self, table: pl.DataFrame) -> Self:
        """Learn from rows `user_id, as_of`, features and label; rows without a label are left out."""
        where = "lifetime.ProcessValue.fit"
        known = labelled(table, spec=self.spec, where=where)
        need_users(known, where=where)
        need_spend(known, spec=self.spec, where=where)
        truth = held_in(known[self.spec.label].cast(pl.Float64).to_numpy(), as_of=known["as_of"])
        known = known.with_columns(pl.Series(self.spec.label, truth))
        self.most_ = float(truth.max())
        group = user_groups(known["user_id"], boost=self.spec.boost)
        spend = np.zeros(known.height)
        for left_out in range(self.spec.boost.groups):
            held = group == left_out
            spend[held] = self._learn(known.filter(~held), where)._spend(known.filter(held))
        self._learn(known, where)
        self.held_out_ = known.select(KEYS).with_columns(pl.Series("truth", truth), pl.Series(self.spec.name, spend))
        return self

    def predict(self, table: pl.DataFrame) -> pl.DataFrame:
        """`user_id, as_of` and the spend expected, in the order of the table."""
        self.check_fitted("process_")
        return keyed(table, self._spend(table), name=self.spec.name)

    def save(self, path: Path) -> None:
        """Write `model.json` and the folders `process` and `purchase` into the folder `path`."""
        self.check_fitted("process_")
        self.process_.save(path / "process")
        self.purchase_.save(path / "purchase")
        save_model(path, model=self, learned={"newcomers": self.newcomers_, "most": self.most_})

    @classmethod
    def load(cls, path: Path) -> Self:
        """The model that `save` wrote. Raises `UnreadableSource`."""
        whole = load_model(path, model=cls)
        model = cls(ProcessValueSpec(**whole["spec"]))
        model.process_, model.purchase_ = PurchaseProcess.load(path / "process"), GammaGamma.load(path / "purchase")
        ends, means = whole["learned"]["newcomers"]
        model.newcomers_, model.most_ = (ends, means), whole["learned"]["most"]
        return model

    def _learn(self, known: pl.DataFrame, where: str) -> Self:
        latest = known.group_by("user_id", maintain_order=True).last()
        bought = rfm_of(latest, value=self.spec.value, where=where)
        if bought.table.is_empty():
            raise BadInput(f"{where}: no user bought before the last as-of date, so there is no process to learn.")
        spec = ProcessSpec(model=self.spec.process, horizon_days=self.spec.horizon_days)
        self.process_ = PurchaseProcess(spec).fit(bought.table)
        most = most_of(bought.table["monetary_value"].to_numpy())
        each = bought.table.with_columns(pl.col("monetary_value").clip(-most, most), frequency=pl.col("frequency") + 1)
        self.purchase_ = GammaGamma().fit(each)
        self.newcomers_ = self._newcomers(known)
        return self

    def _newcomers(self, known: pl.DataFrame) -> tuple[list[float], list[float]]:
        new = known.filter(pl.col("purchase_days_all").fill_null(0) == 0)
        if new.is_empty():
            return [], [0.0]
        tenure = new["tenure_days"].cast(pl.Float64).to_numpy()
        ends = np.unique(np.quantile(tenure, np.arange(1, NEWCOMER_BINS) / NEWCOMER_BINS))
        place = np.searchsorted(ends, tenure)
        total = np.bincount(place, new[self.spec.label].cast(pl.Float64).to_numpy(), minlength=len(ends) + 1)
        rows = np.bincount(place, minlength=len(ends) + 1)
        overall = total.sum() / rows.sum()
        # A fifth in which ties left nobody gets the mean of all.
        return ends.tolist(), np.where(rows > 0, total / np.maximum(rows, 1), overall).tolist()

    def _spend(self, table: pl.DataFrame) -> Floats:
        where = "lifetime.ProcessValue.predict"
        bought = rfm_of(table, value=self.spec.value, where=where)
        ends, means = self.newcomers_
        spend = np.array(means)[np.searchsorted(ends, table["tenure_days"].cast(pl.Float64).to_numpy())]
        if not bought.table.is_empty():
            purchases = self.process_.predict(bought.table)[self.process_.spec.name].to_numpy()
            each = bought.table.with_columns(frequency=pl.col("frequency") + 1)
            spend[bought.rows] = purchases * self.purchase_.predict(each)["purchase_value"].to_numpy()
        return np.asarray(np.clip(spend, 0.0, self.most_))


@dataclass(frozen=True)
class Bought:
    """The users of a feature table who have bought, as a purchase process reads them, and which rows they are."""

    table: pl.DataFrame
    rows: np.ndarray


def columns_read(value: str) -> tuple[str, ...]:
    """The features that a purchase process needs."""
    return ("purchase_days_all", "purchase_tenure_days", "purchase_recency_days", f"{value}_all", "tenure_days")


def rfm_of(table: pl.DataFrame, *, value: str, where: str) -> Bought:
    """The users who have bought: `user_id, frequency, recency_days, age_days`, and the mean value of a purchase day.

    Here `monetary_value` is of all purchase days, the first one too. Raises `MissingColumn`.
    """
    need_columns(table, ["user_id", *columns_read(value)], where=where)
    days = pl.col("purchase_days_all").fill_null(0)
    tenure = pl.col("purchase_tenure_days").cast(pl.Int64)
    found = (
        table.with_row_index("_row")
        .filter(days > 0)
        .select(
            "_row",
            "user_id",
            frequency=days.cast(pl.Int64) - 1,
            recency_days=tenure - pl.col("purchase_recency_days").cast(pl.Int64),
            # Features count days up to `as_of`; the last day known is the one before.
            age_days=tenure - 1,
            monetary_value=pl.col(f"{value}_all").cast(pl.Float64) / days,
        )
    )
    return Bought(found.drop("_row"), found["_row"].to_numpy())
