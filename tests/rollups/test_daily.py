"""Advancing a day writes its partial and the windows of the morning after; again changes nothing."""

from datetime import date

import pytest
from polars.testing import assert_frame_equal

from sojourn.core import BadInput
from sojourn.rollups import advance, backfill, window_table
from tests.rollups.logs import put_events, rollup
from tests.rollups.test_partials import bytes_of, log


def test_advancing_writes_the_windows_of_the_day_after(warehouse):
    put_events(warehouse, log())
    report = advance(warehouse, rollup(), day=date(2024, 5, 9))
    assert (report.table, report.as_of, report.rows, report.written) == ("windows_every", date(2024, 5, 10), 3, True)
    assert report.partials.built == tuple(date(2024, 5, day) for day in range(3, 10))
    backfill(warehouse, rollup())
    wanted = window_table(warehouse, rollup(), as_ofs=[date(2024, 5, 10)])
    assert_frame_equal(warehouse.frame("windows_every").select(wanted.columns), wanted)


def test_advancing_again_changes_nothing_and_a_late_row_does(warehouse):
    put_events(warehouse, log())
    advance(warehouse, rollup(), day=date(2024, 5, 9))
    first = bytes_of(warehouse, "windows_every")
    again = advance(warehouse, rollup(), day=date(2024, 5, 9))
    assert (again.written, again.rows, again.partials.built) == (False, 3, ())
    assert bytes_of(warehouse, "windows_every") == first
    put_events(warehouse, log(late=True))
    repaired = advance(warehouse, rollup(), day=date(2024, 5, 9))
    assert (repaired.written, repaired.partials.built) == (True, (date(2024, 5, 4),))
    assert bytes_of(warehouse, "windows_every") != first


def test_other_windows_over_the_same_partials_are_written_anew(warehouse):
    put_events(warehouse, log())
    advance(warehouse, rollup(), day=date(2024, 5, 9))
    assert advance(warehouse, rollup(windows_days=(2, 7)), day=date(2024, 5, 9)).written


def test_a_day_without_events_is_refused(warehouse):
    put_events(warehouse, log())
    with pytest.raises(BadInput) as refusal:
        advance(warehouse, rollup(), day=date(2024, 5, 13))
    assert str(refusal.value) == (
        "Table 'events' has no row on business day 2024-05-13; its days end with 2024-05-12. "
        "Ingest that day's events first, or name a day that has some."
    )


def test_a_window_longer_than_history_is_refused_before_anything_is_built(warehouse):
    put_events(warehouse, log())
    with pytest.raises(BadInput, match=r"7 days before 2024-05-04 are needed and there are 3"):
        advance(warehouse, rollup(), day=date(2024, 5, 3))
    assert not warehouse.has("rollup_every")
