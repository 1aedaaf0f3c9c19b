"""Parts of one page tell of the same users, and a table that is up to date is not called behind."""

from datetime import date, timedelta

import polars as pl
import pytest

from sojourn.dashboard import DashboardSpec, Filters
from sojourn.dashboard.pages import retention
from sojourn.dashboard.pages.health import freshness
from sojourn.dashboard.reader import Reader
from sojourn.metrics import AcquisitionSpec, BoardSpec, backfill_board, write_acquisition
from tests.dashboard.worlds import START
from tests.metrics.growth import event, numbered, put_log

PARTS = {part.name: part for part in retention.RETENTION.parts}


@pytest.mark.parametrize(
    "filters",
    [
        Filters(grain="day"),
        Filters(grain="day", start=START + timedelta(days=3), end=START + timedelta(days=20)),
        Filters(grain="week", end=START + timedelta(days=20)),
    ],
)
def test_retention_by_channel_adds_up_to_retention_by_age(reader, monkeypatch, filters):
    monkeypatch.setattr(retention, "SHOWN_COHORTS", {"day": 6, "week": 2, "month": 2})
    whole = PARTS["curve"].make(reader, filters).table.filter(pl.col("age") > 0)
    parts = PARTS["by_channel"].make(reader, filters).table
    summed = parts.group_by("age").agg(pl.col("numerator", "denominator").sum()).sort("age")
    assert whole.height > 0
    assert whole.select("age", "numerator", "denominator").rows() == summed.rows()


def test_brackets_count_the_cohorts_between_the_days_that_are_asked_for(app, reader):
    first, last = START + timedelta(days=2), START + timedelta(days=9)
    table = PARTS["brackets"].make(reader, Filters(start=first, end=last)).table
    cohorts = app.engine.frame(
        "SELECT cohort, sum(size) AS size FROM (SELECT DISTINCT ON (cohort, channel, country) cohort, channel, "
        f"country, size FROM {app.relation('metric_cohorts_users', only=[{'grain': 'day', 'start': '2025-02-05'}])} "
        f"WHERE cohort BETWEEN DATE '{first}' AND DATE '{last}') GROUP BY cohort"
    )
    assert table.filter(pl.col("days") == "1-7")["users"].item() == cohorts["size"].sum() > 0
    everybody = PARTS["brackets"].make(reader, Filters()).table
    assert everybody.filter(pl.col("days") == "1-7")["users"].item() > cohorts["size"].sum()
    none = PARTS["brackets"].make(reader, Filters(start=START + timedelta(days=400)))
    assert "no cohort between these days" in (none.empty or "")


def test_tables_of_weeks_are_not_behind_while_their_week_runs(warehouse):
    """The log ends on a Friday: its running week began on Monday, four days before."""
    put_log(warehouse, numbered([event("ann", "launch", 24 * day) for day in range(21)]))
    backfill_board(warehouse, BoardSpec())
    write_acquisition(warehouse, AcquisitionSpec(attribution={"touches": [TOUCH], "model": "last"}))
    fresh = {row["table"]: row for row in freshness(Reader(warehouse, DashboardSpec())).iter_rows(named=True)}
    assert fresh["metric_acquired_retention"]["newest"] == date(2025, 3, 21)
    assert {name: row["behind"] for name, row in fresh.items() if row["behind"]} == {}
    put_log(warehouse, numbered([event("ann", "launch", 24 * day) for day in range(40)]))
    behind = dict(freshness(Reader(warehouse, DashboardSpec())).select("table", "behind").iter_rows())
    assert behind["metric_acquired_value"] == 19
    assert behind["metric_acquired_retention"] == 9  # it tells of March, and may know all of it
    assert behind["metric_state_users"] == 19


TOUCH = {"name": "ads", "where": "event = 'ad'", "channel": "network"}
