"""Figures of daily activity: what the shared metrics say, day by day, and intervals over users."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sojourn.core import BadInput
from sojourn.evaluate import BootstrapSpec, classification_metrics
from sojourn.lifetime import RetentionSpec, compare_activity, judge
from sojourn.lifetime.retention._days import matrix_of
from tests.lifetime.retention.worlds import FAST, activity, coming_chance, lives, seen_from

QUICK = BootstrapSpec(replicates=40)
SPEC = RetentionSpec(
    horizon_days=14, days_per_row=4, step_days=7, train_as_ofs=2, folds=3, replicates=40, boost=FAST,
    models=("daily_trees", "recent", "cohort"),
)  # fmt: skip


def predictions(seed: int, *, users: int = 80, days: int = 5, unknown: float = 0.0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    chance = rng.beta(1, 2, (users, days))
    truth = np.where(rng.random((users, days)) < unknown, np.nan, rng.random((users, days)) < chance)
    listed = [[None if cell != cell else cell for cell in row] for row in truth.tolist()]
    return pl.DataFrame(
        {
            "user_id": [f"u{n:03d}" for n in range(users)],
            "truth": listed,
            "knows": chance.tolist(),
            "guesses": rng.random((users, days)).tolist(),
        }
    )


@given(seed=st.integers(0, 50), unknown=st.sampled_from([0.0, 0.3]))
@settings(max_examples=12, deadline=None)
def test_figures_are_those_of_the_shared_metrics(seed, unknown):
    table = predictions(seed, unknown=unknown)
    found = judge(table, models=["knows"], bootstrap=BootstrapSpec(replicates=10))
    truth, prob = matrix_of(table["truth"]), matrix_of(table["knows"])
    known = np.isfinite(truth)
    slow = classification_metrics(truth[known].astype(int), prob[known])
    for name in ("brier", "log_loss", "ece", "bias"):
        assert found.values["knows"][name] == pytest.approx(slow[name])
    days = [classification_metrics(truth[known[:, k], k].astype(int), prob[known[:, k], k])["auc"] for k in range(5)]
    assert found.by_day["auc"].to_list() == pytest.approx(days)
    assert found.values["knows"]["auc"] == pytest.approx(np.mean(days))


def test_the_order_of_users_changes_nothing():
    table = predictions(1)
    shuffled = table.sample(fraction=1, shuffle=True, seed=3)
    one, two = (judge(each, models=["knows", "guesses"], bootstrap=QUICK) for each in (table, shuffled))
    assert one.intervals() == two.intervals()
    assert one.by_day.equals(two.by_day)


def test_who_knows_the_chance_is_better_beyond_doubt_and_nobody_beats_himself():
    found = judge(predictions(2, users=200), models=["knows", "guesses"], bootstrap=QUICK)
    difference = found.difference("knows", "guesses")
    assert (difference["brier"].high or 0.0) < 0 < (difference["auc"].low or 0.0)
    assert difference["brier"].prob_better == 1.0
    same = found.difference("knows", "knows")["brier"]
    assert (same.value, same.low, same.high, same.prob_better) == (0.0, 0.0, 0.0, 0.5)


def test_a_day_on_which_nobody_was_active_has_no_auc_and_is_left_out_of_the_mean():
    table = predictions(3)
    closed = table.with_columns(
        pl.col("truth").list.eval(pl.when(pl.int_range(pl.len()) == 2).then(0.0).otherwise(pl.element()))
    )
    found = judge(closed, models=["knows"], bootstrap=QUICK)
    assert found.by_day["auc"].is_null().to_list() == [False, False, True, False, False]
    assert found.values["knows"]["auc"] == pytest.approx(found.by_day["auc"].drop_nulls().mean())


def test_predictions_without_a_probability_a_day_are_refused():
    with pytest.raises(BadInput, match=r"predictions of \['knows'\] must have a probability for each of 5 days"):
        judge(predictions(1).with_columns(pl.col("knows").list.head(4)), models=["knows"], bootstrap=QUICK)


@pytest.fixture(scope="module")
def comparison():
    looks = tuple(range(50, 107, 7))
    return compare_activity(activity(3, looks=looks, users=400), spec=SPEC)


def test_the_better_model_is_chosen_on_earlier_folds_and_tested_on_the_last(comparison):
    assert comparison.chosen == "daily_trees"
    assert len(comparison.folds) == 2
    assert all(fold.fold.test < comparison.final.fold.test for fold in comparison.folds)
    assert comparison.differences["cohort"]["brier"].high < 0
    assert comparison.scores.models["daily_trees"]["auc"].value > 0.7


def test_no_day_learned_from_lies_after_the_test_begins(comparison):
    for each in (*comparison.folds, comparison.final):
        ends = [day.toordinal() + 14 for day in each.fold.train]
        assert max(ends) <= each.fold.test.toordinal()


def test_the_truth_itself_is_no_worse_than_what_was_picked(comparison):
    """The known chance of every user and day, judged by the same rules, is the bound."""
    life, look = lives(3, users=400), (comparison.final.fold.test - lives_first()).days
    table = seen_from(life, look)
    known = coming_chance(life, look, table)
    both = comparison.final.predictions.join(
        table.select("user_id", bound=pl.Series(known.tolist(), dtype=pl.List(pl.Float64))), on="user_id"
    )
    found = judge(both, models=["bound", "daily_trees"], bootstrap=QUICK)
    assert found.values["bound"]["brier"] < found.values["daily_trees"]["brier"]


def lives_first():
    from tests.lifetime.retention.worlds import FIRST

    return FIRST


def test_too_short_a_history_says_how_long_it_must_be():
    with pytest.raises(BadInput, match=r"needs as-of dates that span 28 days.*look less far ahead: horizon_days = "):
        compare_activity(activity(3, looks=(90, 97), users=100), spec=SPEC)
