"""Models of daily activity: they know more than the dumb ones, and what they say can be kept, repeated and believed."""

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from sojourn.core import BadInput, BadSpec, EmptyInput, Estimator, MissingColumn, UnreadableSource
from sojourn.lifetime import RetentionSpec, feature_effects, load_retention_model, retention_model
from sojourn.lifetime.retention._days import matrix_of
from sojourn.lifetime.retention.models import BASELINES
from tests.lifetime.retention.worlds import SPEC, activity, coming_chance, lives, seen_from

NAMES = ("daily_trees", *BASELINES)


@pytest.fixture(scope="module")
def train() -> pl.DataFrame:
    return activity(1, users=500)


@pytest.fixture(scope="module")
def fresh() -> pl.DataFrame:
    return seen_from(lives(2, users=500), 92)


def built(name: str) -> Estimator:
    return retention_model(name, spec=SPEC)


def said_by(model: Estimator, table: pl.DataFrame) -> np.ndarray:
    return matrix_of(model.predict(table)["active_prob"])


def test_trees_know_the_chance_of_users_never_seen_better_than_any_baseline(train, fresh):
    truth = coming_chance(lives(2, users=500), 92, fresh)
    error = {name: float(((said_by(built(name).fit(train), fresh) - truth) ** 2).mean()) for name in NAMES}
    assert min(error, key=error.__getitem__) == "daily_trees", error
    assert error["daily_trees"] < 0.95 * min(error[name] for name in BASELINES)


def test_trees_know_the_weekdays(train, fresh):
    prob = said_by(built("daily_trees").fit(train), fresh)
    weekday = (fresh["as_of"][0].weekday() + np.arange(14)) % 7
    assert prob[:, weekday >= 5].mean() > 1.2 * prob[:, weekday < 5].mean()


def test_held_out_probabilities_are_calibrated(train):
    held = built("daily_trees").fit(train).held_out_  # type: ignore[attr-defined]
    assert held["prob"].mean() == pytest.approx(held["truth"].mean(), rel=0.02)
    by_day = held.group_by("day_ahead").agg(gap=(pl.col("prob") - pl.col("truth")).mean())
    assert by_day["gap"].abs().max() < 0.08


@pytest.mark.parametrize("name", NAMES)
class TestEveryModel:
    def test_probabilities_are_probabilities_and_sum_to_the_expected_days(self, name, train, fresh):
        said = built(name).fit(train).predict(fresh)
        prob = matrix_of(said["active_prob"])
        assert prob.shape == (fresh.height, 14)
        assert ((prob >= 0) & (prob <= 1)).all()
        assert np.allclose(prob.sum(axis=1), said["expected_days"])

    def test_the_order_of_rows_changes_nothing(self, name, train, fresh):
        shuffled = train.sample(fraction=1.0, shuffle=True, seed=5)
        assert_frame_equal(
            built(name).fit(train).predict(fresh), built(name).fit(shuffled).predict(fresh), check_exact=True
        )

    def test_what_is_to_come_is_never_read_when_predicting(self, name, train, fresh):
        model = built(name).fit(train)
        blind = fresh.drop("active_ahead", "pushed_ahead", "propensity_ahead")
        assert_frame_equal(model.predict(blind), model.predict(fresh), check_exact=True)

    def test_days_not_known_are_left_out_and_never_count_as_inactive(self, name, train):
        """Hiding the last week of every row must not lower what is said of the first."""
        hidden = train.with_columns(
            pl.concat_list(pl.col("active_ahead").list.head(7), pl.lit([None] * 7, dtype=pl.List(pl.Float64))).alias(
                "active_ahead"
            )
        )
        whole, cut = (said_by(built(name).fit(table), train)[:, :7].mean() for table in (train, hidden))
        assert cut == pytest.approx(whole, rel=0.1)

    def test_it_is_found_again_by_its_folder(self, name, train, fresh, tmp_path):
        model = built(name).fit(train)
        model.save(tmp_path / "model")
        again = load_retention_model(tmp_path / "model")
        assert_frame_equal(again.predict(fresh), model.predict(fresh), check_exact=True)


def test_the_raw_share_is_the_share_of_the_days_that_were_seen():
    table = pl.DataFrame(
        {
            "user_id": ["new", "old"],
            "as_of": [None, None],
            "tenure_days": [2, 40],
            "active_before": [[1, 1, *[None] * 26], [1, *[0] * 27]],
            "active_ahead": [[0.0] * 14, [1.0] * 14],
        },
        schema_overrides={"as_of": pl.Date, "active_before": pl.List(pl.Float64)},
    )
    said = built("recent_raw").fit(table).predict(table)
    assert said["expected_days"].to_list() == pytest.approx([14.0, 1.0])


def test_a_cohort_curve_follows_the_age_of_the_day_itself(train):
    said = built("cohort").fit(train).predict(train)
    prob = pl.DataFrame({"age": train["tenure_days"] + 3, "prob": matrix_of(said["active_prob"])[:, 3]}).sort("age")
    assert prob.group_by("age").agg(pl.col("prob").n_unique())["prob"].max() == 1


def test_effects_of_features_are_told_in_words(train):
    found = feature_effects(built("daily_trees").fit(train), table=train)
    assert found["share"].sum() == pytest.approx(1)
    assert found.filter(pl.col("feature") == "target_weekday")["words"].item() == "weekday of the day predicted"


def test_nobody_active_is_refused_with_the_mend(train):
    never = train.with_columns(pl.col("active_ahead").list.eval(pl.element() * 0))
    with pytest.raises(BadInput, match=r"every user was active on no known day of 'active_ahead'.*Check the condition"):
        built("daily_trees").fit(never)
    with pytest.raises(BadInput, match="was active on no known day"):
        built("recent").fit(never)


def test_nothing_known_ahead_is_refused(train):
    with pytest.raises(EmptyInput, match="as-of dates that have known days after them"):
        built("daily_trees").fit(train.with_columns(pl.col("active_ahead").list.eval(pl.lit(None, dtype=pl.Float64))))


def test_a_missing_column_is_named(train):
    with pytest.raises(MissingColumn, match=r"lifetime.DailyTrees.fit needs column 'active_before'"):
        built("daily_trees").fit(train.drop("active_before"))


def test_a_named_model_must_be_among_those_compared():
    with pytest.raises(BadSpec, match="model 'process' is not among models"):
        RetentionSpec(models=("daily_trees",), model="process")


def test_a_folder_without_a_model_is_told(tmp_path):
    with pytest.raises(UnreadableSource, match="Fit one: sojourn retention fit"):
        load_retention_model(tmp_path)
