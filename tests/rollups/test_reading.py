"""Windows equal their naive recomputation from the raw log: any zone, order and split, with replays and late rows."""

import math
import random
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from sojourn.core import BadInput
from sojourn.rollups import AggregateSpec, backfill, ledger, past, whole_past, window_query, window_table
from sojourn.warehouse import EngineSpec, Warehouse, WarehouseSpec
from tests.rollups.logs import EVERY, NOTHING, Event, anchor, logs, naive, put_events, rollup

# A zone, and the UTC midnight of a day shortly before its clock jumps: forward, back, never, or over a whole day.
JUMPS = {
    "New York springs forward": ("America/New_York", datetime(2024, 3, 8, tzinfo=UTC)),
    "New York falls back": ("America/New_York", datetime(2024, 11, 1, tzinfo=UTC)),
    "Kolkata is half an hour off": ("Asia/Kolkata", datetime(2024, 2, 27, tzinfo=UTC)),
    "Apia skips 2011-12-30": ("Pacific/Apia", datetime(2011, 12, 28, tzinfo=UTC)),
    "Havana falls back at midnight": ("America/Havana", datetime(2024, 11, 1, tzinfo=UTC)),
}
SPAN_DAYS = 6


def assert_equals_naive(table: pl.DataFrame, events: list[Event], *, zone: str, as_ofs: list[date]) -> None:
    """Every value of every user, window and day: exact, but for means to 1e-12. A user without a row has no value."""
    found = {(row["user_id"], row["as_of"]): row for row in table.iter_rows(named=True)}
    for as_of in as_ofs:
        longest = naive(events, zone=zone, as_of=as_of, days=7)
        assert {user for user, day in found if day == as_of} == set(longest)
        for days in (1, 3, 7):
            truth = naive(events, zone=zone, as_of=as_of, days=days)
            for user in longest:
                for name, wanted in (truth.get(user) or NOTHING).items():
                    got = found[user, as_of][f"{name}_{days}d"]
                    told = f"{name}_{days}d of {user} as of {as_of}: {got!r} for {wanted!r}"
                    if isinstance(wanted, float):
                        assert math.isclose(got, wanted, rel_tol=1e-12, abs_tol=1e-12), told
                    else:
                        assert got == wanted, told


@pytest.mark.parametrize("jump", JUMPS)
@settings(max_examples=6, deadline=None)
@given(data=st.data())
def test_windows_equal_naive_recomputation_in_any_order_and_split_with_replays(jump, data):
    zone, start = JUMPS[jump]
    first = start.date() - timedelta(days=7)
    drawn = [anchor(first, zone), *data.draw(logs(start, days=SPAN_DAYS))]
    as_ofs = [start.date() + timedelta(days=each) for each in data.draw(st.sets(st.integers(0, 4), min_size=1))]
    shuffled = random.Random(data.draw(st.integers())).sample(drawn, len(drawn))
    cut = data.draw(st.integers(0, len(shuffled)))
    with TemporaryDirectory() as folder:
        warehouse = Warehouse.create(Path(folder) / "w", WarehouseSpec(zone=zone), engine=EngineSpec(threads=1))
        # The end of history must not lie before an as_of; a replay of the first part comes with the second.
        late = [*shuffled[:cut], anchor(start.date() + timedelta(days=5), zone)._replace(event_id="end")]
        put_events(warehouse, late)
        backfill(warehouse, rollup())
        put_events(warehouse, [*late, *shuffled, *late])
        backfill(warehouse, rollup())
        table = window_table(warehouse, rollup(), as_ofs=as_ofs)
        assert_equals_naive(table, [*late, *shuffled], zone=zone, as_ofs=as_ofs)


def at(day: int, hour: int = 12, **changes: Any) -> Event:
    ts = datetime(2024, 5, day, hour, tzinfo=UTC)
    event = Event(f"e{day:02}{hour:02}{len(changes)}", "ann", ts, "pay", Decimal(day))
    return event._replace(**changes)


@pytest.fixture
def may(warehouse: Warehouse) -> Warehouse:
    """Ann pays the day's number on each of 12 days of May at noon."""
    put_events(warehouse, [at(day) for day in range(1, 13)])
    backfill(warehouse, rollup())
    return warehouse


def test_a_window_includes_its_first_day_and_excludes_as_of(may):
    row = window_table(may, rollup(), as_ofs=[date(2024, 5, 8)]).row(0, named=True)
    assert row["spend_1d"] == 7
    assert row["spend_3d"] == 5 + 6 + 7
    assert row["spend_7d"] == 1 + 2 + 3 + 4 + 5 + 6 + 7


def test_looking_from_several_days_at_once_equals_looking_from_each(may):
    days = [date(2024, 5, day) for day in (13, 8, 10)]
    together = window_table(may, rollup(), as_ofs=[*days, days[0]])
    alone = pl.concat([window_table(may, rollup(), as_ofs=[day]) for day in sorted(days)])
    assert_frame_equal(together, alone)


def test_the_end_of_a_window_is_the_local_midnight_of_the_zone(tmp_path):
    warehouse = Warehouse.create(tmp_path / "w", WarehouseSpec(zone="Asia/Kolkata"))
    midnight = datetime(2024, 5, 7, 18, 30, tzinfo=UTC)  # 2024-05-08 00:00 in Kolkata
    before, after = midnight - timedelta(microseconds=1), midnight
    events = [at(1), at(2, ts=before, amount=Decimal(5)), at(3, ts=after, amount=Decimal(7))]
    put_events(warehouse, events)
    backfill(warehouse, rollup())
    assert window_table(warehouse, rollup(), as_ofs=[date(2024, 5, 8)])["spend_1d"].to_list() == [5]
    assert window_table(warehouse, rollup(), as_ofs=[date(2024, 5, 9)])["spend_1d"].to_list() == [7]


def test_counts_sums_and_active_days_of_nothing_are_0_and_the_rest_is_null(warehouse):
    put_events(warehouse, [at(1), at(2, event="see", amount=None), at(9, user_id="bob")])
    backfill(warehouse, rollup())
    row = window_table(warehouse, rollup(), as_ofs=[date(2024, 5, 9)]).row(0, named=True)
    values = {name.removesuffix("_1d"): value for name, value in row.items() if name.endswith("_1d")}
    assert values == NOTHING


def test_rows_without_a_key_are_kept_under_null(warehouse):
    put_events(warehouse, [at(day) for day in range(1, 8)])
    spec = rollup(name="amounts", keys=("amount", "event"), aggregates={"events": EVERY["events"]})
    put_events(warehouse, [*(at(day) for day in range(1, 8)), at(7, 13, amount=None)])
    backfill(warehouse, spec)
    table = window_table(warehouse, spec, as_ofs=[date(2024, 5, 8)])
    assert table.filter(pl.col("amount").is_null())["events_7d"].to_list() == [1]
    assert table["events_7d"].sum() == 8


def test_an_aggregate_may_have_windows_of_its_own(may):
    some = {"spend": EVERY["spend"], "days": AggregateSpec(function="active_days", windows_days=(7,))}
    spec = rollup(name="some", aggregates=some)
    backfill(may, spec)
    table = window_table(may, spec, as_ofs=[date(2024, 5, 8)])
    assert table.columns == ["user_id", "as_of", "spend_1d", "spend_3d", "spend_7d", "days_7d"]


def test_the_whole_past_can_be_read_beside_rolling_windows(may):
    query = window_query(
        may, ledger(may, rollup()), as_ofs=[date(2024, 5, 13)], reading={"spend": [whole_past(), past(2)]}
    )
    assert may.engine.frame(query).select("spend_all", "spend_2d").row(0) == (78, 23)


def test_sums_of_doubles_agree_to_1e_12_and_reruns_are_equal_to_the_bit(warehouse):
    put_events(warehouse, [at(day, hour, user_id=f"u{hour % 3}") for day in range(1, 9) for hour in range(24)])
    rate = AggregateSpec(function="sum", expression="CAST(amount AS DOUBLE) / 3")
    spec = rollup(aggregates={"rate": rate})
    backfill(warehouse, spec)
    first = window_table(warehouse, spec, as_ofs=[date(2024, 5, 8)])
    assert_frame_equal(first, window_table(warehouse, spec, as_ofs=[date(2024, 5, 8)]), check_exact=True)
    assert first["rate_7d"].to_list() == pytest.approx([8 * sum(range(1, 8)) / 3] * 3, rel=1e-12)


def test_a_window_longer_than_history_is_refused_with_the_days_there_are(may):
    with pytest.raises(BadInput) as refusal:
        window_table(may, rollup(), as_ofs=[date(2024, 5, 6), date(2024, 5, 10)])
    assert str(refusal.value) == (
        "Rollup 'every' over 'events': 7 days before 2024-05-06 are needed and there are 5; history begins on "
        "2024-05-01. Look from 2024-05-08 or later, or ask for a shorter window."
    )


def test_looking_from_beyond_the_end_of_history_is_refused(may):
    window_table(may, rollup(), as_ofs=[date(2024, 5, 13)])
    with pytest.raises(
        BadInput, match=r"0 days from 2024-05-20 on are needed .* history ends with 2024-05-12. Look from"
    ):
        window_table(may, rollup(), as_ofs=[date(2024, 5, 20)])


def test_no_day_to_look_from_is_refused(may):
    with pytest.raises(BadInput, match=r"No day to look from is given\. Name at least one as_of"):
        window_table(may, rollup(), as_ofs=[])


def test_partials_behind_their_source_are_named_and_not_skipped(may):
    put_events(may, [*(at(day) for day in range(1, 13)), at(4, 13), at(6, 13)])
    with pytest.raises(BadInput) as refusal:
        window_table(may, rollup(), as_ofs=[date(2024, 5, 8)])
    assert str(refusal.value) == (
        "Table 'rollup_every' is behind table 'events' on 2 days, the first 2024-05-04. Build them: "
        "sojourn rollup backfill --from 2024-05-04 --to 2024-05-07"
    )
    backfill(may, rollup(), start=date(2024, 5, 4), end=date(2024, 5, 7))
    window_table(may, rollup(), as_ofs=[date(2024, 5, 8)])
