"""Users are versions from-to; of items and costs the latest word stands."""

from datetime import date, datetime, timedelta
from decimal import Decimal

import pytest

from sojourn.core import BadInput
from sojourn.events import users_as_of
from sojourn.events._keyed import KeyedMerge
from sojourn.warehouse import Warehouse
from tests.events.logs import AS_OF, files_of, rows_of, stored, take, write_csv, write_table


def test_users_are_versions_from_to_in_any_order(tmp_path):
    header = ("user_id", "valid_from", "country")
    rows = [("ann", "2024-01-01", "FR"), ("ann", "2024-03-01", "DE"), ("bob", "2024-02-01", "US")]
    made = []
    for name, order in (("a", rows), ("b", rows[::-1])):
        warehouse = Warehouse.create(tmp_path / name)
        for n, row in enumerate(order):
            take(warehouse, write_table(tmp_path / f"{name}{n}.csv", header, [row]), table="users")
        made.append(files_of(warehouse))
        versions = rows_of(warehouse, "user_id, valid_from::DATE, valid_to::DATE, country", "users")
        assert versions == [
            ("ann", date.fromisoformat("2024-01-01"), date.fromisoformat("2024-03-01"), "FR"),
            ("ann", date.fromisoformat("2024-03-01"), None, "DE"),
            ("bob", date.fromisoformat("2024-02-01"), None, "US"),
        ]
    assert made[0] == made[1]


def test_a_snapshot_of_users_adds_versions_only_for_those_who_changed(warehouse, tmp_path):
    header = ("user_id", "country")
    take(warehouse, write_table(tmp_path / "a.csv", header, [("ann", "FR"), ("bob", "US")]), table="users")
    after = write_table(tmp_path / "b.csv", header, [("ann", "FR"), ("bob", "CA")])
    report = take(warehouse, after, table="users", as_of=AS_OF + timedelta(days=7))
    assert (report.kept, report.duplicate) == (1, 1)
    assert rows_of(warehouse, "user_id, country, valid_from::DATE, valid_to::DATE", "users") == [
        ("ann", "FR", AS_OF.date(), None),
        ("bob", "CA", AS_OF.date() + timedelta(days=7), None),
        ("bob", "US", AS_OF.date(), AS_OF.date() + timedelta(days=7)),
    ]


def test_of_an_item_s_versions_the_latest_stands_and_the_former_is_superseded(warehouse, tmp_path):
    header = ("product_id", "title", "arrived_at")
    old, new = ("p1", "Tea", "2024-05-01"), ("p1", "Green tea", "2024-05-02")
    take(warehouse, write_table(tmp_path / "new.csv", header, [new]), table="items")
    report = take(warehouse, write_table(tmp_path / "old.csv", header, [old]), table="items")
    assert (report.kept, report.corrections) == (1, 0)
    assert rows_of(warehouse, "item_id, title", "items") == [("p1", "Green tea")]
    assert rows_of(warehouse, "item_id, title", "superseded_items") == [("p1", "Tea")]


COSTS = ("day", "channel", "campaign", "cost", "currency")


def test_costs_are_days_channels_and_exact_amounts_and_a_replay_changes_nothing(warehouse, tmp_path):
    rows = [("2024-05-01", "ads", "spring", "10.10", "EUR"), ("2024-05-01", "ads", "summer", "0.20", "EUR")]
    file = write_table(tmp_path / "a.csv", COSTS, rows)
    take(warehouse, file, table="costs")
    before = files_of(warehouse)
    assert take(warehouse, file, table="costs", as_of=AS_OF + timedelta(days=1)).duplicate == 2
    assert files_of(warehouse) == before
    assert rows_of(warehouse, "day, campaign, amount", "costs") == [
        (date.fromisoformat("2024-05-01"), "spring", Decimal("10.1")),
        (date.fromisoformat("2024-05-01"), "summer", Decimal("0.2")),
    ]


def test_two_amounts_for_one_cost_at_one_time_are_refused(warehouse, tmp_path):
    rows = [("2024-05-01", "ads", "spring", "10", "EUR"), ("2024-05-01", "ads", "spring", "11", "EUR")]
    with pytest.raises(BadInput, match=r"day 2024-05-01, channel ads, .*told twice at one time.*Add them up first"):
        take(warehouse, write_table(tmp_path / "a.csv", COSTS, rows), table="costs")
    assert not warehouse.has("costs")


def test_an_ingest_cut_before_the_table_itself_is_completed_by_the_same_ingest(warehouse, tmp_path, monkeypatch):
    take(warehouse, write_csv(tmp_path / "old.csv", [{"item_id": "a", "title": "one"}]), table="items")
    new = write_csv(tmp_path / "new.csv", [{"item_id": "a", "title": "two"}, {"item_id": "b", "title": "three"}])
    later = AS_OF + timedelta(days=1)
    really = KeyedMerge._put

    def cut(self, writer, table, query):
        if table == "items":
            raise KeyboardInterrupt
        return really(self, writer, table, query)

    monkeypatch.setattr(KeyedMerge, "_put", cut)
    with pytest.raises(KeyboardInterrupt):
        take(warehouse, new, table="items", as_of=later)
    monkeypatch.undo()
    take(warehouse, new, table="items", as_of=later)
    assert stored(warehouse, "items").sort("item_id")["title"].to_list() == ["two", "three"]
    assert stored(warehouse, "superseded_items")["title"].to_list() == ["one"]


def test_portraits_are_read_as_of_an_instant(warehouse, tmp_path):
    rows = [
        {"user_id": "ann", "valid_from": "2025-01-01", "plan": "free"},
        {"user_id": "ann", "valid_from": "2025-03-01", "plan": "paid"},
        {"user_id": "bob", "valid_from": "2025-02-01", "plan": "free"},
    ]
    take(warehouse, write_csv(tmp_path / "users.csv", rows), table="users")

    def plans(instant: str) -> list[tuple[str, str]]:
        valid = users_as_of(warehouse, datetime.fromisoformat(instant))
        return [(user, plan) for user, plan in warehouse.engine.rows(f"SELECT user_id, plan FROM {valid} ORDER BY ALL")]

    assert plans("2024-12-31T23:59:59Z") == []
    assert plans("2025-01-01T00:00:00Z") == [("ann", "free")]
    assert plans("2025-02-28T23:00:00Z") == [("ann", "free"), ("bob", "free")]
    assert plans("2025-03-01T00:00:00Z") == [("ann", "paid"), ("bob", "free")]
    with pytest.raises(BadInput, match="has no zone"):
        users_as_of(warehouse, datetime(2025, 1, 1))  # noqa: DTZ001
