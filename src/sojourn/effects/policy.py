"""Predicted uplift, costs and a budget go in; whom to treat, and what that would have brought, goes out."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sojourn.core import need_columns, need_rows
from sojourn.effects._errors import estimate
from sojourn.effects._log import Floats, Ints, keys_of
from sojourn.effects.ranking import FOLD
from sojourn.effects.spec import SCORE, UPLIFT, PolicySpec

NOBODY = "nobody"


def whom_to_treat(predicted: pl.DataFrame, *, spec: PolicySpec | None = None) -> pl.DataFrame:
    """The arm for each row, null for none: the keys, `arm`, and `expected_net`, the predicted worth less the cost.

    Reads `uplift_<arm>` of every arm, as `Uplift.predict` writes them. A row gets the arm that is worth most more than
    it costs, if any is; where the budget does not reach for all, those come first whose arm is worth most per unit of
    cost. What costs nothing is not limited by the budget. Among equals the order is that of the keys.

    Raises `MissingColumn` without any column of uplift, `EmptyInput`.

    >>> table = pl.DataFrame({"user_id": ["a", "b", "c"], "uplift_push": [0.5, 0.1, -0.2]})
    >>> whom_to_treat(table, spec=PolicySpec(value=1.0, cost=0.2))["arm"].to_list()
    ['push', None, None]
    """
    spec = spec or PolicySpec()
    best = _best(predicted, spec, where="effects.whom_to_treat")
    takes = best.net > 0
    if spec.budget is not None:
        takes = _paid(predicted, best, budget=spec.budget)
    names = np.array([*best.arms, None], dtype=object)[np.where(takes, best.arm, len(best.arms))]
    return predicted.select(keys_of(predicted)).with_columns(
        arm=pl.Series(names.tolist(), dtype=pl.String), expected_net=pl.Series(np.where(takes, best.net, 0.0))
    )


def policy_values(held_out: pl.DataFrame, *, spec: PolicySpec | None = None, level: float = 0.95) -> pl.DataFrame:
    """What policies would have brought on these rows, by doubly robust scores: one row per policy.

    Columns: `policy, treated_share, cost, gain, net, low, high`; all per row, `gain` in money (`spec.value` times the
    outcome), `net` = gain less cost with its interval. The policies: `uplift` (`whom_to_treat`), `random` (the same
    arms as often, dealt at random), `all_<arm>` for each arm (as many as the budget reaches for, at random), `nobody`.

    Reads `Uplift.held_out_`, whose predictions have not seen the outcomes that the scores are made of. Where there is a
    column `fold` each fold spends its share of the budget: the models of folds differ in level, and a budget spent
    across them would go to the fold whose model is boldest. Rows that are predicted alike share what is left for them.
    """
    spec = spec or PolicySpec()
    where = "effects.policy_values"
    best = _best(held_out, spec, where=where)
    arms = best.arms
    need_columns(held_out, [f"{SCORE}{arm}" for arm in arms], where=where)
    ours = np.eye(len(arms))[best.arm] * _chances(held_out, best, spec)[:, None]
    policies: dict[str, Floats] = {"uplift": ours, "random": np.tile(ours.mean(axis=0), (len(ours), 1))}
    for code, arm in enumerate(arms):
        reach = _reach(spec, arm, rows=len(ours))
        policies[f"all_{arm}"] = np.tile(np.eye(len(arms))[code] * reach, (len(ours), 1))
    policies[NOBODY] = np.zeros((len(ours), len(arms)))
    scores = np.column_stack([held_out[f"{SCORE}{arm}"].cast(pl.Float64).to_numpy() for arm in arms])
    user = held_out["user_id"].rank("dense").cast(pl.Int64).to_numpy() - 1
    costs = np.array([spec.cost_of(arm) for arm in arms])
    rows = [_valued(name, dealt, spec.value * scores, costs, user, level) for name, dealt in policies.items()]
    return pl.DataFrame(rows)


@dataclass(frozen=True)
class _Best:
    """For each row the arm (a number into `arms`) that is worth most after its cost, what that nets, and the cost."""

    arms: list[str]
    arm: Ints
    net: Floats
    cost: Floats

    @property
    def per_cost(self) -> Floats:
        """What the row nets for a unit of cost: the order in which a budget is spent; nothing to gain comes last."""
        free = np.where(self.cost > 0, self.net / np.where(self.cost > 0, self.cost, 1.0), np.inf)
        return np.where(self.net > 0, free, -np.inf)


def _best(predicted: pl.DataFrame, spec: PolicySpec, *, where: str) -> _Best:
    arms = [name.removeprefix(UPLIFT) for name in predicted.columns if name.startswith(UPLIFT)]
    need_columns(predicted, ["user_id", *([] if arms else [f"{UPLIFT}<arm>"])], where=where)
    need_rows(predicted, where=where, mend="Pass Uplift.load(path).predict(table).")
    uplift = np.column_stack([predicted[f"{UPLIFT}{arm}"].cast(pl.Float64).to_numpy() for arm in arms])
    costs = np.array([spec.cost_of(arm) for arm in arms])
    net = spec.value * uplift - costs
    best = net.argmax(axis=1)
    return _Best(arms, best, net[np.arange(len(best)), best], costs[best])


def _paid(predicted: pl.DataFrame, best: _Best, *, budget: float) -> NDArray[np.bool_]:
    """Which rows are treated when those who net most for a unit of cost come first."""
    keys = predicted.select(pl.struct(keys_of(predicted)).rank("ordinal")).to_series().to_numpy()
    order = np.lexsort((keys, -best.per_cost))
    wanted = best.net[order] > 0
    spent = np.cumsum(np.where(wanted, best.cost[order], 0.0))
    paid = np.zeros(len(order), dtype=np.bool_)
    paid[order] = wanted & (spent <= budget * (1 + 1e-12))
    return paid


def _chances(held_out: pl.DataFrame, best: _Best, spec: PolicySpec) -> Floats:
    """The chance that each row is treated: 1 or 0, and between where equals share what is left of a fold's budget."""
    chance = (best.net > 0).astype(np.float64)
    if spec.budget is None:
        return chance
    folds = held_out[FOLD].to_numpy() if FOLD in held_out.columns else np.zeros(held_out.height)
    for fold in np.unique(folds):
        mine = np.flatnonzero((folds == fold) & (best.net > 0))
        left = spec.budget * float((folds == fold).mean())
        # np.unique sorts upwards: the groups of equals from the highest on.
        levels, place = np.unique(-best.per_cost[mine], return_inverse=True)
        costs = np.bincount(place, best.cost[mine], minlength=len(levels))
        before = np.cumsum(costs) - costs
        share = np.clip((left - before) / np.where(costs > 0, costs, 1.0), 0.0, 1.0)
        chance[mine] = np.where(costs > 0, share, 1.0)[place]
    return chance


def _valued(name: str, dealt: Floats, worth: Floats, costs: Floats, user: Ints, level: float) -> Mapping[str, object]:
    """One policy: `dealt` (rows, arms) is the chance that it gives each arm."""
    gain, cost = (dealt * worth).sum(axis=1), (dealt * costs).sum(axis=1)
    net = gain - cost
    low, high = estimate(float(net.mean()), net - net.mean(), user=user).ends(level)
    return {
        "policy": name,
        "treated_share": float(dealt.sum(axis=1).mean()),
        "cost": float(cost.mean()),
        "gain": float(gain.mean()),
        "net": float(net.mean()),
        "low": low,
        "high": high,
    }


def _reach(spec: PolicySpec, arm: str, *, rows: int) -> float:
    """The share of rows that the budget reaches for when all get this arm."""
    cost = spec.cost_of(arm) * rows
    return 1.0 if spec.budget is None or cost <= spec.budget else spec.budget / cost
