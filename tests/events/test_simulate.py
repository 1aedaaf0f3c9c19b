"""The simulator's tables: the same bytes every time, whole after any interruption, and true to the event log's laws."""

import subprocess
import sys
from datetime import date, timedelta
from decimal import Decimal

import polars as pl
import pytest

from sojourn.core import BadInput, BadSpec
from sojourn.events import WorldSpec, simulate, truth_warehouse
from sojourn.events.simulate import _simulate
from sojourn.warehouse import Warehouse, WarehouseSpec, Writer
from tests.events.worlds import digests, files, simulated

SMALL = WorldSpec(users=300, days=24, install_days=30, seed=7)
APP = WorldSpec(users=4000, days=45, seed=3)
NEW_YORK = WorldSpec(users=250, days=20, start=date(2025, 3, 1), seed=11, zone="America/New_York", push_strength=2.0)

# Made by `tests.events.worlds.digests` of these two worlds, world version 1. A difference means that the world has
# changed: models were judged on the old one, so give the new one a new WORLD_VERSION, never new digests.
GOLDEN: dict[int, dict[str, dict[str, str]]] = {
    1: {
        "small": {
            "events": "f1793c6ed02a",
            "pushes": "bf4488278224",
            "users": "1bb4f1abca51",
            "items": "575448640bd2",
            "costs": "460485879859",
            "truth_users": "ff77c751f1d8",
            "truth_items": "be8298443461",
            "truth_tastes": "9d046bee81e3",
        },
        "new_york": {
            "events": "88eb52c20433",
            "pushes": "c5aab63544f5",
            "users": "e07504d58577",
            "items": "575448640bd2",
            "costs": "84f9a52957b5",
            "truth_users": "7e1b83c804b6",
            "truth_items": "be8298443461",
            "truth_tastes": "9d046bee81e3",
        },
    }
}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return simulated(tmp_path_factory.mktemp("small"), SMALL)


@pytest.fixture(scope="module")
def new_york(tmp_path_factory):
    return simulated(tmp_path_factory.mktemp("new_york"), NEW_YORK)


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    return simulated(tmp_path_factory.mktemp("app"), APP)


class TestTheSameEveryTime:
    @pytest.mark.parametrize("name", ["small", "new_york"])
    def test_a_frozen_world_never_changes(self, name, request):
        warehouse, report = request.getfixturevalue(name)
        assert digests(warehouse) == GOLDEN[report.world_version][name]

    def test_the_same_spec_gives_the_same_bytes(self, small, tmp_path):
        again, _ = simulated(tmp_path, SMALL)
        assert files(again.root) == files(small[0].root)
        assert files(truth_warehouse(again).root) == files(truth_warehouse(small[0]).root)

    @pytest.mark.parametrize("block_users", [37, 100])
    def test_the_size_of_the_blocks_changes_nothing(self, small, tmp_path, block_users):
        warehouse = Warehouse.create(tmp_path / "app")
        _simulate(warehouse, SMALL, block_users=block_users)
        assert files(warehouse.root) == files(small[0].root)
        assert files(truth_warehouse(warehouse).root) == files(truth_warehouse(small[0]).root)

    def test_fewer_days_are_the_first_days_of_more(self, small, tmp_path):
        short, _ = simulated(tmp_path, SMALL.with_changes(days=15))
        logs = {name: data for name, data in files(small[0].root).items() if name.startswith(("events", "pushes"))}
        first = {name: data for name, data in files(short.root).items() if name.startswith(("events", "pushes"))}
        assert len(first) == 30
        assert first.items() <= logs.items()

    def test_another_seed_is_another_world(self, small, tmp_path):
        other, _ = simulated(tmp_path, SMALL.with_changes(seed=8))
        assert not set(digests(other).items()) & set(digests(small[0]).items()) - {
            (name, text) for name, text in digests(other).items() if name in ("items", "truth_items", "truth_tastes")
        }

    def test_an_interrupted_run_goes_on_where_it_stopped(self, small, tmp_path, monkeypatch):
        warehouse = Warehouse.create(tmp_path / "app")
        put = Writer.put

        def put_until_the_tenth(self, partition, rows, **options):
            if partition == {"day": "2025-01-10"}:
                raise KeyboardInterrupt
            return put(self, partition, rows, **options)

        monkeypatch.setattr(Writer, "put", put_until_the_tenth)
        with pytest.raises(KeyboardInterrupt):
            simulate(warehouse, SMALL)
        monkeypatch.undo()
        kept = (warehouse.root / "events" / "day=2025-01-05" / "data.parquet").stat().st_mtime_ns
        simulate(warehouse, SMALL)
        assert files(warehouse.root) == files(small[0].root)
        assert (warehouse.root / "events" / "day=2025-01-05" / "data.parquet").stat().st_mtime_ns == kept

    def test_a_world_can_be_lengthened_and_shortened(self, small, tmp_path):
        warehouse, _ = simulated(tmp_path, SMALL.with_changes(days=9))
        simulate(warehouse, SMALL)
        assert files(warehouse.root) == files(small[0].root)
        simulate(warehouse, SMALL.with_changes(days=9))
        assert [info.partition["day"] for info in warehouse.partitions("events")][-1] == "2025-01-09"


class TestTheEventLog:
    def test_the_columns_are_those_of_the_event_table(self, small):
        warehouse, _ = small
        assert warehouse.engine.columns(f"SELECT * FROM {warehouse.relation('events')}") == {
            "event_id": "VARCHAR",
            "user_id": "VARCHAR",
            "ts": "TIMESTAMP WITH TIME ZONE",
            "arrived_at": "TIMESTAMP WITH TIME ZONE",
            "event": "VARCHAR",
            "item_id": "VARCHAR",
            "amount": "DECIMAL(18,4)",
            "session_no": "SMALLINT",
            "duration_s": "INTEGER",
            "push_id": "VARCHAR",
            "order_id": "VARCHAR",
            "text": "VARCHAR",
            "day": "DATE",
        }

    @pytest.mark.parametrize("name", ["small", "new_york"])
    def test_every_event_lies_in_its_business_day(self, name, request):
        warehouse, _ = request.getfixturevalue(name)
        strays = f"""
            SELECT count(*) FROM {warehouse.relation("events")}
            WHERE CAST(timezone($zone, ts) AS DATE) <> day OR arrived_at < ts
        """
        assert warehouse.engine.rows(strays, zone=warehouse.spec.zone) == [(0,)]

    def test_rows_lie_in_their_total_order(self, app):
        warehouse, _ = app
        for info in warehouse.partitions("events"):
            day = warehouse.frame("events", only=[info.partition])
            assert day.equals(day.sort("user_id", "ts", "event_id"))
        assert warehouse.frame("events")["event_id"].is_unique().all()

    def test_the_report_counts_what_is_there(self, app):
        warehouse, report = app
        events, pushes = warehouse.frame("events"), warehouse.frame("pushes")
        paid = events.filter(pl.col("event") == "purchase")
        assert (report.events, report.pushes) == (len(events), len(pushes))
        assert (report.purchases, report.payers) == (len(paid), paid["user_id"].n_unique())
        assert report.spend_usd == paid["amount"].sum()
        assert f"{report.events:,} events" in report.summary()

    def test_every_session_begins_and_ends_and_none_overlaps_the_next(self, app):
        events = app[0].frame("events").filter(pl.col("session_no") > 0)
        sessions = events.group_by("user_id", "day", "session_no").agg(
            (pl.col("event") == "launch").sum().alias("launches"),
            (pl.col("event") == "session_end").sum().alias("ends"),
            pl.col("ts").min().alias("first"),
            pl.col("ts").filter(pl.col("event") == "session_end").max().alias("last"),
            pl.col("duration_s").sum(),
        )
        assert (sessions["launches"] == 1).all()
        assert (sessions["ends"] == 1).all()
        lengths = (sessions["last"] - sessions["first"]).dt.total_seconds()
        assert (lengths == sessions["duration_s"]).all()
        ordered = sessions.sort("user_id", "first")
        gaps = ordered.select((pl.col("first").shift(-1) - pl.col("last")).over("user_id")).to_series().drop_nulls()
        assert gaps.min() > timedelta(0)

    def test_what_is_bought_was_viewed_put_in_the_cart_and_checked_out(self, app):
        events = app[0].frame("events")
        steps = events.filter(pl.col("event").is_in(["view", "add_to_cart", "checkout", "purchase"]))
        key = ["user_id", "day", "session_no", "item_id"]
        bought = steps.filter(pl.col("event") == "purchase").select(key)
        for step in ("view", "add_to_cart", "checkout"):
            assert bought.join(steps.filter(pl.col("event") == step), on=key, how="anti").is_empty()
        prices = bought.join(app[0].frame("items"), on="item_id")["price"]
        paid = events.filter(pl.col("event") == "purchase")
        assert prices.sum() == paid["amount"].sum()

    def test_a_refund_gives_back_one_purchase_on_a_later_day(self, app):
        events = app[0].frame("events")
        refunds = events.filter(pl.col("event") == "refund")
        pairs = refunds.join(events.filter(pl.col("event") == "purchase"), on="order_id", suffix="_paid")
        assert len(pairs) == len(refunds) > 5
        assert pairs["order_id"].is_unique().all()
        assert (pairs["amount"] + pairs["amount_paid"] == 0).all()
        assert (pairs["item_id"] == pairs["item_id_paid"]).all()
        assert (pairs["user_id"] == pairs["user_id_paid"]).all()
        assert (pairs["day"] > pairs["day_paid"]).all()

    def test_an_opened_push_was_sent_to_that_user_that_day(self, app):
        events, pushes = app[0].frame("events"), app[0].frame("pushes")
        opened = events.filter(pl.col("event") == "push_open")
        found = opened.join(pushes.filter("sent"), on=["push_id", "user_id", "day"])
        assert len(found) == len(opened) > 20
        assert (found["ts"] >= found["ts_right"]).all()

    def test_only_comments_speak_and_only_money_has_amounts(self, app):
        events = app[0].frame("events")
        for column, kinds in (
            ("text", {"comment"}),
            ("amount", {"purchase", "refund"}),
            ("order_id", {"purchase", "refund"}),
            ("push_id", {"push_open"}),
            ("duration_s", {"session_end"}),
            ("item_id", {"view", "add_to_cart", "checkout", "purchase", "refund"}),
        ):
            assert set(events.filter(pl.col(column).is_not_null())["event"].unique()) == kinds, column
            assert events.filter(pl.col("event").is_in(kinds))[column].null_count() == 0, column


class TestBesideEvents:
    def test_versions_of_a_user_touch_and_never_overlap(self, app):
        users = app[0].frame("users").sort("user_id", "valid_from")
        checked = users.with_columns(following=pl.col("valid_from").shift(-1).over("user_id"))
        assert checked.filter(pl.col("valid_to").ne_missing(pl.col("following"))).is_empty()
        assert checked.filter(pl.col("valid_to") <= pl.col("valid_from")).is_empty()
        assert len(users) > users["user_id"].n_unique() == app[1].users

    def test_a_user_is_known_from_the_first_event_on(self, app):
        warehouse, _ = app
        first_seen = warehouse.frame("events").group_by("user_id").agg(pl.col("ts").min())
        first_version = warehouse.frame("users").group_by("user_id").agg(pl.col("valid_from").min())
        both = first_seen.join(first_version, on="user_id", how="full")
        assert (both["ts"] == both["valid_from"]).all()

    def test_costs_are_installs_at_the_campaigns_prices(self, app):
        warehouse, _ = app
        costs, users = warehouse.frame("costs"), warehouse.frame("users").unique("user_id")
        assert set(costs["channel"]) == set(users["channel"]) - {"organic"}
        installs = users.group_by("channel").len()
        each = costs.group_by("channel").agg(pl.col("amount").sum()).join(installs, on="channel")
        price = dict(each.select("channel", pl.col("amount").cast(float) / pl.col("len")).iter_rows())
        assert price["rewarded_network"] < price["referral"] < price["search_ads"] < price["influencer"]
        assert 0.2 < price["rewarded_network"] < 1.0

    def test_the_truth_lies_in_a_warehouse_of_its_own(self, app):
        warehouse, report = app
        assert warehouse.tables() == ["costs", "events", "items", "pushes", "users"]
        truth = truth_warehouse(warehouse)
        assert truth.root == report.truth == warehouse.root.with_name("app-truth")
        assert truth.tables() == ["truth_items", "truth_tastes", "truth_users", "truth_world"]
        [row] = truth.frame("truth_world").to_dicts()
        assert WorldSpec.from_json(row["spec"]) == APP
        assert (row["world_version"], row["world"]) == (1, report.world)

    def test_the_truth_counts_what_the_log_shows(self, app):
        warehouse, _ = app
        events = warehouse.frame("events")
        counted = events.group_by("user_id").agg(
            pl.col("day").filter(pl.col("event") == "launch").n_unique().cast(pl.Int64).alias("active_days"),
            (pl.col("event") == "launch").sum().cast(pl.Int64).alias("sessions"),
            pl.col("amount").filter(pl.col("event") == "purchase").sum().alias("spend_usd"),
            pl.col("day").filter(pl.col("event") == "uninstall").min().alias("gone_on"),
        )
        truth = truth_warehouse(warehouse).frame("truth_users").select(counted.columns)
        assert counted.sort("user_id").equals(truth.sort("user_id"))


class TestMistakes:
    def test_a_warehouse_with_events_of_another_origin_is_left_alone(self, small):
        warehouse, _ = small
        before = files(warehouse.root)
        with pytest.raises(BadInput, match="already holds events, pushes, users, items, costs that this world did not"):
            simulate(warehouse, SMALL.with_changes(seed=1))
        assert files(warehouse.root) == before

    def test_the_zones_must_agree(self, tmp_path):
        warehouse = Warehouse.create(tmp_path / "app", WarehouseSpec(zone="Asia/Tokyo"))
        with pytest.raises(BadInput, match=r"those of UTC, the warehouse's those of Asia/Tokyo.*zone='Asia/Tokyo'"):
            simulate(warehouse, SMALL)

    @pytest.mark.parametrize(
        ("values", "sentence"),
        [
            ({"users": 0}, "field 'users' = 0: input should be greater than or equal to 1"),
            ({"push_strength": -1}, "field 'push_strength' = -1"),
            ({"zone": "Mars/Base"}, "no such time zone; give an IANA name"),
        ],
    )
    def test_a_wrong_spec_is_refused_when_it_is_built(self, values, sentence):
        with pytest.raises(BadSpec, match=sentence):
            WorldSpec(**values)


class TestTheCommand:
    def run(self, *arguments, cwd):
        command = [sys.executable, "-c", "from sojourn.cli import main; main()", "simulate", *arguments]
        return subprocess.run(command, cwd=cwd, capture_output=True, text=True)

    def test_it_writes_the_world_and_says_so(self, tmp_path):
        done = self.run("--users", "50", "--days", "3", "--zone", "Europe/Paris", "--warehouse", "app", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert "50 users, 3 days" in done.stdout
        assert "Traceback" not in done.stderr
        warehouse = Warehouse.open(tmp_path / "app")
        assert warehouse.spec.zone == "Europe/Paris"
        assert len(warehouse.partitions("events")) == 3

    def test_a_mistake_is_one_sentence_and_exit_status_2(self, tmp_path):
        assert self.run("--users", "20", "--days", "2", cwd=tmp_path).returncode == 0
        done = self.run("--users", "21", "--days", "2", cwd=tmp_path)
        assert done.returncode == 2
        assert "already holds events" in done.stderr
        assert "Traceback" not in done.stderr


def test_money_is_exact(app):
    amounts = app[0].frame("events")["amount"].drop_nulls().abs().unique().to_list()
    assert (
        {Decimal("0.99"), Decimal("4.99")}
        <= set(amounts)
        <= {Decimal(price) / 100 for price in (99, 199, 499, 999, 1999, 4999, 9999)}
    )
