"""The command line on Spark: the same lines on stdout, nothing of Spark's own on stderr; with a Connect server too."""

import importlib.util
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from polars.testing import assert_frame_equal

from sojourn.warehouse import Warehouse
from tests.rollups.logs import put_events
from tests.rollups.test_partials import log

SETTINGS = """
[engine]
kind = "spark"
{engine}
[rollups.pay]
windows_days = [1, 3]
[rollups.pay.aggregates.spend]
function = "sum"
expression = "{expression}"
where = "event = 'pay'"
[rollups.pay.aggregates.usual]
function = "top_k"
expression = "amount"
"""


def sojourn(folder: Path, *arguments: str) -> tuple[int, str, str]:
    """Run the program in its own process: its exit status, stdout and stderr."""
    program = [sys.executable, "-c", "from sojourn.cli import main; main()", *arguments]
    done = subprocess.run(program, cwd=folder, capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


def shop(folder: Path, *, engine: str, expression: str = "amount") -> Warehouse:
    folder.mkdir(parents=True)
    (folder / "sojourn.toml").write_text(SETTINGS.format(engine=engine, expression=expression))
    warehouse = Warehouse.create(folder / "warehouse")
    put_events(warehouse, log())
    return warehouse


def assert_works(folder: Path, engine: str) -> None:
    """Backfill and advance say and write what they do on DuckDB."""
    found, wanted = shop(folder / "spark", engine=engine), shop(folder / "duckdb", engine="")
    (folder / "duckdb" / "sojourn.toml").write_text(
        SETTINGS.format(engine="", expression="amount").replace("spark", "duckdb")
    )
    for command in (("backfill", "--from", "2024-05-03", "--to", "2024-05-05"), ("advance", "--day", "2024-05-07")):
        told = [sojourn(each.root.parent, "rollup", *command) for each in (found, wanted)]
        assert told[0] == told[1]
        assert told[0][0] == 0
    frames = [each.frame("windows_pay").sort("user_id") for each in (found, wanted)]
    assert_frame_equal(*frames)


@pytest.mark.slow
def test_a_local_spark_says_what_duckdb_says_and_no_more(tmp_path):
    pytest.importorskip("pyspark")
    assert_works(tmp_path, 'threads = 2\nsettings = {"spark.sql.shuffle.partitions" = "2"}')


@pytest.mark.slow
def test_mistakes_on_spark_are_one_sentence(tmp_path):
    pytest.importorskip("pyspark")
    shop(tmp_path / "own", engine="threads = 2", expression="amount // 1")
    status, out, err = sojourn(tmp_path / "own", "rollup", "backfill")
    assert (status, out) == (2, "")
    assert err.count("\n") == 1
    assert "'amount // 1' with \"event = 'pay'\" means something to DuckDB and nothing to Spark" in err
    shop(tmp_path / "heap", engine='settings = {"spark.driver.memory" = "much"}')
    status, out, err = sojourn(tmp_path / "heap", "rollup", "backfill")
    assert (status, out) == (2, "")
    assert err.startswith("sojourn: Spark did not start: ")
    assert err.count("\n") == 1


@pytest.fixture
def connect(tmp_path: Path) -> Iterator[str]:
    """The URL of a Spark Connect server that runs while the test does."""
    pytest.importorskip("grpc_status", reason="pip install 'sojourn[connect]'")
    found = importlib.util.find_spec("pyspark")
    assert found is not None
    assert found.origin is not None
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = [str(Path(found.origin).parent / "bin" / "spark-submit"), "--master", "local[2]"]
    server += ["--class", "org.apache.spark.sql.connect.service.SparkConnectServer"]
    server += ["--conf", f"spark.connect.grpc.binding.port={port}", "--conf", "spark.ui.enabled=false"]
    server += ["--conf", "spark.connect.grpc.binding.address=127.0.0.1", "spark-internal"]
    with (tmp_path / "server.log").open("w") as told:
        running = subprocess.Popen(
            server, cwd=tmp_path, stdout=told, stderr=told, env={**os.environ, "PYSPARK_PYTHON": sys.executable}
        )
        try:
            for _ in range(600):
                with socket.socket() as asked:
                    if asked.connect_ex(("127.0.0.1", port)) == 0:
                        break
                assert running.poll() is None, (tmp_path / "server.log").read_text()
                time.sleep(0.2)
            yield f"sc://127.0.0.1:{port}"
        finally:
            running.terminate()
            running.wait()


@pytest.mark.slow
def test_a_spark_connect_server_serves_the_command_line(tmp_path, connect):
    assert_works(tmp_path, f'master = "{connect}"')


@pytest.mark.slow
def test_a_connect_server_that_is_not_there_is_one_sentence(tmp_path):
    pytest.importorskip("grpc_status", reason="pip install 'sojourn[connect]'")
    shop(tmp_path / "nobody", engine='master = "sc://127.0.0.1:9"')
    status, out, err = sojourn(tmp_path / "nobody", "rollup", "backfill")
    assert (status, out) == (2, "")
    assert err.startswith("sojourn: Spark Connect at sc://127.0.0.1:9 does not answer: ")
    assert err.count("\n") == 1
