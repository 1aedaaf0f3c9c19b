"""The table of activity: what was known on the day, what came after, day by day, beside the raw log."""

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from sojourn.core import BadInput, MissingTable
from sojourn.features import FeatureSpec
from sojourn.lifetime import activity_table, cohort_triangle, decision_table, retention_model
from sojourn.lifetime.retention._days import matrix_of
from sojourn.rollups import AggregateSpec, RollupSpec
from sojourn.warehouse import Warehouse
from tests.lifetime.retention.conftest import SMALL, WORLD

LOOK = date(2025, 3, 20)
END = WORLD.last_day + timedelta(days=1)
LATE = END - timedelta(days=8)  # six of fourteen days ahead are not known


@pytest.fixture(scope="module")
def table(app: Warehouse) -> pl.DataFrame:
    return activity_table(app, [LOOK, LATE], spec=SMALL)


def launches(app: Warehouse) -> set[tuple[str, date]]:
    rows = app.engine.rows(f"SELECT DISTINCT user_id, day FROM {app.relation('events')} WHERE event = 'launch'")
    return set(rows)


def test_days_are_those_of_the_raw_log_and_days_not_known_are_null(app, table):
    active = launches(app)
    for row in table.sample(60, seed=1).iter_rows(named=True):
        for lag, bit in enumerate(row["active_before"], start=1):
            day = row["as_of"] - timedelta(days=lag)
            expected = None if lag > row["tenure_days"] else int((row["user_id"], day) in active)
            assert bit == expected
        for ahead, bit in enumerate(row["active_ahead"]):
            day = row["as_of"] + timedelta(days=ahead)
            assert bit == (None if day >= END else int((row["user_id"], day) in active))


def test_pushes_are_those_of_the_campaign_log(app, table):
    log = app.frame("pushes").select("user_id", "day", "sent", "propensity")
    found = {(user, day): (sent, chance) for user, day, sent, chance in log.iter_rows()}
    for row in table.filter(pl.col("pushes_28d") > 0).sample(30, seed=2).iter_rows(named=True):
        days = [row["as_of"] - timedelta(days=lag) for lag in range(1, 29)]
        sent = [found.get((row["user_id"], day), (False, None))[0] for day in days]
        assert row["pushes_28d"] == sum(sent)
        assert row["pushes_7d"] == sum(sent[:7])
        assert row["push_recency_days"] == sent.index(True) + 1
        for ahead, (pushed, chance) in enumerate(zip(row["pushed_ahead"], row["propensity_ahead"], strict=True)):
            day = row["as_of"] + timedelta(days=ahead)
            known = found.get((row["user_id"], day))
            if pushed is None:
                assert day >= END
            else:
                assert (bool(pushed), chance) == (known or (False, None))


def test_users_are_those_first_seen_before(app, table):
    seen = app.engine.rows(
        f"SELECT user_id FROM {app.relation('events')} GROUP BY user_id HAVING min(day) < DATE '{LOOK}'"
    )
    tests = app.frame("users").filter("is_test")["user_id"]
    expected = {user for (user,) in seen} - set(tests)
    assert set(table.filter(pl.col("as_of") == LOOK)["user_id"]) == expected


def test_the_future_never_changes_what_is_said_of_the_past(app, table):
    """With the log cut at the day itself, features and days before are the same and days ahead unknown."""
    cut = activity_table(app, [LOOK], spec=SMALL, end=LOOK)
    ahead = ["active_ahead", "pushed_ahead", "propensity_ahead"]
    assert_frame_equal(cut.drop(ahead), table.filter(pl.col("as_of") == LOOK).drop(ahead))
    assert np.isnan(matrix_of(cut["active_ahead"])).all()


def test_being_active_is_what_the_condition_says(app):
    every = activity_table(app, [LOOK], spec=SMALL.with_changes(active=None))
    launched = activity_table(app, [LOOK], spec=SMALL)
    assert np.nansum(matrix_of(every["active_before"])) > np.nansum(matrix_of(launched["active_before"]))
    assert every["last_event_90d"].to_list() == launched["last_event_90d"].to_list()


def test_decisions_are_rows_whose_day_was_decided(app):
    found = decision_table(app, spec=SMALL.with_changes(effect_days=6, effect_step_days=2), end=date(2025, 4, 1))
    assert found["propensity_ahead"].list.first().null_count() == 0
    assert found["as_of"].unique().sort().to_list() == [date(2025, 3, 27), date(2025, 3, 29), date(2025, 3, 31)]
    last = found.filter(pl.col("as_of") == date(2025, 3, 31))
    assert last["active_ahead"].list.first().null_count() == 0  # the day itself is known, those after it are not
    assert np.isnan(matrix_of(last["active_ahead"])[:, 1:]).all()


def test_without_pushes_there_are_no_push_columns(tmp_path):
    plain = Warehouse.create(tmp_path / "plain")
    days = [(f"u{user}", date(2025, 1, 1) + timedelta(days=day)) for user in range(3) for day in range(0, 40, user + 1)]
    with plain.writing("events") as writer:
        for day in sorted({day for _, day in days}):
            users = " UNION ALL ".join(
                f"SELECT '{user}' AS user_id, TIMESTAMPTZ '{day} 10:00:00+00' AS ts, "
                f"TIMESTAMPTZ '{day} 10:00:00+00' AS arrived_at, '{user}{day}' AS event_id, 'launch' AS event, "
                f"CAST(NULL AS DECIMAL(18,4)) AS amount"
                for user, seen in days
                if seen == day
            )
            writer.put({"day": str(day)}, users, order_by=["event_id"], fingerprint=str(day))
    table = activity_table(plain, [date(2025, 2, 5)], spec=SMALL)
    assert not [name for name in table.columns if name.startswith("push")]
    with pytest.raises(MissingTable, match="needs the table 'pushes'"):
        decision_table(plain, spec=SMALL)


def test_a_rollup_without_active_days_is_refused(app):
    rollup = RollupSpec(name="other", aggregates={"spend": AggregateSpec(function="sum", expression="amount")})
    features = FeatureSpec().with_changes(rollup=rollup, labels={"aggregates": ["spend"]})
    with pytest.raises(BadInput, match="needs an aggregate 'active_days' of function 'active_days' in rollup 'other'"):
        activity_table(app, [LOOK], spec=SMALL.with_changes(active=None), features=features)


def test_the_triangle_adds_up_to_the_log_and_marks_what_lies_ahead(app, table):
    users = table.filter(pl.col("as_of") == LATE)
    forecast = retention_model("recent_raw", spec=SMALL.task()).fit(table).predict(users)
    cells = cohort_triangle(app, spec=SMALL, users=users, forecast=forecast)
    active = launches(app)
    cohort = cells["cohort"].sort()[0]
    people = users.filter(pl.col("as_of") - pl.duration(days=pl.col("tenure_days")) < cohort + timedelta(days=7))
    days = [
        (user, LATE - timedelta(days=tenure) + timedelta(days=day))
        for user, tenure in people.select("user_id", "tenure_days").iter_rows()
        for day in range(7)
    ]
    first = cells.filter((pl.col("cohort") == cohort) & (pl.col("week") == 0)).row(0, named=True)
    assert first["users"] == people.height
    assert first["observed"] == pytest.approx(sum(day in active for day in days) / len(days))
    ahead = cells.filter(pl.col("state") == "ahead")
    assert ahead["observed"].null_count() == ahead.height
    assert ahead["forecast"].null_count() == 0
    assert ahead.filter(pl.col("came").is_null()).height > 0  # not known yet: not 0
    assert (
        cells.filter(pl.col("state") == "observed")["forecast"].null_count()
        == cells.filter(pl.col("state") == "observed").height
    )
