"""The campaign table of a warehouse: against a loop over the log, never with a look ahead, and its refusals."""

import shutil
from datetime import date, timedelta
from itertools import pairwise

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from sojourn.core import BadInput, BadSpec, MissingColumn, MissingTable
from sojourn.effects import CampaignSpec, EffectSpec, average_effects, campaign_table, decision_days
from sojourn.events import PushPlan, WorldSpec, simulate, truth_activity
from sojourn.features import LabelSpec, training_set
from sojourn.warehouse import Warehouse

WORLD = WorldSpec(users=250, days=32, install_days=15, start=date(2025, 1, 1), seed=3)
SPEC = CampaignSpec(first=date(2025, 1, 10), every_days=3)


@pytest.fixture(scope="module")
def app(tmp_path_factory) -> Warehouse:
    warehouse = Warehouse.create(tmp_path_factory.mktemp("world") / "app")
    simulate(warehouse, WORLD)
    return warehouse


@pytest.fixture(scope="module")
def table(app) -> pl.DataFrame:
    return campaign_table(app, spec=SPEC)


def test_every_row_is_what_a_loop_over_the_log_finds(app, table):
    launches = app.engine.frame(
        f"SELECT DISTINCT user_id, CAST(day AS DATE) AS day FROM {app.relation('events')} WHERE event = 'launch'"
    )
    active = set(launches.iter_rows())
    pushes = app.engine.frame(
        f"SELECT user_id, CAST(day AS DATE) AS day, propensity, sent FROM {app.relation('pushes')}"
    )
    decided = {(row["user_id"], row["day"]): row for row in pushes.to_dicts()}
    sent = {key for key, row in decided.items() if row["sent"]}
    assert table.height > 100
    for row in table.to_dicts():
        user, day = row["user_id"], row["as_of"]
        days = [float((user, day + timedelta(days=ahead)) in active) for ahead in range(7)]
        assert [row[f"outcome_active_{ahead}"] for ahead in range(7)] == days
        assert row["outcome_active_days"] == sum(days)
        assert row["outcome_lifetime_days"] == max([ahead + 1 for ahead in range(7) if days[ahead]], default=0)
        assert row["treatment"] == decided[user, day]["sent"]
        assert row["propensity"] == decided[user, day]["propensity"]
        ago = [back for back in range(1, 40) if (user, day - timedelta(days=back)) in sent]
        assert row["pushes_sent_7d"] == sum(back <= 7 for back in ago)
        assert row["pushes_sent_28d"] == sum(back <= 28 for back in ago)
        assert row["days_since_push"] == min(ago, default=None)


def test_all_decisions_are_there_but_those_about_test_accounts(app, table):
    days = decision_days(app, spec=SPEC)
    assert days[0] == date(2025, 1, 10)
    assert all((later - earlier).days == 3 for earlier, later in pairwise(days))
    assert days[-1] + timedelta(days=7) <= date(2025, 2, 2)
    listed = ", ".join(f"'{day}'" for day in days)
    tests = app.engine.frame(f"SELECT user_id FROM {app.relation('users')} WHERE is_test")["user_id"].to_list()
    pushes = app.engine.frame(f"SELECT user_id FROM {app.relation('pushes')} WHERE day IN ({listed})")
    assert table.height == pushes.filter(~pl.col("user_id").is_in(tests)).height


def test_active_days_are_the_label_that_features_have(app, table):
    features = SPEC.asked().with_changes(labels=LabelSpec(aggregates=("active_days",), horizons_days=(7,)))
    labels = training_set(app, features, decision_days(app, spec=SPEC)).select(
        "user_id", "as_of", "label_active_days_7d"
    )
    both = table.join(labels, on=["user_id", "as_of"])
    assert both.height == table.height
    assert (both["outcome_active_days"] == both["label_active_days_7d"]).all()


def test_the_future_never_alters_what_was_known_before(app, table, tmp_path):
    shorter = Warehouse.create(tmp_path / "app")
    simulate(shorter, WORLD.with_changes(days=22))
    short = campaign_table(shorter, spec=SPEC)
    known = [name for name in table.columns if name not in ("age_band", "os_version")]
    assert_frame_equal(table.filter(pl.col("as_of") <= short["as_of"].max()).select(known), short.select(known))


def test_spark_makes_the_same_table(app, table, spark, tmp_path):
    pytest.importorskip("pyspark")
    shutil.copytree(app.root, tmp_path / "app")
    found = campaign_table(Warehouse.open(tmp_path / "app", engine=spark), spec=SPEC)
    assert_frame_equal(found.select(table.columns), table, check_dtypes=False, check_exact=False)


def test_the_true_effect_lies_in_the_interval(app, table):
    effects = []
    for (as_of,), rows in table.group_by("as_of"):
        plan = PushPlan(as_of=as_of, horizon_days=7, otherwise="campaigns")
        users = rows["user_id"].to_list()
        pushed = truth_activity(WORLD, plan.with_changes(offsets=(0,)), draws=8, users=users)
        quiet = truth_activity(WORLD, plan.with_changes(quiet=(0,)), draws=8, users=users)
        gain = (pushed["active_prob"] - quiet["active_prob"]).sum()
        effects.append((gain, len(users)))
    true = sum(gain for gain, _ in effects) / sum(users for _, users in effects)
    found = average_effects(table, spec=EffectSpec(covariates=()), methods=["weighted"]).row(0, named=True)
    assert abs(found["effect"] - true) < 3 * found["error"]
    assert true != 0


def test_what_is_missing_is_said(app, tmp_path):
    bare = Warehouse.create(tmp_path / "bare")
    with pytest.raises(MissingTable, match="effects needs table 'pushes', the log of who was and was not treated"):
        campaign_table(bare)
    with pytest.raises(BadInput, match=r"of the 32 days of pushes .* none lies from 2025-01-30 to 2025-01-26"):
        campaign_table(app, spec=CampaignSpec(first=date(2025, 1, 30)))
    with pytest.raises(BadSpec, match="the last day 2025-01-01 lies before the first day 2025-02-01"):
        CampaignSpec(first=date(2025, 2, 1), last=date(2025, 1, 1))
    with bare.writing("pushes") as writer:
        rows = pl.DataFrame({"user_id": ["u"], "sent": [True]})
        writer.put({"day": "2025-01-01"}, rows, order_by=(), fingerprint="x")
    with pytest.raises(MissingColumn, match="effects: table 'pushes' needs column 'propensity'"):
        campaign_table(bare)
