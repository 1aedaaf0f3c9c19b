"""Sequences equal what a loop over the log finds; nothing of the day itself or later is in them."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import numpy as np
import pytest

from sojourn.core import BadInput, MissingTable
from sojourn.features import SequenceSpec, sequence_table
from tests.rollups.logs import Event, put_events

AS_OF = date(2024, 5, 6)
SPEC = SequenceSpec(events=4, days=5)


def log(seed: int = 0) -> list[Event]:
    """Four users over nine days around the day looked from; two events of a user may share an instant."""
    rng = np.random.default_rng(seed)
    start = datetime(2024, 4, 29, tzinfo=UTC)
    return [
        Event(
            f"e{n:03}",
            f"u{rng.integers(4)}",
            start + timedelta(hours=int(rng.integers(9 * 24))),
            ("open", "pay")[rng.integers(2)],
            Decimal(int(rng.integers(-5, 50))) if rng.random() < 0.6 else None,
        )
        for n in range(120)
    ]


def slow(events: list[Event], user: str) -> tuple[list[str], list[float], list[float | None], list[float], list[float]]:
    """A loop."""
    midnight = datetime(2024, 5, 6, tzinfo=UTC)
    mine = sorted(
        (e for e in events if e.user_id == user and midnight - timedelta(days=5) <= e.ts < midnight),
        key=lambda e: (e.ts, e.event_id),
    )
    counts, spend = [0.0] * 5, [0.0] * 5
    for e in mine:
        back = (AS_OF - e.ts.date()).days
        counts[5 - back] += 1
        spend[5 - back] += float(e.amount or 0)
    last = mine[-4:]
    ages = [(midnight - e.ts).total_seconds() / 3600 for e in last]
    amounts = [None if e.amount is None else float(e.amount) for e in last]
    return [e.event for e in last], ages, amounts, counts, spend


@pytest.mark.parametrize("seed", range(3))
def test_it_equals_a_loop_over_the_log(warehouse, seed):
    events = log(seed)
    put_events(warehouse, events)
    found = sequence_table(warehouse, SPEC, [AS_OF])
    assert found["user_id"].to_list() == [u for u in ("u0", "u1", "u2", "u3") if slow(events, u)[0]]
    for row in found.iter_rows(named=True):
        kinds, ages, amounts, counts, spend = slow(events, row["user_id"])
        assert (row["seq_event"], row["seq_amount"]) == (kinds, amounts)
        assert row["seq_age_h"] == pytest.approx(ages)
        assert list(row["seq_day_events"]) == counts
        assert list(row["seq_day_spend"]) == pytest.approx(spend)
        assert sum(row["seq_day_pushes"]) == 0


def test_the_future_never_alters_the_past(warehouse, tmp_path):
    from sojourn.warehouse import Warehouse

    events = log()
    put_events(warehouse, events)
    before = Warehouse.create(tmp_path / "before")
    put_events(before, [e for e in events if e.ts.date() < AS_OF])
    assert sequence_table(warehouse, SPEC, [AS_OF]).equals(sequence_table(before, SPEC, [AS_OF]))


def test_what_is_missing_is_said(warehouse):
    with pytest.raises(MissingTable, match="needs the table 'events'"):
        sequence_table(warehouse, SPEC, [AS_OF])
    put_events(warehouse, log())
    with pytest.raises(BadInput, match="no event lies in the 5 days before 2023-01-01"):
        sequence_table(warehouse, SPEC, [date(2023, 1, 1)])
    with pytest.raises(BadInput, match="at least one day"):
        sequence_table(warehouse, SPEC)
