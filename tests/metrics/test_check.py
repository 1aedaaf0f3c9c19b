"""`check_board` passes what a backfill made, and finds each kind of fault that is put into the tables."""

import pytest

from sojourn.core import MissingTable
from sojourn.metrics import backfill_board, check_board
from tests.metrics.naive import portraits, put_portraits
from tests.metrics.shop import BOARD, LOG, at, put, row
from tests.metrics.test_board import ZONE

PLACE = {"grain": "day", "start": "2024-05-08"}


def verdicts(warehouse, board=BOARD):
    return {each.check: each.verdict for each in check_board(warehouse, board, recount=6)}


def tampered(warehouse, table, place, columns):
    """One partition with its columns changed, its fingerprint kept: what no honest program writes."""
    mark = warehouse.fingerprint_of(table, place)
    frame = warehouse.frame(table, only=[place]).drop(list(place))
    query = ", ".join(f'{sql} AS "{name}"' for name, sql in columns.items())
    with warehouse.engine.table(frame) as name, warehouse.writing(table) as writer:
        rows = f"SELECT * REPLACE ({query}) FROM {name}"
        writer.put(place, rows, order_by=["cohort", "city"], fingerprint=mark)


def test_what_a_backfill_made_is_in_order(warehouse):
    backfill_board(put(warehouse), BOARD)
    assert set(verdicts(warehouse).values()) == {"ok", "skipped"}


def test_a_late_row_is_found(warehouse):
    backfill_board(put(warehouse), BOARD)
    put(warehouse, [*LOG, row("bob", at(8, 12))])
    found = {each.check: each for each in check_board(warehouse, BOARD, recount=6)}
    assert len(found["current"].wrong) == 6
    assert "made from other rows" in found["current"].found
    assert found["recount"].verdict == "wrong"


@pytest.mark.parametrize(
    ("columns", "fault"),
    [
        ({"new": "new + 1"}, "lifecycle"),
        ({"dormant": "dormant + 1"}, "lifecycle"),
        ({"active": "active + size + 1"}, "parts"),
        ({"sessions": "sessions + 1"}, "periods"),
        ({"revenue": "CAST(revenue + 1 AS DECIMAL(38,4))"}, "recount"),
    ],
)
def test_each_fault_is_found(warehouse, columns, fault):
    backfill_board(put(warehouse), BOARD)
    tampered(warehouse, BOARD.cohorts_table, PLACE, columns)
    assert verdicts(warehouse)[fault] == "wrong"


def test_portraits_that_changed_are_a_note(warehouse):
    board = BOARD.with_changes(portrait_dims=("channel",), test_accounts="is_test")
    put_portraits(put(warehouse), [each for each in portraits(ZONE) if each.user_id != "bob"])
    backfill_board(warehouse, board)
    assert set(verdicts(warehouse, board).values()) == {"ok"}
    put_portraits(warehouse, [each._replace(valid_from=at(1, 0), valid_to=None) for each in portraits(ZONE)[2:3]])
    found = {each.check: each for each in check_board(warehouse, board)}
    assert found["portraits"].verdict == "note"
    assert "portraits of 2 came or changed" in found["portraits"].found


def test_nothing_to_check_is_told(warehouse):
    with pytest.raises(MissingTable, match="has no metrics yet"):
        check_board(put(warehouse), BOARD)
