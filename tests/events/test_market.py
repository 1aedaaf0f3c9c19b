"""The simulated two-sided market: repeatable, consistent, and with the shortage where it was planted."""

from datetime import date

import pytest

from sojourn.core import BadInput, BadSpec
from sojourn.events import MarketSpec, simulate_market
from sojourn.warehouse import Warehouse, WarehouseSpec

SMALL = MarketSpec(drivers=60, riders=500, days=21, seed=4)


def rows(warehouse, query):
    return warehouse.engine.rows(query.format(log=warehouse.relation("events"), users=warehouse.relation("users")))


@pytest.fixture(scope="module")
def market(tmp_path_factory):
    warehouse = Warehouse.create(tmp_path_factory.mktemp("market") / "w")
    return warehouse, simulate_market(warehouse, SMALL)


def test_the_same_spec_gives_the_same_bytes_and_a_second_run_writes_nothing(market, tmp_path):
    warehouse, report = market
    again = Warehouse.create(tmp_path / "again")
    assert simulate_market(again, SMALL) == report
    files = sorted(path.relative_to(again.root) for path in again.root.rglob("data.parquet"))
    assert len(files) == SMALL.days + 3
    assert all((again.root / each).read_bytes() == (warehouse.root / each).read_bytes() for each in files)
    before = {path: path.stat().st_mtime_ns for path in again.root.glob("events/**/data.parquet")}
    simulate_market(again, SMALL)
    assert before == {path: path.stat().st_mtime_ns for path in again.root.glob("events/**/data.parquet")}


def test_every_trip_answers_a_request_of_its_hour_by_a_driver_who_was_there(market):
    warehouse, report = market
    [(trips, asked, hours, busiest)] = rows(
        warehouse,
        """
        WITH t AS (SELECT *, date_trunc('hour', ts) AS h FROM {log})
        SELECT (SELECT count(*) FROM t WHERE event = 'trip'),
               (SELECT count(*) FROM t JOIN t AS r USING (trip_id, rider_id, h)
                WHERE t.event = 'trip' AND r.event = 'request'),
               (SELECT count(*) FROM t JOIN t AS o USING (driver_id, h, city)
                WHERE t.event = 'trip' AND o.event = 'online'),
               (SELECT max(n) FROM (SELECT count(*) AS n FROM t WHERE event = 'trip' GROUP BY driver_id, h))
        """,
    )
    assert trips == asked == hours == report.trips
    assert 1 <= busiest <= 2


def test_nobody_acts_before_signing_up_or_without_a_portrait(market):
    warehouse, report = market
    [(early,)] = rows(
        warehouse,
        "SELECT count(*) FROM (SELECT arg_min(event, event_id) AS first FROM {log} GROUP BY user_id) "
        "WHERE first <> 'signup'",
    )
    [(strangers,)] = rows(warehouse, "SELECT count(*) FROM {log} WHERE user_id NOT IN (SELECT user_id FROM {users})")
    assert (early, strangers) == (0, 0)
    assert rows(warehouse, "SELECT side, count(*) FROM {users} GROUP BY 1 ORDER BY 1") == [
        ("driver", report.drivers),
        ("rider", report.riders),
    ]


def test_costs_are_the_prices_of_those_who_joined(market):
    warehouse, _ = market
    for side, low, high in (("driver", 120, 120), ("rider", 6.5, 6.5)):
        channel = {"driver": "driver_referral", "rider": "search_ads"}[side]
        [(joined,)] = rows(warehouse, f"SELECT count(*) FROM {{users}} WHERE channel = '{channel}'")
        [(cost,)] = rows(
            warehouse, f"SELECT sum(amount) FROM {warehouse.relation(f'{side}_costs')} WHERE channel = '{channel}'"
        )
        assert 0.85 * low * joined <= cost <= 1.151 * high * joined


def test_a_planted_shortage_is_in_its_city_from_its_day_on_alone(market, tmp_path):
    warehouse, _ = market
    short = Warehouse.create(tmp_path / "short")
    day = date(2025, 1, 15)
    simulate_market(short, SMALL.with_changes(shortage_city="Aldenport", shortage_from=day, shortage_share=0.8))
    count = "SELECT city, count(*) FROM {log} WHERE event = 'online' AND day " + f"{{since}} DATE '{day}' GROUP BY 1"
    for since, is_less in (("<", False), (">=", True)):
        plain, planted = (
            dict(each.engine.rows(count.format(log=each.relation("events"), since=since)))
            for each in (warehouse, short)
        )
        assert (planted["Aldenport"] < 0.4 * plain["Aldenport"]) is is_less
        assert is_less or planted == plain


def test_what_cannot_be_simulated_is_refused(tmp_path, market):
    with pytest.raises(BadSpec, match="give both or neither"):
        MarketSpec(shortage_city="Aldenport")
    with pytest.raises(BadSpec, match="'Paris' is none of the cities"):
        MarketSpec(shortage_city="Paris", shortage_from=date(2025, 1, 2))
    with pytest.raises(BadInput, match="Simulate into one in UTC"):
        simulate_market(Warehouse.create(tmp_path / "w", WarehouseSpec(zone="Europe/Paris")), SMALL)
    with pytest.raises(BadInput, match="already holds events that this market did not write"):
        simulate_market(market[0], SMALL.with_changes(seed=5))
