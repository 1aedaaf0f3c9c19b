"""Figures of another definition are refused, test accounts are left out unless told, and nothing half is written."""

from datetime import UTC, date, datetime

import pytest

from sojourn.core import BadInput
from sojourn.metrics import BoardSpec, backfill_board, built_otherwise, metric_page, metric_table, metrics_of
from sojourn.metrics.catalogue import METRICS
from tests.metrics.naive import Portrait, put_portraits
from tests.metrics.shop import BOARD, LOG, put
from tests.metrics.test_rules import values

STEPS = [{"name": "see", "where": "event = 'see'"}, {"name": "pay", "where": "amount > 0"}]
BEGIN = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("changes", "name", "mend"),
    [
        ({"active": "event = 'see'"}, "active_users", "backfill --rebuild"),
        ({"active": "event = 'see'"}, "retention", "backfill --rebuild"),
        ({"unbounded_wait_days": 3}, "unbounded_retention", "backfill --rebuild"),
        ({"test_accounts": False}, "active_users", "backfill --rebuild"),
        ({"metrics": ("revenue", "events")}, "revenue", "backfill"),
        ({"funnels": {"buy": {"steps": STEPS, "within_hours": 1}}}, "funnel_buy", "backfill"),
    ],
)
def test_figures_that_another_definition_made_are_refused_until_they_are_made_anew(warehouse, changes, name, mend):
    board = BOARD.with_changes(funnels={"buy": {"steps": STEPS}})
    backfill_board(put(warehouse), board)
    assert built_otherwise(warehouse, board) is None
    edited = board.with_changes(**changes)
    with pytest.raises(BadInput, match=f"was built with another definition than .*: sojourn metrics {mend}$") as told:
        metric_table(warehouse, edited, name)
    assert "\n" not in str(told.value)
    assert "was built with another definition" in str(built_otherwise(warehouse, edited))


def test_what_does_not_change_a_figure_changes_no_definition(warehouse):
    backfill_board(put(warehouse), BOARD)
    assert built_otherwise(warehouse, BOARD.with_changes(keep_states=5)) is None
    few = BOARD.with_changes(metrics=("active_users",))
    assert metric_table(warehouse, few.with_changes(metrics=None), "active_users").height == 8
    with pytest.raises(BadInput, match=r"sojourn metrics backfill$"):
        metric_table(warehouse, few, "active_users")
    backfill_board(warehouse, few)
    with pytest.raises(BadInput, match=r"sojourn metrics backfill$"):  # not an empty table of a metric never made
        metric_table(warehouse, BOARD, "sessions")


def test_only_the_periods_asked_for_need_to_be_of_this_definition(warehouse):
    backfill_board(put(warehouse), BOARD)
    few = BOARD.with_changes(metrics=("active_users",))
    backfill_board(warehouse, few, start=date(2024, 5, 6), end=date(2024, 5, 9))
    assert values(warehouse, "active_users", board=few, end=date(2024, 5, 9)) == {(6,): 1, (7,): 2, (8,): 2}
    with pytest.raises(BadInput, match=r"5 of 8 partitions asked for, the first day 2024-05-09"):
        metric_table(warehouse, few, "active_users")


def test_test_accounts_are_left_out_where_portraits_mark_them_and_counted_when_told(warehouse):
    put_portraits(put(warehouse), [Portrait("ann", None, True, BEGIN, None), Portrait("bob", None, None, BEGIN, None)])
    board = BoardSpec(active="event <> 'pay'", event_dims={"city": "city"})
    backfill_board(warehouse, board)
    assert values(warehouse, "active_users", board=board, grain="week") == {(6,): 2}
    assert values(warehouse, "excluded_events", board=board, grain="week")[6, "excluded_test"] == 4
    everybody = board.with_changes(test_accounts=False)
    assert everybody.test_accounts is None
    assert "excluded_events" not in metrics_of(everybody)
    backfill_board(warehouse, everybody)
    assert values(warehouse, "active_users", board=everybody, grain="week") == {(6,): 3, (13,): 1}


def test_the_definition_says_who_is_left_out(warehouse):
    board = BOARD.with_changes(exclude="user_id = 'bot'")
    backfill_board(put(warehouse), board)
    page = metric_page(metric_table(warehouse, board, "active_users"), METRICS["active_users"], board).html()
    assert "accounts that table <code>users</code> marks as <code>is_test</code>" in page
    assert "rows where <code>user_id = &#x27;bot&#x27;</code>" in page.replace("&#39;", "&#x27;")


def test_portraits_that_come_to_mark_test_accounts_make_another_definition(warehouse):
    backfill_board(put(warehouse), BOARD)
    put_portraits(warehouse, [Portrait("ann", None, True, BEGIN, None)])
    with pytest.raises(BadInput, match="built with another definition"):
        metric_table(warehouse, BOARD, "active_users")
    backfill_board(warehouse, BOARD)
    assert values(warehouse, "active_users", grain="week") == {(6,): 2}


def test_an_entity_of_another_type_than_the_portraits_is_nobodys_test_account(warehouse):
    put_portraits(put(warehouse), [Portrait("ann", None, True, BEGIN, None)])
    board = BoardSpec(name="amounts", entity="amount", amount=None)
    backfill_board(warehouse, board)
    assert values(warehouse, "active_users", board=board) == {(7,): 1, (8,): 1}


def test_without_activity_nothing_is_written(warehouse):
    put(warehouse)
    tables = warehouse.tables()
    with pytest.raises(BadInput, match="no row of table 'events' up to 2024-05-13 counts as activity of any user_id"):
        backfill_board(warehouse, BOARD.with_changes(active="event = 'lauch'"))
    assert warehouse.tables() == tables
    put(warehouse, [each for each in LOG if each.event != "pay"])
    with pytest.raises(BadInput, match=r"every row is activity, unless excluded"):
        backfill_board(warehouse, BoardSpec(exclude="true"))
    assert warehouse.tables() == tables
