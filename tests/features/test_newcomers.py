"""Newcomers at one age: each user once, first days and outcomes equal to counting by hand, nobody's future in sight."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sojourn.core import BadInput
from sojourn.features import LabelSpec, newcomer_table
from sojourn.features.habits import WEEKDAYS
from sojourn.warehouse import EngineSpec, Warehouse, WarehouseSpec
from tests.features.worlds import put_users, small_spec
from tests.rollups.logs import Event, anchor, business_day, logs, put_events

FIRST, END = date(2024, 4, 20), date(2024, 5, 12)
SPEC = small_spec(history_days=2, labels=LabelSpec(aggregates=("spend",), horizons_days=(6,)))
AGE, BY, STEP = 2, 6, 3


def build(folder: str | Path, zone: str, events: Sequence[Event]) -> Warehouse:
    warehouse = Warehouse.create(Path(folder) / "w", WarehouseSpec(zone=zone), engine=EngineSpec(threads=1))
    ends = [anchor(day, zone)._replace(event_id=f"end{day}") for day in (FIRST, END - timedelta(days=1))]
    put_events(warehouse, [*events, *ends])
    return warehouse


def by_hand(events: Sequence[Event], zone: str) -> dict[str, dict[str, Any]]:
    """One user, one event at a time."""
    days: dict[str, list[tuple[date, Event]]] = {}
    for event in events:
        days.setdefault(event.user_id, []).append((business_day(event.ts, zone), event))
    found = {}
    for user, seen in days.items():
        first = min(day for day, _ in seen)
        as_of = next((day for day in grid() if day >= first + timedelta(days=AGE)), None)
        if as_of is None or first < FIRST + timedelta(days=2):
            continue

        def spent(days: int, seen: list[tuple[date, Event]] = seen, first: date = first) -> float:
            return float(sum(e.amount or 0 for day, e in seen if day < first + timedelta(days=days)))

        over = as_of - timedelta(days=AGE) + timedelta(days=BY) <= END
        found[user] = {
            "as_of": as_of,
            "first_day": first,
            "spend_first_1d": spent(1),
            "spend_2d": spent(AGE),
            "events_2d": sum(day < first + timedelta(days=AGE) for day, _ in seen),
            "label_spend_6d": spent(BY) if over else None,
            "first_weekday": WEEKDAYS[first.weekday()],
        }
    return found


def grid() -> list[date]:
    return sorted(END - timedelta(days=STEP * back) for back in range(8))


@pytest.mark.parametrize("zone", ["America/New_York", "UTC"])
@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_first_days_and_outcomes_are_those_counted_by_hand(zone, data):
    events = data.draw(logs(datetime(2024, 4, 21, tzinfo=UTC), days=20, min_size=12))
    wanted = by_hand(events, zone)
    with TemporaryDirectory() as folder:
        warehouse = build(folder, zone, events)
        if not wanted:
            with pytest.raises(BadInput, match="nobody who came after the log's first 2 days"):
                newcomer_table(warehouse, SPEC, age_days=AGE, by_days=BY, step_days=STEP)
            return
        found = newcomer_table(warehouse, SPEC, age_days=AGE, by_days=BY, step_days=STEP)
    rows = {row["user_id"]: row for row in found.iter_rows(named=True)}
    # The rows that open and close the log have a user of their own, who came on its first day.
    assert set(rows) == set(wanted)
    for user, figures in wanted.items():
        assert {name: rows[user][name] for name in figures} == pytest.approx(figures), user


def test_an_earlier_end_sees_what_was_seen_then(tmp_path):
    start = datetime(2024, 4, 23, 12, tzinfo=UTC)
    events = [Event(f"e{n}", f"u{n % 5}", start + timedelta(days=n), "pay", None) for n in range(15)]
    whole = newcomer_table(build(tmp_path, "UTC", events), SPEC, age_days=AGE, by_days=BY, step_days=STEP, end=END)
    early = newcomer_table(
        Warehouse.open(tmp_path / "w"), SPEC, age_days=AGE, by_days=BY, step_days=STEP, end=END - timedelta(days=6)
    )
    assert set(early["user_id"]) <= set(whole["user_id"])
    features = [name for name in early.columns if not name.startswith("label_")]
    same = whole.filter(pl.col("user_id").is_in(early["user_id"].implode())).select(features)
    assert same.sort("user_id").equals(early.select(features).sort("user_id"))


def test_portraits_are_as_of_the_look_and_test_accounts_are_left_out(tmp_path):
    start = datetime(2024, 4, 24, 12, tzinfo=UTC)
    warehouse = build(tmp_path, "UTC", [Event(f"e{n}", f"u{n}", start, "see", None) for n in range(3)])
    later = start + timedelta(days=14)
    put_users(
        warehouse,
        [
            ("u0", start, later, "NO", False),
            ("u0", later, None, "IN", False),
            ("u1", start, None, "IN", True),
        ],
    )
    found = newcomer_table(warehouse, SPEC, age_days=AGE, by_days=BY, step_days=STEP)
    assert dict(found.select("user_id", "country").iter_rows()) == {"u0": "NO", "u2": None}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"age_days": 6}, "day 6 is not beyond an age of 6 days"),
        ({"age_days": 0}, "day 6 is not beyond an age of 0 days"),
    ],
)
def test_bad_ages_are_refused(tmp_path, changes, said):
    warehouse = build(tmp_path, "UTC", [])
    with pytest.raises(BadInput, match=said):
        newcomer_table(warehouse, SPEC, **{"age_days": AGE, "by_days": BY, **changes})


def test_known_at_features_are_refused(tmp_path):
    with pytest.raises(BadInput, match="Leave known_after_hours out"):
        newcomer_table(build(tmp_path, "UTC", []), SPEC.with_changes(known_after_hours=6), age_days=2, by_days=6)
