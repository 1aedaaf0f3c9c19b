"""Uplift: what is there is found, nothing is found where nothing is, and no prediction has seen its own outcome."""

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from sojourn.core import BadSpec, MissingColumn, UnreadableSource
from sojourn.effects import RankingSpec, Uplift, qini
from tests.effects.logs import UPLIFT, campaign, ends, three_arms

KEYS = ["user_id", "as_of"]


def test_a_known_difference_between_users_is_learned_with_its_size():
    table = campaign(1, users=1200, effect=0.1, spread=0.5)
    model = Uplift(UPLIFT).fit(table)
    assert model.chosen_["treated"]["learner"] != "constant"
    means = table.select("taste").with_columns(model.predict(table)["uplift_treated"]).group_by("taste").mean()
    found = dict(means.iter_rows())
    assert found["likes"] == pytest.approx(0.6, abs=0.15)
    assert found["dislikes"] == pytest.approx(-0.4, abs=0.15)
    ranking = qini(model.held_out_, spec=RankingSpec(replicates=50, random_scores=20))
    assert ends(ranking.figures["qini"])[0] > ends(ranking.random)[2]


def test_where_all_are_alike_the_constant_is_taken_nearly_always():
    found = [
        Uplift(UPLIFT).fit(campaign(seed, users=200, effect=0.3)).chosen_["treated"]["learner"] for seed in range(20)
    ]
    assert found.count("constant") >= 17


def test_where_nothing_acts_qini_holds_zero():
    inside = []
    for seed in range(20):
        held_out = Uplift(UPLIFT).fit(campaign(seed, users=200, effect=0.0)).held_out_
        found = qini(held_out, spec=RankingSpec(replicates=100, random_scores=10)).figures["qini"]
        low, _, high = ends(found)
        inside.append(low <= 0 <= high)
    assert sum(inside) >= 17


def test_a_held_out_prediction_knows_nothing_of_the_outcomes_of_its_group():
    table = campaign(2, users=300, spread=0.6)
    first = Uplift(UPLIFT).fit(table).held_out_
    mine = first.filter(pl.col("fold") == 1).select(KEYS)
    changed = table.join(mine.with_columns(is_mine=True), on=KEYS, how="left").with_columns(
        outcome_days=pl.when(pl.col("is_mine")).then(100 - 7 * pl.col("outcome_days")).otherwise(pl.col("outcome_days"))
    )
    second = Uplift(UPLIFT).fit(changed.drop("is_mine")).held_out_
    same = ["fold", "uplift_treated", "chosen_treated"]
    assert_frame_equal(
        second.filter(pl.col("fold") == 1).select(same),
        first.filter(pl.col("fold") == 1).select(same),
        check_exact=True,
    )
    others = pl.col("fold") != 1
    assert not second.filter(others)["uplift_treated"].equals(first.filter(others)["uplift_treated"])


def test_the_order_of_rows_changes_nothing():
    table = campaign(3, users=200, spread=0.5)
    one = Uplift(UPLIFT).fit(table)
    other = Uplift(UPLIFT).fit(table.sample(fraction=1, shuffle=True, seed=9))
    assert_frame_equal(one.held_out_, other.held_out_, check_exact=True)
    assert_frame_equal(one.predict(table), other.predict(table), check_exact=True)


@pytest.mark.parametrize("learner", ["linear", "trees"])
def test_each_learner_is_saved_and_loaded_as_it_is(learner, tmp_path):
    table = campaign(4, users=400, spread=0.8)
    model = Uplift(UPLIFT.with_changes(learners=(learner,))).fit(table)
    assert model.chosen_["treated"]["learner"] == learner
    model.save(tmp_path)
    again = Uplift.load(tmp_path)
    assert_frame_equal(again.predict(table), model.predict(table), check_exact=True)
    assert again.chosen_ == model.chosen_


def test_several_arms_have_an_uplift_each():
    table = three_arms(5, users=900)
    model = Uplift(UPLIFT).fit(table)
    said = model.predict(table)
    assert said.columns == ["user_id", "uplift_a", "uplift_b"]
    assert said["uplift_a"].mean() == pytest.approx(0.4, abs=0.15)
    assert said["uplift_b"].mean() == pytest.approx(-0.2, abs=0.15)


def test_scores_average_to_the_effect_on_any_group_named_before():
    table = campaign(6, users=2000, effect=0.1, spread=0.5)
    held_out = Uplift(UPLIFT).fit(table).held_out_.join(table.select(*KEYS, "taste"), on=KEYS)
    means = dict(held_out.group_by("taste").agg(pl.col("score_treated").mean()).iter_rows())
    assert means["likes"] == pytest.approx(0.6, abs=0.12)
    assert means["dislikes"] == pytest.approx(-0.4, abs=0.12)


def test_scoring_a_table_that_lacks_a_column_or_a_model_that_is_not_there(tmp_path):
    table = campaign(7, users=100)
    model = Uplift(UPLIFT).fit(table)
    with pytest.raises(MissingColumn, match=r"effects\.Uplift\.predict needs column 'taste'"):
        model.predict(table.drop("taste"))
    with pytest.raises(UnreadableSource, match="holds no saved model"):
        Uplift.load(tmp_path / "nowhere")


def test_only_modifiers_are_learned_from_and_asked_for():
    table = campaign(9, users=400, spread=0.8)
    model = Uplift(UPLIFT.with_changes(modifiers=("taste",))).fit(table)
    said = model.predict(table.select("user_id", "as_of", "taste"))
    assert said["uplift_treated"].n_unique() == 2
    with pytest.raises(BadSpec, match="the effect cannot depend on column 'outcome_days'"):
        UPLIFT.with_changes(modifiers=("outcome_days",))
    with pytest.raises(MissingColumn, match="needs column 'tastes'"):
        Uplift(UPLIFT.with_changes(modifiers=("tastes",))).fit(table)


def test_a_word_never_seen_is_a_missing_value():
    table = campaign(8, users=300, spread=0.8)
    model = Uplift(UPLIFT).fit(table)
    strange = model.predict(table.with_columns(taste=pl.lit("who knows")))
    assert np.isfinite(strange["uplift_treated"].to_numpy()).all()
