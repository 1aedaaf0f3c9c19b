"""A stored file that was changed, cut, moved, replaced or removed is found; what was written is not."""

import shutil
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sojourn.warehouse import InPlace, Warehouse

ROWS = "SELECT 'u' || n AS user_id, n * 7 AS visits, 'sha256:{zeros}' AS note FROM range(500) AS numbers(n)"


@pytest.fixture
def visits(warehouse: Warehouse) -> Warehouse:
    """Two days of visits, with a column that looks like a seal."""
    query = ROWS.format(zeros="0" * 64)
    with warehouse.writing("visits") as writer:
        for day in ("2024-05-01", "2024-05-02"):
            writer.put({"day": day}, query, order_by=["user_id"], fingerprint=day)
    return warehouse


def file_of(warehouse: Warehouse, day: str = "2024-05-01") -> Path:
    return warehouse.root / "visits" / f"day={day}" / "data.parquet"


def faults(warehouse: Warehouse) -> dict[str, str]:
    return {partition["day"]: fault.kind for partition, fault in warehouse.checked("visits") if fault is not None}


def test_what_was_written_has_no_fault_and_is_the_same_bytes_again(visits):
    assert faults(visits) == {}
    assert len(list(visits.checked("visits"))) == 2
    before = file_of(visits).read_bytes()
    with visits.writing("visits") as writer:
        query = ROWS.format(zeros="0" * 64)
        writer.put({"day": "2024-05-01"}, query, order_by=["user_id"], fingerprint="2024-05-01")
    assert file_of(visits).read_bytes() == before
    assert visits.fingerprint_of("visits", {"day": "2024-05-01"}) == "2024-05-01"


@given(share=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
@settings(max_examples=60, deadline=None)
def test_any_flipped_bit_is_found(tmp_path_factory, share, bit):
    warehouse = Warehouse.create(tmp_path_factory.mktemp("flip") / "w")
    with warehouse.writing("visits") as writer:
        writer.put({"day": "2024-05-01"}, ROWS.format(zeros="1"), order_by=["user_id"], fingerprint="v1")
    content = bytearray(file_of(warehouse).read_bytes())
    content[int(share * len(content))] ^= 1 << bit
    file_of(warehouse).write_bytes(content)
    # A bit of the seal's own label leaves a file without a seal.
    assert faults(warehouse)["2024-05-01"] in {"damaged", "unsealed"}


@pytest.mark.parametrize("kept", [0, 3, 0.5, -1])
def test_a_file_that_was_cut_is_found(visits, kept):
    content = file_of(visits).read_bytes()
    file_of(visits).write_bytes(content[: int(len(content) * kept) if isinstance(kept, float) else kept])
    assert faults(visits) == {"2024-05-01": "damaged"}


def test_a_file_in_another_ones_place_says_where_it_belongs(visits):
    shutil.copy(file_of(visits), file_of(visits, "2024-05-02"))
    [(_, fault)] = [each for each in visits.checked("visits") if each[1] is not None]
    assert fault is not None
    assert fault.told == "was written as visits/day=2024-05-01 and lies in the place of another"


def test_a_file_that_something_else_wrote_is_found(visits):
    frame = pl.read_parquet(file_of(visits))
    frame.with_columns(visits=pl.lit(1)).write_parquet(file_of(visits), metadata={"sojourn": "2024-05-01"})
    assert faults(visits)["2024-05-01"] in {"damaged", "unsealed"}


def test_a_removed_file_is_found_by_its_folder_and_a_dropped_partition_is_none(visits):
    file_of(visits).unlink()
    assert faults(visits) == {"2024-05-01": "missing"}
    with visits.writing("visits") as writer:
        writer.drop({"day": "2024-05-02"})
    assert faults(visits) == {"2024-05-01": "missing"}


def test_files_in_place_are_decoded(warehouse, tmp_path):
    folder = tmp_path / "lake" / "day=2024-05-01"
    folder.mkdir(parents=True)
    file = folder / "part-0.parquet"
    pl.DataFrame({"user_id": ["ann", "bob"], "n": [1, 2]}).write_parquet(file)
    columns = {"user_id": "user_id"}
    warehouse.register("visits", InPlace(folder=str(tmp_path / "lake"), columns=columns))
    assert faults(warehouse) == {}
    file.write_bytes(file.read_bytes()[:-20])
    assert faults(warehouse) == {"2024-05-01": "damaged"}


@pytest.mark.slow
def test_a_folder_that_spark_wrote_is_sealed_as_a_whole(tmp_path, spark):
    warehouse = Warehouse.create(tmp_path / "w", engine=spark)
    with warehouse.writing("visits") as writer:
        writer.put({"day": "2024-05-01"}, "SELECT 'ann' AS user_id", order_by=["user_id"], fingerprint="v1")
    assert faults(warehouse) == {}
    [part] = file_of(warehouse).glob("*.parquet")
    content = bytearray(part.read_bytes())
    content[10] ^= 1
    part.write_bytes(content)
    assert faults(warehouse) == {"2024-05-01": "damaged"}
