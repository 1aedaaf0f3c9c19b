"""Features that Spark makes are those that DuckDB makes, value by value."""

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from sojourn.features import (
    FeatureSpec,
    export_features,
    export_training_set,
    feature_table,
    population,
    training_set,
    write_features,
)
from sojourn.warehouse import EngineSpec, Warehouse, WarehouseSpec
from tests.features.test_known import morning_spec
from tests.features.worlds import AS_OF, PORTRAIT, frame_log, noon, put_users, small_spec
from tests.rollups.logs import put_events
from tests.rollups.mornings import AFTER_HOURS, MORNINGS, live_through, world

LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
SPEC = small_spec()
Both = tuple[Warehouse, Warehouse]


@pytest.fixture
def both(tmp_path: Path, spark: EngineSpec) -> Both:
    """The same shop for DuckDB and for Spark: ann moved, bob is a test account, cat has no portrait."""
    duckdb = Warehouse.create(tmp_path / "duckdb", WarehouseSpec(zone="Asia/Kolkata"))
    put_events(duckdb, frame_log(days=20))
    joined = datetime(2024, 4, 30, 18, 29, tzinfo=UTC)
    versions = [
        ("ann", LONG_AGO, noon(30, 4), "NO", False, joined, LONG_AGO),
        ("ann", noon(30, 4), None, "DE", False, joined + timedelta(minutes=2), noon(30, 4)),
        ("bob", LONG_AGO, None, None, True, None, noon(1)),
    ]
    columns = {**PORTRAIT, "joined": pl.Datetime("us", "UTC"), "arrived_at": pl.Datetime("us", "UTC")}
    put_users(duckdb, versions, columns)
    shutil.copytree(duckdb.root, tmp_path / "spark")
    return duckdb, Warehouse.open(tmp_path / "spark", engine=spark)


def assert_equal(found: pl.DataFrame, wanted: pl.DataFrame) -> None:
    assert_frame_equal(found, wanted, rel_tol=1e-12, abs_tol=1e-12)


def test_training_sets_and_those_left_out_are_equal(both):
    days = [AS_OF - timedelta(days=1), AS_OF]
    wanted, found = (training_set(each, SPEC, days) for each in both)
    assert_equal(found, wanted)
    assert wanted.filter(user_id="ann")["country"].to_list() == ["NO", "DE"]
    assert "bob" not in wanted["user_id"]
    wanted, found = (population(each, SPEC, days) for each in both)
    assert_equal(found, wanted)


def test_features_are_written_equal_and_once(both):
    for each in both:
        info = write_features(each, SPEC, AS_OF)
        assert write_features(each, SPEC, AS_OF) == info
    wanted, found = (Warehouse.open(each.root).frame("features").sort("user_id") for each in both)
    assert_equal(found, wanted)
    assert_equal(feature_table(both[1], SPEC, AS_OF).drop("as_of"), found.drop("as_of"))


def test_an_export_is_one_file_whoever_writes_it(both, tmp_path):
    for write in (export_features, export_training_set):
        places = [tmp_path / f"{number}.parquet" for number in range(2)]
        rows = [write(each, SPEC, [AS_OF], out=out) for each, out in zip(both, places, strict=True)]
        wanted, found = (pl.read_parquet(out) for out in places)
        assert rows == [wanted.height] * 2
        assert all(out.is_file() for out in places)
        assert_equal(found, wanted)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.slow
def test_what_was_known_is_equal(tmp_path, spark):
    known = morning_spec(known_after_hours=AFTER_HOURS)
    lived = live_through(tmp_path, world(11, "America/New_York"), lambda warehouse, _: warehouse.frame("events"))
    wanted = training_set(lived.warehouse, known, MORNINGS)
    shutil.copytree(lived.warehouse.root, tmp_path / "spark")
    assert_equal(training_set(Warehouse.open(tmp_path / "spark", engine=spark), known, MORNINGS), wanted)


@pytest.mark.slow
def test_the_default_features_are_equal(both):
    spec = FeatureSpec(history_days=7, labels=SPEC.labels.with_changes(aggregates=("spend",)))
    wanted, found = (training_set(each, spec, [AS_OF]) for each in both)
    assert_equal(found, wanted)
