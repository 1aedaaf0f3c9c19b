"""SIGKILL at any moment leaves the old version or the new one, and the next write leaves no stray file."""

import random
import signal
import subprocess
import sys
import time

import pytest

from sojourn.core import DiskFull, Locked
from sojourn.warehouse import EngineSpec, Warehouse

ROWS = 30_000
WRITER = f"""
import sys
from pathlib import Path
from sojourn.warehouse import EngineSpec, Warehouse
warehouse = Warehouse.open(Path(sys.argv[1]), engine=EngineSpec(threads=1))
print("ready", flush=True)
version = int(sys.argv[2])
while True:
    with warehouse.writing("t") as writer:
        for day in ("2024-05-01", "2024-05-02"):
            query = f"SELECT i, {{version}} AS version, md5(i::VARCHAR) AS text FROM range({ROWS}) AS r(i)"
            writer.put({{"day": day}}, query, order_by=["i"], fingerprint=str(version))
    version += 1
"""


def whole(warehouse):
    """Whether each partition holds all rows of exactly the version that its footer names."""
    for info in warehouse.partitions("t"):
        [(rows, low, high)] = warehouse.engine.rows(
            f"SELECT count(*), min(version), max(version) FROM {warehouse.relation('t', only=[info.partition])}"
        )
        if (rows, str(low), str(high)) != (ROWS, info.fingerprint, info.fingerprint):
            return False
    return True


def strays(warehouse):
    known = {"data.parquet", "_sojourn.json", "t.lock"}
    return [path for path in warehouse.root.rglob("*") if path.is_file() and path.name not in known]


def put(warehouse, version=0):
    with warehouse.writing("t") as writer:
        for day in ("2024-05-01", "2024-05-02"):
            query = f"SELECT i, {version} AS version, md5(i::VARCHAR) AS text FROM range({ROWS}) AS r(i)"
            writer.put({"day": day}, query, order_by=["i"], fingerprint=str(version))


def data_bytes(warehouse):
    return {path: path.read_bytes() for path in sorted(warehouse.root.rglob("data.parquet"))}


def test_a_hundred_kills_never_leave_half_a_partition(tmp_path):
    warehouse = Warehouse.create(tmp_path / "w", engine=EngineSpec(threads=1))
    put(warehouse)
    moments = random.Random(7)
    torn_mid_write = 0
    for kill in range(100):
        command = [sys.executable, "-c", WRITER, str(warehouse.root), str(1000 * (kill + 1))]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "ready\n"
            time.sleep(moments.uniform(0, 0.12))
            writer.send_signal(signal.SIGKILL)
            writer.wait()
        torn_mid_write += bool(strays(warehouse))
        assert whole(warehouse), f"kill {kill} left a partition that is neither old nor new"
    assert torn_mid_write >= 10, "the kills came too late to prove anything"
    put(warehouse, 1)
    assert strays(warehouse) == []
    once = data_bytes(warehouse)
    put(warehouse, 1)
    assert data_bytes(warehouse) == once


def test_a_second_writer_is_told_who_holds_the_table(tmp_path):
    warehouse = Warehouse.create(tmp_path / "w")
    command = [
        sys.executable,
        "-c",
        WRITER.replace("while True:", "with warehouse.writing('t'):\n    input()\nwhile False:"),
    ]
    with subprocess.Popen(
        [*command, str(warehouse.root), "1"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        lock = warehouse.root / "_locks" / "t.lock"
        for _ in range(100):
            if lock.exists() and lock.read_text().endswith("}"):
                break
            time.sleep(0.05)
        with pytest.raises(Locked, match=rf"is being written by process {other.pid} on .*Wait for it, or stop it"):
            put(warehouse)
        other.kill()
    put(warehouse)
    assert whole(warehouse)


FULL = """
import resource, sys
from pathlib import Path
from sojourn.core import DiskFull
from sojourn.warehouse import EngineSpec, Warehouse
warehouse = Warehouse.open(Path(sys.argv[1]), engine=EngineSpec(threads=1))
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
with warehouse.writing("t") as writer:
    try:
        writer.put({"day": "2024-05-01"}, "SELECT i, 9 AS version, md5(i::VARCHAR) AS text FROM range(90000) AS r(i)",
                   order_by=["i"], fingerprint="9")
    except DiskFull as fault:
        print(fault)
"""


def test_no_room_to_write_keeps_the_old_version_and_says_so(tmp_path):
    warehouse = Warehouse.create(tmp_path / "w")
    put(warehouse)
    run = subprocess.run([sys.executable, "-c", FULL, str(warehouse.root)], capture_output=True, text=True, check=True)
    assert run.stdout.startswith("No room left to write ")
    assert "The old version still stands; free some and run it again." in run.stdout
    assert whole(warehouse)
    assert strays(warehouse) == []
    assert issubclass(DiskFull, OSError)
