"""All tasks together: what is predicted, by which model, and that the file on disk says the same."""

from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from sojourn.core import BadInput, MissingColumn, NotFitted, UnreadableSource
from sojourn.lifetime import Lifetime, LifetimeSpec
from tests.lifetime.worlds import FAST

SPEC = LifetimeSpec(
    horizons_days=(14, 30),
    boost=FAST,
    train_as_ofs=3,
    folds=2,
    replicates=20,
    models={"ltv_14": "two_stage", "ltv_30": "median", "churn_30": "churn_trees"},
)


@pytest.fixture(scope="module")
def model(both: pl.DataFrame) -> Lifetime:
    return Lifetime(SPEC).fit(both)


@pytest.fixture(scope="module")
def today(both: pl.DataFrame) -> pl.DataFrame:
    return both.filter(pl.col("as_of") == both["as_of"].max()).drop(pl.selectors.starts_with("label_"))


def test_every_task_is_predicted_with_its_origin(model, today):
    found = model.predict(today)
    assert found.columns == [
        *("user_id", "as_of", "ltv_14", "ltv_14_low", "ltv_14_high", "ltv_30", "ltv_30_low", "ltv_30_high"),
        *("churn_prob_30", "model_version", "fingerprint"),
    ]
    assert found["user_id"].to_list() == today["user_id"].to_list()
    assert found["fingerprint"].unique().to_list() == [model.fingerprint_]
    assert found["model_version"][0].startswith("sojourn 0.")
    assert found.null_count().sum_horizontal().item() == 0


def test_labels_are_not_read_when_predicting(model, both, today):
    with_labels = both.filter(pl.col("as_of") == both["as_of"].max())
    assert_frame_equal(model.predict(with_labels), model.predict(today), check_exact=True)


def test_saving_and_loading_is_the_identity(model, today, tmp_path):
    model.save(tmp_path)
    again = Lifetime.load(tmp_path)
    assert_frame_equal(again.predict(today), model.predict(today), check_exact=True)
    assert again.spec == model.spec
    assert again.known_until == model.known_until
    (tmp_path / "ltv_14" / "model.json").unlink()
    with pytest.raises(UnreadableSource, match=r"holds no model of this room"):
        Lifetime.load(tmp_path)


def test_the_fingerprint_tells_models_apart(model, both):
    assert Lifetime(SPEC).fit(both).fingerprint_ == model.fingerprint_
    other = both.with_columns(label_spend_30d=pl.col("label_spend_30d") * 1.01)
    assert Lifetime(SPEC).fit(other).fingerprint_ != model.fingerprint_


def test_a_task_without_a_named_model_gets_what_earlier_folds_pick(both):
    chosen = Lifetime(SPEC.with_changes(models={"ltv_14": "zero", "ltv_30": "median"})).fit(both).chosen_
    assert chosen == {"ltv_14": "zero", "ltv_30": "median", "churn_30": "churn_trees"}


def test_what_is_known_ends_with_the_last_label_window(model, both):
    for days in (14, 30):
        labelled = both.filter(pl.col(f"label_spend_{days}d").is_not_null())
        assert model.trained_on_[f"ltv_{days}"][-1] == labelled["as_of"].max()
    assert model.known_until == both["as_of"].max() + timedelta(days=14)


def test_history_shorter_than_the_horizon_is_told(both):
    cut = both.with_columns(label_spend_30d=pl.lit(None, dtype=pl.Float64))
    with pytest.raises(
        BadInput, match=r"no label window of 30 days had ended when the data ends. Use a shorter horizon"
    ):
        Lifetime(SPEC).fit(cut)
    with pytest.raises(MissingColumn, match=r"lifetime.Lifetime.fit needs column 'label_spend_30d'"):
        Lifetime(SPEC).fit(both.drop("label_spend_30d"))


def test_predicting_before_fitting_is_refused(today):
    with pytest.raises(NotFitted, match=r"Lifetime is not fitted yet"):
        Lifetime(SPEC).predict(today)


def test_horizons_rise_as_isotonic_regression_has_it():
    from sklearn.isotonic import IsotonicRegression

    from sojourn.lifetime._rising import rising

    numbers = np.random.default_rng(0).gamma(2, size=(60, 4))
    names = ["ltv_7", "ltv_30", "ltv_90", "ltv_180"]
    found = np.stack([column.to_numpy() for column in rising(pl.DataFrame(numbers, schema=names), names)], axis=1)
    slow = [IsotonicRegression().fit_transform(np.arange(4), row) for row in numbers]
    np.testing.assert_allclose(found, slow)
