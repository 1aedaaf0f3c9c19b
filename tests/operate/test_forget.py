"""An erasure reaches whatever was made from events, and says so; a merge is repaired in the partials."""

import random
import shutil
import signal
import subprocess
import sys
import time
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from sojourn.core import BadInput
from sojourn.events import IngestSpec, register_events
from sojourn.features import FeatureSpec, write_features
from sojourn.metrics import BoardSpec, backfill_board
from sojourn.operate import forget, merge
from sojourn.rollups import AggregateSpec, RollupSpec, advance, backfill, ledger, window_table
from sojourn.warehouse import EngineSpec, Warehouse
from tests.events.logs import take, write_table

HEADER = ("user_id", "ts", "event", "amount", "channel")
LATER = datetime(2025, 7, 1, tzinfo=UTC)
AGGREGATES = {
    "purchases": AggregateSpec(function="count"),
    "spend": AggregateSpec(function="sum", expression="amount"),
    "who": AggregateSpec(function="last", expression="user_id"),
}
USERS = RollupSpec(name="users", keys=("user_id",), aggregates=AGGREGATES, windows_days=(2, 4))
CHANNELS = RollupSpec(name="channels", keys=("channel",), aggregates=AGGREGATES, windows_days=(2, 4))
BOTH = (USERS, CHANNELS)
FEATURES = FeatureSpec(rollup=USERS, history_days=4)
TABLES = ("events", "rollup_users", "rollup_channels", "windows_users", "windows_channels", "features", "predictions")


def rows(users, *, days=8, seed=5):
    chance = random.Random(seed)
    log = [
        (user, str(date(2025, 5, 1) + timedelta(days=day)), "buy", str(chance.randint(1, 9)), chance.choice("xy"))
        for day in range(days)
        for user in users
        for _ in range(chance.randint(0, 3))
    ]
    # Days on which somebody is left, whoever goes.
    return [*log, *(("zoe", str(date(2025, 5, 1) + timedelta(days=day)), "buy", "1", "x") for day in range(days))]


def world(root, log, *, rollups=BOTH):
    """A warehouse with the log, its partials, two days of windows, features, and a table of predictions."""
    root.mkdir(parents=True)
    warehouse = Warehouse.create(root / "w", engine=EngineSpec(threads=1))
    take(warehouse, write_table(root / "log.csv", HEADER, log))
    derive(warehouse, rollups=rollups)
    users = sorted({user for user, *_ in log})
    scores = pl.DataFrame({"user_id": users, "ltv": [float(len(user)) for user in users]})
    with warehouse.writing("predictions") as writer:
        writer.put({"as_of": "2025-05-08"}, scores, order_by=["user_id"], fingerprint="model.1")
    return warehouse


def derive(warehouse, *, rollups=BOTH):
    for spec in rollups:
        backfill(warehouse, spec)
        for day in (date(2025, 5, 6), date(2025, 5, 7)):
            advance(warehouse, spec, day=day)
    write_features(warehouse, FEATURES, date(2025, 5, 8))


def same(one, other, tables=TABLES):
    for table in tables:
        first, second = one.frame(table), other.frame(table)
        assert_frame_equal(first.sort(pl.all()), second.select(first.columns).sort(pl.all()))


PEOPLE = ("ann", "bob", "eve")


def two_worlds(folder, log):
    return world(folder / "one", log), world(folder / "other", [row for row in log if row[0] != "ann"])


@pytest.fixture(scope="module")
def pair_once(tmp_path_factory):
    return two_worlds(tmp_path_factory.mktemp("pair"), rows(PEOPLE))


@pytest.fixture
def pair(pair_once, tmp_path):
    """A warehouse, and the one that never saw ann."""
    for name, warehouse in zip(("one", "other"), pair_once, strict=True):
        shutil.copytree(warehouse.root, tmp_path / name / "w")
    engine = EngineSpec(threads=1)
    return tuple(Warehouse.open(tmp_path / name / "w", engine=engine) for name in ("one", "other"))


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (2, 3))])
def test_what_is_made_from_events_is_as_if_the_user_had_never_come(tmp_path, seed):
    one, other = two_worlds(tmp_path, rows(PEOPLE, seed=seed))
    report = forget(one, ["ann"], as_of=LATER, rollups=BOTH)
    assert report.is_complete
    same(one, other, ("events", "rollup_users", "rollup_channels", "predictions"))
    for spec in BOTH:
        assert backfill(one, spec).built == ()
        assert ledger(one, spec).stored == ledger(other, spec).stored
        as_ofs = [date(2025, 5, 7)]
        assert_frame_equal(window_table(one, spec, as_ofs=as_ofs), window_table(other, spec, as_ofs=as_ofs))
    assert not one.has("windows_channels")
    assert one.frame("windows_users").filter(pl.col("user_id") == "ann").is_empty()
    # Their fingerprints tell that these are behind, so the next day's work writes them again.
    assert all(advance(one, spec, day=date(2025, 5, 6)).written for spec in BOTH)
    derive(one)
    same(one, other)


def test_metrics_that_counted_the_user_go_and_come_back_without(pair):
    board, tables = BoardSpec(event_dims={"channel": "channel"}), ("metric_values_users", "metric_cohorts_users")
    one, other = pair
    for warehouse in pair:
        backfill_board(warehouse, board)
    report = forget(one, ["ann"], as_of=LATER)
    assert report.is_complete
    assert {each.table for each in report.changes} >= {*tables, "metric_state_users", "rollup_metrics_users"}
    backfill_board(one, board)
    same(one, other, (*tables, "metric_state_users", "metric_unbounded_users"))


def test_the_report_counts_every_table_and_partition(pair):
    one, _ = pair
    held = one.frame("events").filter(pl.col("user_id") == "ann")
    report = forget(one, ["ann"], as_of=LATER, rollups=BOTH)
    changes = {(each.table, each.what.split(",")[0]): each for each in report.changes}
    events = changes["events", "rows removed"]
    assert (events.rows, events.partitions) == (held.height, held["day"].n_unique())
    assert changes["predictions", "rows removed"].rows == 1
    assert changes["features", "rows removed"].rows == 1
    assert changes["windows_users", "rows removed"].partitions == 2
    assert changes["windows_channels", "dropped"].partitions == 2
    assert changes["rollup_users", "days rebuilt"].partitions == held["day"].n_unique()
    again = forget(one, ["ann"], as_of=LATER, rollups=BOTH)
    assert again.lines() == [
        "No table had to change.",
        "No event and no portrait names 'ann'; the tombstone keeps such rows out from now on.",
        f"A search of all {again.search.files} files of the warehouse for 1 id finds nothing.",
    ]


def test_partials_that_nobody_declares_any_more_keep_nothing_either(pair):
    one, other = pair
    before = one.partitions("rollup_channels")
    assert forget(one, ["ann"], as_of=LATER).is_complete
    assert one.frame("rollup_users").filter(pl.col("user_id") == "ann").is_empty()
    left = {info.partition["start"] for info in one.partitions("rollup_channels") if info.partition["grain"] == "day"}
    days = {info.partition["start"] for info in before if info.partition["grain"] == "day"}
    assert left == days - days_of_ann()
    weeks = [info for info in one.partitions("rollup_channels") if info.partition["grain"] == "week"]
    assert not weeks, "each week of the log has a day of hers"
    for spec in BOTH:
        backfill(one, spec)
    same(one, other, ("rollup_users", "rollup_channels"))


def days_of_ann():
    return {day for user, day, *_ in rows(PEOPLE) if user == "ann"}


@pytest.mark.parametrize(
    ("partition", "goes"),
    [
        ({"grain": "day", "start": "2025-05-07"}, True),
        ({"grain": "day", "start": "2025-05-06"}, False),
        ({"grain": "week", "start": "2025-05-05"}, True),
        ({"grain": "week", "start": "2025-04-28"}, False),
        ({"grain": "month", "start": "2025-05-01"}, True),
        ({"grain": "month", "start": "2025-04-01"}, False),
        ({"grain": "all", "start": "2025-04-01"}, True),
        ({"as_of": "2025-05-08"}, True),
        ({"as_of": "2025-05-07"}, False),
        ({"part": "1"}, True),
    ],
)
def test_a_sum_goes_where_a_day_of_the_user_is_in_it(tmp_path, partition, goes):
    log = [("zoe", "2025-05-01", "buy", "1", "x"), ("ann", "2025-05-07", "buy", "1", "x")]
    warehouse = Warehouse.create(tmp_path / "w", engine=EngineSpec(threads=1))
    take(warehouse, write_table(tmp_path / "log.csv", HEADER, log))
    with warehouse.writing("rollup_old__n") as writer:
        writer.put(partition, pl.DataFrame({"channel": ["x"], "n": [2]}), order_by=["channel"], fingerprint="d.1")
    forget(warehouse, ["ann"], as_of=LATER)
    assert warehouse.has("rollup_old__n") != goes


def test_the_only_user_takes_everything_along(tmp_path):
    warehouse = world(tmp_path / "one", [("zoe", f"2025-05-0{day}", "buy", "1", "x") for day in range(1, 9)])
    report = forget(warehouse, ["zoe"], as_of=LATER, rollups=BOTH)
    assert report.is_complete
    assert warehouse.tables() == ["forgotten"]


def test_rows_between_two_users_go_and_the_others_keep_their_order(pair):
    one, _ = pair
    edges = pl.DataFrame({"from_user_id": ["eve", "ann", "bob", "bob"], "to_user_id": ["bob", "eve", None, "ann"]})
    with one.writing("follows") as writer:
        writer.put({}, edges, order_by=(), fingerprint="edges")
    assert forget(one, ["ann"], as_of=LATER).is_complete
    assert one.frame("follows").rows() == [("eve", "bob"), ("bob", None)]
    assert one.fingerprint_of("follows", {}) != "edges"


def test_a_column_of_other_things_is_told_until_it_is_said_to_be_that(pair):
    one, _ = pair
    notes = pl.DataFrame({"shelf": ["ann", "x"]})
    with one.writing("shelves") as writer:
        writer.put({}, notes, order_by=(), fingerprint="1")
    report = forget(one, ["ann"], as_of=LATER)
    assert not report.is_complete
    assert report.proof.endswith(
        "for 1 id still finds some in shelves.shelf (1). Delete those files or values; where a column holds other "
        "things than users, say so: --ignore shelves.shelf"
    )
    assert forget(one, ["ann"], as_of=LATER, ignoring=["shelves.shelf"]).is_complete


def test_a_rollup_of_another_definition_is_told_and_keeps_nothing(pair):
    one, _ = pair
    other = CHANNELS.with_changes(aggregates={"n": AggregateSpec(function="count", where="amount > 1")})
    report = forget(one, ["ann"], as_of=LATER, rollups=(USERS, other))
    assert report.is_complete
    assert report.notes[0].startswith("Rollup 'channels' was not rebuilt. Table 'rollup_channels' holds partials of ")
    assert not {info.partition["start"] for info in one.partitions("rollup_channels")} & days_of_ann()


# Kills.

ERASER = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from sojourn.operate import forget
from sojourn.warehouse import EngineSpec, Warehouse
from tests.operate.test_forget import BOTH
warehouse = Warehouse.open(Path(sys.argv[1]), engine=EngineSpec(threads=1))
print("ready", flush=True)
forget(warehouse, ["ann"], as_of=datetime(2025, 7, 1, tzinfo=UTC), rollups=BOTH)
print("done", flush=True)
"""


def test_killed_at_any_moment_and_run_again_it_completes(pair):
    one, other = pair
    moments, cut = random.Random(3), 0
    for _ in range(6):
        command = [sys.executable, "-c", ERASER, str(one.root)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as eraser:
            assert eraser.stdout is not None
            assert eraser.stdout.readline() == "ready\n"
            time.sleep(moments.uniform(0.02, 0.5))
            eraser.send_signal(signal.SIGKILL)
            cut += "done" not in eraser.stdout.read()
    assert cut >= 1, "the kills came too late to prove anything"
    report = forget(one, ["ann"], as_of=LATER, rollups=BOTH)
    assert report.is_complete
    same(one, other, ("events", "rollup_users", "rollup_channels", "predictions"))
    derive(one)
    same(one, other)


# Merges.


def test_a_merge_is_repaired_in_the_partials_and_the_rest_is_told(tmp_path):
    log = rows(["ann", "ann-2", "bob"])
    one = world(tmp_path / "one", log)
    other = world(tmp_path / "other", [("ann" if row[0] == "ann-2" else row[0], *row[1:]) for row in log])
    file = write_table(tmp_path / "m.csv", ("alias", "user_id"), [("ann-2", "ann")])
    done = merge(one, file, as_of=LATER, rollups=BOTH)
    same_but_names(one, other)
    assert done.lines()[0] == "identities: read 1 pairs, 1 new aliases, 1 in all"
    assert set(done.behind) == {"windows_users", "features", "predictions"}
    assert done.lines()[-1].startswith("Still under the old ids until they are written again: features (1 rows), ")
    again = merge(one, file, as_of=LATER, rollups=BOTH)
    assert again.changes == ()
    derive(one)
    same_but_names(one, other)
    assert set(merge(one, file, as_of=LATER, rollups=BOTH).behind) == {"predictions"}


def same_but_names(one, other):
    """Partials are equal but for the last user's id, which hangs on the order of equal times, by `event_id`."""
    for table in ("rollup_users", "rollup_channels"):
        names = [name for name in one.frame(table).columns if not name.startswith("who")]
        assert_frame_equal(one.frame(table).select(names).sort(names), other.frame(table).select(names).sort(names))


def test_events_without_a_user_to_forget_are_refused_before_anything(pair):
    one, _ = pair
    with pytest.raises(BadInput, match="No user to forget is given"):
        forget(one, [], as_of=LATER)
    assert not one.has("forgotten")


def test_partials_of_events_in_place_follow_what_the_team_deleted(tmp_path):
    lake = tmp_path / "lake"
    log = pl.DataFrame(
        {
            "user_id": ["ann", "zoe", "zoe"],
            "ts": [datetime(2025, 5, day, tzinfo=UTC) for day in (1, 1, 2)],
            "amount": [1.0, 2.0, 3.0],
            "channel": ["x", "x", "y"],
        }
    )
    write_lake(lake, log)
    warehouse = Warehouse.create(tmp_path / "w", engine=EngineSpec(threads=1))
    register_events(warehouse, IngestSpec(), folder=str(lake))
    for spec in BOTH:
        backfill(warehouse, spec)
    write_lake(lake, log.filter(pl.col("user_id") != "ann"))
    report = forget(warehouse, ["ann"], as_of=LATER, rollups=BOTH)
    assert report.is_complete
    assert report.notes[1].startswith(f"Events are read in place from {lake}, so nothing tells on which days")
    assert [(each.table, each.what, each.partitions) for each in report.changes] == [
        ("rollup_users", "days rebuilt", 2),
        ("rollup_channels", "days rebuilt", 2),
    ]
    assert set(warehouse.frame("rollup_users")["user_id"]) == {"zoe"}


def write_lake(lake, log):
    for (day,), rows in log.group_by(pl.col("ts").dt.date()):
        part = lake / f"day={day}" / "part-0.parquet"
        part.parent.mkdir(parents=True, exist_ok=True)
        rows.write_parquet(part)
