"""The engine answers in UTC, takes parameters, and puts its errors in our words."""

import polars as pl
import pytest

from sojourn.core import BadInput, EngineError
from sojourn.warehouse import DuckDBEngine, EngineSpec


@pytest.fixture
def engine():
    return DuckDBEngine(EngineSpec(threads=1))


def test_a_frame_is_a_relation_while_the_block_runs(engine):
    with engine.table(pl.DataFrame({"x": [1, 2]})) as name:
        assert engine.rows(f"SELECT sum(x) FROM {name}") == [(3,)]
    with pytest.raises(EngineError, match=name):
        engine.rows(f"SELECT * FROM {name}")


def test_times_are_utc_microseconds(engine):
    frame = engine.frame("SELECT TIMESTAMPTZ '2024-05-01 10:00:00+02' AS ts")
    assert frame.schema["ts"].time_unit == "us"
    assert frame["ts"].dt.convert_time_zone("UTC").dt.hour().item() == 8


def test_parameters_enter_by_name(engine):
    assert engine.frame("SELECT $a || $b AS joined", a="x", b="'y'").item() == "x'y'"


def test_columns_are_known_without_running(engine):
    assert engine.columns("SELECT i, error('never run')::VARCHAR AS t FROM range(3) AS r(i)") == {
        "i": "BIGINT",
        "t": "VARCHAR",
    }


def test_a_query_that_outgrows_memory_says_how_to_allow_more():
    engine = DuckDBEngine(EngineSpec(memory_gb=0.05, threads=1))
    engine.run("SET max_temp_directory_size = '0KB'")
    with pytest.raises(BadInput, match=r"more than the 0.05 GB it may use .*EngineSpec\(memory_gb=0.1\)"):
        engine.rows("SELECT list(i || 'x') FROM range(10000000) AS r(i)")
