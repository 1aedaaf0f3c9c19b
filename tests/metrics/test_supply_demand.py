"""Supply and demand by place and hour are counted as an obvious loop would, in any zone, and repaired on late rows."""

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sojourn.core import UTC_US, BadInput, MissingColumn
from sojourn.metrics import SupplyDemandSpec, WhySpec, why_moved, write_supply_demand
from sojourn.warehouse import EngineSpec, Warehouse, WarehouseSpec

SPEC = SupplyDemandSpec(
    supply="event = 'online'", supply_hours="minutes / 60", demand="event = 'request'", served="event = 'trip'"
)
START = datetime(2025, 3, 28, 22, tzinfo=UTC)
ROWS = st.lists(
    st.tuples(
        st.integers(0, 5 * 24 * 4).map(lambda n: START + timedelta(minutes=15 * n)),
        st.sampled_from(["online", "request", "trip", "signup"]),
        st.sampled_from(["north", "south", None]),
        st.sampled_from([15, 60]),
    ),
    min_size=1,
    max_size=25,
)


def put(warehouse, rows):
    zone = ZoneInfo(warehouse.spec.zone)
    schema: dict[str, Any] = {
        "event_id": pl.String, "user_id": pl.String, "ts": UTC_US, "event": pl.String, "city": pl.String,
        "minutes": pl.Decimal(18, 4),
    }  # fmt: skip
    days = defaultdict(list)
    for n, (ts, event, city, minutes) in enumerate(rows):
        days[ts.astimezone(zone).date()].append((f"e{n:03d}", "ann", ts, event, city, minutes))
    with warehouse.writing("events") as writer:
        for day, found in days.items():
            frame = pl.DataFrame(found, schema=schema, orient="row")
            writer.put({"day": str(day)}, frame, order_by=["event_id"], fingerprint=repr(found))


def twin(rows, zone):
    found: dict[tuple[Any, ...], list[Any]] = defaultdict(lambda: [Decimal(0), 0, 0])
    for ts, event, city, minutes in rows:
        local = ts.astimezone(ZoneInfo(zone))
        at = {"online": 0, "request": 1, "trip": 2}.get(event)
        if at is not None:
            key = (local.date(), city or "unknown", f"{local.hour:02d}")
            found[key][at] += Decimal(minutes) / 60 if at == 0 else 1
    return found


def test_a_period_is_whole_only_where_the_log_holds_all_of_it(warehouse):
    """The log runs from Saturday, 29 March, to Sunday, 6 April."""
    put(warehouse, [(START + timedelta(days=n), "request", "north", 15) for n in range(1, 10)])
    write_supply_demand(warehouse, SPEC)
    weeks = warehouse.frame("metric_demand").filter(pl.col("grain") == "week").sort("start")
    assert weeks.select(pl.col("start").dt.day(), "mature").unique().sort("start").rows() == [(24, False), (31, True)]


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS, late=st.integers(0, 4), zone=st.sampled_from(["UTC", "Europe/Paris"]))
def test_counts_are_those_of_a_loop_and_late_rows_are_counted(tmp_path_factory, rows, late, zone):
    folder = tmp_path_factory.mktemp("w") / "w"
    warehouse = Warehouse.create(folder, WarehouseSpec(zone=zone), engine=EngineSpec(threads=1))
    put(warehouse, rows[late:] or rows)
    write_supply_demand(warehouse, SPEC)
    put(warehouse, rows)
    write_supply_demand(warehouse, SPEC)
    assert write_supply_demand(warehouse, SPEC).written == 0
    wanted = twin(rows, zone)
    if not wanted:
        return
    table = warehouse.frame("metric_fill_rate")
    found = {
        (row["start"], row["place"], row["hour"]): row for row in table.filter(pl.col("grain") == "day").to_dicts()
    }
    assert {key: (row["numerator"], row["denominator"]) for key, row in found.items()} == {
        key: (served, demand) for key, (_, demand, served) in wanted.items()
    }
    months = table.filter(pl.col("grain") == "month")
    assert months["denominator"].sum() == sum(demand for _, demand, _ in wanted.values())
    supply = warehouse.frame("metric_supply_hours").filter(pl.col("grain") == "week")
    assert supply["numerator"].sum() == sum((hours for hours, _, _ in wanted.values()), Decimal(0))


def test_a_shortage_is_found_where_it_was(warehouse):
    noon = START.replace(hour=12)
    rows = []
    for day in range(2):
        for city in ("north", "south"):
            at = noon + timedelta(days=day)
            rows += [(at, "online", city, 60)] + [(at + timedelta(minutes=n), "request", city, 0) for n in range(10)]
            served = 3 if (day, city) == (1, "south") else 8
            rows += [(at + timedelta(minutes=n), "trip", city, 0) for n in range(served)]
    put(warehouse, rows)
    report = write_supply_demand(warehouse, SPEC)
    assert len(report.days) == 2
    start, end = noon.date(), noon.date() + timedelta(days=1)
    why = why_moved(
        warehouse, WhySpec(name="fill_rate", board="market", grain="day", start=start, end=end, by=("place",))
    )
    assert float(why.change) == -0.25
    assert [(part.segment, float(part.effect)) for part in why.parts] == [(("south",), -0.25), (("north",), 0.0)]


def test_what_the_log_does_not_have_is_named(warehouse):
    put(warehouse, [(START, "online", "north", 60)])
    with pytest.raises(MissingColumn, match=r"place.*'town'"):
        write_supply_demand(warehouse, SPEC.with_changes(place="town"))
    with pytest.raises(BadInput, match="no day before 2025-03-01"):
        write_supply_demand(warehouse, SPEC, as_of=datetime(2025, 3, 1, tzinfo=UTC).date())
