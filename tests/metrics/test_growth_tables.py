"""Metrics of acquired cohorts and of markets as tables: sums of their finest rows, forecast beside observed."""

from datetime import date
from typing import Any

import polars as pl
import pytest

from sojourn.core import BadInput, BadSpec, MissingTable
from sojourn.metrics import (
    ACQUISITION_METRICS,
    MARKET_METRICS,
    SupplyDemandSpec,
    cohort_chart,
    growth_table,
    metric_page,
    payback_lines,
    told_rows,
    write_acquisition,
    write_supply_demand,
)
from sojourn.warehouse import Warehouse
from tests.metrics.growth import START, board, event, numbered, put_costs, put_log
from tests.metrics.test_acquisition import DAY, put_predictions

USERS = {"ann": "north", "bob": "south", "cem": None, "dia": "north", "eve": "south"}
SPEC = board().with_changes(name="users")


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    """Five users of the week of 3 March, by two channels that cost something and on their own; all are predicted."""
    warehouse = Warehouse.create(tmp_path_factory.mktemp("growth") / "w")
    events = [event("zoe", "launch", 0)]
    for n, (who, network) in enumerate(USERS.items()):
        at = 24 * (2 + n % 4) + 1
        events += [event(who, "ad", at - 1, network=network, creative="cat" if n % 2 else None)] if network else []
        events += [event(who, "launch", at), event(who, "launch", at + 25), event(who, "pay", at + 30, amount=3 + n)]
    put_log(warehouse, numbered([*events, event("zoe", "launch", 24 * 16)]))
    put_costs(
        warehouse,
        [(START + 2 * DAY, "north", "cat", "4", None), (START + 3 * DAY, "south", None, "5", None)],
    )
    put_predictions(warehouse, START + 12 * DAY, {who: (0.5, 2.0 + n, 9.0) for n, who in enumerate([*USERS, "zoe"])})
    write_acquisition(warehouse, SPEC)
    return warehouse


def test_coarser_rows_are_sums_of_the_finest_and_figures_their_quotient(app):
    for name, metric in ACQUISITION_METRICS.items():
        for grain in metric.grains:
            finest = app.frame(f"metric_{name}").filter(pl.col("grain") == grain)
            for by in ([], ["channel"], ["channel", "campaign"]):
                table = growth_table(app, SPEC, name, grain=grain, by=by)
                keys = ["start", *by, *metric.beside]
                for row in table.iter_rows(named=True):
                    cells = finest.filter(*(pl.col(key) == row[key] for key in keys))
                    top, bottom = cells["numerator"].sum(), cells["denominator"].sum()
                    if row["numerator"] is not None:
                        assert row["numerator"] == top
                        assert row["mature"] == cells["mature"].all()
                    if metric.kind == "ratio":
                        assert row["value"] == (pytest.approx(float(top) / float(bottom)) if bottom else None)
                    else:
                        assert row["value"] == float(top)
                assert table.select(keys).is_duplicated().sum() == 0


def test_the_forecast_of_a_channel_is_that_of_its_line_to_payback(app):
    tables = [app.frame(f"metric_{name}").filter(pl.col("grain") == "week") for name in ("acquired_margin", "ltv_cac")]
    cohort = date(2025, 3, 3)
    lines = payback_lines(*tables, by="channel", cohort=cohort).drop_nulls("forecast")
    table = growth_table(app, SPEC, "ltv_cac", grain="week", by=["channel"], start=cohort).drop_nulls("forecast")
    assert {row["channel"] for row in lines.to_dicts()} == {"north", "south"}
    names = ("forecast", "forecast_low", "forecast_high")
    mine = {(row["channel"], row["age"]): [row[name] for name in names] for row in table.to_dicts()}
    theirs = {
        (row["channel"], row["age"]): [row[name] for name in ("forecast", "low", "high")] for row in lines.to_dicts()
    }
    assert mine.keys() == theirs.keys()
    for key, values in mine.items():
        assert values == pytest.approx(theirs[key])


def test_the_forecast_of_all_together_counts_those_who_cost_nothing_too(app):
    by_user = growth_table(app, SPEC, "acquired_margin", grain="week", start=date(2025, 3, 3)).drop_nulls("forecast")
    ratio = growth_table(app, SPEC, "ltv_cac", grain="week", start=date(2025, 3, 3)).drop_nulls("forecast")
    assert ratio.height == by_user.height > 0
    assert ratio["forecast"].to_list() == pytest.approx([5 * each / 9 for each in by_user["forecast"]])


def test_where_somebody_has_no_prediction_there_is_no_forecast_of_the_sum(app, tmp_path):
    import shutil

    shutil.copytree(app.root, tmp_path / "w")
    other = Warehouse.open(tmp_path / "w")
    put_predictions(other, START + 12 * DAY, dict.fromkeys(["ann", "dia", "zoe"], (0.5, 2.0, 9.0)))
    write_acquisition(other, SPEC)
    by_channel = growth_table(other, SPEC, "roas", grain="week", by=["channel"], start=date(2025, 3, 3))
    assert by_channel.drop_nulls("forecast")["channel"].unique().to_list() == ["north"]
    assert growth_table(other, SPEC, "roas", grain="week", start=date(2025, 3, 3))["forecast"].null_count() > 0
    assert growth_table(other, SPEC, "roas", grain="week", start=date(2025, 3, 3)).drop_nulls("forecast").is_empty()


def test_observed_lines_are_solid_and_forecast_ones_dashed_with_a_band(app):
    table = growth_table(app, SPEC, "acquired_margin", grain="week", start=date(2025, 3, 3))
    solid, band, dashed = cohort_chart(table, ACQUISITION_METRICS["acquired_margin"], grain="week").data
    mature = table.filter("mature")
    assert [*solid.x] == mature["age"].to_list()
    assert [*solid.y] == mature["value"].to_list()
    assert (band.fill, dashed.line.dash) == ("toself", "dash")
    assert [*dashed.y][-1] == table["forecast"][-1]
    page = metric_page(table, ACQUISITION_METRICS["acquired_margin"], SPEC, grain="week").html()
    assert "is acquired with its first row where" in page
    heads, rows = told_rows(table, ACQUISITION_METRICS["acquired_margin"])
    assert heads[-4:] == ["value", "forecast", "forecast_low", "forecast_high"]
    assert rows[0][-1] == ""
    with pytest.raises(BadInput, match="no cohort of acquired_margin is whole at any age yet"):
        cohort_chart(table.clear(), ACQUISITION_METRICS["acquired_margin"])


def test_a_market_is_told_by_place_and_hour(warehouse):
    put_log(
        warehouse, numbered([event("ann", kind, hours, network="x") for kind in ("ask", "go") for hours in (1, 30)])
    )
    market = SupplyDemandSpec(place="network", supply="event = 'on'", demand="event = 'ask'", served="event = 'go'")
    write_supply_demand(warehouse, market)
    table = growth_table(warehouse, market, "fill_rate", grain="day", by=["place"])
    assert table.select("place", "value", "numerator", "denominator").rows() == [("x", 1.0, 1, 1), ("x", 1.0, 1, 1)]
    assert growth_table(warehouse, market, "demand", grain="month")["value"].to_list() == [2.0]
    assert "demand <code>event" in metric_page(table, MARKET_METRICS["fill_rate"], market, by=["place"]).html()
    with pytest.raises(BadInput, match=r"was built with another definition .*: sojourn metrics supply$"):
        growth_table(warehouse, market.with_changes(served="true"), "fill_rate", grain="day")


@pytest.mark.parametrize(
    ("asked", "error", "told"),
    [
        (
            {"name": "roas", "grain": "day"},
            BadInput,
            "'roas' is told by week or month, not by day. Ask for --grain month",
        ),
        ({"name": "cpi", "by": ["town"]}, BadSpec, "no dimension 'town'; its dimensions are: channel, campaign"),
        ({"name": "cpi", "start": date(2030, 1, 1)}, BadInput, "no month that begins from 2030-01-01 to before today"),
        (
            {"name": "cpi", "board": SPEC.with_changes(name="x")},
            MissingTable,
            "by month yet. It takes a table of costs",
        ),
        ({"name": "cpi", "board": SPEC.with_changes(currency="EUR")}, BadInput, "built with another definition"),
    ],
)
def test_what_is_not_there_is_told_in_a_sentence(app, asked, error, told):
    named: dict[str, Any] = {"board": SPEC, **asked}
    with pytest.raises(error, match=told):
        growth_table(app, named.pop("board"), named.pop("name"), **named)
