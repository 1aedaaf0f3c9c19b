"""Chosen on earlier folds, tested once: the last fold never reaches the choice, the future never the past."""

from datetime import date, timedelta
from math import log

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from sojourn.core import BadInput, MissingColumn
from sojourn.evaluate import BootstrapSpec, Fold, value_metrics
from sojourn.lifetime import ChurnSpec, Comparison, ValueSpec, choose, compare, make_model
from sojourn.lifetime.compare import split_of
from sojourn.lifetime.models import usable
from tests.lifetime.worlds import FAST, shop_table, value_of

QUICK = BootstrapSpec(replicates=50)
SPEC = ValueSpec(horizon_days=30, boost=FAST, train_as_ofs=3, models=("two_stage", "median", "repeat", "zero"))


@pytest.fixture(scope="module")
def comparison(table: pl.DataFrame) -> Comparison:
    return compare(table, spec=SPEC, bootstrap=QUICK)


def spoiled(table: pl.DataFrame, days: list[date]) -> pl.DataFrame:
    """The table with garbage for labels on these dates."""
    wrong = (pl.col("user_id").str.slice(1).cast(pl.Float64) % 17) * 40
    return table.with_columns(
        label_spend_30d=pl.when(pl.col("as_of").is_in(days)).then(wrong).otherwise("label_spend_30d")
    )


def known_at(table: pl.DataFrame, fold: Fold) -> pl.DataFrame:
    """The rows of the three latest dates whose labels had ended on the fold's test date."""
    days = sorted(day for day in table["as_of"].unique() if day + timedelta(days=30) <= fold.test)[-3:]
    return table.filter(pl.col("as_of").is_in(days))


def test_every_model_is_shown_on_every_fold(comparison):
    assert list(comparison.scores.models) == ["two_stage", "median", "repeat", "zero"]
    folds = comparison.table()
    assert folds["fold"].unique().sort().to_list() == [
        result.fold.test for result in (*comparison.choice.folds, comparison.final)
    ]
    assert set(folds["model"].unique()) == set(SPEC.models)
    assert comparison.chosen == comparison.scores.chosen == min(comparison.choice.loss, key=comparison.choice.loss.get)


def test_the_last_fold_never_reaches_the_choice(table, comparison):
    last = comparison.final.fold.test
    choice = choose(spoiled(table, [last]), spec=SPEC, bootstrap=QUICK)
    assert choice.loss == comparison.choice.loss
    assert choice.chosen == comparison.chosen


def test_labels_that_end_after_a_test_begins_never_reach_it(table, comparison):
    last = comparison.final.fold.test
    between = [day for day in table["as_of"].unique() if last - timedelta(days=30) < day < last]
    assert between
    again = compare(spoiled(table, between), spec=SPEC, bootstrap=QUICK)
    assert_frame_equal(again.final.predictions, comparison.final.predictions, check_exact=True)


def test_the_last_fold_s_figures_are_those_of_a_model_fitted_by_hand(table, comparison):
    last = comparison.final.fold.test
    model = make_model("median", spec=SPEC).fit(known_at(table, comparison.final.fold))
    users = table.filter(pl.col("as_of") == last)
    by_hand = value_metrics(users["label_spend_30d"], model.predict(users)["ltv_30"])
    assert comparison.scores.models["median"]["mae"].value == pytest.approx(by_hand["mae"])
    assert comparison.scores.models["median"]["gini"].value == pytest.approx(by_hand["gini"])


def test_the_loss_is_the_geometric_mean_of_its_three_parts(table, comparison):
    logs = []
    for result in comparison.choice.folds:
        found = result.scores.models["median"]
        held = vars(make_model("median", spec=SPEC).fit(known_at(table, result.fold)))["held_out_"]
        off = abs(held["ltv_30"].sum() / held["truth"].sum() - 1)
        logs += [log(found["mae"].value), log(1 - found["gini"].value), log(1 + off)]
    assert log(comparison.choice.loss["median"]) == pytest.approx(sum(logs) / len(logs))


def test_differences_are_the_chosen_model_minus_each_other(comparison):
    assert set(comparison.differences) == set(SPEC.models) - {comparison.chosen}
    models, found = comparison.scores.models, comparison.differences["repeat"]["mae"]
    assert found.value == pytest.approx(models[comparison.chosen]["mae"].value - models["repeat"]["mae"].value)
    assert found.high < 0


def test_the_chosen_model_has_intervals_and_their_coverage(comparison):
    assert comparison.coverage is not None
    overall = comparison.coverage.row(0, named=True)
    assert overall["n"] == comparison.predictions.height
    assert 0.7 < overall["coverage"] < 0.9
    assert {"ltv_30_low", "ltv_30_high"} <= set(comparison.predictions.columns)


def test_a_run_is_repeatable_and_rows_may_come_in_any_order(table, comparison):
    again = compare(table.sample(fraction=1.0, shuffle=True, seed=1), spec=SPEC, bootstrap=QUICK)
    assert_frame_equal(again.predictions, comparison.predictions, check_exact=True)
    assert again.scores == comparison.scores
    assert again.choice.fingerprint == comparison.choice.fingerprint


def test_other_rows_have_another_fingerprint(table, comparison):
    other = choose(table.filter(pl.col("user_id") != "u00007"), spec=SPEC, bootstrap=QUICK)
    assert other.fingerprint != comparison.choice.fingerprint


def test_churn_is_compared_by_the_same_rules(table):
    found = compare(table, spec=ChurnSpec(boost=FAST, train_as_ofs=3), bootstrap=QUICK)
    assert found.chosen == "churn_trees"
    assert found.coverage is None
    assert value_of(found.scores, "churn_trees", "auc") > value_of(found.scores, "recency", "auc")
    assert value_of(found.scores, "churn_trees", "brier") < value_of(found.scores, "recency", "brier")


def test_folds_are_as_many_as_history_allows():
    days = [date(2024, 1, 1) + timedelta(days=10 * n) for n in range(10)]
    assert len(split_of(days, spec=SPEC.with_changes(folds=5)).folds) == 3
    assert len(split_of(days, spec=SPEC.with_changes(folds=2)).folds) == 2


def test_early_folds_without_spenders_are_left_out(table):
    """As where a log begins, or an app had nothing to sell at first."""
    whole = choose(table, spec=SPEC, bootstrap=QUICK)
    first = whole.split.folds[0]
    quiet = table.with_columns(
        label_spend_30d=pl.when(pl.col("as_of") <= first.train[-1]).then(0.0).otherwise("label_spend_30d")
    )
    found = choose(quiet, spec=SPEC, bootstrap=QUICK)
    assert len(whole.folds) == 2
    assert [result.fold.test for result in found.folds] == [whole.folds[1].fold.test]
    assert found.split.final == whole.split.final


def test_history_that_is_too_short_is_told_with_the_days_needed(table):
    latest = table["as_of"].unique().sort()[-3:].to_list()
    with pytest.raises(BadInput) as refused:
        compare(table.filter(pl.col("as_of").is_in(latest)), spec=SPEC, bootstrap=QUICK)
    assert str(refused.value) == (
        "lifetime.compare: ltv_30 needs as-of dates that span 60 days, to choose on one window of 30 days and test on "
        "a later one, and so 90 days of log after the history (history_days) of the first; there are 3, from "
        f"{latest[0]} to {latest[-1]}, with 50 days of log. Bring a longer log, look less far ahead: --horizon 10 "
        "(horizons_days), or name the model yourself: models = {ltv_30 = 'two_stage'}"
    )


def test_bad_tables_are_refused_in_one_sentence(table):
    with pytest.raises(MissingColumn, match=r"lifetime.compare needs column 'label_spend_30d'"):
        compare(table.drop("label_spend_30d"), spec=SPEC)
    with pytest.raises(BadInput, match=r"lifetime.compare got a table without rows"):
        compare(table.clear(), spec=SPEC)
    with pytest.raises(BadInput, match=r"lifetime.compare needs at least 20 users to learn from and got 1"):
        compare(table.filter(pl.col("user_id") == "u00003"), spec=SPEC)


def test_models_take_part_where_the_table_tells_enough_for_them():
    spec = ValueSpec(horizon_days=30, boost=FAST, models=("two_stage", "pareto_nbd", "pace"))
    whole = shop_table(2, users=250)
    assert usable(spec, table=whole) == spec.models
    assert usable(spec, table=whole.drop("purchase_tenure_days")) == ("two_stage", "pace")
    assert usable(spec, table=whole.filter(pl.col("user_id") < "u00060")) == ("two_stage", "pace")
    found = compare(whole.drop("purchase_tenure_days"), spec=spec, bootstrap=BootstrapSpec(replicates=20))
    assert found.spec.models == ("two_stage", "pace")
