"""One and two stages: known parameters come back, dumb baselines are beaten, and nothing but the data matters."""

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from sojourn.core import BadInput, EmptyInput, Estimator, MissingColumn, UnreadableSource
from sojourn.evaluate import value_metrics
from sojourn.lifetime import Baseline, SingleStage, SingleStageSpec, TwoStage, ValueSpec, make_model
from tests.lifetime.worlds import FAST, first_and_last, shop_table

SPEC = ValueSpec(horizon_days=30, boost=FAST)
LEARNED = ("two_stage", "median_scaled", "median", "mean", "tweedie")


def built(name: str) -> Estimator:
    return make_model(name, spec=SPEC)


def scored(model: Estimator, train: pl.DataFrame, test: pl.DataFrame) -> dict[str, float]:
    return value_metrics(test["label_spend_30d"], model.fit(train).predict(test)["ltv_30"])


def lognormal_spend(ratio: float, sigma: float) -> pl.DataFrame:
    """Spend = pace x ratio x lognormal noise, and nothing else to be learned."""
    rng = np.random.default_rng(0)
    month = rng.gamma(2, 50, 6000) + 20
    return pl.DataFrame(
        {
            "user_id": [f"u{n}" for n in range(6000)],
            "as_of": [date(2024, 5, 1)] * 6000,
            "spend_30d": month,
            "tenure_days": [200] * 6000,
            "label_spend_30d": month * ratio * rng.lognormal(0, sigma, 6000),
        }
    )


@pytest.mark.parametrize("name", LEARNED)
def test_every_model_beats_the_dumb_ones(name, train, test):
    model, repeat, mean = (scored(built(each), train, test) for each in (name, "repeat", "always_mean"))
    assert model["mae"] < 0.9 * repeat["mae"]
    assert model["mae"] < 0.6 * mean["mae"]
    assert model["gini"] > repeat["gini"] + 0.02


@pytest.mark.parametrize("name", ["two_stage", "median_scaled", "mean", "tweedie"])
def test_models_of_the_mean_are_right_in_total(name, train, test):
    assert abs(scored(built(name), train, test)["bias"]) < 0.08


def test_two_stages_earn_their_keep_where_few_ever_pay():
    table = shop_table(2, users=2000, payers=0.1)
    _, end = first_and_last(table)
    train = table.filter(pl.col("as_of") <= end - timedelta(days=30))
    test = table.filter(pl.col("as_of") == end)
    two, one = (scored(built(name), train, test) for name in ("two_stage", "mean"))
    assert two["mae"] < one["mae"]
    assert two["gini"] > one["gini"]


def test_the_median_finds_the_ratio_to_the_pace():
    table = lognormal_spend(0.8, 0.7)
    model = SingleStage(SingleStageSpec(horizon_days=30, objective="median", boost=FAST)).fit(table)
    ratio = model.predict(table)["ltv_30"] / table["spend_30d"]
    assert np.median(ratio) == pytest.approx(0.8, rel=0.03)


def test_scaling_makes_held_out_predictions_sum_to_the_truth():
    table = lognormal_spend(0.8, 0.7)
    model = SingleStage(SingleStageSpec(horizon_days=30, boost=FAST)).fit(table)
    # The mean of a lognormal is exp(sigma**2 / 2) times its median.
    assert model.scale_ == pytest.approx(np.exp(0.7**2 / 2), rel=0.05)
    assert model.held_out_["ltv_30"].sum() == pytest.approx(table["label_spend_30d"].sum())


def test_smearing_is_the_mean_of_exponentiated_residuals():
    table = lognormal_spend(0.8, 0.7)
    model = TwoStage(SPEC.with_changes(little_share=0.0)).fit(table)
    assert model.smear_ == pytest.approx(np.exp(0.7**2 / 2), rel=0.05)
    assert model.predict(table)["ltv_30"].sum() == pytest.approx(table["label_spend_30d"].sum(), rel=0.03)


def test_little_is_a_share_of_the_median_spender(train):
    model = TwoStage(SPEC.with_changes(little_share=0.2)).fit(train)
    spend = train["label_spend_30d"]
    assert model.little_ == pytest.approx(0.2 * spend.filter(spend > 0).median())
    assert model.little_mean_ == pytest.approx(spend.filter(spend <= model.little_).mean())


@pytest.mark.parametrize("name", LEARNED)
def test_the_order_of_rows_and_columns_changes_nothing(name, train, test):
    shuffled = train.sample(fraction=1.0, shuffle=True, seed=5)
    assert_frame_equal(
        built(name).fit(train).predict(test), built(name).fit(shuffled).predict(test[::-1])[::-1], check_exact=True
    )


@pytest.mark.parametrize("name", ["two_stage", "median_scaled", "pace"])
def test_another_currency_changes_nothing_but_the_unit(name, train, test):
    money = pl.selectors.starts_with("spend_", "label_spend_")
    one = built(name).fit(train).predict(test)["ltv_30"]
    four = built(name).fit(train.with_columns(money * 4)).predict(test.with_columns(money * 4))["ltv_30"]
    assert (four / 4).to_list() == one.to_list()  # a power of two: not even rounding differs


@pytest.mark.parametrize("name", LEARNED)
def test_refunds_are_net_and_predictions_never_negative(name, train, test):
    refunded = train.with_columns(
        pl.when(pl.col("user_id") < "u00050").then(-5.0).otherwise("label_spend_30d").alias("label_spend_30d"),
        pl.when(pl.col("user_id") < "u00050").then(-1.0).otherwise("spend_90d").alias("spend_90d"),
    )
    spend = built(name).fit(refunded).predict(test)["ltv_30"]
    assert spend.is_finite().all()
    assert (spend >= 0).all()


@pytest.mark.parametrize("name", LEARNED)
def test_held_out_predictions_are_those_of_the_training_rows(name, train):
    held = built(name).fit(train).held_out_  # type: ignore[attr-defined]
    assert_frame_equal(held.select("user_id", "as_of"), train.select("user_id", "as_of"))
    assert held["truth"].to_list() == train["label_spend_30d"].to_list()


@pytest.mark.parametrize("name", [*LEARNED, "pace", "always_mean"])
def test_saving_and_loading_is_the_identity(name, train, test, tmp_path):
    model = built(name).fit(train)
    model.save(tmp_path / "model")
    again = type(model).load(tmp_path / "model")
    assert again.spec == model.spec
    assert_frame_equal(again.predict(test), model.predict(test), check_exact=True)


def test_loading_something_else_is_refused(train, tmp_path):
    built("zero").fit(train).save(tmp_path)
    with pytest.raises(UnreadableSource, match=r"holds a Baseline. Load it with lifetime.Baseline.load"):
        TwoStage.load(tmp_path)
    with pytest.raises(UnreadableSource, match=r"holds no saved model"):
        TwoStage.load(tmp_path / "nowhere")


@pytest.mark.parametrize("name", [*LEARNED, "repeat"])
class TestBadInput:
    def test_one_user_only(self, name, train):
        if name == "repeat":
            return  # a rule needs no crowd
        with pytest.raises(BadInput, match=r"needs at least 20 users to learn from and got 1. Bring more users"):
            built(name).fit(train.filter(pl.col("user_id") == "u00003"))

    def test_no_purchase_in_the_label_window(self, name, train):
        with pytest.raises(BadInput) as refused:
            built(name).fit(train.with_columns(label_spend_30d=0.0))
        first, last = first_and_last(train)
        assert f"no user spent anything within 30 days after the as-of dates {first} to {last}" in str(refused.value)
        assert "('label_spend_30d' is never above 0). Check the mapping of the amount column" in str(refused.value)

    def test_hardly_any_purchase_in_the_label_window(self, name, train):
        if name == "repeat":
            return
        few = train.with_columns(label_spend_30d=pl.when(pl.col("user_id") < "u00003").then(5.0).otherwise(0.0))
        with pytest.raises(BadInput, match=r"needs at least 10 users who spent something within 30 days .* and got 3"):
            built(name).fit(few)

    def test_an_empty_table(self, name, train):
        with pytest.raises(EmptyInput, match=r"fit got a table without rows"):
            built(name).fit(train.clear())

    def test_no_label(self, name, train):
        with pytest.raises(MissingColumn, match=r"fit needs column 'label_spend_30d'"):
            built(name).fit(train.drop("label_spend_30d"))

    def test_a_column_that_is_missing_when_scoring(self, name, train, test):
        with pytest.raises(MissingColumn, match=r"predict needs column 'spend_30d'; the table has"):
            built(name).fit(train).predict(test.drop("spend_30d"))


@pytest.mark.parametrize("name", LEARNED)
def test_an_unknown_column_when_scoring_is_refused(name, train, test):
    with pytest.raises(BadInput, match=r"predict got columns that the model was not trained with: \['mood'\]"):
        built(name).fit(train).predict(test.with_columns(mood=1))


def test_baselines_follow_their_rule(train, test):
    spend = {rule: built(rule).fit(train).predict(test)["ltv_30"] for rule in ("repeat", "always_mean", "zero")}
    assert spend["repeat"].to_list() == test["spend_30d"].to_list()
    assert spend["always_mean"].unique().to_list() == [pytest.approx(train["label_spend_30d"].mean())]
    assert spend["zero"].unique().to_list() == [0.0]


def test_repeating_takes_the_nearest_window_and_scales_it(train, test):
    spec = SPEC.with_changes(horizon_days=45)
    table = train.rename({"label_spend_30d": "label_spend_45d"})
    model = make_model("repeat", spec=spec).fit(table)
    assert isinstance(model, Baseline)
    assert model.windows_ == ("spend_30d",)
    assert model.predict(test)["ltv_45"].to_list() == (test["spend_30d"] * 1.5).to_list()
