"""Whom to treat: against every possible choice, and by laws."""

from itertools import product

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from sojourn.core import BadSpec, MissingColumn
from sojourn.effects import PolicySpec, policy_values, whom_to_treat


def predicted(seed: int, *, users: int = 8) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "user_id": [f"u{number}" for number in range(users)],
            "uplift_a": rng.normal(0.1, 0.5, users),
            "uplift_b": rng.normal(0.0, 0.5, users),
            "score_a": rng.normal(0.1, 1.0, users),
            "score_b": rng.normal(0.0, 1.0, users),
        }
    )


def net(table: pl.DataFrame, arms: list[str | None], spec: PolicySpec) -> float:
    return sum(
        0.0 if arm is None else spec.value * row[f"uplift_{arm}"] - spec.cost_of(arm)
        for row, arm in zip(table.to_dicts(), arms, strict=True)
    )


@pytest.mark.parametrize("seed", range(5))
def test_without_a_budget_no_other_choice_is_worth_more(seed):
    table, spec = predicted(seed, users=6), PolicySpec(value=2.0, costs={"a": 0.3, "b": 0.1})
    chosen = whom_to_treat(table, spec=spec)
    best = max(net(table, list(arms), spec) for arms in product([None, "a", "b"], repeat=6))
    assert net(table, chosen["arm"].to_list(), spec) == pytest.approx(best)
    assert chosen["expected_net"].sum() == pytest.approx(best)


@pytest.mark.parametrize("seed", range(5))
def test_a_budget_goes_to_those_who_are_worth_most(seed):
    # At one cost for one arm, the best set within a budget is the first few by uplift.
    table = predicted(seed).select("user_id", "uplift_a")
    spec = PolicySpec(value=1.0, cost=0.05, budget=0.15)
    chosen = whom_to_treat(table, spec=spec)
    sets = [arms for arms in product([None, "a"], repeat=8) if sum(arm is not None for arm in arms) <= 3]
    assert net(table, chosen["arm"].to_list(), spec) == pytest.approx(
        max(net(table, list(arms), spec) for arms in sets)
    )


def test_a_larger_budget_never_treats_fewer_and_the_order_of_rows_changes_nothing():
    table = predicted(1, users=60).with_columns(pl.col("^uplift_.*$").round(1))
    counts = [whom_to_treat(table, spec=PolicySpec(cost=0.1, budget=b))["arm"].count() for b in (0.0, 0.5, 1.0, 9.0)]
    assert counts[0] == 0
    assert counts == sorted(counts)
    shuffled = table.sample(fraction=1, shuffle=True, seed=1)
    spec = PolicySpec(cost=0.1, budget=0.5)
    assert_frame_equal(
        whom_to_treat(shuffled, spec=spec).sort("user_id"), whom_to_treat(table, spec=spec).sort("user_id")
    )


def test_values_are_means_of_scores_less_costs():
    table, spec = predicted(2, users=200), PolicySpec(value=3.0, cost=0.5)
    found = {row["policy"]: row for row in policy_values(table, spec=spec).iter_rows(named=True)}
    chosen = whom_to_treat(table, spec=spec)["arm"].to_list()
    gains = [0.0 if arm is None else 3 * row[f"score_{arm}"] for row, arm in zip(table.to_dicts(), chosen, strict=True)]
    share = sum(arm is not None for arm in chosen) / 200
    assert found["uplift"]["gain"] == pytest.approx(np.mean(gains))
    assert found["uplift"]["net"] == pytest.approx(np.mean(gains) - 0.5 * share)
    assert found["random"]["treated_share"] == pytest.approx(share)
    assert found["all_a"]["net"] == pytest.approx(3 * table["score_a"].to_numpy().mean() - 0.5)
    assert found["nobody"]["net"] == found["nobody"]["cost"] == 0


def test_a_budget_bounds_every_policy():
    spec = PolicySpec(cost=0.5, budget=10.0)
    found = policy_values(predicted(3, users=200), spec=spec)
    assert (found["cost"] * 200 <= 10 + 1e-9).all()
    assert found.filter(policy="all_a")["treated_share"].item() == pytest.approx(0.1)


def test_folds_spend_their_own_shares_of_a_budget():
    table = predicted(4, users=200).with_columns(fold=pl.int_range(pl.len()) % 2)
    bold = table.with_columns(pl.col("uplift_a", "uplift_b") + 10 * pl.col("fold"))
    spec = PolicySpec(cost=0.5, budget=10.0)
    for fold in (0, 1):
        mine = pl.col("fold") == fold
        alone = policy_values(bold.filter(mine).drop("fold"), spec=spec.with_changes(budget=5.0))
        other = policy_values(bold.filter(~mine).drop("fold"), spec=spec.with_changes(budget=5.0))
        both = policy_values(bold, spec=spec)
        means = (alone["net"][0] + other["net"][0]) / 2
        assert both["net"][0] == pytest.approx(means)


def test_where_all_are_predicted_alike_a_budget_is_worth_what_chance_is():
    table = predicted(5, users=100).with_columns(uplift_a=pl.lit(1.0), uplift_b=pl.lit(0.5))
    found = policy_values(table, spec=PolicySpec(cost=0.5, budget=7.0))
    ours, random, everybody = (found.filter(policy=name).drop("policy") for name in ("uplift", "random", "all_a"))
    assert_frame_equal(ours, random)
    assert_frame_equal(ours, everybody)


def test_a_good_order_is_worth_more_than_a_random_one():
    rng = np.random.default_rng(1)
    truth = rng.normal(0, 1, 3000)
    table = pl.DataFrame(
        {"user_id": range(3000), "uplift_a": truth, "score_a": truth + rng.normal(0, 1, 3000)}
    ).with_columns(pl.col("user_id").cast(pl.String))
    found = {row["policy"]: row for row in policy_values(table, spec=PolicySpec(cost=0.2)).iter_rows(named=True)}
    assert found["uplift"]["low"] > found["random"]["high"]


def test_mistakes_are_said():
    with pytest.raises(MissingColumn, match=r"effects\.whom_to_treat needs column 'uplift_<arm>'"):
        whom_to_treat(pl.DataFrame({"user_id": ["a"], "score": [1.0]}))
    with pytest.raises(BadSpec, match=r"the cost of 'a' is -1\.0; a cost is at least 0"):
        PolicySpec(costs={"a": -1})
