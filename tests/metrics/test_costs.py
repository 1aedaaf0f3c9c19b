"""Costs in one currency, by declared rates; channels on both sides."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sojourn.core import BadInput, MissingColumn, MissingTable, UnreadableSource
from sojourn.metrics import daily_costs, put_rates, read_rates, write_acquisition
from sojourn.metrics.rates import RATE
from tests.metrics.growth import START, board, cents, event, numbered, put_costs, put_log

DAY = timedelta(days=1)


def rates(*rows):
    return pl.DataFrame(rows, schema={"day": pl.Date, "currency": pl.String, "rate": pl.String}, orient="row")


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    costs=st.lists(
        st.tuples(
            st.integers(0, 2).map(lambda n: START + n * DAY),
            st.sampled_from(["north", None]),
            st.sampled_from(["cat", None]),
            st.integers(-10_000, 10_000_000).map(lambda n: str(Decimal(n) / 10_000)),
            st.sampled_from(["EUR", "USD", None]),
        ),
        min_size=1,
        max_size=12,
    ),
    by_day=st.lists(st.integers(1, 300_000_000), min_size=3, max_size=3),
)
def test_each_cost_is_turned_at_its_day_s_rate_and_sums_are_exact(warehouse, costs, by_day):
    rate = {START + n * DAY: Decimal(each) / 10**8 for n, each in enumerate(by_day)}
    put_rates(warehouse, rates(*((day, "EUR", str(each)) for day, each in rate.items())))
    put_costs(warehouse, costs)
    wanted: dict[tuple[Any, ...], Decimal] = {}
    for day, channel, campaign, amount, currency in costs:
        turned = cents(Decimal(amount) * rate[day]) if currency == "EUR" else Decimal(amount)
        key = (day, channel or "(none)", campaign or "(none)")
        wanted[key] = wanted.get(key, Decimal(0)) + turned
    found = daily_costs(warehouse, board())
    assert {row[:3]: row[3] for row in found.iter_rows()} == wanted


def test_a_missing_rate_is_refused_with_the_currency_and_the_days(warehouse):
    put_costs(
        warehouse,
        [(START + n * DAY, "north", None, "1", "EUR") for n in range(8)] + [(START, "north", None, "1", "GBP")],
    )
    put_rates(warehouse, rates((START, "EUR", "1.1")))
    words = (
        r"costs have amounts without a rate to USD: EUR on 2025-03-02, 2025-03-03, 2025-03-04, 2025-03-05, 2025-03-06 "
        r"and 2 more days; GBP on 2025-03-01\. Add those days to the file of rates, then: sojourn metrics rates FILE"
    )
    with pytest.raises(BadInput, match=words):
        daily_costs(warehouse, board())


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([(START, "EUR", "0")], "EUR on 2025-03-01 has the rate 0E-8|has the rate 0.0"),
        ([(START, "EUR", None)], "has the rate None"),
        ([(START, "EUR", "1"), (START, "EUR", "2")], "EUR has two rates on 2025-03-01"),
        ([(START, "EUR", "one")], "rates as numbers with a point"),
    ],
)
def test_rates_that_are_none_are_refused(warehouse, rows, words):
    with pytest.raises(BadInput, match=words):
        put_rates(warehouse, rates(*rows))


def test_rates_are_read_as_they_are_written(warehouse, tmp_path):
    (tmp_path / "rates.csv").write_text("day,currency,rate\n2025-03-01,EUR,1.10000001\n")
    assert put_rates(warehouse, read_rates(tmp_path / "rates.csv")) == 1
    assert warehouse.frame("rates")["rate"].to_list() == [Decimal("1.10000001")]
    assert warehouse.frame("rates").schema["rate"] == RATE
    with pytest.raises(UnreadableSource, match=r"none\.csv cannot be read"):
        read_rates(tmp_path / "none.csv")
    with pytest.raises(MissingColumn, match="'rate'"):
        put_rates(warehouse, pl.DataFrame({"day": ["2025-03-01"], "currency": ["EUR"], "rat": [1]}))


def test_channels_on_one_side_alone_are_refused_by_name_and_allowed_when_declared(warehouse):
    put_log(warehouse, numbered([event("ann", "ad", 0, network="south"), event("ann", "launch", 1)]))
    put_costs(warehouse, [(START, "nroth", None, "3", None)])
    strict = board().with_changes(allow=())
    words = (
        r"channels 'nroth' have costs and no users \(users have 'south'\); channels 'south' have users and no costs "
        r"\(costs have 'nroth'\)\. Spell them alike, .* allow = \[\"nroth\", \"south\"\]"
    )
    with pytest.raises(BadInput, match=words):
        write_acquisition(warehouse, strict)
    assert write_acquisition(warehouse, strict.with_changes(allow=("nroth", "south"))).written


def test_no_costs_is_no_fault_until_costs_are_asked_for(warehouse):
    put_log(warehouse, numbered([event("ann", "launch", 1)]))
    write_acquisition(warehouse, board())
    assert "metric_acquired_margin" in warehouse.tables()
    assert not {"metric_cac", "metric_roas", "metric_payback"} & set(warehouse.tables())
    with pytest.raises(MissingTable, match="acquisition costs come from table 'costs'"):
        daily_costs(warehouse, board())


def test_events_in_other_currencies_are_turned_too_and_a_new_rate_restates_its_day_alone(warehouse):
    pays = [event("ann", "pay", 24 * n + 2, amount=Decimal(10), currency="EUR") for n in range(3)]
    put_log(warehouse, numbered([event("ann", "launch", 1), *pays]))
    with pytest.raises(BadInput, match="events have amounts without a rate to USD: EUR on 2025-03-01"):
        write_acquisition(warehouse, board())
    put_rates(warehouse, rates(*((START + n * DAY, "EUR", "1.5") for n in range(3))))
    write_acquisition(warehouse, board())
    table = warehouse.frame("metric_acquired_value").sort("day")
    assert table["revenue"].to_list() == [15, 15, 15]
    before = {each.partition["day"]: each.fingerprint for each in warehouse.partitions("metric_acquired_value")}
    put_rates(warehouse, rates(*((START + n * DAY, "EUR", "2" if n == 1 else "1.5") for n in range(3))))
    write_acquisition(warehouse, board())
    after = {each.partition["day"]: each.fingerprint for each in warehouse.partitions("metric_acquired_value")}
    assert [day for day in after if after[day] != before[day]] == ["2025-03-02"]
    assert warehouse.frame("metric_acquired_value")["margin"].sum() == Decimal("35")
