"""The two sides of a market: supply and demand as the log has them, and each side's own board."""

from collections import Counter
from datetime import timedelta

import polars as pl
import pytest

from sojourn.core import EmptyInput
from sojourn.dashboard import DashboardSpec, Filters
from sojourn.dashboard.boards import metric
from sojourn.dashboard.pages import VIEWS, views_of
from sojourn.dashboard.pages.market import MARKET, balance, market_rows
from sojourn.dashboard.parts import Drawn, drawn
from sojourn.dashboard.reader import Reader
from tests.dashboard.worlds import build_market


@pytest.fixture(scope="module")
def market(tmp_path_factory):
    return build_market(tmp_path_factory.mktemp("market") / "market")


def test_every_chart_of_the_market_is_drawn(market):
    for part in MARKET.parts:
        made = drawn(part, Reader(market, DashboardSpec(board="riders")), Filters())
        assert isinstance(made, Drawn), str(made)
        assert made.empty is None


def test_demand_and_what_was_served_are_counted_from_the_log(market):
    rows = market_rows(Reader(market, DashboardSpec()), Filters(), grain="week")
    table = balance(rows, ["start", "place"])
    counted = Counter(
        (day - timedelta(days=day.weekday()), city, event)
        for day, city, event in market.engine.rows(f"SELECT day, city, event FROM {market.relation('events')}")
    )
    for start, place, demand, served, rate in table.select(
        "start", "place", "demand", "served", "fill_rate"
    ).iter_rows():
        assert demand == counted[start, place, "request"]
        assert served == counted[start, place, "trip"]
        assert rate == (served / demand if demand else None)


def test_each_side_shows_its_own_board(market):
    reader = Reader(market, DashboardSpec(board="riders"))
    assert reader.boards() == ["riders", "drivers"]
    table = next(part for part in MARKET.parts if part.name == "active_users_by_side").make(reader, Filters()).table
    for board in reader.boards():
        mine = table.filter(pl.col("board") == board).drop("board")
        assert mine.equals(metric(reader.on(board), "active_users", Filters()))


def test_one_board_does_not_answer_for_another(market):
    reader = Reader(market, DashboardSpec(board="riders"))
    fresh = {board: Reader(market, DashboardSpec(board=board)) for board in reader.boards()}
    alone = {board: metric(other, "new_users", Filters()) for board, other in fresh.items()}
    for board in ("riders", "drivers", "riders"):
        assert metric(reader.on(board), "new_users", Filters()).equals(alone[board])


def test_days_without_supply_or_demand_are_told(market):
    with pytest.raises(EmptyInput, match="no figure between these days"):
        market_rows(Reader(market, DashboardSpec()), Filters(start="2031-01-01"), grain="week")


def test_an_app_of_one_side_has_no_page_for_a_market(reader, market):
    assert MARKET not in views_of(reader)
    assert views_of(Reader(market, DashboardSpec())) == list(VIEWS)
