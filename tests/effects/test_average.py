"""Average effects: each method against a slow twin, and against what is known of simulated logs."""

from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from sojourn.core import BadInput, EmptyInput, MissingColumn
from sojourn.effects import EffectSpec, average_effects, doubly_robust_scores
from sojourn.effects._trees import user_groups
from tests.effects.logs import EFFECT, campaign, three_arms

PLAIN = EFFECT.with_changes(covariates=())


def effect(table: pl.DataFrame, method: str, spec: EffectSpec = EFFECT, arm: str = "treated") -> dict[str, Any]:
    found = average_effects(table, spec=spec, methods=[method]).filter(arm=arm)  # type: ignore[list-item]
    assert found.height == 1
    return found.row(0, named=True)


def clustered_by_hand(influence: list[float], users: list[str]) -> float:
    sums: dict[str, float] = {}
    middle = sum(influence) / len(influence)
    for value, user in zip(influence, users, strict=True):
        sums[user] = sums.get(user, 0.0) + value - middle
    count = len(sums)
    return float((sum(total**2 for total in sums.values()) * count / (count - 1)) ** 0.5 / len(influence))


def test_the_raw_difference_and_its_error_are_those_computed_by_hand():
    table = campaign(1, users=60)
    rows = table.sort("user_id", "as_of").to_dicts()
    means = {arm: np.mean([row["outcome_days"] for row in rows if row["treatment"] is arm]) for arm in (True, False)}
    share = {arm: np.mean([row["treatment"] is arm for row in rows]) for arm in (True, False)}
    influence = [
        (1 if row["treatment"] else -1) * (row["outcome_days"] - means[row["treatment"]]) / share[row["treatment"]]
        for row in rows
    ]
    found = effect(table, "difference")
    assert found["effect"] == pytest.approx(means[True] - means[False])
    assert found["error"] == pytest.approx(clustered_by_hand(influence, [row["user_id"] for row in rows]))
    assert (found["control_mean"], found["arm_mean"]) == pytest.approx((means[False], means[True]))
    assert found["rows"] == 120
    assert found["users"] == 60


def test_weighting_is_the_ratio_of_weighted_sums():
    table = campaign(2, users=60)
    total = {True: 0.0, False: 0.0}
    weights = {True: 0.0, False: 0.0}
    for row in table.to_dicts():
        chance = row["propensity"] if row["treatment"] else 1 - row["propensity"]
        total[row["treatment"]] += row["outcome_days"] / chance
        weights[row["treatment"]] += 1 / chance
    expected = total[True] / weights[True] - total[False] / weights[False]
    assert effect(table, "weighted")["effect"] == pytest.approx(expected)


def test_cuped_is_the_textbook_formula_where_chances_are_even():
    table = campaign(3, users=200, decisions=1, even=True)
    y, x = table["outcome_days"].to_numpy(), table["active_days_7d"].to_numpy()
    t = table["treatment"].to_numpy()
    inside = np.array([x[t == arm].mean() for arm in (False, True)])[t.astype(int)]
    slope = ((x - inside) * y).sum() / ((x - inside) ** 2).sum()
    adjusted = y - slope * (x - x.mean())
    found = effect(table, "cuped")
    assert found["effect"] == pytest.approx(adjusted[t].mean() - adjusted[~t].mean())
    assert found["adjusted_by"] == "active_days_7d"
    assert found["error"] < 0.8 * effect(table, "difference")["error"]


def test_cuped_takes_several_covariates_even_when_they_say_the_same():
    table = campaign(4, users=100).with_columns(twin=2 * pl.col("active_days_7d"))
    one = effect(table, "cuped", EFFECT.with_changes(pre_period=("active_days_7d",)))
    two = effect(table, "cuped", EFFECT.with_changes(pre_period=("active_days_7d", "twin")))
    assert two["effect"] == pytest.approx(one["effect"])
    assert two["error"] == pytest.approx(one["error"])


def test_doubly_robust_is_the_formula_row_by_row():
    # Without covariates a model of the outcome is a mean over the other groups' users, and of each arm's rest.
    table = campaign(5, users=80).sort("user_id", "as_of")
    rows = table.to_dicts()
    number = {user: at for at, user in enumerate(sorted({row["user_id"] for row in rows}))}
    codes = np.array([number[row["user_id"]] for row in rows])
    group = user_groups(codes, groups=PLAIN.groups, seed=PLAIN.seed)
    scores = []
    for row, mine in zip(rows, group, strict=True):
        others = [other for other, theirs in zip(rows, group, strict=True) if theirs != mine]
        common = np.mean([other["outcome_days"] for other in others])
        expected = {
            arm: common + np.mean([other["outcome_days"] - common for other in others if other["treatment"] is arm])
            for arm in (True, False)
        }
        chance = row["propensity"] if row["treatment"] else 1 - row["propensity"]
        missed = (row["outcome_days"] - expected[row["treatment"]]) / chance
        scores.append(expected[True] - expected[False] + (missed if row["treatment"] else -missed))
    found = effect(table, "doubly_robust", PLAIN)
    assert found["effect"] == pytest.approx(np.mean(scores))
    assert found["error"] == pytest.approx(clustered_by_hand(scores, [row["user_id"] for row in rows]))
    assert doubly_robust_scores(table, spec=PLAIN)["score_treated"].to_numpy() == pytest.approx(np.array(scores))


@pytest.mark.parametrize("method", ["weighted", "cuped", "doubly_robust"])
def test_the_truth_lies_inside_about_as_often_as_promised(method):
    spec = PLAIN if method == "doubly_robust" else EFFECT
    found = [effect(campaign(seed, users=150, effect=0.4), method, spec) for seed in range(200)]
    inside = np.mean([row["low"] <= 0.4 <= row["high"] for row in found])
    assert 0.90 <= inside <= 0.99
    errors = np.mean([row["error"] for row in found])
    assert abs(np.mean([row["effect"] for row in found]) - 0.4) < 3 * errors / np.sqrt(200)
    assert errors == pytest.approx(np.std([row["effect"] for row in found]), rel=0.2)


def test_trees_take_noise_away_and_leave_no_bias():
    found = [effect(campaign(seed, users=200, effect=0.4), "doubly_robust") for seed in range(40)]
    plain = [effect(campaign(seed, users=200, effect=0.4), "weighted") for seed in range(40)]
    assert np.mean([row["error"] for row in found]) < 0.85 * np.mean([row["error"] for row in plain])
    assert np.mean([row["low"] <= 0.4 <= row["high"] for row in found]) >= 0.85
    assert abs(np.mean([row["effect"] for row in found]) - 0.4) < 3 * found[0]["error"] / np.sqrt(40)


def test_comparing_raw_means_is_wrong_where_chances_differ_and_says_so():
    table = campaign(6, users=600, effect=0.4)
    found = effect(table, "difference")
    assert found["high"] < 0.4
    assert not found["unbiased"]
    assert effect(table, "weighted")["unbiased"]
    assert effect(campaign(6, users=600, even=True), "difference")["unbiased"]


def test_wrong_propensities_are_mended_by_a_right_model_of_outcomes():
    found = []
    for seed in range(20):
        table = campaign(seed, users=400, effect=0.5).with_columns(propensity=pl.lit(0.5))
        found.append((effect(table, "weighted")["effect"], effect(table, "doubly_robust")["effect"]))
    weighted, robust = np.mean(found, axis=0)
    assert weighted < 0.3
    assert abs(robust - 0.5) < abs(weighted - 0.5) / 3


def test_no_effect_is_found_where_there_is_none():
    found = [effect(campaign(seed, effect=0.0), "doubly_robust", PLAIN) for seed in range(100)]
    assert np.mean([row["low"] <= 0 <= row["high"] for row in found]) >= 0.9


def test_each_arm_is_compared_with_the_control():
    table = pl.concat([three_arms(seed, users=2000) for seed in (1,)])
    for method in ("difference", "cuped", "weighted", "doubly_robust"):
        found = average_effects(table, spec=EFFECT, methods=[method])
        assert found["arm"].to_list() == ["a", "b"]
        for row, truth in zip(found.iter_rows(named=True), (0.4, -0.2), strict=True):
            assert abs(row["effect"] - truth) < 4 * row["error"]


def test_the_order_of_rows_changes_nothing():
    table = campaign(7, users=120)
    shuffled = table.sample(fraction=1, shuffle=True, seed=3)
    assert_frame_equal(average_effects(shuffled, spec=EFFECT), average_effects(table, spec=EFFECT), check_exact=True)


def test_rows_whose_window_has_not_ended_are_left_out():
    table = campaign(8, users=100)
    late = table.with_columns(outcome_days=pl.when(pl.col("user_id") < "u0050").then(pl.col("outcome_days")))
    assert_frame_equal(
        average_effects(late, spec=EFFECT), average_effects(table.filter(pl.col("user_id") < "u0050"), spec=EFFECT)
    )


def test_an_experiment_without_recorded_chances_takes_the_shares():
    table = campaign(9, even=True)
    shares = float(table["treatment"].mean())  # type: ignore[arg-type]
    recorded = effect(table.with_columns(propensity=pl.lit(shares)), "weighted")
    assert effect(table, "weighted", EFFECT.with_changes(propensity=None))["effect"] == pytest.approx(
        recorded["effect"]
    )


class TestRefusals:
    def test_two_rows_of_one_decision(self):
        table = campaign(1, users=50)
        with pytest.raises(BadInput, match=r"2 rows share their user_id and as_of with another \(u0000, 2025-01-01\)"):
            average_effects(pl.concat([table, table.head(1)]), spec=EFFECT)

    def test_propensities_of_zero_or_one(self):
        table = campaign(1, users=50).with_columns(
            propensity=pl.when(pl.col("user_id") == "u0003").then(1.0).otherwise(pl.col("propensity"))
        )
        with pytest.raises(BadInput, match=r"2 of 100 rows have a propensity outside \(0, 1\) in 'propensity'"):
            average_effects(table, spec=EFFECT)

    def test_a_control_that_is_not_there(self):
        with pytest.raises(BadInput, match=r"no row of 'treatment' is 'none'; it has \['a', 'b', 'control'\]"):
            average_effects(three_arms(1), spec=EFFECT.with_changes(control="none"))

    def test_an_arm_of_a_few_rows(self):
        table = three_arms(1).with_columns(
            treatment=pl.when(pl.int_range(pl.len()) < 3).then(pl.lit("c")).otherwise(pl.col("treatment"))
        )
        with pytest.raises(BadInput, match=r"arms with fewer: 'c' \(3\)"):
            average_effects(table, spec=EFFECT)

    def test_arms_as_numbers(self):
        table = campaign(1).with_columns(pl.col("treatment").cast(pl.Int64))
        with pytest.raises(
            BadInput, match=r"an arm is a word, or true and false. Cast it: .*pl.col\('treatment'\) == 1"
        ):
            average_effects(table, spec=EFFECT)

    def test_missing_columns_with_the_nearest_name(self):
        with pytest.raises(MissingColumn, match=r"rename\({'outcome_day': 'outcome_days'}\)"):
            average_effects(campaign(1).rename({"outcome_days": "outcome_day"}), spec=EFFECT)

    def test_no_outcome_at_all(self):
        table = campaign(1).with_columns(outcome_days=pl.lit(None, dtype=pl.Float64))
        with pytest.raises(EmptyInput, match="Column 'outcome_days' is empty: no outcome window had ended"):
            average_effects(table, spec=EFFECT)

    def test_an_id_among_the_covariates(self):
        table = campaign(1, users=400).with_columns(push_id=pl.concat_str("user_id", pl.col("as_of").cast(pl.String)))
        with pytest.raises(BadInput, match=r"column 'push_id' holds 800 different words.*Is it an id\? Drop it"):
            average_effects(table, spec=EFFECT, methods=["doubly_robust"])

    def test_a_method_that_there_is_not(self):
        with pytest.raises(BadInput, match="has no method 'psm'; it has difference, cuped, weighted, doubly_robust"):
            average_effects(campaign(1), spec=EFFECT, methods=["psm"])  # type: ignore[list-item]
