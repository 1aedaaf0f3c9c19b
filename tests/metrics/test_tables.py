"""Tables, triangles, charts and pages of a metric, and what the settings refuse."""

import json
from datetime import date

import polars as pl
import pytest

from sojourn.core import BadInput, BadSpec, EmptyInput
from sojourn.metrics import (
    METRICS,
    BoardSpec,
    MetricsSpec,
    backfill_board,
    day_after_last,
    metric_chart,
    metric_page,
    metric_relation,
    metric_table,
    metrics_from,
    metrics_of,
    told_rows,
    triangle,
    write_table,
)
from sojourn.warehouse import Warehouse
from tests.metrics.shop import BOARD, MONDAY, put


@pytest.fixture(scope="module")
def board(tmp_path_factory):
    warehouse = put(Warehouse.create(tmp_path_factory.mktemp("shop") / "warehouse"))
    backfill_board(warehouse, BOARD)
    return warehouse


def test_coarser_rows_are_sums_of_the_finest(board):
    for name, metric in metrics_of(BOARD).items():
        finest = board.engine.frame(f"SELECT * FROM {metric_relation(board, BOARD, name)}")
        table = metric_table(board, BOARD, name)
        keys = ["start", *metric.beside]
        sums = finest.group_by(keys).agg(pl.col("numerator", "denominator").sum()).sort(keys)
        assert table["numerator"].to_list() == sums["numerator"].to_list()
        assert metric_table(board, BOARD, name, by=BOARD.dims).height == finest.height


def test_a_triangle_has_a_row_a_cohort_and_sums_up_to_each_age(board):
    wide = triangle(metric_table(board, BOARD, "cohort_revenue"), cumulative=True)
    assert wide["cohort"].to_list() == [MONDAY, date(2024, 5, 7), date(2024, 5, 8)]
    assert wide["size"].to_list() == [1, 1, 1]
    assert wide.row(0)[2:5] == (0.0, 10.0, 10.0)
    assert wide.row(2)[2] == -4.0
    assert wide.row(2)[-1] is None


def test_a_triangle_by_head_divides_by_the_cohort_and_leaves_running_cells_blank(board):
    table = metric_table(board, BOARD, "cohort_revenue", grain="week")
    wide = triangle(table, per_head=True)
    assert wide.columns == ["cohort", "size", "0", "1"]
    assert wide.rows() == [(MONDAY, 3, 2.0, None)]


def test_the_day_after_the_last_is_told(board):
    assert day_after_last(board, BOARD) == date(2024, 5, 14)


@pytest.mark.parametrize(
    "name", [name for name in METRICS if name not in {"margin", "cohort_margin", "excluded_events"}]
)
def test_every_metric_has_a_chart_and_a_page_with_its_definition(board, name):
    metric = METRICS[name]
    table = metric_table(board, BOARD, name)
    assert len(metric_chart(table, metric).data) >= 1
    html = metric_page(table, metric, BOARD).html()
    assert metric.title in html
    assert "event &lt;&gt; &#39;pay&#39;" in html or "event <> 'pay'" in html


def test_a_line_is_solid_where_it_is_mature_and_hollow_where_it_is_not(board):
    solid, dashed, hollow = metric_chart(metric_table(board, BOARD, "active_7d"), METRICS["active_7d"]).data
    assert [y for y in solid.y if y is not None] == [3.0, 3.0]
    assert dashed.line.dash == "dot"
    assert hollow.mode == "markers"
    assert len(hollow.x) == 6


def test_of_many_dimensions_the_largest_are_drawn_and_all_others_as_one():
    days = [MONDAY] * 12
    table = pl.DataFrame(
        {
            "start": days,
            "city": [f"c{number:02}" for number in range(12)],
            "value": [float(number) for number in range(12)],
            "numerator": list(range(12)),
            "denominator": [None] * 12,
            "mature": [True] * 12,
        }
    )
    traces = metric_chart(table, METRICS["active_users"], by=["city"]).data
    assert [trace.name for trace in traces] == ["c11", "c10", "c09", "c08", "c07", "c06", "c05", "all others"]
    assert traces[-1].y == (10.0,)


def test_those_who_went_away_hang_below_zero(board):
    bars = {bar.name: bar for bar in metric_chart(metric_table(board, BOARD, "lifecycle"), METRICS["lifecycle"]).data}
    assert min(bars["Dormant"].y) == -2
    assert max(bars["New"].y) == 1


def test_what_cannot_be_drawn_is_told(board):
    table = metric_table(board, BOARD, "retention", by=["city"])
    with pytest.raises(BadInput, match="one triangle or one set of bars, and none by city"):
        metric_chart(table, METRICS["retention"], by=["city"])
    with pytest.raises(EmptyInput, match="nothing to draw of metric 'retention'"):
        metric_chart(table.clear(), METRICS["retention"])


def test_a_table_is_told_exactly_and_marks_what_is_not_mature(board):
    heads, rows = told_rows(metric_table(board, BOARD, "arpu", grain="week"), METRICS["arpu"])
    assert heads == ["start", "numerator", "denominator", "value"]
    assert rows == [["2024-05-06", "6", "3", "2.00 "], ["2024-05-13", "0", "1", "0.00*"]]


def test_a_table_goes_into_csv_and_json_with_its_definition(board, tmp_path):
    table = metric_table(board, BOARD, "active_users")
    write_table(table, METRICS["active_users"], tmp_path / "a.csv", kind="csv")
    assert pl.read_csv(tmp_path / "a.csv")["value"].sum() == 6
    write_table(table, METRICS["active_users"], tmp_path / "a.json", kind="json")
    found = json.loads((tmp_path / "a.json").read_text())
    assert found["metric"]["formula"] == METRICS["active_users"].formula
    assert sum(row["numerator"] for row in found["rows"]) == 6


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"margin": "profit", "margin_share": 0.3}, "both say what the margin is"),
        ({"amount": None, "margin_share": 0.3}, "no margin without an amount"),
        ({"portrait_dims": ("city",), "event_dims": {"city": "city"}}, "declared twice"),
        ({"event_dims": {"state": "state"}}, "'state' is a column of metric tables"),
        ({"brackets": ((7, 1),)}, "is no span of ages"),
        ({"brackets": ((1, 90),)}, "longer than 62 days"),
        ({"unbounded_ages": (0,)}, "at least 1"),
        ({"active": " "}, "an empty text says nothing"),
        ({"metrics": ()}, "names no metric"),
        ({"funnels": {"buy": {"steps": [{"name": "a", "where": "true"}]}}}, "at least 2 items"),
        ({"funnels": {"buy": {"steps": [{"name": "a", "where": "true"}] * 2}}}, "two steps have the same name"),
        ({"name": "a__b"}, "two underscores"),
    ],
)
def test_a_board_that_makes_no_sense_is_refused_when_it_is_declared(wrong, told):
    with pytest.raises(BadSpec, match=told):
        BoardSpec(**wrong)


def test_boards_are_declared_by_name_in_the_settings():
    declared = metrics_from({"metrics": {"boards": {"drivers": {"entity": "driver_id"}}}})
    assert declared == MetricsSpec(boards={"drivers": BoardSpec(name="drivers", entity="driver_id")})
    with pytest.raises(BadSpec, match="board 'a' says that its name is 'b'"):
        MetricsSpec(boards={"a": {"name": "b"}})
    with pytest.raises(BadSpec, match=r"Declare a board as \[metrics.boards.users\]"):
        metrics_from({"metrics": 3})
