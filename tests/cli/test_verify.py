"""`sojourn verify` and `sojourn rollup plan`: 0 where nothing is wrong, 1 where something is, 2 for a mistake."""

import json

import pytest

from sojourn.warehouse import Warehouse
from tests.rollups.logs import put_events
from tests.rollups.test_cli import SETTINGS, Run, run, shop  # noqa: F401 (fixtures)
from tests.rollups.test_partials import log


@pytest.fixture
def closed(run: Run, shop: Warehouse) -> Warehouse:  # noqa: F811
    """Every partial is built, and two days have windows."""
    run("rollup", "backfill")
    for day in ("2024-05-11", "2024-05-12"):
        run("rollup", "advance", "--day", day)
    return shop


def test_a_sound_warehouse_ends_with_0_and_a_table(run, closed, tmp_path):  # noqa: F811
    status, out, err = run("verify", "--sample", "5", "--seed", "3", "--json", "verified.json")
    assert (status, err) == (0, "")
    head, *lines = out.splitlines()
    assert head.split() == ["check", "table", "looked", "at", "verdict", "found"]
    assert "files         events       12 partitions       ok" in lines
    assert "recomputed    windows_pay  12 values           ok" in lines
    told = json.loads((tmp_path / "verified.json").read_text())
    assert told["fine"] is True
    assert told["spec"] == {"sample": 5, "partitions": 6, "seed": 3}
    starts = [f"{each['check']:<14}{each['of']}" for each in told["checks"]]
    assert all(line.startswith(start) for line, start in zip(lines, starts, strict=True))


def test_a_fault_ends_with_1_and_is_named(run, closed, tmp_path):  # noqa: F811
    file = closed.root / "rollup_pay" / "grain=day" / "start=2024-05-04" / "data.parquet"
    file.write_bytes(file.read_bytes()[:-1])
    status, out, err = run("verify", "--all", "--json", "verified.json")
    assert (status, err) == (1, "")
    [line] = [each for each in out.splitlines() if " wrong " in each]
    assert "rollup_pay/grain=day/start=2024-05-04 cannot be read: it is cut off, or no Parquet file" in line
    assert json.loads((tmp_path / "verified.json").read_text())["fine"] is False


def test_a_file_name_that_cannot_be_written_and_a_wrong_sample_are_mistakes(run, closed):  # noqa: F811
    status, _, err = run("verify", "--json", "nowhere/verified.json")
    assert status == 2
    assert err.startswith("sojourn: nowhere/verified.json cannot be written: No such file")
    status, _, err = run("verify", "--sample", "0")
    assert status == 2
    assert "VerifySpec is wrong: field 'sample' = 0" in err


def test_a_warehouse_without_events_is_a_mistake(run, tmp_path):  # noqa: F811
    Warehouse.create(tmp_path / "warehouse")
    status, _, err = run("verify")
    assert status == 2
    assert "has no table 'events'" in err


def test_a_plan_shows_each_window_beside_its_raw_days(run, closed):  # noqa: F811
    put_events(closed, log(late=True))
    status, out, err = run("rollup", "plan", "--day", "2024-05-06")
    assert (status, err) == (0, "")
    head, columns, *lines = out.splitlines()
    assert head == "rollup_pay as of 2024-05-07: the windows are read from 3 days"
    assert columns.split() == ["window", "cover", "files", "rows", "bytes", "raw", "rows", "raw", "bytes"]
    assert [line.split()[0] for line in lines[:4]] == ["1d", "3d", "all", "advance"]
    assert lines[1].split()[1:5] == ["3", "days", "3", "10"]
    assert lines[-1] == "missing or stale, and built first: 1 partial, day 2024-05-04"
