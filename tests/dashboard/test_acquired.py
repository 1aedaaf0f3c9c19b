"""What acquired cohorts brought back, counted again from the table of their days; faulty costs in a sentence."""

from datetime import date

import polars as pl
import pytest

from sojourn.dashboard import DashboardSpec, Filters
from sojourn.dashboard.acquired import cohorts, cost_faults, over_cost, per_user
from sojourn.dashboard.boards import metric
from sojourn.dashboard.pages.engagement import funnel_steps
from sojourn.dashboard.reader import Reader
from sojourn.metrics import AcquisitionSpec, metric_relation
from tests.dashboard.worlds import SPEC, board

WEEK = Filters(grain="week")


@pytest.mark.parametrize(("name", "column"), [("acquired_revenue", "revenue"), ("acquired_margin", "margin")])
def test_what_a_user_brought_is_the_sum_of_their_cohorts_days(app, reader, name, column):
    rows = app.frame("metric_acquired_value").filter(pl.col("acquired_on").is_not_null()).to_dicts()
    acquired = app.frame("metric_acquired").with_columns(cohort=pl.col("day").dt.truncate("1w"))
    sizes = dict(acquired.group_by("cohort").len().iter_rows())
    table = per_user(reader, WEEK, name).filter(pl.col("value").is_not_null())
    assert table.height > 20
    for cohort, age, value in table.select("cohort", "age", "value").iter_rows():
        mine = [
            row[column] for row in rows
            if row["age"] <= age and 0 <= (row["acquired_on"] - cohort).days < 7
        ]  # fmt: skip
        assert value == pytest.approx(float(sum(mine)) / sizes[cohort])


def test_the_table_of_cohorts_holds_the_curves_at_its_age(reader):
    table = cohorts(reader, WEEK).filter(pl.col("age").is_not_null())
    assert table.height >= 3
    curves = {
        "retention": per_user(reader, WEEK, "acquired_retention"),
        "margin": per_user(reader, WEEK, "acquired_margin"),
        "roas": over_cost(reader, WEEK, "acquired_revenue"),
        "ltv_cac": over_cost(reader, WEEK, "acquired_margin"),
    }
    for row in table.iter_rows(named=True):
        for name, curve in curves.items():
            at = curve.filter(pl.col("cohort") == row["cohort"], pl.col("age") == row["age"])
            assert row[name] == pytest.approx(at["value"].item())
    assert (table["margin"] <= table["revenue"]).all()


def test_a_funnel_is_one_period_that_is_over_and_not_the_sum_of_all(app, reader):
    table = funnel_steps(reader, WEEK)
    rows = app.engine.frame(f"SELECT * FROM {metric_relation(app, board(app), 'funnel_checkout', grain='week')}")
    over = [start for (start,), part in rows.group_by("start") if part["mature"].all()]
    newest = rows.filter(pl.col("start") == max(over))
    assert table["start"].unique().to_list() == [max(over)]
    for step, users, share in table.select("step", "users", "share").iter_rows():
        mine = newest.filter(pl.col("step") == step)
        assert users == float(mine["numerator"].sum())
        assert share == pytest.approx(float(mine["numerator"].sum()) / float(mine["denominator"].sum()))
    summed = metric(reader, "funnel_checkout", WEEK, by=["step"]).filter(pl.col("step") == 1)["numerator"].sum()
    assert table.filter(pl.col("step") == 1)["users"].item() < summed
    assert table["of_previous"][0] is None


def test_right_costs_have_no_faults(reader):
    channels = tuple(metric(reader, "acquired_users", Filters(), by=["channel"])["channel"].unique())
    spec = SPEC.with_changes(acquisition=(AcquisitionSpec(allow=channels),))
    assert cost_faults(Reader(reader.warehouse, spec)) == []


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("'carrier', 5.0, 'USD'", "channels 'carrier' have costs and no users"),
        ("'organic', 5.0, 'EUR'", "EUR"),
    ],
)
def test_faulty_costs_are_told_as_on_the_command_line(app, tmp_path, row, said):
    """A copy of the app's users with costs of one row that cannot be used."""
    import shutil

    from sojourn.warehouse import EngineSpec, Warehouse

    shutil.copytree(app.root, tmp_path / "app")
    copy = Warehouse.open(tmp_path / "app", engine=EngineSpec(threads=1))
    day = date(2025, 1, 3)
    with copy.writing("costs") as writer:
        query = f"SELECT DATE '{day}' AS day, * FROM (VALUES ({row})) AS t(channel, amount, currency)"
        writer.put({}, query, order_by=["channel"], fingerprint="faulty")
    [told] = cost_faults(Reader(copy, DashboardSpec()))
    assert said in told
