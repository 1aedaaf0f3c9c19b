"""What was known on a morning: windows read today equal those that the job of that morning wrote."""

from datetime import date

import pytest
from polars.testing import assert_frame_equal

from sojourn.rollups import backfill, known_at, ledger, window_table
from tests.rollups.mornings import AFTER_HOURS, MORNINGS, known_rollup, live_through, world

ZONES = ["America/New_York", "Asia/Kolkata", "UTC"]


def window_job(warehouse, morning: date):
    backfill(warehouse, known_rollup())
    return window_table(warehouse, known_rollup(), as_ofs=[morning])


@pytest.mark.parametrize(("seed", "zone"), list(enumerate(ZONES)))
def test_windows_as_known_equal_what_the_job_of_each_morning_wrote(tmp_path, seed, zone):
    lived = live_through(tmp_path, world(seed, zone), window_job)
    backfill(lived.warehouse, known_rollup())
    known = window_table(lived.warehouse, known_rollup(), as_ofs=MORNINGS, known_after_hours=AFTER_HOURS)
    rates = [name for name in known.columns if name.startswith(("rate", "typical"))]
    assert_frame_equal(known.drop(rates), lived.written.drop(rates), check_exact=True)
    assert_frame_equal(known.select(rates), lived.written.select(rates), rel_tol=1e-12, abs_tol=1e-12)
    plain = window_table(lived.warehouse, known_rollup(), as_ofs=MORNINGS)
    assert not plain.equals(lived.written)
