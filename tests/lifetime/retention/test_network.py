"""The network of daily activity: its loss is the log loss, it knows weekdays, and the comparison takes it in."""

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from sojourn.core import BadSpec, MissingColumn, UnreadableSource
from sojourn.features import SequenceSpec
from sojourn.lifetime import (
    DailyNetwork,
    DailyNetworkSpec,
    FittedRetention,
    RetentionSpec,
    activity_table,
    compare_activity,
    fit_retention,
    load_retention_model,
    predict_retention,
    retention_model,
    retention_table,
)
from sojourn.lifetime.retention._days import matrix_of
from tests.lifetime.retention.conftest import SMALL
from tests.lifetime.retention.worlds import FAST, activity, coming_chance, in_order, lives, seen_from

torch = pytest.importorskip("torch")
torch.set_num_threads(1)

SPEC = DailyNetworkSpec(horizon_days=14, days_per_row=4, boost=FAST, width=12, epochs=6, learning_rate=0.01)


@pytest.fixture(scope="module")
def train() -> pl.DataFrame:
    # Looks on all weekdays, so that the weekday of a day ahead is not the same as how far ahead it lies.
    return in_order(activity(1, users=400, looks=(50, 58, 66, 74, 82, 90, 98)))


@pytest.fixture(scope="module")
def fresh() -> pl.DataFrame:
    return in_order(seen_from(lives(2, users=400), 92))


@pytest.fixture(scope="module")
def model(train: pl.DataFrame) -> DailyNetwork:
    return DailyNetwork(SPEC).fit(train)


def test_the_loss_is_the_log_loss_of_start_day_and_weekday_together():
    from sojourn.lifetime._sequence_net import daily_loss

    rng = np.random.default_rng(0)
    output, start = rng.normal(size=(40, 5 + 7)), rng.normal(size=(40, 6))
    start[:, 5] = rng.integers(0, 7, 40)
    target = (rng.random((40, 5)) < 0.4).astype(float)
    target[:7, 3:] = np.nan
    losses = []
    for row, day in np.argwhere(np.isfinite(target)):
        weekday = (int(start[row, 5]) + day) % 7
        chance = 1 / (1 + np.exp(-(start[row, day] + output[row, day] + output[row, 5 + weekday])))
        losses.append(-np.log(chance if target[row, day] else 1 - chance))
    found = daily_loss(*(torch.from_numpy(each) for each in (output, target, start)))
    assert float(found) == pytest.approx(np.mean(losses))


def test_it_knows_the_chance_of_users_never_seen_better_than_any_baseline(model, train, fresh):
    truth = coming_chance(lives(2, users=400), 92, fresh)

    def error(found) -> float:
        return float(((matrix_of(found.predict(fresh)["active_prob"]) - truth) ** 2).mean())

    rules = ("cohort", "same_weekday", "recent", "recent_raw")
    best = min(error(retention_model(name, spec=SMALL.task()).fit(train)) for name in rules)
    assert error(model) < 0.95 * best


def test_it_knows_the_weekdays(model, fresh):
    prob = matrix_of(model.predict(fresh)["active_prob"])
    weekday = (fresh["as_of"][0].weekday() + np.arange(14)) % 7
    assert prob[:, weekday >= 5].mean() > 1.2 * prob[:, weekday < 5].mean()


def test_held_out_probabilities_are_calibrated(model):
    held = model.held_out_
    assert held["prob"].mean() == pytest.approx(held["truth"].mean(), rel=0.02)


def test_what_is_to_come_is_never_read_when_predicting(model, fresh):
    blind = fresh.drop("active_ahead", "pushed_ahead", "propensity_ahead")
    assert_frame_equal(model.predict(blind), model.predict(fresh), check_exact=True)


def test_it_is_found_again_by_its_folder(model, fresh, tmp_path):
    model.save(tmp_path)
    assert_frame_equal(load_retention_model(tmp_path).predict(fresh), model.predict(fresh), check_exact=True)
    (tmp_path / "net_0.safetensors").unlink()
    with pytest.raises(UnreadableSource, match=r"net_0\.safetensors is missing"):
        load_retention_model(tmp_path)


def test_a_table_without_sequences_is_refused(train):
    with pytest.raises(MissingColumn, match="seq_event"):
        DailyNetwork(SPEC).fit(train.drop("seq_event"))


def test_it_takes_part_where_sequences_are_asked_for():
    assert "sequence" not in RetentionSpec().compared()
    assert "sequence" in RetentionSpec(sequences=SequenceSpec()).compared()
    with pytest.raises(BadSpec, match=r"none are asked for; add \[retention.sequences\]"):
        RetentionSpec(models=("sequence", "recent"))


def test_a_log_gives_the_table_that_it_reads(app):
    spec = SMALL.with_changes(sequences=SequenceSpec(events=16, days=28))
    table = retention_table(app, spec=spec)
    said = DailyNetwork(SPEC.with_changes(epochs=1)).fit(table).predict(table)
    assert said.height == table.height
    assert table["seq_event"].null_count() < table.height


@pytest.mark.slow
def test_from_a_log_to_predictions_by_the_network_that_folds_picked(app, tmp_path):
    spec = SMALL.with_changes(sequences=SequenceSpec(events=16, days=28), models=("sequence", "cohort"))
    found = compare_activity(retention_table(app, spec=spec), spec=spec)
    assert found.chosen == "sequence"
    fitted = fit_retention(app, spec=spec.with_changes(model="sequence"), out=tmp_path / "model")
    again = FittedRetention.load(tmp_path / "model")
    assert again.mark == fitted.mark
    said = predict_retention(app, fitted=again, out=tmp_path / "out")
    table = activity_table(app, [said["as_of"][0]], spec=spec)
    assert said["expected_days"].to_list() == fitted.model.predict(table)["expected_days"].to_list()
