"""Each check says what a slow, obvious count of the day's rows says."""

from datetime import UTC, date, datetime, timedelta
from statistics import median
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sojourn.core import BadSpec
from sojourn.operate import CheckSpec, check_day
from sojourn.rollups import backfill, user_rollup
from sojourn.warehouse import EngineSpec, Warehouse, WarehouseSpec

DAY = date(2024, 5, 31)
DAYS = [DAY - timedelta(days=back) for back in range(29)]
ROW = st.tuples(
    st.sampled_from(DAYS[:1] + DAYS[:1] + DAYS[7::7] + DAYS[1:3]),
    st.integers(0, 86_399),
    st.sampled_from(["web", "app", "telly", None]),
    st.sampled_from([1, 2, None]),
)
SHARED = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def log_of(root, rows, zone="UTC"):
    """A warehouse whose events are these rows: business day, second of the day, channel, amount."""
    warehouse = Warehouse.create(root, WarehouseSpec(zone=zone), engine=EngineSpec(threads=1))
    for day in {row[0] for row in rows}:
        midnight = datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone)).astimezone(UTC)
        frame = pl.DataFrame(
            [
                (f"{day}-{n}", f"u{n % 3}", midnight + timedelta(seconds=second), "see", channel, amount)
                for n, (_, second, channel, amount) in enumerate(row for row in rows if row[0] == day)
            ],
            schema={
                "event_id": pl.String,
                "user_id": pl.String,
                "ts": pl.Datetime("us", "UTC"),
                "event": pl.String,
                "channel": pl.String,
                "amount": pl.Decimal(18, 4),
            },
            orient="row",
        )
        with warehouse.writing("events") as writer:
            writer.put({"day": str(day)}, frame, order_by=["event_id"], fingerprint=str(len(rows)))
    return warehouse


@SHARED
@given(rows=st.lists(ROW, min_size=1, max_size=40), share=st.sampled_from([0.0, 0.3, 0.9]))
def test_checks_agree_with_a_slow_count(rows, share, tmp_path_factory):
    warehouse = log_of(tmp_path_factory.mktemp("w") / "w", rows)
    today = [row for row in rows if row[0] == DAY]

    def found(**spec):
        return check_day(warehouse, CheckSpec(**spec), day=DAY)

    assert found(kind="rows", min_rows=3).holds == (len(today) >= 3)
    nulls = found(kind="null_share", column="amount", max_share=share)
    allowed = found(kind="allowed", column="channel", values=("web", "app"), max_share=share)
    fresh = found(kind="freshness", max_age_hours=6.0)
    if not today:
        assert (nulls.holds, allowed.holds, fresh.holds) == (None, None, False)
    else:
        assert nulls.figure == pytest.approx(sum(row[3] is None for row in today) / len(today))
        assert nulls.holds == (nulls.figure <= share)
        named = [row for row in today if row[2] is not None]
        strange = sum(row[2] == "telly" for row in named)
        assert allowed.holds == (None if not named else strange / len(named) <= share)
        age_h = 24 - max(row[1] for row in today) / 3600
        assert fresh.figure == pytest.approx(age_h)
        assert fresh.holds == (age_h <= 6)
    before = [sum(row[0] == DAY - timedelta(weeks=week) for row in rows) for week in (1, 2, 3, 4)]
    before = [rows for rows in before if rows]
    drop = found(kind="drop", max_drop=0.5)
    if len(before) < 2:
        assert drop.holds is None
    else:
        assert drop.figure == pytest.approx(1 - len(today) / median(before))
        assert drop.holds == (drop.figure <= 0.5)


def test_the_day_ends_in_the_warehouses_zone(tmp_path):
    warehouse = log_of(tmp_path / "w", [(DAY, 23 * 3600, "web", 1)], zone="America/New_York")
    found = check_day(warehouse, CheckSpec(kind="freshness", max_age_hours=1.0), day=DAY)
    assert found.holds
    assert found.figure == pytest.approx(1.0)


def test_values_that_are_not_allowed_are_named_with_their_count(tmp_path):
    warehouse = log_of(tmp_path / "w", [(DAY, 0, "telly", 1), (DAY, 1, "telly", 1), (DAY, 2, "web", 1)])
    found = check_day(warehouse, CheckSpec(kind="allowed", column="channel", values=("web",)), day=DAY)
    assert found.told.endswith("66.67% of 3 rows; at most 0.00% is allowed: 'telly' (2)")


def test_where_keeps_to_some_rows_and_a_measure_may_be_any_aggregate(tmp_path):
    rows = [(day, 0, "web", 2) for day in (DAY, *DAYS[7::7])] + [(DAY, 1, "app", None)]
    warehouse = log_of(tmp_path / "w", rows)
    only_web = CheckSpec(kind="null_share", column="amount", where="channel = 'web'")
    assert check_day(warehouse, only_web, day=DAY).holds
    assert not check_day(warehouse, CheckSpec(kind="null_share", column="amount"), day=DAY).holds
    spent = check_day(warehouse, CheckSpec(kind="drop", measure="sum(amount)", max_drop=0.1), day=DAY)
    assert (spent.holds, spent.figure) == (True, 0.0)


def test_conservation_finds_an_event_twice_and_a_rollup_that_has_lost_some(tmp_path):
    warehouse = log_of(tmp_path / "w", [(DAY, n, "web", 1) for n in range(5)])
    spec = CheckSpec(kind="conservation")
    rollup = user_rollup()
    backfill(warehouse, rollup)
    assert check_day(warehouse, spec, day=DAY, rollups=[rollup]).told.endswith("counted alike by 1 of 1 rollups")
    events = warehouse.frame("events").drop("day")
    with warehouse.writing("events") as writer:
        writer.put({"day": str(DAY)}, pl.concat([events, events[:2]]), order_by=["event_id"], fingerprint="twice")
    found = check_day(warehouse, spec, day=DAY, rollups=[rollup])
    assert not found.holds
    assert "2 events are there twice" in found.told
    assert "rollup 'user' has counted 5 of them" in found.told


def test_a_table_of_days_is_looked_at_on_its_day_and_any_other_whole(tmp_path):
    warehouse = log_of_users(log_of(tmp_path / "w", [(DAY, 0, "web", 1)]))
    costs = pl.DataFrame({"day": [DAY, DAY, DAYS[3]], "channel": ["web", "app", "web"]})
    with warehouse.writing("costs") as writer:
        writer.put({}, costs, order_by=["day", "channel"], fingerprint="1")
    for table, rows in (("costs", 2), ("users", 1)):
        assert check_day(warehouse, CheckSpec(kind="rows", table=table), day=DAY).figure == rows
    assert not check_day(warehouse, CheckSpec(kind="rows", table="costs"), day=DAYS[1]).holds


def test_sql_that_cannot_be_computed_names_the_check(tmp_path):
    warehouse = log_of(tmp_path / "w", [(DAY, 0, "web", 1)])
    with pytest.raises(BadSpec, match=r"\[checks.mine\] cannot be computed: .*nothing"):
        check_day(warehouse, CheckSpec(name="mine", kind="rows", where="nothing > 1"), day=DAY)
    with pytest.raises(BadSpec, match=r"counts events; it cannot count table 'users'"):
        check_day(warehouse, CheckSpec(name="mine", kind="conservation", table="events"), day=DAY) and check_day(
            log_of_users(warehouse), CheckSpec(name="mine", kind="conservation", table="users"), day=DAY
        )


def log_of_users(warehouse):
    with warehouse.writing("users") as writer:
        writer.put({}, pl.DataFrame({"user_id": ["a"]}), order_by=["user_id"], fingerprint="1")
    return warehouse
