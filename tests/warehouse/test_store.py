"""Partitions are whole, named, repeatable, and refused in one sentence when they cannot be."""

import json
import re

import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sojourn.core import (
    BadInput,
    BadSpec,
    EngineError,
    MissingTable,
    NotAWarehouse,
    UnreadableSource,
)
from sojourn.warehouse import EngineSpec, InPlace, Warehouse, WarehouseSpec

DAY = {"day": "2024-05-01"}
NEXT = {"day": "2024-05-02"}


def put(warehouse, partition, users, *, fingerprint="f", table="events"):
    rows = pl.DataFrame({"user_id": users, "n": range(len(users))}, schema={"user_id": pl.String, "n": pl.Int64})
    with warehouse.writing(table) as writer:
        return writer.put(partition, rows, order_by=["user_id", "n"], fingerprint=fingerprint)


def users(warehouse, **options):
    return [
        row[0]
        for row in warehouse.engine.rows(f"SELECT user_id FROM {warehouse.relation('events', **options)} ORDER BY 1")
    ]


def stray_files(warehouse):
    """Every file that is neither data, marker nor lock."""
    files = (path for path in warehouse.root.rglob("*") if path.is_file())
    return [path for path in files if path.name not in {"data.parquet", "_sojourn.json"} and path.suffix != ".lock"]


def test_what_is_put_is_read_with_its_partition(warehouse):
    put(warehouse, DAY, ["b", "a"])
    rows = warehouse.engine.rows(f"SELECT user_id, n, day::VARCHAR FROM {warehouse.relation('events')} ORDER BY 1")
    assert rows == [("a", 1, "2024-05-01"), ("b", 0, "2024-05-01")]


def test_putting_again_replaces_one_partition_and_no_other(warehouse):
    put(warehouse, DAY, ["a"])
    put(warehouse, NEXT, ["b"])
    put(warehouse, DAY, ["c"])
    assert users(warehouse) == ["b", "c"]
    assert users(warehouse, only=[NEXT]) == ["b"]


def test_a_partition_carries_its_fingerprint_rows_and_bytes(warehouse):
    info = put(warehouse, DAY, ["a", "b"], fingerprint="abc")
    assert warehouse.partitions("events") == [info]
    assert (info.partition, info.fingerprint, info.rows) == (DAY, "abc", 2)
    assert warehouse.fingerprint_of("events", DAY) == "abc"
    assert warehouse.fingerprint_of("events", NEXT) is None


def test_dropping_leaves_nothing_behind(warehouse):
    put(warehouse, DAY, ["a"])
    with warehouse.writing("events") as writer:
        writer.drop(DAY)
        writer.drop(NEXT)
    assert not warehouse.has("events")
    assert not (warehouse.root / "events").exists()


@settings(deadline=None, max_examples=15)
@given(st.permutations(list("abcdefgh")), st.integers(1, 2))
def test_the_same_rows_give_the_same_bytes_in_any_order_and_with_any_threads(tmp_path_factory, order, threads):
    def written(rows, threads):
        root = tmp_path_factory.mktemp("w") / "warehouse"
        warehouse = Warehouse.create(root, engine=EngineSpec(threads=threads))
        with warehouse.writing("t") as writer:
            writer.put(DAY, pl.DataFrame({"user_id": rows}), order_by=["user_id"], fingerprint="f")
        return (root / "t" / "day=2024-05-01" / "data.parquet").read_bytes()

    assert written(order, threads) == written(sorted(order), 1)


def test_an_unpartitioned_table_is_one_file(warehouse):
    put(warehouse, {}, ["a"], table="items")
    assert warehouse.frame("items").to_dicts() == [{"user_id": "a", "n": 0}]
    assert warehouse.partitions("items")[0].partition == {}


def test_columns_that_come_later_are_null_before(warehouse):
    put(warehouse, DAY, ["a"])
    with warehouse.writing("events") as writer:
        writer.put(NEXT, pl.DataFrame({"user_id": ["b"], "n": [1], "city": ["Oslo"]}), order_by=["n"], fingerprint="g")
    assert warehouse.frame("events").sort("user_id")["city"].to_list() == [None, "Oslo"]


def test_a_partition_may_be_empty(warehouse):
    assert put(warehouse, DAY, []).rows == 0
    assert users(warehouse) == []


@pytest.mark.parametrize("condition", ["n > 9", "n * n = 3", "length(name) > 4"])
def test_an_empty_partition_has_one_schema_whatever_the_plan_knew_of_its_rows(warehouse, condition):
    warehouse.engine.run("CREATE TEMP TABLE five AS SELECT n::INT AS n, 'x' || n AS name FROM range(5) AS r(n)")
    with warehouse.writing("t") as writer:
        writer.put({}, f"SELECT * FROM five WHERE {condition}", order_by=["n"], fingerprint="f")
    schema = pq.read_schema(warehouse.root / "t" / "data.parquet")
    assert [(field.name, str(field.type), field.nullable) for field in schema] == [
        ("n", "int32", True),
        ("name", "string", True),
    ]


def test_tables_are_listed_and_internal_folders_are_not(warehouse):
    put(warehouse, DAY, ["a"])
    put(warehouse, {}, ["a"], table="items")
    assert warehouse.tables() == ["events", "items"]


def test_partition_columns_among_the_rows_are_refused(warehouse):
    with (
        warehouse.writing("events") as writer,
        pytest.raises(BadInput, match=r"have column 'day', which is its partition's"),
    ):
        writer.put(DAY, "SELECT 1 AS n, '2024-05-01' AS day", order_by=["n"], fingerprint="f")


@pytest.mark.parametrize("value", ["../escape", "a/b", "", "-x", "a b"])
def test_a_partition_value_cannot_leave_its_folder(warehouse, value):
    with warehouse.writing("events") as writer, pytest.raises(BadInput, match="cannot be a partition value"):
        writer.put({"day": value}, "SELECT 1 AS n", order_by=["n"], fingerprint="f")


def test_a_failing_query_leaves_the_old_version_and_no_stray(warehouse):
    put(warehouse, DAY, ["a"])
    with warehouse.writing("events") as writer, pytest.raises(EngineError, match="DuckDB refused a query"):
        writer.put(DAY, "SELECT error('boom') AS user_id FROM range(10)", order_by=["user_id"], fingerprint="g")
    assert users(warehouse) == ["a"]
    assert stray_files(warehouse) == []


def test_a_table_that_is_not_there_is_named_with_those_that_are(warehouse):
    put(warehouse, {}, ["a"], table="items")
    with pytest.raises(MissingTable, match=r"has no table 'events' yet; it has \['items'\]"):
        warehouse.relation("events")


def test_a_partition_that_is_not_there_is_named(warehouse):
    put(warehouse, DAY, ["a"])
    with pytest.raises(MissingTable, match=r"Table 'events' in .* has no partition 'day=2024-05-02'"):
        warehouse.relation("events", only=[NEXT])


def test_a_folder_that_is_no_warehouse_is_refused_both_ways(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(NotAWarehouse, match=r"is no warehouse: it has no readable _sojourn.json"):
        Warehouse.open(tmp_path)
    with pytest.raises(NotAWarehouse, match=r"is no warehouse and is not empty. Give a new or an empty folder"):
        Warehouse.create(tmp_path)
    with pytest.raises(NotAWarehouse, match="it does not exist"):
        Warehouse.open(tmp_path / "nowhere")


def test_zone_and_week_start_cannot_change_under_a_warehouse(tmp_path):
    Warehouse.create(tmp_path / "w", WarehouseSpec(zone="Asia/Tokyo"))
    assert Warehouse.create(tmp_path / "w", WarehouseSpec(zone="Asia/Tokyo")).spec.zone == "Asia/Tokyo"
    with pytest.raises(BadSpec, match=r'made with .*"Asia/Tokyo".*, not .*"UTC"'):
        Warehouse.create(tmp_path / "w", WarehouseSpec())


def test_an_unknown_zone_is_refused():
    with pytest.raises(BadSpec, match="field 'zone' = 'Mars/Olympus': no such time zone"):
        WarehouseSpec(zone="Mars/Olympus")


def test_a_path_with_wildcards_is_refused(tmp_path):
    with pytest.raises(BadSpec, match="which readers take for wildcards"):
        Warehouse.create(tmp_path / "what?")


def test_a_truncated_file_is_named(warehouse):
    put(warehouse, DAY, ["a"])
    file = warehouse.root / "events" / "day=2024-05-01" / "data.parquet"
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(UnreadableSource, match=re.escape(str(file))):
        warehouse.frame("events")
    with pytest.raises(UnreadableSource, match="Restore it, or remove its partition"):
        warehouse.partitions("events")


def test_the_marker_says_what_the_warehouse_was_made_with(warehouse):
    assert json.loads((warehouse.root / "_sojourn.json").read_text()) == {
        "format": 1,
        "zone": "UTC",
        "week_start": "monday",
    }


def test_a_path_with_quotes_and_spaces_works(tmp_path):
    warehouse = Warehouse.create(tmp_path / "o'brien data")
    put(warehouse, DAY, ["a"])
    assert users(warehouse) == ["a"]
    assert warehouse.partitions("events")[0].rows == 1


def test_keeping_some_rows_leaves_their_order_and_all_other_partitions(tmp_path):
    warehouse = Warehouse.create(tmp_path / "w")
    rows = pl.DataFrame({"n": [3, 1, None, 2], "text": ["c", "a", "z", "b"]})
    with warehouse.writing("t") as writer:
        for day in ("2024-05-01", "2024-05-02"):
            writer.put({"day": day}, rows, order_by=(), fingerprint="old")
        other = (tmp_path / "w" / "t" / "day=2024-05-02" / "data.parquet").read_bytes()
        writer.keep({"day": "2024-05-01"}, where="n > 1 AND day = '2024-05-01'", fingerprint="new")
        assert warehouse.frame("t", only=[{"day": "2024-05-01"}]).select("n", "text").rows() == [(3, "c"), (2, "b")]
        assert warehouse.fingerprint_of("t", {"day": "2024-05-01"}) == "new"
        writer.keep({"day": "2024-05-01"}, where="FALSE", fingerprint="none")
    assert [info.partition for info in warehouse.partitions("t")] == [{"day": "2024-05-02"}]
    assert (tmp_path / "w" / "t" / "day=2024-05-02" / "data.parquet").read_bytes() == other


def test_a_table_says_where_it_is_read_in_place(tmp_path):
    part = tmp_path / "lake" / "day=2024-05-01" / "a.parquet"
    part.parent.mkdir(parents=True)
    pl.DataFrame({"n": [1]}).write_parquet(part)
    warehouse = Warehouse.create(tmp_path / "w")
    source = InPlace(folder=str(tmp_path / "lake"), columns={"n": "n"})
    assert warehouse.registered("t") is None
    warehouse.register("t", source)
    assert warehouse.registered("t") == source
