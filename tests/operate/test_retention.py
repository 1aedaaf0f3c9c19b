"""Daily activity is predicted, logged and judged by the same run as spend; and a forgotten user is in none of it."""

from datetime import timedelta

import polars as pl
import pytest

from sojourn.evaluate import value_metrics
from sojourn.operate import Registry, forget
from tests.operate.shops import AT, LAST, SETTINGS, content, declared_in, opened, ran, told, verdicts, write_orders

START = LAST - timedelta(days=10)
ROLLUPS, _, REST = SETTINGS.partition("[lifetime]")
RETENTION = f"""
{ROLLUPS}
[retention]
horizon_days = 7
history_days = 14
train_as_ofs = 2
model = "recent"
models = ["recent"]
replicates = 10
{REST[REST.index("[checks.some]") :]}
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shop")
    write_orders(folder / "orders", users=80)
    for day in (START, LAST):
        report = ran(folder / "w", declared_in(folder / "orders", RETENTION), day)
        assert report.exit_status == 0, report.outcomes
    return folder


def test_every_user_s_coming_days_are_predicted_and_logged(shop):
    store, as_of = opened(shop / "w"), LAST + timedelta(days=1)
    said = store.frame("retention_predictions", only=[{"as_of": str(as_of)}])
    assert said["active_prob"].list.len().unique().to_list() == [7]
    assert said["fingerprint"].unique().to_list() == [Registry(store, "retention").standing().history[-1].version]
    logged = store.frame("prediction_log").filter(pl.col("as_of") == as_of)
    assert logged["task"].unique().to_list() == ["active_days_7"]
    both = logged.join(said, on="user_id")
    assert both["prediction"].equals(both["expected_days"].alias("prediction"))


def test_a_backtest_counts_the_days_on_which_users_came(shop):
    store, as_of = opened(shop / "w"), START + timedelta(days=1)
    events = store.frame("events").filter((pl.col("day") >= as_of) & (pl.col("day") < as_of + timedelta(days=7)))
    came = events.group_by("user_id").agg(pl.col("day").n_unique().cast(pl.Float64).alias("came"))
    logged = store.frame("prediction_log").filter(pl.col("as_of") == as_of)
    both = logged.join(came, on="user_id", how="left").with_columns(pl.col("came").fill_null(0.0))
    expected = value_metrics(both["came"], both["prediction"])
    stored = store.frame("backtests").filter(pl.col("as_of") == as_of)
    found = dict(stored.select("metric", "value").rows())
    assert found["mae"] == pytest.approx(expected["mae"])
    assert found["bias"] == pytest.approx(expected["bias"])


def test_run_again_changes_no_byte(shop):
    once = content(shop / "w")
    report = ran(shop / "w", declared_in(shop / "orders", RETENTION), LAST)
    assert set(verdicts(report).values()) <= {"current", "passed"}, told(report, "predict retention")
    assert content(shop / "w") == once


def test_a_forgotten_user_is_nowhere_and_the_run_goes_on(shop):
    store, declared = opened(shop / "w"), declared_in(shop / "orders", RETENTION)
    report = forget(store, ["c001"], as_of=AT, rollups=declared.rollups)
    assert report.is_complete, report.proof
    assert {"prediction_log", "retention_predictions"} <= {each.table for each in report.changes}
    again = ran(shop / "w", declared, LAST)
    assert again.exit_status == 0
    for table in ("events", "features", "retention_predictions", "prediction_log"):
        frame = opened(shop / "w").frame(table)
        assert "c001" not in frame["user_id"].to_list()
        assert "c002" in frame["user_id"].to_list()
