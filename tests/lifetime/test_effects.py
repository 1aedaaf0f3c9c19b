"""What moves a prediction."""

import polars as pl
import pytest

from sojourn.core import BadInput
from sojourn.lifetime import ValueSpec, feature_effects, make_model
from sojourn.lifetime.effects import PORTRAIT, feature_words
from tests.lifetime.test_interval import SPEC, spenders
from tests.lifetime.worlds import FAST


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("spend_90d", "spend a day, last 90 days"),
        ("spend_all", "spend a day since first seen"),
        ("purchases_per_day", "purchases a day since first seen"),
        ("purchase_days_7d_of_30d", "share of the last 30 days' days with a purchase that fell in the last 7"),
        ("spend_decayed_14d", "spend a day, weight halving every 14 days"),
        ("mean_purchase_30d", "mean purchase of the last 30 days"),
        ("purchase_gap_std_days", "days between purchases: spread"),
        ("spend_day_largest", "spend on a day with any: largest"),
        ("sunday_share", "share of active days that are sundays"),
        ("purchase_overdue", "time since the last purchase, against the usual gap"),
        ("household_size", "household size"),
    ],
)
def test_a_feature_has_a_name_that_people_read(name, words):
    assert feature_words(name) == words


def test_the_feature_that_decides_comes_first_with_its_direction():
    table = spenders(0).with_columns(label_spend_30d=pl.col("spend_30d") * (1 - pl.col("noise")))
    effects = feature_effects(make_model("median", spec=SPEC).fit(table), table=table)
    assert effects.row(0, named=True) == {
        "feature": "noise",
        "words": "noise",
        "theme": PORTRAIT,
        "share": pytest.approx(1.0, abs=0.1),
        "direction": "more, lower",
    }
    assert effects["share"].sum() == pytest.approx(1.0)


@pytest.mark.parametrize("name", ["two_stage", "tweedie"])
def test_shares_sum_to_one_for_every_kind_of_trees(name, train, test):
    model = make_model(name, spec=ValueSpec(horizon_days=30, boost=FAST)).fit(train)
    effects = feature_effects(model, table=test)
    assert effects["share"].sum() == pytest.approx(1.0)
    assert effects["share"].is_sorted(descending=True)
    assert effects.filter(pl.col("feature") == "country")["direction"].to_list() == ["depends"]


def test_a_rule_has_no_effects_and_no_users_are_refused(train, test):
    assert feature_effects(make_model("zero", spec=ValueSpec(horizon_days=30)).fit(train), table=test).is_empty()
    model = make_model("median", spec=ValueSpec(horizon_days=30, boost=FAST)).fit(train)
    with pytest.raises(BadInput, match=r"lifetime.feature_effects got a table without rows"):
        feature_effects(model, table=test.clear())
