"""Edge rules, each counted by hand: zones, weeks, doubles, late rows, holes, who counts, and whose money it is."""

from datetime import UTC, date, datetime, timedelta

import pytest

from sojourn.core import BadInput, BadSpec, MissingColumn, MissingTable
from sojourn.events import merge_identities
from sojourn.metrics import (
    BoardSpec,
    advance_board,
    backfill_board,
    boards_of,
    default_board,
    metric_table,
    metrics_from,
    rebuild_board,
)
from sojourn.warehouse import Warehouse, WarehouseSpec
from tests.events.logs import take, write_table
from tests.metrics.naive import Portrait, put_portraits
from tests.metrics.shop import BOARD, LOG, MONDAY, at, put, row

DAY = timedelta(days=1)


def values(warehouse, name, *, board=BOARD, **asked):
    """The metric's parts and value, period by period, without periods of nothing."""
    table = metric_table(warehouse, board, name, **asked)
    keys = [key for key in table.columns if key not in ("start", "numerator", "denominator", "mature", "value")]
    return {
        (row["start"].day, *(row[key] for key in keys)): row["value"]
        for row in table.iter_rows(named=True)
        if row["numerator"] or row["denominator"]
    }


def test_every_metric_is_what_one_counts_by_hand(warehouse):
    report = backfill_board(put(warehouse), BOARD)
    assert report.holes == tuple(MONDAY + days * DAY for days in (3, 4, 5, 6))
    assert values(warehouse, "active_users") == {(6,): 1, (7,): 2, (8,): 2, (13,): 1}
    assert values(warehouse, "active_users", grain="week") == {(6,): 3, (13,): 1}
    assert values(warehouse, "active_7d") == {
        (6,): 1, (7,): 2, (8,): 3, (9,): 3, (10,): 3, (11,): 3, (12,): 3, (13,): 3,
    }  # fmt: skip
    assert values(warehouse, "lifecycle") == {
        (6, "new"): 1, (7, "new"): 1, (7, "returning"): 1, (8, "new"): 1, (8, "returning"): 1, (8, "dormant"): 1,
        (9, "dormant"): 2, (13, "resurrected"): 1,
    }  # fmt: skip
    assert values(warehouse, "lifecycle", grain="week") == {(6, "new"): 3, (13, "returning"): 1, (13, "dormant"): 2}
    assert values(warehouse, "sessions") == {(6,): 2, (7,): 2, (8,): 1, (13,): 1}
    assert values(warehouse, "revenue") == {(7,): 10, (8,): -4}
    assert values(warehouse, "arpu", grain="week") == {(6,): 2, (13,): 0}
    assert values(warehouse, "arppu") == {(7,): 10, (8,): None}
    assert values(warehouse, "paying_share") == {(6,): 0, (7,): 0.5, (8,): 0, (13,): 0}
    assert values(warehouse, "stickiness")[8,] == 2 / 3
    retained = values(warehouse, "retention")
    assert {key: value for key, value in retained.items() if value} == {
        (6, MONDAY, 0): 1, (7, MONDAY, 1): 1, (13, MONDAY, 7): 1, (7, MONDAY + DAY, 0): 1, (8, MONDAY + DAY, 1): 1,
        (8, MONDAY + 2 * DAY, 0): 1,
    }  # fmt: skip
    assert values(warehouse, "cohort_revenue")[7, MONDAY, 1] == 10
    assert values(warehouse, "bracket_retention") == {
        (8, MONDAY, 1, "1-2"): 1, (9, MONDAY + DAY, 1, "1-2"): 1, (10, MONDAY + 2 * DAY, 1, "1-2"): 0,
    }  # fmt: skip
    assert values(warehouse, "unbounded_retention") == {
        (13, MONDAY, 1): 1, (13, MONDAY, 3): 1, (13, MONDAY, 7): 1, (13, MONDAY + DAY, 1): 1, (13, MONDAY + DAY, 3): 0,
        (13, MONDAY + 2 * DAY, 1): 0, (13, MONDAY + 2 * DAY, 3): 0,
    }  # fmt: skip


def test_a_funnel_takes_the_first_attempt_of_the_period_and_holds_its_limit(warehouse):
    steps = [{"name": "see", "where": "event = 'see'"}, {"name": "pay", "where": "amount > 0"}]
    board = BOARD.with_changes(funnels={"day": {"steps": steps}, "hour": {"steps": steps, "within_hours": 1}})
    backfill_board(put(warehouse), board)
    # Ann sees on the 6th at 10:00 and on the 7th at 9:00, and pays on the 7th at 9:30.
    within_a_day = values(warehouse, "funnel_day", board=board)
    assert {key: value for key, value in within_a_day.items() if key[1] == 2} == {
        (6, 2, "pay"): 1, (7, 2, "pay"): 0.5, (8, 2, "pay"): 0, (13, 2, "pay"): 0,
    }  # fmt: skip
    assert values(warehouse, "funnel_hour", board=board)[6, 2, "pay"] == 0
    with pytest.raises(MissingTable, match="A funnel's week is told once it is over and all its entities had their"):
        metric_table(warehouse, board, "funnel_day", grain="week")
    mature = metric_table(warehouse, board, "funnel_day").filter("mature")["start"]
    assert mature.max() == date(2024, 5, 8)


def test_dimensions_are_those_of_the_first_day_and_distinct_users_add_up_over_them(warehouse):
    backfill_board(put(warehouse), BOARD)
    by_city = values(warehouse, "active_users", grain="week", by=["city"])
    assert by_city == {(6, "oslo"): 1, (6, "rome"): 1, (6, "unknown"): 1, (13, "oslo"): 1}


def test_what_is_not_over_or_sees_too_little_of_history_is_not_mature(warehouse):
    backfill_board(put(warehouse, LOG[3:]), BOARD)
    mature = {
        grain: metric_table(warehouse, BOARD, "active_users", grain=grain).select("start", "mature").rows()
        for grain in ("day", "week", "month")
    }
    assert all(is_mature for _, is_mature in mature["day"])
    assert mature["week"] == [(MONDAY, False), (date(2024, 5, 13), False)]
    assert mature["month"] == [(date(2024, 5, 1), False)]
    rolling = metric_table(warehouse, BOARD, "active_7d")
    assert rolling.filter("mature")["start"].to_list() == [date(2024, 5, 13)]


@pytest.mark.parametrize(("zone", "days"), [("UTC", {7: 1, 8: 1}), ("Asia/Tokyo", {8: 1}), ("America/Lima", {7: 1})])
def test_a_day_is_the_local_one(tmp_path, zone, days):
    warehouse = Warehouse.create(tmp_path / "w", WarehouseSpec(zone=zone))
    put(warehouse, [row("bob", at(7, 23, 50)), row("bob", at(8, 0, 10))])
    backfill_board(warehouse, BOARD)
    assert values(warehouse, "active_users") == {(day,): number for day, number in days.items()}


def test_a_week_begins_on_the_declared_day(tmp_path):
    warehouse = put(Warehouse.create(tmp_path / "w", WarehouseSpec(week_start="wednesday")))
    backfill_board(warehouse, BOARD)
    assert values(warehouse, "active_users", grain="week") == {(1,): 2, (8,): 3}
    assert values(warehouse, "lifecycle", grain="week")[8, "returning"] == 2


def test_a_row_that_comes_twice_counts_once_and_a_rerun_changes_nothing(warehouse):
    backfill_board(put(warehouse), BOARD)
    files = {file: file.stat().st_mtime_ns for file in warehouse.root.glob("metric_*/**/*.parquet")}
    report = backfill_board(put(warehouse, [*LOG, *LOG]), BOARD)
    assert (len(report.made), report.current) == (0, 8)
    assert {file: file.stat().st_mtime_ns for file in warehouse.root.glob("metric_*/**/*.parquet")} == files


def test_a_late_row_remakes_the_days_from_its_own_on_and_no_other(warehouse):
    backfill_board(put(warehouse), BOARD)
    put(warehouse, [*LOG, row("bob", at(6, 12))])
    report = advance_board(warehouse, BOARD, day=date(2024, 5, 13))
    assert report.made[0] == MONDAY
    assert values(warehouse, "active_users")[6,] == 2
    assert values(warehouse, "lifecycle")[7, "returning"] == 2
    put(warehouse, [*LOG, row("bob", at(6, 12)), row("dan", at(13, 12))])
    assert backfill_board(warehouse, BOARD).made == (date(2024, 5, 13),)


def test_a_row_that_goes_is_gone_from_every_metric_and_so_are_days_that_go(warehouse):
    backfill_board(put(warehouse), BOARD)
    put(warehouse, [event for event in LOG if event.ts < at(13, 0) and event.user_id != "bob"])
    backfill_board(warehouse, BOARD)
    assert values(warehouse, "active_users") == {(6,): 1, (7,): 1, (8,): 1}
    assert metric_table(warehouse, BOARD, "active_users")["start"].max() == date(2024, 5, 8)
    assert metric_table(warehouse, BOARD, "active_users", grain="week")["start"].to_list() == [MONDAY]


def test_two_ids_that_are_one_person_are_one_user_from_the_merge_on(tmp_path):
    warehouse = Warehouse.create(tmp_path / "w")
    rows = [("ann", "2024-05-06", "see"), ("ann-2", "2024-05-07", "see"), ("bob", "2024-05-07", "see")]
    take(warehouse, write_table(tmp_path / "log.csv", ("user_id", "ts", "event"), rows))
    board = BoardSpec(amount=None)
    backfill_board(warehouse, board)
    assert values(warehouse, "active_users", board=board, grain="week") == {(6,): 3}
    pairs = write_table(tmp_path / "same.csv", ("alias", "user_id"), [("ann-2", "ann")])
    merge_identities(warehouse, pairs, as_of=datetime(2024, 6, 1, tzinfo=UTC))
    backfill_board(warehouse, board)
    assert values(warehouse, "active_users", board=board, grain="week") == {(6,): 2}
    assert values(warehouse, "lifecycle", board=board)[7, "returning"] == 1


def test_a_portrait_is_read_once_and_again_on_a_rebuild(warehouse):
    board = BOARD.with_changes(portrait_dims=("channel",), event_dims={}, test_accounts="is_test")
    begin = datetime(2024, 1, 1, tzinfo=UTC)
    put_portraits(put(warehouse), [Portrait("ann", "ads", False, begin, None)])
    backfill_board(warehouse, board)
    put_portraits(warehouse, [Portrait("ann", "mail", False, begin, None), Portrait("bob", "ads", True, begin, None)])
    backfill_board(warehouse, board)
    asked = {"board": board, "grain": "week", "by": ["channel"]}
    assert values(warehouse, "active_users", **asked) == {(6, "ads"): 1, (6, "unknown"): 2, (13, "ads"): 1}
    rebuild_board(warehouse, board)
    assert values(warehouse, "active_users", **asked) == {(6, "mail"): 1, (6, "unknown"): 1, (13, "mail"): 1}
    assert values(warehouse, "excluded_events", board=board) == {(7, "excluded_test"): 1, (8, "excluded_test"): 1}


def test_money_before_the_first_activity_counts_in_totals_and_has_no_cohort(warehouse):
    paid = row("eve", at(7, 8), "pay", "5")
    backfill_board(put(warehouse, [*LOG, paid, row("eve", at(8, 8))]), BOARD)
    assert values(warehouse, "revenue", by=["city"])[7, "unknown"] == 5
    assert values(warehouse, "revenue")[7,] == 15
    assert sum(values(warehouse, "cohort_revenue").values()) == 6


def test_two_sides_of_a_market_are_two_boards_over_one_log(warehouse):
    put(warehouse)
    sides = metrics_from({"metrics": {"boards": {"users": {}, "cities": {"entity": "city"}}}}).boards
    for board in sides.values():
        backfill_board(warehouse, board)
    assert values(warehouse, "active_users", board=sides["cities"], grain="week") == {(6,): 2, (13,): 1}
    assert values(warehouse, "active_users", board=sides["users"], grain="week") == {(6,): 3, (13,): 1}


def test_a_backfill_of_some_days_makes_their_whole_periods(warehouse):
    put(warehouse)
    report = backfill_board(warehouse, BOARD, start=date(2024, 5, 8), end=date(2024, 5, 10))
    assert report.made == tuple(MONDAY + days * DAY for days in range(4))
    assert values(warehouse, "active_users", grain="week") == {(6,): 3}
    assert backfill_board(warehouse, BOARD).made == tuple(MONDAY + days * DAY for days in range(4, 8))


def test_states_that_were_lost_are_made_again_from_the_partials(warehouse):
    put(warehouse, LOG[:-1])
    backfill_board(warehouse, BOARD)
    with warehouse.writing(BOARD.state_table) as writer:
        for place in warehouse.places(BOARD.state_table):
            writer.drop(place)
    put(warehouse)
    assert backfill_board(warehouse, BOARD).made == tuple(MONDAY + days * DAY for days in range(3, 8))
    assert values(warehouse, "lifecycle")[13, "resurrected"] == 1
    assert [place["as_of"] for place in warehouse.places(BOARD.state_table)] == ["2024-05-13", "2024-05-14"]


def test_a_metric_that_is_declared_later_is_published_for_all_days(warehouse):
    few = BOARD.with_changes(metrics=("active_users",))
    backfill_board(put(warehouse), few)
    with pytest.raises(BadInput, match="does not publish 'sessions'"):
        metric_table(warehouse, few, "sessions")
    backfill_board(warehouse, BOARD)
    assert values(warehouse, "sessions")[6,] == 2


def test_without_settings_the_board_is_what_the_log_and_portraits_offer(warehouse):
    put_portraits(put(warehouse), [Portrait("ann", "ads", False, datetime(2024, 1, 1, tzinfo=UTC), None)])
    assert boards_of(warehouse, metrics_from({})) == {"users": default_board(warehouse)}
    board = default_board(warehouse)
    assert (board.dims, board.test_accounts, board.amount) == (("channel",), "is_test", "amount")


@pytest.mark.parametrize(
    ("changes", "error", "told"),
    [
        ({"active": "evnt = 'see'"}, MissingColumn, "needs column 'evnt'"),
        ({"event_dims": {"town": "twn"}}, MissingColumn, "needs column 'twn'"),
        ({"amount": "amont"}, MissingColumn, "needs column 'amont'"),
        ({"entity": "driver_id"}, MissingColumn, "needs column 'driver_id'"),
        ({"active": "event = 'lauch'"}, BadInput, "no row of table 'events' up to 2024-05-13 counts as activity"),
        ({"portrait_dims": ("channel",)}, MissingTable, "from table 'users', which the warehouse"),
        ({"metrics": ("active_user",)}, BadInput, "no metric 'active_user'. Did you mean 'active_users'"),
        ({"metrics": ("margin",)}, BadInput, "needs margin, which board 'users' lacks. Declare in"),
        (
            {"funnels": {"buy": {"steps": [{"name": "a", "where": "evnt = 'a'"}, {"name": "b", "where": "true"}]}}},
            MissingColumn,
            "Rollup 'funnel_buy' over table 'events', aggregate 'step_a' needs column 'evnt'",
        ),
    ],
)
def test_a_board_that_the_log_cannot_serve_is_told_in_one_sentence(warehouse, changes, error, told):
    put(warehouse)
    with pytest.raises(error, match=told):
        backfill_board(warehouse, BOARD.with_changes(**changes))


def test_days_without_data_are_told_with_those_that_have_some(warehouse):
    with pytest.raises(MissingTable, match="Ingest it first"):
        backfill_board(warehouse, BOARD)
    put(warehouse)
    with pytest.raises(MissingTable, match=r"no values of metric 'active_users' by day yet. Make them"):
        metric_table(warehouse, BOARD, "active_users")
    with pytest.raises(BadInput, match="no row from 2025-01-01 to before 2024-05-13; its days are 2024-05-06 to"):
        backfill_board(warehouse, BOARD, start=date(2025, 1, 1))
    with pytest.raises(BadInput, match="no row on business day 2024-05-10; its days are 2024-05-06 to 2024-05-13"):
        advance_board(warehouse, BOARD, day=date(2024, 5, 10))
    backfill_board(warehouse, BOARD)
    with pytest.raises(BadInput, match="no day that begins from 2030-01-01 to before today; they begin on 2024-05-06"):
        metric_table(warehouse, BOARD, "active_users", start=date(2030, 1, 1))
    with pytest.raises(BadSpec, match="has no dimension 'channel'; its dimensions are: city"):
        metric_table(warehouse, BOARD, "active_users", by=["channel"])
    with pytest.raises(BadInput, match="is told by day, not by week"):
        metric_table(warehouse, BOARD, "active_7d", grain="week")


def test_a_board_that_means_something_else_now_says_how_to_replace_the_old(warehouse):
    backfill_board(put(warehouse), BOARD)
    other = BOARD.with_changes(active="event = 'see'")
    with pytest.raises(BadInput, match=r"counted by another definition.*sojourn metrics backfill --rebuild"):
        backfill_board(warehouse, other)
    assert len(rebuild_board(warehouse, other).made) == 8
