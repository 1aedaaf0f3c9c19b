"""Windows that slide on from the day before equal windows read from the partials that cover them."""

import random
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from sojourn.rollups import AdvanceReport, AggregateSpec, RollupSpec, advance, backfill, window_table, windows_at
from sojourn.warehouse import Warehouse
from tests.rollups.logs import EVERY, Event, naive, put_events
from tests.rollups.test_partials import bytes_of

FIRST = datetime(2024, 1, 25, tzinfo=UTC)
DAYS = 80
MORE = {
    "spread": AggregateSpec(function="variance", expression="amount"),
    "longest": AggregateSpec(function="longest", expression="event || event_id"),
    "kinds": AggregateSpec(function="count_distinct", expression="event"),
    "third": AggregateSpec(function="sum", expression="CAST(amount AS DOUBLE) / 3"),
    "early": AggregateSpec(function="max", expression="amount", windows_days=(7,)),
}
SPEC = RollupSpec(
    name="every", aggregates={**EVERY, **MORE}, windows_days=(1, 30, 35), windows=("month_to_date", "last_week")
)
CARRIED = RollupSpec(name="ever", aggregates=EVERY, windows_days=(7, 31), windows=("all",))


def log(seed: int, *, holes: bool = False) -> list[Event]:
    """Twelve people who come now and then; two days without anybody, where there are holes."""
    rng = random.Random(seed)
    empty = set(rng.sample(range(5, DAYS - 5), 2)) if holes else set()
    events: list[Event] = []
    for day in (day for day in range(DAYS) if day not in empty):
        came = [f"u{user}" for user in range(12) if rng.random() < 0.12]
        for user in [*came, *came, "zoe"]:
            ts = FIRST + timedelta(days=day, minutes=5 * rng.randrange(288))
            amount = rng.choice([None, Decimal(rng.randrange(-30, 60)) / 4])
            events.append(Event(f"e{len(events):04}", user, ts, rng.choice(["pay", "see"]), amount))
    return events


def days(start: int) -> list[date]:
    return [(FIRST + timedelta(days=day)).date() for day in range(start, DAYS)]


def stored(warehouse: Warehouse, spec: RollupSpec, as_of: date) -> pl.DataFrame:
    frame = warehouse.frame(f"windows_{spec.name}", only=[{"as_of": str(as_of)}])
    return frame.select(*spec.keys, "as_of", *spec.columns()).sort(spec.keys, nulls_last=True)


def covered(warehouse: Warehouse, spec: RollupSpec, reports: Sequence[AdvanceReport]) -> dict[date, pl.DataFrame]:
    """The windows of each morning, read from the partials that cover them: all mornings in one look."""
    as_ofs = [report.as_of for report in reports]
    table = window_table(warehouse, spec, as_ofs=as_ofs)
    parts = {as_of: table.filter(pl.col("as_of") == as_of) for as_of in as_ofs}
    assert all(part.height for part in parts.values())
    return parts


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_every_morning_slides_to_what_its_partials_say(warehouse, seed):
    put_events(warehouse, log(seed))
    backfill(warehouse, SPEC)
    reports = [advance(warehouse, SPEC, day=day) for day in days(48)]  # over the end of March
    for as_of, wanted in covered(warehouse, SPEC, reports).items():
        exact = [name for name in wanted.columns if not name.startswith(("third", "spread"))]
        assert_frame_equal(stored(warehouse, SPEC, as_of).select(exact), wanted.select(exact), check_exact=True)
        assert_frame_equal(stored(warehouse, SPEC, as_of), wanted, rel_tol=1e-12)
    assert [report.how for report in reports] == ["covered", *["slid"] * (len(reports) - 1)]


def test_slid_windows_equal_the_raw_log(warehouse):
    events = log(5)
    put_events(warehouse, events)
    spec = RollupSpec(name="every", aggregates=EVERY, windows_days=(40,))
    backfill(warehouse, spec)
    for day in days(40):
        as_of = advance(warehouse, spec, day=day).as_of
        found = stored(warehouse, spec, as_of).rename(lambda name: name.removesuffix("_40d"))
        wanted = naive(events, zone="UTC", as_of=as_of, days=40)
        assert {row["user_id"]: {name: row[name] for name in EVERY} for row in found.to_dicts()} == wanted


def test_a_slid_partition_holds_what_a_covered_one_does_and_a_rerun_has_the_same_bytes(warehouse, tmp_path):
    spec = RollupSpec(name="every", aggregates=EVERY, windows_days=(30, 35))
    last = days(0)[-1]
    frames, files = [], []
    for root, first in ((warehouse.root, DAYS - 12), (tmp_path / "again", DAYS - 12), (tmp_path / "covered", DAYS - 1)):
        one = Warehouse.create(root)
        put_events(one, log(1))
        reports = [advance(one, spec, day=day) for day in days(first)]
        assert reports[-1].how == ("covered" if root.name == "covered" else "slid")
        frames.append(one.frame("windows_every", only=[{"as_of": str(last + timedelta(days=1))}]))
        files.append(bytes_of(one, "windows_every")[f"as_of={last + timedelta(days=1)}/data.parquet"])
    assert_frame_equal(frames[0], frames[2], check_exact=True)
    assert files[0] == files[1]


def test_days_without_anybody_are_named_and_slid_over(warehouse):
    events = log(2, holes=True)
    put_events(warehouse, events)
    spec = RollupSpec(name="every", aggregates=EVERY, windows_days=(30,))
    there = {event.ts.date() for event in events}
    holes = [day for day in days(0) if day not in there]
    assert list(backfill(warehouse, spec).holes) == holes
    reports = [advance(warehouse, spec, day=day) for day in days(36) if day in there]
    for as_of, wanted in covered(warehouse, spec, reports).items():
        assert_frame_equal(stored(warehouse, spec, as_of), wanted)


def test_a_late_row_or_one_that_is_gone_is_never_slid_past(warehouse):
    events = log(3)
    spec = RollupSpec(name="every", aggregates=EVERY, windows_days=(30,))
    late = Event("late", "u3", FIRST + timedelta(days=50, hours=3), "pay", Decimal(1000))
    mornings = days(DAYS - 20)
    put_events(warehouse, events)
    advance(warehouse, spec, day=mornings[0])
    assert advance(warehouse, spec, day=mornings[1]).how == "slid"
    put_events(warehouse, [*events, late])
    for number, how in ((2, "covered"), (3, "slid"), (4, "slid")):
        report = advance(warehouse, spec, day=mornings[number])
        assert report.how == how
        assert_frame_equal(stored(warehouse, spec, report.as_of), window_table(warehouse, spec, as_ofs=[report.as_of]))
    put_events(warehouse, events)
    report = advance(warehouse, spec, day=mornings[5])
    assert report.how == "covered"
    assert_frame_equal(stored(warehouse, spec, report.as_of), window_table(warehouse, spec, as_ofs=[report.as_of]))


def test_all_history_is_carried_on(warehouse):
    put_events(warehouse, log(4))
    backfill(warehouse, CARRIED)
    reports = [advance(warehouse, CARRIED, day=day) for day in days(DAYS - 25)]
    for as_of, wanted in covered(warehouse, CARRIED, reports).items():
        assert_frame_equal(stored(warehouse, CARRIED, as_of), wanted, check_exact=True)
    assert reports[-1].how == "slid"


def test_any_keys_slide_and_so_does_no_key(warehouse):
    put_events(warehouse, log(6))
    spec = RollupSpec(name="every", keys=("amount", "event"), aggregates=EVERY, windows_days=(30,))
    for day in days(DAYS - 10):
        report = advance(warehouse, spec, day=day)
    assert report.how == "slid"
    wanted = window_table(warehouse, spec, as_ofs=[report.as_of])
    assert wanted["amount"].null_count() == 2
    assert_frame_equal(stored(warehouse, spec, report.as_of), wanted)


def test_only_rests_of_months_that_windows_are_leaving_are_kept(warehouse):
    put_events(warehouse, log(7))
    spec = RollupSpec(name="every", aggregates=EVERY, windows_days=(30,))
    for day in days(36):
        advance(warehouse, spec, day=day)
    assert [place["start"] for place in warehouse.places("rests_every")] == ["2024-03-01"]


def test_looks_at_chosen_keys_and_days_are_rows_of_the_windows(warehouse):
    put_events(warehouse, log(8))
    spec = SPEC.with_changes(windows=("month_to_date", "last_week", "24h", "first_7d"))
    backfill(warehouse, spec)
    as_ofs = days(40)[::7]
    rng = random.Random(0)
    asked = [(rng.choice(["u1", "u2", "zoe", "nobody"]), rng.choice(as_ofs), at) for at in range(40)]
    looks = pl.DataFrame(asked, schema={"user_id": pl.String, "as_of": pl.Date, "label": pl.Int64}, orient="row")
    found = windows_at(warehouse, spec, looks)
    assert_frame_equal(found.select(looks.columns), looks)
    everyone = window_table(warehouse, spec, as_ofs=as_ofs)
    wanted = looks.join(everyone, on=["user_id", "as_of"], how="left", maintain_order="left")
    there = wanted["events_35d"].is_not_null()
    assert_frame_equal(found.filter(there), wanted.filter(there), rel_tol=1e-12)
    nobody = found.filter(pl.col("user_id") == "nobody").row(0, named=True)
    assert (nobody["events_35d"], nobody["spend_30d"], nobody["kinds_30d"], nobody["least_30d"]) == (0, 0, 0, None)


def test_a_day_that_leaves_is_not_trusted_when_its_partial_is_of_other_rows(warehouse):
    spec = RollupSpec(name="every", aggregates=EVERY, windows_days=(30,))
    events = log(0)
    put_events(warehouse, events)
    backfill(warehouse, spec)
    day = days(40)[0]
    advance(warehouse, spec, day=day)
    leaves = day - timedelta(days=29)
    wrong = [e._replace(amount=Decimal(1000)) if e.ts.date() == leaves else e for e in events]
    put_events(warehouse, wrong)
    backfill(warehouse, spec)  # a broken delivery is counted,
    put_events(warehouse, events)  # and comes again as it was, the night after
    report = advance(warehouse, spec, day=day + timedelta(days=1))
    assert report.how == "covered"
    backfill(warehouse, spec)
    as_of = day + timedelta(days=2)
    expected = window_table(warehouse, spec, as_ofs=[as_of]).sort("user_id", nulls_last=True)
    assert_frame_equal(stored(warehouse, spec, as_of), expected.select(stored(warehouse, spec, as_of).columns))


def test_windows_slide_where_nobody_came_for_the_rest_of_the_month(warehouse):
    spec = RollupSpec(name="every", aggregates=EVERY, windows_days=(30,))
    start = datetime(2024, 1, 1, 12, tzinfo=UTC)
    gap = {start.date() + timedelta(days=day) for day in range(20, 31)}  # 21 to 31 January
    events = [
        Event(f"e{day:03}{user}", user, start + timedelta(days=day), "pay", Decimal(day % 7))
        for day in range(60)
        for user in ("ann", "bob")
        if (start + timedelta(days=day)).date() not in gap
    ]
    put_events(warehouse, events)
    backfill(warehouse, spec)
    how = set()
    for day in range(48, 60):
        how.add(advance(warehouse, spec, day=(start + timedelta(days=day)).date()).how)
        as_of = (start + timedelta(days=day + 1)).date()
        expected = naive(events, zone="UTC", as_of=as_of, days=30)
        for row in stored(warehouse, spec, as_of).iter_rows(named=True):
            assert row["most_30d"] == expected[row["user_id"]]["most"]
            assert row["first_amount_30d"] == expected[row["user_id"]]["first_amount"]
    assert "slid" in how
