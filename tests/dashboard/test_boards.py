"""What the pages read of a metric is what its table holds, whatever is filtered."""

from datetime import timedelta
from math import isclose
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sojourn.core import BadInput, MissingTable
from sojourn.dashboard import DashboardSpec, Filters
from sojourn.dashboard.boards import dimension_values, funnels, metric, published, span
from sojourn.dashboard.reader import Reader
from sojourn.metrics import ACQUISITION_METRICS, METRICS, metric_relation
from tests.dashboard.worlds import DAYS, START, board

GRAINS = ("day", "week", "month")
NAMES = ("active_users", "revenue", "arpu", "stickiness", "lifecycle", "retention", "cohort_revenue")


def slow(warehouse, name, filters, by, grain):
    """The same figures row by row, from the finest rows of the metric."""
    rows = warehouse.engine.frame(f"SELECT * FROM {metric_relation(warehouse, board(warehouse), name, grain=grain)}")
    sums: dict[tuple[Any, ...], tuple[Any, Any, bool]] = {}
    for row in rows.iter_rows(named=True):
        if filters.channel not in (None, row["channel"]):
            continue
        if filters.segment not in (None, f"country={row['country']}"):
            continue
        length = {"day": 1, "week": 7, "month": 31}[grain]
        if filters.start and row["start"] + timedelta(days=length) <= filters.start and grain != "month":
            continue
        if filters.end and row["start"] > filters.end:
            continue
        key = (row["start"], *(row[each] for each in by))
        top, below, over = sums.get(key, (0, None, True))
        if row["denominator"] is not None:
            below = (below or 0) + row["denominator"]
        sums[key] = (top + (row["numerator"] or 0), below, over and row["mature"])
    ratio = METRICS[name].kind == "ratio"
    found = []
    for key, (top, below, over) in sorted(sums.items(), key=lambda each: tuple(map(str, each[0]))):
        value = (float(top) / float(below) if below else None) if ratio else float(top)
        found.append((*key, value, over))
    return found


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_metric_is_the_sum_of_its_finest_rows(app, reader, data):
    name = data.draw(st.sampled_from(NAMES))
    grain = data.draw(st.sampled_from(("day", "week")))
    values = dimension_values(reader)
    days = st.none() | st.integers(0, DAYS - 1).map(lambda at: START + timedelta(days=at))
    start, end = data.draw(days), data.draw(days)
    if start and end and start > end:
        start, end = end, start
    filters = Filters(
        # Without a first day the pages show the last periods alone, which the slow way knows nothing of.
        start=start or START,
        end=end if end and end >= (start or START) else None,
        channel=data.draw(st.none() | st.sampled_from(values["channel"])),
        segment=data.draw(st.none() | st.sampled_from([f"country={each}" for each in values["country"]])),
    )
    by = {"lifecycle": ["state"], "retention": ["cohort", "age"], "cohort_revenue": ["cohort", "age"]}.get(name, [])
    by = [*by, *data.draw(st.sampled_from(([], ["channel"])))]
    table = metric(reader, name, filters, by=by, grain=grain)
    found = sorted(table.select("start", *by, "value", "mature").iter_rows(), key=lambda row: tuple(map(str, row[:-2])))
    wanted = slow(app, name, filters, by, grain)
    assert [row[:-2] for row in found] == [row[:-2] for row in wanted]
    for (*_, value, over), (*_, right, right_over) in zip(found, wanted, strict=True):
        assert over == right_over
        assert value == right or isclose(value, right, rel_tol=1e-12)


@pytest.mark.parametrize("name", sorted({*METRICS, *ACQUISITION_METRICS} - {"excluded_events"}))
def test_every_metric_that_the_rooms_publish_can_be_read(reader, name):
    assert published(reader, name)
    spec = {**METRICS, **ACQUISITION_METRICS}[name]
    table = metric(reader, name, Filters(), by=list(spec.beside), grain=spec.grains[0], ever=True)
    assert table.height > 0
    assert table.columns == ["start", *spec.beside, "value", "numerator", "denominator", "mature"]


def test_funnels_are_found_by_name(reader):
    assert funnels(reader) == ["checkout"]
    steps = metric(reader, "funnel_checkout", Filters(), by=["step"], grain="week", ever=True)
    first = steps.filter(pl.col("step") == 1)
    assert (first["value"].drop_nulls() == 1).all()


def test_without_dates_the_last_periods_are_shown(app):
    few = Reader(app, DashboardSpec(days=5))
    first, last = span(few, Filters(), grain="day")
    assert last == START + timedelta(days=DAYS - 1)
    assert (last - first).days == 4


def test_a_change_of_the_tables_is_seen(tmp_path, warehouse):
    reader = Reader(warehouse, DashboardSpec())
    query = (
        "SELECT 'active_users' AS metric, 'a' AS channel, 1.0 AS value, {}::DECIMAL(38,4) AS "
        "numerator, NULL::DECIMAL(38,4) AS denominator, true AS mature"
    )
    for number in (1, 2):
        with warehouse.writing("metric_values_users") as writer:
            place = {"grain": "week", "start": "2025-01-06"}
            writer.put(place, query.format(number), order_by=["metric"], fingerprint=str(number))
        assert metric(reader, "active_users", Filters())["value"].to_list() == [number]


@pytest.mark.parametrize(
    ("name", "filters", "kind", "said"),
    [
        ("active_users", Filters(segment="planet=Mars"), BadInput, "is not told by 'planet'"),
        ("active_users", Filters(start=START + timedelta(days=400)), BadInput, "There is no figure between"),
    ],
)
def test_what_cannot_be_shown_is_one_sentence(reader, name, filters, kind, said):
    with pytest.raises(kind, match=said):
        metric(reader, name, filters)


def test_an_empty_warehouse_says_what_to_run(warehouse):
    with pytest.raises(MissingTable, match="sojourn metrics backfill"):
        metric(Reader(warehouse, DashboardSpec()), "active_users", Filters())
    assert dimension_values(Reader(warehouse, DashboardSpec())) == {}
