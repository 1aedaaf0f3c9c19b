"""Training sets as known: the features are those that the job of each morning wrote, the labels those known today."""

import shutil
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from functools import cache

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from sojourn.core import UTC_US, BadInput, BadSpec
from sojourn.features import (
    FeatureSpec,
    LabelSpec,
    export_training_set,
    feature_table,
    population,
    training_set,
    write_features,
)
from sojourn.rollups import AggregateSpec
from sojourn.warehouse import EngineSpec, Warehouse
from tests.features.worlds import PORTRAIT, put_users, small_spec
from tests.rollups.mornings import AFTER_HOURS, MORNINGS, Lived, World, live_through, take_in, world

LABELS = ["label_spend_1d", "label_events_1d"]


def morning_spec(**changes: object) -> FeatureSpec:
    """What the other tests of features ask for, with an aggregate of elements and labels of a day."""
    spec = small_spec(labels=LabelSpec(aggregates=("spend", "events"), horizons_days=(1,)), **changes)
    channels = AggregateSpec(function="count_distinct", expression="channel", windows_days=(3, 7))
    return spec.with_changes(
        rollup=spec.rollup.with_changes(aggregates={**spec.rollup.aggregates, "channels": channels})
    )


@pytest.fixture(scope="module")
def lived(tmp_path_factory) -> Callable[[int, str], tuple[Lived, pl.DataFrame]]:
    """A log lived through once: what each morning's job wrote, and whom it counted."""

    @cache
    def through(seed: int, zone: str) -> tuple[Lived, pl.DataFrame]:
        plain, counted = morning_spec(), []

        def job(warehouse: Warehouse, morning: date) -> pl.DataFrame:
            counted.append(population(warehouse, plain, [morning]))
            return feature_table(warehouse, plain, morning)

        found = live_through(tmp_path_factory.mktemp("lived"), world(seed, zone), job)
        return found, pl.concat(counted)

    return through


KOLKATA = (12, "Asia/Kolkata")


@pytest.mark.parametrize(("seed", "zone"), [KOLKATA, pytest.param(11, "America/New_York", marks=pytest.mark.slow)])
def test_a_training_set_as_known_equals_what_the_job_of_each_morning_wrote(lived, tmp_path, seed, zone):
    plain, known = morning_spec(), morning_spec(known_after_hours=AFTER_HOURS)
    then, counted = lived(seed, zone)
    warehouse = then.warehouse
    found = training_set(warehouse, known, MORNINGS)
    assert_frame_equal(found.drop(LABELS), then.written, check_exact=True)
    assert_frame_equal(population(warehouse, known, MORNINGS), counted)
    today = training_set(warehouse, plain, MORNINGS)
    assert not today.drop(LABELS).equals(then.written)
    both = found.join(today, on=["user_id", "as_of"], suffix="_today")
    assert both.height > 20
    for label in LABELS:
        assert both[label].to_list() == both[f"{label}_today"].to_list()
    assert export_training_set(warehouse, known, MORNINGS, out=tmp_path / "t.parquet") == found.height
    assert_frame_equal(pl.read_parquet(tmp_path / "t.parquet"), found)


def test_portraits_as_known_are_those_that_had_arrived_whatever_follows(warehouse, tmp_path):
    def at(day: int, hour: int = 0) -> datetime:
        return datetime(2024, 5, day, hour, tzinfo=UTC)

    events = [(f"{u}{day}", u, at(day, 12), at(day, 12), "see", None, None) for u in "abc" for day in range(1, 13)]
    users = [
        ("a", at(1), at(1), "NO", False),
        ("a", at(5), at(8, 3), "IN", False),  # arrives late: until then the first one lasts
        ("a", at(1), at(9, 3), "SE", False),  # a correction of the first
        ("c", at(1), at(1), "NO", False),
        ("c", at(5), at(8, 3), "IN", False),  # the same, and the first is never corrected
        ("b", at(2), at(2), "NO", False),
        ("b", at(2), at(10, 3), "NO", True),  # found to be a test account
    ]
    log = World("UTC", events, users)
    take_in(warehouse, log, tmp_path, since=None, until=at(28))
    spec = morning_spec(known_after_hours=6, history_days=1)

    def seen(day: int) -> dict[str, str | None]:
        return dict(feature_table(warehouse, spec, date(2024, 5, day)).select("user_id", "country").iter_rows())

    assert seen(7) == {"a": "NO", "b": "NO", "c": "NO"}
    assert seen(8) == {"a": "IN", "b": "NO", "c": "IN"}
    assert seen(4) == {"a": "NO", "b": "NO", "c": "NO"}
    assert seen(10) == {"a": "IN", "c": "IN"}
    both = training_set(warehouse, spec, [date(2024, 5, 4), date(2024, 5, 10)])
    assert both.filter(pl.col("user_id") != "c").select("user_id", "country").rows() == [
        ("a", "NO"),
        ("b", "NO"),
        ("a", "IN"),
    ]


def test_table_features_as_known_is_written_anew_only_when_something_arrives(lived, tmp_path):
    spec = morning_spec(known_after_hours=AFTER_HOURS)
    then, _ = lived(*KOLKATA)
    shutil.copytree(then.warehouse.root, tmp_path / "w")
    warehouse = Warehouse.open(tmp_path / "w", engine=EngineSpec(threads=1))
    info = write_features(warehouse, spec, MORNINGS[2])
    assert write_features(warehouse, spec, MORNINGS[2]) == info
    stored = warehouse.frame("features").select(then.written.columns)
    assert_frame_equal(stored, then.written.filter(pl.col("as_of") == MORNINGS[2]), check_exact=True)
    *same, content, _, _ = world(*KOLKATA).events[1]
    again = World(KOLKATA[1], [(*same[:3], same[3] + timedelta(days=200), content, None, "web")], [])
    take_in(warehouse, again, tmp_path, since=None, until=same[3] + timedelta(days=201))
    assert write_features(warehouse, spec, MORNINGS[2]).fingerprint != info.fingerprint
    assert_frame_equal(warehouse.frame("features").select(stored.columns), stored, check_exact=True)


def test_portraits_that_do_not_say_when_they_arrived_are_refused_unless_none_is_taken(warehouse, tmp_path):
    start = datetime(2024, 5, 1, 12, tzinfo=UTC)
    days = [start + timedelta(days=each) for each in range(9)]
    take_in(
        warehouse,
        World("UTC", [(f"e{day}", "a", day, day, "see", None, None) for day in days], []),
        tmp_path,
        since=None,
        until=days[-1],
    )
    put_users(warehouse, [("a", start, None, "NO", False)])
    spec = morning_spec(known_after_hours=6, history_days=1)
    with pytest.raises(BadInput, match=r"table 'users' doesn't say when a portrait arrived.*test_accounts=None\)$"):
        feature_table(warehouse, spec, date(2024, 5, 8))
    alone = spec.with_changes(portrait=(), test_accounts=None)
    assert feature_table(warehouse, alone, date(2024, 5, 8)).height == 1
    told = {**PORTRAIT, "arrived_at": UTC_US}
    put_users(warehouse, [("a", start, days[4], "NO", False, days[0])], schema=told)
    assert feature_table(warehouse, spec, date(2024, 5, 4))["country"].to_list() == ["NO"]
    assert feature_table(warehouse, spec, date(2024, 5, 8))["country"].to_list() == [None]  # it ended, and none follows


def test_a_negative_delay_is_refused_when_the_spec_is_built():
    with pytest.raises(BadSpec, match="known_after_hours"):
        FeatureSpec(known_after_hours=-1)
