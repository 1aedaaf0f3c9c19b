"""A team's own Hive-partitioned Parquet is read where it lies and never written."""

import polars as pl
import pytest

from sojourn.core import BadInput, BadSpec, EngineError, MissingTable, UnreadableSource
from sojourn.warehouse import InPlace


@pytest.fixture
def lake(tmp_path):
    """Two days of Parquet as Spark leaves it: several files a day, and a marker of its own."""
    for day, users in {"2024-05-01": [1, 2], "2024-05-02": [3]}.items():
        folder = tmp_path / "lake" / f"dt={day}"
        folder.mkdir(parents=True)
        for part, user in enumerate(users):
            pl.DataFrame({"uid": [user], "paid": [user * 1.5]}).write_parquet(folder / f"part-{part}.parquet")
        (folder / "_SUCCESS").touch()
    return tmp_path / "lake"


def source(lake, **changes):
    columns = {"user_id": "CAST(uid AS STRING)", "amount": "CAST(paid AS DECIMAL(18,4))"}
    return InPlace(**{"folder": str(lake), "partition": "dt", "columns": columns, **changes})


def test_a_registered_source_reads_as_a_table_of_ours(warehouse, lake):
    warehouse.register("events", source(lake))
    rows = warehouse.engine.rows(
        f"SELECT user_id, amount::VARCHAR, day::VARCHAR FROM {warehouse.relation('events')} ORDER BY 1"
    )
    assert rows == [("1", "1.5000", "2024-05-01"), ("2", "3.0000", "2024-05-01"), ("3", "4.5000", "2024-05-02")]
    assert warehouse.tables() == ["events"]
    assert warehouse.has("events")


def test_only_the_days_asked_for_are_read(warehouse, lake):
    warehouse.register("events", source(lake))
    only = [{"day": "2024-05-02"}]
    assert warehouse.frame("events", only=only)["user_id"].to_list() == ["3"]
    with pytest.raises(MissingTable, match="has no partition dt=2024-05-03"):
        warehouse.relation("events", only=[{"day": "2024-05-03"}])


def test_a_partition_s_fingerprint_changes_with_its_files_and_only_then(warehouse, lake):
    warehouse.register("events", source(lake))
    first, second = warehouse.partitions("events")
    assert (first.partition, first.rows) == ({"day": "2024-05-01"}, 2)
    pl.DataFrame({"uid": [9], "paid": [1.0]}).write_parquet(lake / "dt=2024-05-02" / "part-9.parquet")
    again = warehouse.partitions("events")
    assert again[0] == first
    assert again[1].fingerprint != second.fingerprint


def test_a_registered_table_is_never_written(warehouse, lake):
    warehouse.register("events", source(lake))
    with pytest.raises(BadInput, match="registered in place and only read"), warehouse.writing("events"):
        pass


def test_an_ingested_table_cannot_be_registered_over(warehouse, lake):
    with warehouse.writing("events") as writer:
        writer.put({"day": "2024-05-01"}, "SELECT 1 AS n", order_by=["n"], fingerprint="f")
    with pytest.raises(BadInput, match="already holds ingested partitions"):
        warehouse.register("events", source(lake))


def test_a_folder_without_such_partitions_is_refused(warehouse, lake):
    with pytest.raises(UnreadableSource, match=r"holds no Parquet file under 'day=YYYY-MM-DD'"):
        warehouse.register("events", source(lake, partition="day"))


def test_an_expression_over_an_unknown_column_is_refused_at_registration(warehouse, lake):
    with pytest.raises(EngineError, match="usr"):
        warehouse.register("events", source(lake, columns={"user_id": "usr"}))
    assert not warehouse.has("events")


def test_the_day_cannot_be_mapped_twice(lake):
    with pytest.raises(BadSpec, match="'day' comes from the partition"):
        source(lake, columns={"day": "dt"})
