"""Hive-partitioned Parquet that a team already has reads as the event table, where it lies."""

from datetime import UTC, date, datetime
from decimal import Decimal

import polars as pl
import pytest

from sojourn.core import BadInput, BadSpec, MissingColumn, UnreadableSource
from sojourn.events import IngestSpec, register_events
from sojourn.warehouse import InPlace, Warehouse
from tests.events.logs import rows_of, take, write_table

MAP = IngestSpec(columns={"user_id": "uid", "ts": "at", "amount": "eur"})


@pytest.fixture
def lake(tmp_path):
    """Two days of a team's own Parquet, whose times carry no zone."""
    for day, users in ((1, [1, 2]), (2, [3])):
        folder = tmp_path / "lake" / f"dt=2024-05-0{day}"
        folder.mkdir(parents=True)
        times = [datetime(2024, 5, day, 9 + user) for user in users]  # noqa: DTZ001
        frame = pl.DataFrame({"uid": users, "at": times, "eur": [user * 0.1 for user in users], "Shop Name": "north"})
        frame.write_parquet(folder / "part-0.parquet")
    return tmp_path / "lake"


def test_a_lake_reads_as_the_event_table(warehouse, lake):
    done = register_events(warehouse, MAP, folder=str(lake), partition="dt")
    assert (done.days, done.rows) == (2, 3)
    assert done.columns == {
        "user_id": "uid",
        "ts": "at",
        "amount": "eur",
        "event": "'purchase'",
        "shop_name": "Shop Name",
    }
    assert done.notes == (
        "No column names the event; each row is taken for 'purchase'.",
        "Times in ts without a zone are read in UTC, since no zone is declared (--time-zone).",
    )
    frame = warehouse.frame("events").sort("user_id")
    assert frame["user_id"].to_list() == ["1", "2", "3"]
    assert frame["ts"].to_list()[0] == datetime(2024, 5, 1, 10, tzinfo=UTC)
    assert frame["arrived_at"].equals(frame["ts"].rename("arrived_at"))
    assert frame["amount"].to_list() == [Decimal("0.1"), Decimal("0.2"), Decimal("0.3")]
    assert frame["day"].to_list() == [date(2024, 5, 1), date(2024, 5, 1), date(2024, 5, 2)]
    assert frame["event_id"].n_unique() == 3
    assert frame["item_id"].null_count() == 3


def test_the_columns_have_the_types_of_an_ingested_table(warehouse, lake, tmp_path):
    row = ("ann", "2024-05-01", "view", "tea", "1", "north")
    take(
        warehouse, write_table(tmp_path / "a.csv", ("user_id", "ts", "event", "item_id", "amount", "shop_name"), [row])
    )
    ingested = warehouse.engine.columns(f"SELECT * FROM {warehouse.relation('events')}")
    other = Warehouse.create(tmp_path / "other")
    register_events(other, MAP, folder=str(lake), partition="dt")
    found = other.engine.columns(f"SELECT * FROM {other.relation('events')}")
    assert found == ingested


def test_the_source_is_registered_by_its_full_path_and_nothing_is_copied(warehouse, lake, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = register_events(warehouse, MAP, folder="lake", partition="dt").source
    assert isinstance(source, InPlace)
    assert source.folder == str(lake)
    monkeypatch.chdir("/")
    assert len(rows_of(warehouse, "user_id")) == 3
    assert not list(warehouse.root.rglob("*.parquet"))


def test_times_without_a_zone_take_the_declared_one(warehouse, lake):
    register_events(warehouse, MAP.with_changes(time_zone="Europe/Paris"), folder=str(lake), partition="dt")
    assert rows_of(warehouse, "strftime(min(ts), '%H:%M')") == [("08:00",)]
    expression = IngestSpec(columns={**MAP.columns, "ts": "timezone('Asia/Tokyo', \"at\")"})
    done = register_events(warehouse, expression, folder=str(lake), partition="dt")
    assert rows_of(warehouse, "strftime(min(ts), '%H:%M')") == [("01:00",)]
    assert not any("without a zone" in note for note in done.notes)


def test_an_id_of_the_team_s_own_stands_and_the_day_s_column_is_not_told_twice(warehouse, lake):
    spec = MAP.with_changes(columns={**MAP.columns, "event_id": "'e-' || uid"}, keep=())
    register_events(warehouse, spec, folder=str(lake), partition="dt")
    assert [name for (name,) in rows_of(warehouse, "event_id")] == ["e-1", "e-2", "e-3"]
    assert set(warehouse.frame("events").columns) & {"dt", "source_day", "shop_name"} == set()


@pytest.mark.parametrize(
    ("columns", "error", "sentence"),
    [
        ({"user_id": "usr"}, MissingColumn, r"'usr'"),
        ({"ts": "uid"}, BadInput, r"ts is made from 'uid', which is BIGINT and no timestamp.*--map ts=\"to_timestamp"),
        ({"amount": "lower(eur, uid)"}, BadSpec, r"columns.amount = 'lower\(eur, uid\)' cannot be computed"),
    ],
)
def test_a_mapping_that_does_not_fit_is_refused_and_nothing_is_registered(warehouse, lake, columns, error, sentence):
    with pytest.raises(error, match=sentence):
        register_events(warehouse, IngestSpec(columns={**MAP.columns, **columns}), folder=str(lake), partition="dt")
    assert not warehouse.has("events")


def test_a_folder_without_partitions_or_a_table_with_events_is_refused(warehouse, lake, tmp_path):
    with pytest.raises(UnreadableSource, match="holds no Parquet file under 'day=YYYY-MM-DD'"):
        register_events(warehouse, MAP, folder=str(lake))
    with pytest.raises(BadSpec, match="Leave out files, query and table"):
        register_events(warehouse, MAP.with_changes(files=("a.csv",)), folder=str(lake), partition="dt")
    take(warehouse, write_table(tmp_path / "a.csv", ("user_id", "ts"), [("ann", "2024-05-01")]))
    with pytest.raises(BadInput, match="already holds ingested partitions"):
        register_events(warehouse, MAP, folder=str(lake), partition="dt")
