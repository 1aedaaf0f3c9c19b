"""The future never changes a feature, the past never changes a label, and both equal their naive recomputation."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from sojourn.features import feature_table, training_set
from sojourn.features.portrait import day_start
from sojourn.warehouse import EngineSpec, Warehouse, WarehouseSpec
from tests.features.worlds import AS_OF, Version, naive_habits, put_users, small_spec
from tests.rollups.logs import NOTHING, Event, anchor, business_day, logs, naive, put_events

ZONES = ["America/New_York", "Asia/Kolkata", "UTC"]
# For laws that need two warehouses an example: a zone that changes its clocks, and one half an hour apart.
ZONES_TWICE = ["America/New_York", "Asia/Kolkata", pytest.param("UTC", marks=pytest.mark.slow)]
START = datetime(2024, 4, 22, tzinfo=UTC)
SPAN_DAYS = 18
ENDS = [date(2024, 4, 20), date(2024, 5, 10)]
LABELS = ["label_spend_2d", "label_spend_4d", "label_events_2d", "label_events_4d"]


def build(folder: str, zone: str, events: list[Event], versions: list[Version]) -> Warehouse:
    warehouse = Warehouse.create(Path(folder) / "w", WarehouseSpec(zone=zone), engine=EngineSpec(threads=1))
    ends = [anchor(day, zone)._replace(event_id=f"end{day}") for day in ENDS]
    put_events(warehouse, [*events, *ends])
    put_users(warehouse, versions)
    return warehouse


@st.composite
def portraits(draw: st.DrawFn, zone: str) -> list[Version]:
    """Versions of three users' portraits that follow each other, near the instant at which the as-of day begins."""
    near_us = [-(10**11), -3_600_000_000, -1, 0, 1, 3_600_000_000, 10**11]
    found: list[Version] = []
    for user in ("ann", "bob", "cat"):
        chosen = sorted(draw(st.sets(st.sampled_from(near_us), min_size=1, max_size=3)))
        times = [day_start(AS_OF, zone) + timedelta(microseconds=each) for each in chosen]
        ends = [*times[1:], None] if draw(st.booleans()) else [*times[1:], times[-1] + timedelta(days=9)]
        if draw(st.booleans()):  # the last version has ended and none follows
            times, ends = times[:-1], ends[:-1]
        for begin, end in zip(times, ends, strict=True):
            country, is_test = draw(st.sampled_from(["NO", "IN", None])), draw(st.sampled_from([True, False, None]))
            found.append((user, begin, end, country, is_test))
    return found


def split(events: list[Event], zone: str) -> tuple[list[Event], list[Event]]:
    past = [event for event in events if business_day(event.ts, zone) < AS_OF]
    return past, [event for event in events if event not in past]


def known_at(versions: list[Version], instant: datetime) -> list[Version]:
    """The versions that had begun, without the ends that had not come."""
    return [
        (user, start, end if end and end <= instant else None, country, is_test)
        for user, start, end, country, is_test in versions
        if start <= instant
    ]


@pytest.mark.parametrize("zone", ZONES_TWICE)
@settings(max_examples=6, deadline=None)
@given(data=st.data())
def test_the_future_never_changes_a_feature(zone, data):
    past, _ = split(data.draw(logs(START, days=SPAN_DAYS, min_size=12)), zone)
    _, future = split(data.draw(logs(START, days=SPAN_DAYS, min_size=12)), zone)
    versions = data.draw(portraits(zone))
    with TemporaryDirectory() as folder, TemporaryDirectory() as other:
        plain = feature_table(
            build(folder, zone, past, known_at(versions, day_start(AS_OF, zone))), small_spec(), AS_OF
        )
        renamed = [event._replace(event_id=f"f{event.event_id}") for event in future]
        changed = build(other, zone, [*past, *renamed], versions)
        assert_frame_equal(feature_table(changed, small_spec(), AS_OF), plain, check_exact=True)
        labelled = training_set(changed, small_spec(), [AS_OF])
        assert_frame_equal(labelled.drop(LABELS), plain, check_exact=True)


@pytest.mark.parametrize("zone", ZONES_TWICE)
@settings(max_examples=6, deadline=None)
@given(data=st.data())
def test_the_past_never_changes_a_label_and_labels_equal_naive_recomputation(zone, data):
    past, future = split(data.draw(logs(START, days=SPAN_DAYS, min_size=12)), zone)
    other_past, _ = split(data.draw(logs(START, days=SPAN_DAYS, min_size=12)), zone)
    renamed = [event._replace(event_id=f"p{event.event_id}") for event in other_past]
    with TemporaryDirectory() as folder, TemporaryDirectory() as other:
        keys = ["user_id", *LABELS]
        plain = training_set(build(folder, zone, [*past, *future], []), small_spec(), [AS_OF]).select(keys)
        changed = training_set(build(other, zone, [*renamed, *future], []), small_spec(), [AS_OF]).select(keys)
    both = plain.join(changed, on="user_id", suffix="_changed")
    for label in LABELS:
        assert both[label].to_list() == both[f"{label}_changed"].to_list()
    for days in (2, 4):
        truth = naive(future, zone=zone, as_of=AS_OF + timedelta(days=days), days=days)
        for row in plain.iter_rows(named=True):
            wanted = truth.get(row["user_id"], NOTHING)
            assert row[f"label_spend_{days}d"] == float(wanted["spend"])
            assert row[f"label_events_{days}d"] == wanted["events"]


@pytest.mark.parametrize("zone", ZONES)
@settings(max_examples=6, deadline=None)
@given(data=st.data())
def test_features_equal_naive_recomputation(zone, data):
    events = data.draw(logs(START, days=SPAN_DAYS, min_size=12))
    with TemporaryDirectory() as folder:
        found = feature_table(build(folder, zone, events, []), small_spec(), AS_OF).filter(pl.col("user_id") != "zoe")
    habits = naive_habits(events, zone=zone, as_of=AS_OF, pays_only=False)
    bought = naive_habits(events, zone=zone, as_of=AS_OF, pays_only=True)
    assert set(found["user_id"]) == set(habits)
    for row in found.iter_rows(named=True):
        user = row["user_id"]
        for name, wanted in habits[user].items():
            assert row[name] == pytest.approx(wanted, abs=1e-6), f"{name} of {user}"
        for name, wanted in bought.get(user, dict.fromkeys(habits[user])).items():
            assert row[f"purchase_{name}"] == pytest.approx(wanted, abs=1e-6), f"purchase_{name} of {user}"
        for days in (1, 3, 7, 400):
            wanted = naive(events, zone=zone, as_of=AS_OF, days=days).get(user, NOTHING)
            window = "all" if days == 400 else f"{days}d"
            assert row[f"spend_{window}"] == float(wanted["spend"])
            assert row[f"events_{window}"] == wanted["events"]
            assert row[f"active_days_{window}"] == wanted["days"]
        shares = [row[f"{day}_share"] for day in ("monday", "tuesday", "wednesday", "thursday", "friday")]
        assert sum(shares) + row["saturday_share"] + row["sunday_share"] == pytest.approx(1)


@pytest.mark.parametrize("zone", ZONES)
@settings(max_examples=6, deadline=None)
@given(data=st.data())
def test_the_portrait_is_the_version_valid_when_the_business_day_began(zone, data):
    versions = data.draw(portraits(zone))
    events = [anchor(date(2024, 4, 22), zone)._replace(event_id=user, user_id=user) for user in ("ann", "bob", "cat")]
    with TemporaryDirectory() as folder:
        found = feature_table(build(folder, zone, events, versions), small_spec(), AS_OF)
    begins = day_start(AS_OF, zone)
    valid = {
        user: (country, test)
        for user, start, end, country, test in versions
        if start <= begins and (end is None or begins < end)
    }
    kept = {user for user in ("ann", "bob", "cat") if not valid.get(user, (None, False))[1]}
    assert set(found["user_id"]) == kept | {"zoe"}
    for user, country in found.select("user_id", "country").iter_rows():
        assert country == valid.get(user, (None, None))[0]


@pytest.mark.parametrize("zone", ZONES)
def test_labels_begin_with_the_as_of_day_and_end_before_their_last(zone):
    edges = [day_start(AS_OF + timedelta(days=n), zone) for n in (0, 2, 4)]
    tick = timedelta(microseconds=1)
    events = [
        Event(f"e{at}", "ann", edge + shift, "pay", Decimal(10**at))
        for at, (edge, shift) in enumerate((edge, shift) for edge in edges for shift in (-tick, 0 * tick))
    ]
    with TemporaryDirectory() as folder:
        row = training_set(build(folder, zone, events, []), small_spec(), [AS_OF]).row(0, named=True)
    # Amounts 1, 10, ... 100,000 lie just before and at the start of the day itself, and of 2 and 4 days after it.
    assert (row["spend_all"], row["label_spend_2d"], row["label_spend_4d"]) == (1.0, 110.0, 11_110.0)


@pytest.mark.parametrize("zone", ZONES)
def test_a_version_is_valid_from_its_first_instant_and_not_at_its_last(zone):
    begins, tick = day_start(AS_OF, zone), timedelta(microseconds=1)
    versions: list[Version] = [
        ("ann", begins - tick, begins, "ended", None),
        ("bob", begins - tick, begins + tick, "valid", None),
        ("cat", begins, None, "valid", None),
        ("dan", begins + tick, None, "to come", None),
    ]
    events = [anchor(date(2024, 4, 22), zone)._replace(event_id=version[0], user_id=version[0]) for version in versions]
    with TemporaryDirectory() as folder:
        found = feature_table(build(folder, zone, events, versions), small_spec(), AS_OF)
    countries = dict(found.select("user_id", "country").iter_rows())
    assert countries == {"ann": None, "bob": "valid", "cat": "valid", "dan": None, "zoe": None}


def test_shuffling_the_log_changes_nothing():
    events = [Event(f"e{n:02}", f"u{n % 4}", START + timedelta(hours=5 * n), "pay", Decimal(n)) for n in range(60)]
    with TemporaryDirectory() as folder, TemporaryDirectory() as other:
        plain = feature_table(build(folder, "UTC", events, []), small_spec(), AS_OF)
        assert_frame_equal(feature_table(build(other, "UTC", events[::-1], []), small_spec(), AS_OF), plain)
