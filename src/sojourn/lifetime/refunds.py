"""Spend where money flows back: what is paid and what is refunded, forecast apart; the value is the difference."""

from collections.abc import Sequence
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Literal, Self

import numpy as np
import polars as pl

from sojourn.core import Estimator, need_columns
from sojourn.lifetime._boost import Floats
from sojourn.lifetime._design import KEYS, Pace, labelled
from sojourn.lifetime._learning import LEAST_SPENDERS, LEAST_USERS, keyed
from sojourn.lifetime._outliers import held_in
from sojourn.lifetime._rising import rising
from sojourn.lifetime._store import load_model, save_model
from sojourn.lifetime.single_stage import SingleStage, SingleStageSpec
from sojourn.lifetime.spec import ValueSpec, gross_of, refunded_of
from sojourn.lifetime.two_stage import TwoStage

TRUTH = "truth"
# What was bought longer ago than this is no longer sent back: refunds can undo what these days brought, and no more.
RETURN_DAYS = 90
MOST_MADE_UP = 3.0
# The models of the bench that take refunds apart, and by which model what is paid is forecast.
APART = {"two_stage_apart": "two_stage", "median_scaled_apart": "median_scaled"}


class RefundForecast(Estimator):
    """What will flow back to each user within the horizon, never negative, by the better of two rules.

    - `share`: a user's share of refunds in all they paid, drawn towards everybody's as if they had paid as much as the
      average user more, times what going on as before would have them pay; scaled so that totals come out right.
    - `trees`: a `TwoStage` model of refunds, where at least 10 users had one in the label windows.

    The better one has the smaller squared error on users it has not seen: what is subtracted must be right on average.

    Reads the features, windows of `<value>_gross` and `<value>_refunded`, and `label_<value>_refunded_<N>d`. Writes
    `user_id, as_of` and the column `refunds_<N>`. Learned: `rule_`, `pace_`, `share_` (everybody's), `weight_`
    (money), `scale_`, `trees_` (None by rule `share`), `held_out_` (after `fit` only, not saved).
    """

    rule_: str
    pace_: Pace
    share_: float
    weight_: float
    scale_: float
    trees_: TwoStage | None
    held_out_: pl.DataFrame

    def __init__(self, spec: ValueSpec | None = None) -> None:
        self.spec: ValueSpec = spec or ValueSpec()

    def fit(self, table: pl.DataFrame) -> Self:
        """Learn from rows `user_id, as_of`, features and label; rows without a label are left out."""
        where, refunded = "lifetime.RefundForecast.fit", self.spec.refunded
        need_columns(table, flow_columns(self.spec.value), where=where)
        known = labelled(table, spec=refunded, where=where)
        truth = held_in(known[refunded.label].cast(pl.Float64).to_numpy(), as_of=known["as_of"])
        self.pace_ = replace(Pace.learn(known, spec=self.spec.gross, where=where), most=_most_paid(known, self.spec))
        self._learn_share(known, truth)
        by_share = self._by_share(known)
        back = known.filter(pl.col(refunded.label) > 0)["user_id"].n_unique()
        self.rule_, self.trees_, held = "share", None, by_share
        if back >= LEAST_SPENDERS and known["user_id"].n_unique() >= LEAST_USERS:
            trees = TwoStage(refunded).fit(known)
            by_trees = trees.held_out_[refunded.name].to_numpy()
            if ((by_trees - truth) ** 2).sum() < ((by_share - truth) ** 2).sum():
                self.rule_, self.trees_, held = "trees", trees, by_trees
        self.held_out_ = keyed(known, held, name=self.name).with_columns(pl.Series(TRUTH, truth))
        return self

    @property
    def name(self) -> str:
        """The column of the forecast: `refunds_<N>`."""
        return refunds_column(self.spec)

    def predict(self, table: pl.DataFrame) -> pl.DataFrame:
        """`user_id, as_of` and what will flow back, in the order of the table."""
        self.check_fitted("rule_")
        need_columns(table, ["user_id", *flow_columns(self.spec.value)], where="lifetime.RefundForecast.predict")
        if self.trees_ is None:
            return keyed(table, self._by_share(table), name=self.name)
        return keyed(table, self.trees_.predict(table)[self.trees_.spec.name].to_numpy(), name=self.name)

    def save(self, path: Path) -> None:
        """Write `model.json`, and by rule `trees` the folder `trees`, into the folder `path`."""
        self.check_fitted("rule_")
        plain = {name: getattr(self, f"{name}_") for name in ("rule", "share", "weight", "scale")}
        save_model(path, model=self, learned={**plain, "pace": self.pace_.to_dict()})
        if self.trees_ is not None:
            self.trees_.save(path / "trees")

    @classmethod
    def load(cls, path: Path) -> Self:
        """The model that `save` wrote. Raises `UnreadableSource`."""
        whole = load_model(path, model=cls)
        model, learned = cls(ValueSpec(**whole["spec"])), whole["learned"]
        for name in ("rule", "share", "weight", "scale"):
            setattr(model, f"{name}_", learned[name])
        model.pace_ = Pace.from_dict(learned["pace"])
        model.trees_ = TwoStage.load(path / "trees") if model.rule_ == "trees" else None
        return model

    def _learn_share(self, known: pl.DataFrame, truth: Floats) -> None:
        paid, back = (held_in(each, as_of=known["as_of"]) for each in _so_far(known, self.spec.value))
        self.share_ = float(back.sum() / paid.sum()) if paid.sum() > 0 else 0.0
        self.weight_ = float(paid.mean())
        self.scale_ = 1.0
        total = float(self._by_share(known).sum())
        self.scale_ = float(truth.sum()) / total if total > 0 else 0.0

    def _by_share(self, table: pl.DataFrame) -> Floats:
        paid, back = _so_far(table, self.spec.value)
        share = (back + self.weight_ * self.share_) / np.maximum(paid + self.weight_, np.finfo(float).tiny)
        # Refunds of what was paid before the log began can exceed all that it saw.
        return np.asarray(self.scale_ * np.minimum(share, 1.0) * self.pace_.of(table))


class ApartValueSpec(ValueSpec):
    """A `ValueSpec` with the model of what is paid: `TwoStage`, or `SingleStage` with that objective."""

    paid_by: Literal["two_stage", "median_scaled"] = "two_stage"


class ApartValue(Estimator):
    """Expected value = what is paid (a value model of its own) - what flows back (`RefundForecast`).

    Nobody gets back more than they paid: refunds are at most the forecast of what is paid plus what the user paid and
    did not get back in the last 90 days. So the value is never below minus that: after a large purchase it may well be
    below zero, of users who have long been gone it is not. What the limit cuts off is made up by those below it, so
    that refunds add up to those of the users learned from.

    Reads the features and the three labels of the task. Writes `user_id, as_of` and the column `spec.name`; `parts`
    has `gross_<N>` and `refunds_<N>`. Learned: `gross_`, `refunds_`, `made_up_` (what refunds below the
    limit are multiplied with), `held_out_` (after `fit` only, not saved).
    """

    gross_: TwoStage | SingleStage
    refunds_: RefundForecast
    made_up_: float
    held_out_: pl.DataFrame

    def __init__(self, spec: ApartValueSpec | None = None) -> None:
        self.spec: ApartValueSpec = spec or ApartValueSpec()

    def fit(self, table: pl.DataFrame) -> Self:
        """Learn both parts from rows `user_id, as_of`, features and labels; rows without a label are left out."""
        where = "lifetime.ApartValue.fit"
        known = labelled(table, spec=self.spec, where=where)
        need_columns(known, [self.spec.gross.label, self.spec.refunded.label], where=where)
        self.gross_ = self._paid_by().fit(known)
        self.refunds_ = RefundForecast(ValueSpec(**self._shared())).fit(known)
        held = self.gross_.held_out_.select(
            *KEYS,
            pl.col(self.spec.name).alias(gross_column(self.spec)),
            self.refunds_.held_out_[self.refunds_.name],
        )
        most = held[gross_column(self.spec)].to_numpy() + returnable(known, self.spec.value)
        came = float(self.refunds_.held_out_[TRUTH].sum())
        self.made_up_ = _made_up(held[self.refunds_.name].to_numpy(), most, total=came)
        truth = held_in(known[self.spec.label].cast(pl.Float64).to_numpy(), as_of=known["as_of"])
        self.held_out_ = self._net(self._limited(held, known)).with_columns(pl.Series(TRUTH, truth))
        return self

    def predict(self, table: pl.DataFrame) -> pl.DataFrame:
        """`user_id, as_of` and the value expected, in the order of the table."""
        return self._net(self.parts(table))

    def parts(self, table: pl.DataFrame) -> pl.DataFrame:
        """`user_id, as_of`, what is paid and what flows back, both never negative."""
        self.check_fitted("refunds_")
        gross = keyed(table, self.gross_.predict(table)[self.spec.name].to_numpy(), name=gross_column(self.spec))
        return self._limited(gross.with_columns(self.refunds_.predict(table)[self.refunds_.name]), table)

    def save(self, path: Path) -> None:
        """Write `model.json` and the folders `gross` and `refunds` into the folder `path`."""
        self.check_fitted("refunds_")
        self.gross_.save(path / "gross")
        self.refunds_.save(path / "refunds")
        save_model(path, model=self, learned={"made_up": self.made_up_})

    @classmethod
    def load(cls, path: Path) -> Self:
        """The model that `save` wrote. Raises `UnreadableSource`."""
        whole = load_model(path, model=cls)
        model = cls(ApartValueSpec(**whole["spec"]))
        # Models saved before refunds had this limit made up for nothing.
        model.made_up_ = whole["learned"].get("made_up", 1.0)
        paid = TwoStage if model.spec.paid_by == "two_stage" else SingleStage
        model.gross_, model.refunds_ = paid.load(path / "gross"), RefundForecast.load(path / "refunds")
        return model

    def _shared(self) -> dict[str, object]:
        return {name: getattr(self.spec, name) for name in ValueSpec.model_fields}

    def _paid_by(self) -> TwoStage | SingleStage:
        gross = self.spec.gross
        if self.spec.paid_by == "two_stage":
            return TwoStage(gross)
        shared = {name: getattr(gross, name) for name in ValueSpec.model_fields}
        return SingleStage(SingleStageSpec(**shared, objective=self.spec.paid_by))

    def _limited(self, parts: pl.DataFrame, table: pl.DataFrame) -> pl.DataFrame:
        return _capped(parts.with_columns(pl.col(self.refunds_.name) * self.made_up_), table, self.spec)

    def _net(self, parts: pl.DataFrame) -> pl.DataFrame:
        names = gross_column(self.spec), refunds_column(self.spec)
        return parts.with_columns((pl.col(names[0]) - pl.col(names[1])).alias(self.spec.name)).drop(names)


def gross_column(task: ValueSpec) -> str:
    """The column of what is expected to be paid: `gross_<days>`."""
    return f"gross_{task.horizon_days}"


def refunds_column(task: ValueSpec) -> str:
    """The column of what is expected to flow back: `refunds_<days>`."""
    return f"refunds_{task.horizon_days}"


def flow_columns(value: str) -> list[str]:
    """The features that say what a user paid and got back so far."""
    return [f"{gross_of(value)}_all", f"{refunded_of(value)}_all"]


def has_flows(table: pl.DataFrame, *, spec: ValueSpec) -> bool:
    """Whether a training table tells what is paid and what flows back apart."""
    return {*flow_columns(spec.value), spec.gross.label, spec.refunded.label} <= {*table.columns}


def reconciled(table: pl.DataFrame, *, tasks: Sequence[ValueSpec], features: pl.DataFrame) -> pl.DataFrame:
    """Both parts made to rise over horizons, refunds held to what can flow back, value and interval moved along.

    What is paid in 90 days is no less than in 30, and neither is what flows back; their difference may fall. The
    interval moves with the value, and always holds it.
    """
    gross, back = [gross_column(task) for task in tasks], [refunds_column(task) for task in tasks]
    risen = table.with_columns(*rising(table, gross), *rising(table, back))
    for task in tasks:
        risen = _capped(risen, features, task)
        net = pl.col(gross_column(task)) - pl.col(refunds_column(task))
        moved = net - pl.col(task.name)
        low, high = pl.col(f"{task.name}_low") + moved, pl.col(f"{task.name}_high") + moved
        risen = risen.with_columns(
            net.alias(task.name),
            pl.min_horizontal(low, net).alias(f"{task.name}_low"),
            pl.max_horizontal(high, net).alias(f"{task.name}_high"),
        )
    return risen


def _capped(parts: pl.DataFrame, features: pl.DataFrame, task: ValueSpec) -> pl.DataFrame:
    """Refunds held to what is paid and what can still be sent back."""
    most = pl.col(gross_column(task)) + pl.Series(returnable(features, task.value))
    return parts.with_columns(pl.min_horizontal(refunds_column(task), most).alias(refunds_column(task)))


def _made_up(back: Floats, most: Floats, *, total: float) -> float:
    """By what to multiply refunds so that, each held to its limit, they add up to this total: from 1 to `MOST_MADE_UP`.

    The sum grows with the factor, so halving finds it.
    """
    low, high = 1.0, MOST_MADE_UP
    if np.minimum(back, most).sum() >= total:
        return low
    for _ in range(40):
        middle = (low + high) / 2
        if np.minimum(middle * back, most).sum() < total:
            low = middle
        else:
            high = middle
    return high


def returnable(table: pl.DataFrame, value: str) -> Floats:
    """What each user paid in the last 90 days and did not get back, and no more than of all time.

    A table without the windows `<value>_gross_90d` and `<value>_refunded_90d` tells of all time alone.
    """
    paid, back = _so_far(table, value)
    recent = [f"{name}_{RETURN_DAYS}d" for name in (gross_of(value), refunded_of(value))]
    kept = np.maximum(paid - back, 0.0)
    if not {*recent} <= {*table.columns}:
        return np.asarray(kept)
    paid, back = _positive(table, recent)
    return np.asarray(np.minimum(kept, np.maximum(paid - back, 0.0)))


def _most_paid(known: pl.DataFrame, spec: ValueSpec) -> float:
    """The most that a user paid in the label windows, as far as one may count; no end where they don't tell."""
    if spec.gross.label not in known.columns:
        return inf
    paid = known.filter(pl.col(spec.gross.label).is_not_null())
    held = held_in(paid[spec.gross.label].cast(pl.Float64).to_numpy(), as_of=paid["as_of"])
    return float(held.max(initial=0.0)) or inf


def _so_far(table: pl.DataFrame, value: str) -> tuple[Floats, Floats]:
    return _positive(table, flow_columns(value))


def _positive(table: pl.DataFrame, names: Sequence[str]) -> tuple[Floats, Floats]:
    paid, back = (np.maximum(table[name].cast(pl.Float64).fill_null(0.0).to_numpy(), 0.0) for name in names)
    return paid, back
