"""The dashboard's own tables: hours, single users' history, checks; each against the event log itself."""

from collections import Counter
from datetime import UTC, datetime
from hashlib import md5

import pytest

from sojourn.core import MissingTable
from sojourn.dashboard import DashboardSpec, bucket_of, user_events, write_checks, write_history, write_hours
from sojourn.dashboard.checks import CHECKS
from sojourn.dashboard.history import HISTORY
from sojourn.dashboard.hours import HOURS
from sojourn.warehouse import EngineSpec, Warehouse, WarehouseSpec
from tests.dashboard.worlds import SPEC


def put_day(warehouse, day, rows):
    """A day of events: (id, user, instant)."""
    values = ", ".join(f"('{key}', '{user}', TIMESTAMPTZ '{ts}', 'view')" for key, user, ts in rows)
    with warehouse.writing("events") as writer:
        query = f"SELECT * FROM (VALUES {values}) AS t(event_id, user_id, ts, event)"
        writer.put({"day": day}, query, order_by=["event_id"], fingerprint=str(rows))


def test_every_hour_of_the_log_is_counted_once(app):
    counted = app.engine.rows(f"SELECT day, hour, events FROM {app.relation(HOURS)}")
    log = app.engine.frame(f"SELECT day, ts FROM {app.relation('events')}")
    slow = Counter((day, ts.hour) for day, ts in log.iter_rows())
    assert {(day, hour): events for day, hour, events in counted} == slow


def test_an_hour_is_that_of_the_warehouses_zone(tmp_path):
    warehouse = Warehouse.create(tmp_path / "w", WarehouseSpec(zone="Asia/Tokyo"), engine=EngineSpec(threads=1))
    put_day(warehouse, "2025-01-02", [("a", "ann", "2025-01-01 16:30:00+00")])
    assert write_hours(warehouse) == 1
    assert warehouse.engine.rows(f"SELECT hour, events FROM {warehouse.relation(HOURS)}") == [(1, 1)]


def test_only_days_that_changed_are_counted_again(warehouse):
    put_day(warehouse, "2025-01-01", [("a", "ann", "2025-01-01 10:00:00+00")])
    put_day(warehouse, "2025-01-02", [("b", "bob", "2025-01-02 10:00:00+00")])
    assert (write_hours(warehouse), write_hours(warehouse)) == (2, 0)
    put_day(warehouse, "2025-01-02", [("b", "bob", "2025-01-02 10:00:00+00"), ("c", "bob", "2025-01-02 10:30:00+00")])
    assert write_hours(warehouse) == 1
    with warehouse.writing("events") as writer:
        writer.drop({"day": "2025-01-01"})
    write_hours(warehouse)
    assert warehouse.places(HOURS) == [{"day": "2025-01-02"}]


def test_a_users_history_is_what_the_log_says(app):
    users = [
        user
        for (user,) in app.engine.rows(f"SELECT DISTINCT user_id FROM {app.relation('events')} ORDER BY 1 LIMIT 40")
    ]
    for user in users:
        found = user_events(app, user, buckets=SPEC.history_buckets)
        log = app.engine.rows(
            (
                f"SELECT event_id, event, amount FROM {app.relation('events')} WHERE user_id = $user "
                "ORDER BY ts DESC, event_id"
            ),
            user=user,
        )
        assert found.select("event_id", "event", "amount").rows() == log


def test_sql_and_python_agree_on_buckets(app):
    for bucket in range(SPEC.history_buckets):
        place = {"bucket": f"{bucket:04d}"}
        users = app.engine.rows(f"SELECT DISTINCT user_id FROM {app.relation(HISTORY, only=[place])}")
        for (user,) in users:
            digits = md5(user.encode()).hexdigest()[:15]
            assert bucket_of(user, buckets=SPEC.history_buckets) == place["bucket"] == f"{int(digits, 16) % 4:04d}"


def test_one_look_up_reads_one_file(app, tmp_path):
    user = app.engine.rows(f"SELECT min(user_id) FROM {app.relation('events')}")[0][0]
    alone = Warehouse.create(tmp_path / "alone", engine=EngineSpec(threads=1))
    place = {"bucket": bucket_of(user, buckets=SPEC.history_buckets)}
    rows = app.engine.frame(f"SELECT * EXCLUDE (bucket) FROM {app.relation(HISTORY, only=[place])}")
    with alone.writing(HISTORY) as writer:
        writer.put(place, rows, order_by=["user_id", "ts", "event_id"], fingerprint="one")
    read = [user_events(warehouse, user, buckets=SPEC.history_buckets) for warehouse in (app, alone)]
    assert read[0].equals(read[1])


def test_history_is_written_again_only_when_something_changed(warehouse):
    spec = DashboardSpec(history_buckets=3)
    put_day(warehouse, "2025-01-01", [("a", "ann", "2025-01-01 10:00:00+00")])
    assert (write_history(warehouse, spec), write_history(warehouse, spec)) == (3, 0)
    put_day(warehouse, "2025-01-02", [("b", "ann", "2025-01-02 10:00:00+00")])
    assert write_history(warehouse, spec) == 3
    assert user_events(warehouse, "ann", buckets=3)["event_id"].to_list() == ["b", "a"]
    assert write_history(warehouse, spec.with_changes(history_days=1, history_buckets=2)) == 2
    assert user_events(warehouse, "ann", buckets=2)["event_id"].to_list() == ["b"]
    assert user_events(warehouse, "nobody", buckets=2).is_empty()


def test_checks_are_kept_as_they_were_told(warehouse):
    at = datetime(2025, 1, 2, 3, tzinfo=UTC)
    write_checks(
        warehouse, [("files", "events", "1 partition", "ok", ""), ("days", "x", "", "wrong", "gap")], checked_at=at
    )
    table = warehouse.frame(CHECKS).sort("number")
    assert table["verdict"].to_list() == ["ok", "wrong"]
    assert table["checked_at"][0] == at


def test_without_events_it_says_so(warehouse):
    for write in (write_hours, write_history):
        with pytest.raises(MissingTable, match="Fill it first"):
            write(warehouse)
    with pytest.raises(MissingTable, match="--prepare"):
        user_events(warehouse, "ann", buckets=4)
