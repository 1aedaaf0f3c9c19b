"""A stack is the best mean of its members on users they had not seen, and each member alone where no mean helps."""

from itertools import product
from math import log

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from sojourn.core import BadInput
from sojourn.evaluate import BootstrapSpec, value_metrics
from sojourn.lifetime import Lifetime, LifetimeSpec, Stack, StackSpec, ValueSpec, compare, feature_effects
from sojourn.lifetime.compare import Comparison
from sojourn.lifetime.segments import segment_scores
from sojourn.lifetime.verdict import verdict
from tests.lifetime.worlds import FAST

MEMBERS = ("two_stage", "median", "bgnbd", "zero")
SPEC = StackSpec(horizon_days=30, boost=FAST, models=(*MEMBERS, "stack"))


@pytest.fixture(scope="module")
def stack(train: pl.DataFrame) -> Stack:
    return Stack(SPEC).fit(train)


@pytest.fixture(scope="module")
def comparison(table: pl.DataFrame) -> Comparison:
    task = ValueSpec(horizon_days=30, boost=FAST, train_as_ofs=3, models=(*MEMBERS, "stack"))
    return compare(table, spec=task, bootstrap=BootstrapSpec(replicates=50))


def loss(truth: np.ndarray, said: np.ndarray) -> float:
    found = value_metrics(truth, said)
    return log(found["mae"]) + log(1 - found["gini"]) + log(1 + abs(found["bias"]))


def test_it_predicts_the_weighted_mean_of_its_members(stack, test):
    assert sum(stack.weights_.values()) == pytest.approx(1)
    by_hand = sum(weight * stack.members_[name].predict(test)["ltv_30"] for name, weight in stack.weights_.items())
    assert stack.predict(test)["ltv_30"].to_list() == pytest.approx(by_hand.to_list())


def test_no_member_alone_does_better_on_held_out_users(stack, train):
    held = stack.held_out_
    mine = loss(held["truth"].to_numpy(), held["ltv_30"].to_numpy())
    for name in MEMBERS:
        alone = vars(Stack(SPEC.with_changes(models=(name,))).fit(train))["held_out_"]
        assert mine <= loss(alone["truth"].to_numpy(), alone["ltv_30"].to_numpy()) + 1e-12


def test_few_rounds_find_what_trying_every_mean_finds(train):
    """The slow twin: all means of three picks out of two members."""
    pair = SPEC.with_changes(models=("two_stage", "median"), rounds=3)
    found = Stack(pair).fit(train)
    held = [Stack(pair.with_changes(models=(name,))).fit(train).held_out_ for name in ("two_stage", "median")]
    truth, said = held[0]["truth"].to_numpy(), [each["ltv_30"].to_numpy() for each in held]
    means = {
        (a, b): loss(truth, (a * said[0] + b * said[1]) / (a + b))
        for a, b in product(range(4), repeat=2)
        if 0 < a + b <= 3
    }
    mine = loss(truth, found.held_out_["ltv_30"].to_numpy())
    assert mine == pytest.approx(min(means.values()), abs=0.02)


def test_one_member_is_the_stack_where_the_others_are_noise():
    keys = pl.DataFrame({"user_id": [f"u{n:04d}" for n in range(500)], "as_of": ["2024-01-01"] * 500})
    rng = np.random.default_rng(0)
    truth = rng.lognormal(2, 1, 500)

    class Said:
        def __init__(self, values):
            self.held_out_ = keys.with_columns(truth=pl.Series(truth), ltv_30=pl.Series(values))

    members = {"two_stage": Said(truth), "median": Said(rng.permutation(truth)), "zero": Said(np.zeros(500))}
    assert Stack(SPEC).weigh(members).weights_ == {"two_stage": 1.0}  # type: ignore[arg-type]


def test_without_a_member_it_is_refused(train):
    with pytest.raises(BadInput, match="no member to weigh"):
        Stack(SPEC.with_changes(models=("stack",))).fit(train)


def test_in_a_comparison_it_is_made_of_the_models_beside_it(comparison):
    stack = comparison.final.models["stack"]
    assert all(stack.members_[name] is comparison.final.models[name] for name in stack.weights_)
    assert comparison.choice.loss["stack"] <= min(comparison.choice.loss.values()) * 1.05


def test_its_effects_are_those_of_its_members(stack, test):
    found = feature_effects(stack, table=test)
    assert found["share"].sum() == pytest.approx(1)
    assert found["feature"].is_unique().all()


def test_a_lifetime_may_name_it_and_saves_it(both, tmp_path):
    spec = LifetimeSpec(
        horizons_days=(14,), churn_days=30, boost=FAST, models={"ltv_14": "stack", "churn_30": "recency"}
    )
    users = both.filter(pl.col("as_of") == pl.col("as_of").max())
    model = Lifetime(spec).fit(both)
    model.save(tmp_path)
    assert_frame_equal(Lifetime.load(tmp_path).predict(users), model.predict(users), check_exact=True)


def test_segments_part_the_users_of_the_last_fold(comparison):
    found = segment_scores(comparison)
    everyone = comparison.predictions
    countries = found.filter(pl.col("segment") == "country")
    assert countries["value"].to_list() == ["de", "fr", "it"]
    assert countries["users"].sum() == everyone.height
    total = (countries["users"] * countries["truth"]).sum()
    assert total == pytest.approx(everyone["truth"].sum())
    assert countries["coverage"].is_between(0.6, 1).all()


def test_the_verdict_names_who_did_better_on_the_last_fold(comparison):
    said = verdict(comparison)
    assert said.startswith(f"the earlier folds picked '{comparison.chosen}'")
    behind = {
        name
        for name, found in comparison.differences.items()
        if (found["mae"].low or 0) > 0 or (found["gini"].high or 0) < 0
    }
    assert all((f"'{name}' (" in said) == (name in behind) for name in comparison.differences)


def test_a_dumb_baseline_that_was_picked_is_called_one(table):
    task = ValueSpec(horizon_days=30, boost=FAST, models=("repeat", "zero"), folds=2)
    found = compare(table, spec=task, bootstrap=BootstrapSpec(replicates=20))
    assert "a dumb baseline: nothing that was learned did better there" in verdict(found)
