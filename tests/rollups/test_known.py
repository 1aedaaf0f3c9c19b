"""What was known on a morning: windows read today equal those that the job of that morning wrote."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from sojourn.core import BadInput
from sojourn.events import IngestSpec, ingest, register_events
from sojourn.rollups import AggregateSpec, Cell, RollupSpec, backfill, known_at, ledger, window_table
from sojourn.warehouse import Warehouse
from tests.rollups.logs import Event, put_events, rollup
from tests.rollups.mornings import AFTER_HOURS, EVENTS, LONELY, MORNINGS, known_rollup, live_through, world

ZONES = ["America/New_York", "Asia/Kolkata", "UTC"]


def job(spec: RollupSpec) -> Callable[[Warehouse, date], pl.DataFrame]:
    """What a morning's job does."""

    def write(warehouse: Warehouse, morning: date) -> pl.DataFrame:
        backfill(warehouse, spec)
        return window_table(warehouse, spec, as_ofs=[morning])

    return write


@pytest.mark.parametrize("part", range(3))
def test_windows_as_known_equal_what_the_job_of_each_morning_wrote(tmp_path, part):
    spec = known_rollup(part)
    lived = live_through(tmp_path, world(part, ZONES[part]), job(spec))
    backfill(lived.warehouse, spec)
    known = window_table(lived.warehouse, spec, as_ofs=MORNINGS, known_after_hours=AFTER_HOURS)
    doubles = [name for name, kind in known.schema.items() if kind == pl.Float64]
    assert_frame_equal(known.drop(doubles), lived.written.drop(doubles), check_exact=True)
    assert_frame_equal(known.select(doubles), lived.written.select(doubles), rel_tol=1e-12, abs_tol=1e-12)
    plain = window_table(lived.warehouse, spec, as_ofs=MORNINGS)
    assert not plain.equals(lived.written)
    assert "late_user" in lived.written.filter(pl.col("as_of") == MORNINGS[-1])["user_id"]
    # The log has what the test is about: days that are what they were, in weeks too, others, and one that is no more.
    seen = known_at(lived.warehouse, ledger(lived.warehouse, spec), MORNINGS, after_hours=AFTER_HOURS)
    assert any(cell.grain == "week" for cell in seen.cells(MORNINGS[0], date(2024, 3, 1), MORNINGS[0]))
    assert LONELY in seen.looks[MORNINGS[2]].mended
    assert not lived.warehouse.engine.rows(f"SELECT 1 FROM {lived.warehouse.relation('events')} WHERE day = '{LONELY}'")
