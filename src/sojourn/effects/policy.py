"""Predicted uplift, costs and a budget go in; whom to treat, and what that would have brought, goes out."""

from collections.abc import Mapping

import numpy as np
import polars as pl

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
    where = "effects.whom_to_treat"
    arms = [name.removeprefix(UPLIFT) for name in predicted.columns if name.startswith(UPLIFT)]
    need_columns(predicted, ["user_id", *([] if arms else [f"{UPLIFT}<arm>"])], where=where)
    need_rows(predicted, where=where, mend="Pass Uplift.load(path).predict(table).")
    uplift = np.column_stack([predicted[f"{UPLIFT}{arm}"].cast(pl.Float64).to_numpy() for arm in arms])
    costs = np.array([spec.cost_of(arm) for arm in arms])
    net = spec.value * uplift - costs
    best = net.argmax(axis=1)
    rows = np.arange(len(best))
    best_net, best_cost = net[rows, best], costs[best]
    takes = best_net > 0
    if spec.budget is not None:
        takes &= _affordable(predicted, net=best_net, cost=best_cost, wanted=takes, budget=spec.budget)
    names = np.array([*arms, None], dtype=object)[np.where(takes, best, len(arms))]
    return predicted.select(keys_of(predicted)).with_columns(
        arm=pl.Series(names.tolist(), dtype=pl.String), expected_net=pl.Series(np.where(takes, best_net, 0.0))
    )


def policy_values(held_out: pl.DataFrame, *, spec: PolicySpec | None = None, level: float = 0.95) -> pl.DataFrame:
    """What policies would have brought on these rows, by doubly robust scores: one row per policy.

    Columns: `policy, treated_share, cost, gain, net, low, high`; all per row, `gain` in money (`spec.value` times the
    outcome), `net` = gain less cost with its interval. The policies: `uplift` (`whom_to_treat`), `random` (the same
    arms as often, dealt at random), `all_<arm>` for each arm (as many as the budget reaches for, at random), `nobody`.

    Reads `Uplift.held_out_`, whose predictions have not seen the outcomes that the scores are made of. Where there is a
    column `fold` each fold spends its share of the budget: the models of folds differ in level, and a budget spent
    across them would go to the fold whose model is boldest.
    """
    spec = spec or PolicySpec()
    chosen = _by_fold(held_out, spec)
    arms = [name.removeprefix(UPLIFT) for name in held_out.columns if name.startswith(UPLIFT)]
    need_columns(held_out, [f"{SCORE}{arm}" for arm in arms], where="effects.policy_values")
    codes = {arm: code for code, arm in enumerate(arms)}
    ours = chosen.replace_strict(codes, default=-1, return_dtype=pl.Int64).to_numpy()
    share = np.bincount(ours[ours >= 0], minlength=len(arms)) / len(ours)
    policies: dict[str, Floats] = {"uplift": np.eye(len(arms) + 1)[ours][:, : len(arms)]}
    policies["random"] = np.tile(share, (len(ours), 1))
    for arm, code in codes.items():
        reach = _reach(spec, arm, rows=len(ours))
        policies[f"all_{arm}"] = np.tile(np.eye(len(arms))[code] * reach, (len(ours), 1))
    policies[NOBODY] = np.zeros((len(ours), len(arms)))
    scores = np.column_stack([held_out[f"{SCORE}{arm}"].cast(pl.Float64).to_numpy() for arm in arms])
    user = held_out["user_id"].rank("dense").cast(pl.Int64).to_numpy() - 1
    costs = np.array([spec.cost_of(arm) for arm in arms])
    rows = [_valued(name, dealt, spec.value * scores, costs, user, level) for name, dealt in policies.items()]
    return pl.DataFrame(rows)


def _by_fold(held_out: pl.DataFrame, spec: PolicySpec) -> pl.Series:
    """The arm of each row, folds apart."""
    if spec.budget is None or FOLD not in held_out.columns:
        return whom_to_treat(held_out, spec=spec)["arm"]
    numbered = held_out.with_row_index("_row")
    parts = []
    for _, rows in numbered.group_by(FOLD, maintain_order=True):
        share = spec.with_changes(budget=spec.budget * rows.height / held_out.height)
        parts.append(rows.select("_row", arm=whom_to_treat(rows, spec=share)["arm"]))
    return pl.concat(parts).sort("_row")["arm"]


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


def _affordable(predicted: pl.DataFrame, *, net: Floats, cost: Floats, wanted: np.ndarray, budget: float) -> np.ndarray:
    """Which rows are paid for when the dearest wins per unit of cost come first."""
    per_cost = np.where(cost > 0, net / np.where(cost > 0, cost, 1.0), np.inf)
    keys = predicted.select(pl.struct(keys_of(predicted)).rank("ordinal")).to_series().to_numpy()
    order = np.lexsort((keys, -np.where(wanted, per_cost, -np.inf)))
    spent = np.cumsum(np.where(wanted[order], cost[order], 0.0))
    paid = np.zeros(len(net), dtype=bool)
    paid[order] = wanted[order] & (spent <= budget * (1 + 1e-12))
    return paid
