"""`verify` finds every planted corruption of any file, and nothing in a warehouse that has none."""

import shutil
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from sojourn.features import FeatureSpec, LabelSpec, write_features
from sojourn.operate import Verification, verify
from sojourn.rollups import AggregateSpec, RollupSpec, VerifySpec, advance, backfill, verify_files
from sojourn.warehouse import EngineSpec, Warehouse, WarehouseSpec
from tests.rollups.logs import EVERY, Event, put_events

FIRST = date(2024, 4, 28)
DAYS = 39
LAST = FIRST + timedelta(days=DAYS - 1)
ROLLUP = RollupSpec(
    name="every",
    aggregates={**EVERY, "kinds": AggregateSpec(function="count_distinct", expression="event")},
    windows_days=(1, 7),
    windows=("24h", "all", "first_3d", "last_week"),
)
SMALL = RollupSpec(
    name="small",
    aggregates={name: EVERY[name] for name in ("events", "spend", "days", "typical")},
    windows_days=(1, 7),
)
FEATURES = FeatureSpec(rollup=SMALL, labels=LabelSpec(aggregates=("spend",)), history_days=7)
KINDS = {
    "events": "events/day=2024-05-20",
    "day partial": "rollup_every/grain=day/start=2024-05-20",
    "week partial": "rollup_every/grain=week/start=2024-05-20",
    "month partial": "rollup_every/grain=month/start=2024-05-01",
    "elements": "rollup_every__kinds/grain=day/start=2024-05-20",
    "windows": "windows_every/as_of=2024-06-04",
    "features": "features/as_of=2024-06-04",
}
NEWEST = "windows_every/as_of=2024-06-06"  # of which a sample always holds some keys
OTHERS = {
    "events": "events/day=2024-05-21",
    "day partial": "rollup_every/grain=day/start=2024-05-21",
    "week partial": "rollup_every/grain=week/start=2024-05-27",
    "month partial": "rollup_every/grain=week/start=2024-05-27",
    "elements": "rollup_every__kinds/grain=day/start=2024-05-21",
    "windows": "windows_every/as_of=2024-06-05",
    "features": "features/as_of=2024-06-05",
}


def log() -> list[Event]:
    """Ann every day, bob every other, cat every third: they look and pay, and sometimes get money back."""
    start = datetime(FIRST.year, FIRST.month, FIRST.day, 9, tzinfo=UTC)
    return [
        Event(f"{user}{day:02}{hour}", user, start + timedelta(days=day, hours=hour), kind, amount)
        for step, user in enumerate(("ann", "bob", "cat"), start=1)
        for day in range(0, DAYS, step)
        for hour, kind, amount in ((0, "see", None), (step, "pay", Decimal(day - 3)), (11, "pay", Decimal("0.1")))
    ]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A warehouse with every kind of file, made once."""
    root = tmp_path_factory.mktemp("verify") / "made"
    warehouse = Warehouse.create(root, WarehouseSpec(zone="Europe/Paris"), engine=EngineSpec(threads=1))
    put_events(warehouse, log())
    for rollup in (ROLLUP, SMALL):
        backfill(warehouse, rollup)
    for back in (3, 2, 1, 0):
        advance(warehouse, ROLLUP, day=LAST - timedelta(days=back))
        write_features(warehouse, FEATURES, LAST + timedelta(days=1 - back))
    return root


@pytest.fixture
def stored(made: Path, tmp_path: Path) -> Warehouse:
    """A copy of it to corrupt."""
    root = tmp_path / "warehouse"
    shutil.copytree(made, root)
    return Warehouse.open(root, engine=EngineSpec(threads=1))


def looked_at(warehouse: Warehouse, *, partitions: int | None = 2, sample: int = 6) -> Verification:
    spec = VerifySpec(partitions=partitions, sample=sample)
    return verify(warehouse, rollups=[ROLLUP, SMALL], features=FEATURES, spec=spec)


def wrong(found: Verification) -> dict[tuple[str, str], tuple[str, ...]]:
    return {(each.check, each.of): each.wrong for each in found.checks if each.wrong}


def wrong_files(warehouse: Warehouse, *, unreliable: set[str] | None = None) -> list[str]:
    checks, found = verify_files(warehouse, sorted({place.split("/")[0] for place in KINDS.values()}))
    assert found == (unreliable or set())
    return [told for check in checks for told in check.wrong]


def data(warehouse: Warehouse, place: str) -> Path:
    return warehouse.root / place / "data.parquet"


def flip(file: Path) -> None:
    """One bit of the first data page: the file still opens, and as a rule still decodes."""
    column = pq.read_metadata(file).row_group(0).column(0)
    content = bytearray(file.read_bytes())
    content[column.data_page_offset + column.total_compressed_size // 2] ^= 4
    file.write_bytes(content)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-9])


def edit(file: Path) -> None:
    """Another amount of rows under the old footer's words."""
    told = pq.read_metadata(file).metadata
    table = pq.read_table(file, partitioning=None)
    pq.write_table(table.slice(1).replace_schema_metadata(told), file)


def empty(file: Path) -> None:
    file.write_bytes(b"")


def test_a_clean_warehouse_passes_and_everything_was_looked_at(stored):
    before = {file: file.stat().st_mtime_ns for file in stored.root.rglob("*.parquet")}
    found = looked_at(stored, partitions=None)
    assert found.fine, wrong(found)
    assert all(each.verdict == "ok" for each in found.checks), found.rows()
    assert all(each.looked > 0 for each in found.checks)
    looked = {(each.check, each.of) for each in found.checks}
    assert looked >= {("recomputed", "windows_every"), ("made anew", "rollup_every__kinds"), ("keys", "features")}
    assert {file: file.stat().st_mtime_ns for file in stored.root.rglob("*.parquet")} == before


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("corrupt", [flip, cut, edit, empty])
def test_a_corrupted_file_is_found(stored, kind, corrupt: Callable[[Path], None]):
    corrupt(data(stored, KINDS[kind]))
    [told] = wrong_files(stored, unreliable={KINDS[kind].split("/")[0]})
    assert told.startswith(f"{KINDS[kind]} ")


@pytest.mark.parametrize("kind", KINDS)
def test_what_needs_a_damaged_file_is_skipped_and_the_rest_is_looked_at(stored, kind):
    flip(data(stored, KINDS[kind]))
    found = looked_at(stored)
    table = KINDS[kind].split("/")[0]
    assert set(wrong(found)) == {("files", table)}
    assert [each for each in found.checks if each.verdict == "skipped"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_in_another_ones_place_is_found(stored, kind):
    shutil.copy(data(stored, OTHERS[kind]), data(stored, KINDS[kind]))
    assert wrong_files(stored) == [f"{KINDS[kind]} was written as {OTHERS[kind]} and lies in the place of another"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_removed_file_is_found_by_its_folder(stored, kind):
    data(stored, KINDS[kind]).unlink()
    [told] = wrong_files(stored)
    assert told.startswith(f"{KINDS[kind]} is missing")


@pytest.mark.parametrize(
    ("kind", "check", "words"),
    [
        ("events", ("fingerprints", "rollup_every"), "day 2024-05-20: table 'events' has no rows there any more"),
        ("day partial", ("fingerprints", "rollup_every"), "rollup_every lacks ('day', '2024-05-20')"),
        ("week partial", ("fingerprints", "rollup_every"), "rollup_every lacks ('week', '2024-05-20')"),
        ("elements", ("fingerprints", "rollup_every"), "rollup_every__kinds lacks ('day', '2024-05-20')"),
        ("windows", ("fingerprints", "windows_every"), "as_of=2024-06-04 is missing between its neighbours"),
        ("features", ("fingerprints", "features"), "as_of=2024-06-04 is missing between its neighbours"),
    ],
)
def test_a_partition_removed_with_its_folder_is_found_by_what_stands_around_it(stored, kind, check, words):
    shutil.rmtree(stored.root / KINDS[kind])
    assert any(words in each for each in wrong(looked_at(stored))[check])


@pytest.mark.parametrize(
    ("grain", "start", "words"),
    [
        ("day", "2024-05-20", "day 2024-05-20 without a partial"),
        ("month", "2024-05-01", "month 2024-05-01: over, and not merged from the days"),
    ],
)
def test_a_gap_in_the_partials_is_found(stored, grain, start, words):
    shutil.rmtree(stored.root / "rollup_small" / f"grain={grain}" / f"start={start}")
    assert any(each.startswith(words) for each in wrong(looked_at(stored))["gaps", "rollup_small"])


def replace(warehouse: Warehouse, place: str, columns: str) -> None:
    """Write a partition again with other values, under the fingerprint that it should have."""
    table, *rest = place.split("/")
    partition = dict(each.split("=") for each in rest)
    mark = warehouse.fingerprint_of(table, partition)
    assert mark is not None
    out = ", ".join(partition)
    query = f"SELECT * EXCLUDE ({out}) REPLACE ({columns}) FROM {warehouse.relation(table, only=[partition])}"
    with warehouse.writing(table) as writer:
        writer.put(partition, warehouse.engine.frame(query), order_by=["user_id"], fingerprint=mark)


@pytest.mark.parametrize(
    ("kind", "columns", "checks"),
    [
        ("day partial", "spend__sum + 1 AS spend__sum", {"made anew"}),
        ("day partial", "days__days + 2 AS days__days", {"made anew"}),
        ("week partial", "events__n + 1 AS events__n", {"made anew", "rows"}),
        ("month partial", "since__day - 1 AS since__day", {"made anew", "recomputed"}),
        ("elements", "'walk' AS kinds__element", {"made anew"}),
        ("newest windows", "typical_7d * 1.000001 AS typical_7d", {"made anew", "recomputed"}),
        ("newest windows", "'zoe' || user_id AS user_id", {"made anew", "keys", "recomputed"}),
        ("newest windows", "spend_24h + 1 AS spend_24h", {"made anew", "recomputed"}),
        ("features", "spend_7d + 1 AS spend_7d", {"made anew"}),
    ],
)
def test_wrong_values_under_the_right_fingerprint_are_found_by_making_them_anew(stored, kind, columns, checks):
    place = NEWEST if kind == "newest windows" else KINDS[kind]
    replace(stored, place, columns)
    table, spec = place.split("/")[0], VerifySpec(partitions=None, sample=6)
    if kind == "features":
        found = verify(stored, rollups=[], features=FEATURES, spec=spec)
    else:
        found = verify(stored, rollups=[ROLLUP], features=None, spec=spec)
    assert {check for check, of in wrong(found) if of == table} >= checks
    assert not any(check == "files" for check, _ in wrong(found))


def test_a_recomputed_value_is_told_beside_what_the_events_give(stored):
    replace(stored, NEWEST, "events_7d + 1 AS events_7d")
    told = wrong(looked_at(stored, sample=9))["recomputed", "windows_every"]
    assert told[0] == "events_7d of user_id = 'ann' as of 2024-06-06 is 22, and its events give 21"


def test_late_rows_leave_partials_stale_and_windows_noted(stored):
    late = Event("late", "ann", datetime(2024, 5, 20, 20, tzinfo=UTC), "pay", Decimal(1))
    put_events(stored, [*log(), late])
    found = looked_at(stored)
    [told] = wrong(found)["fingerprints", "rollup_every"]
    assert told == (
        "month 2024-05-01, day 2024-05-20, week 2024-05-20: made from other rows than table 'events' has now. "
        "sojourn rollup backfill --from 2024-05-01 --to 2024-06-01"
    )
    assert ("fingerprints", "windows_every") not in wrong(found)
    [windows] = [each for each in found.checks if (each.check, each.of) == ("fingerprints", "windows_every")]
    assert windows.notes[0].startswith("4 are seen from days whose history has changed since")
    for rollup in (ROLLUP, SMALL):
        backfill(stored, rollup)
    assert looked_at(stored).fine


def test_partials_of_another_definition_are_found(stored):
    other = ROLLUP.with_changes(aggregates={**ROLLUP.aggregates, "spend": EVERY["back"]})
    found = verify(stored, rollups=[other], features=None, spec=VerifySpec())
    [told] = wrong(found)["fingerprints", "rollup_every"]
    assert told.startswith(f"{DAYS} days were made by definition ")
    skipped = {each.of for each in found.checks if each.verdict == "skipped"}
    assert skipped == {"rollup_small"}


def test_ids_that_repeat_and_rows_in_another_day_than_their_time_are_found(stored):
    day = {"day": "2024-05-20"}
    query = f"SELECT * EXCLUDE (day) FROM {stored.relation('events', only=[day])}"
    other = f"SELECT * EXCLUDE (day) FROM {stored.relation('events', only=[{'day': '2024-05-21'}])} LIMIT 1"
    rows = stored.engine.frame(f"{query} UNION ALL ({other}) UNION ALL ({query} LIMIT 1)")
    with stored.writing("events") as writer:
        writer.put(day, rows, order_by=["user_id", "ts", "event_id"], fingerprint="other")
    found = wrong(looked_at(stored))
    assert [each.split(", ")[0] for each in found["ids", "events"]] == [
        "1 ids stand there more than once on several days",
        "1 ids stand there more than once within one day",
    ]
    assert found["days", "events"] == ("1 rows lie in another day than their time's: in 2024-05-20",)


def test_a_row_lost_between_event_and_partial_is_counted(stored):
    replace(stored, KINDS["day partial"], "events__n - 1 AS events__n")
    assert wrong(looked_at(stored))["rows", "rollup_every"] == (
        "day 2024-05-20 counts 4 rows, and table 'events' has 6 there",
    )


def test_holes_and_days_not_built_yet_are_named_and_no_fault(warehouse):
    put_events(warehouse, [each for each in log() if each.ts.day != 3])
    backfill(warehouse, SMALL, end=date(2024, 5, 20))
    found = verify(warehouse, rollups=[SMALL], features=None, spec=VerifySpec())
    assert found.fine
    [gaps] = [each for each in found.checks if each.check == "gaps"]
    assert gaps.notes[0].startswith("table 'events' has no rows on 2 days of its history: 2024-05-03, 2024-06-03")
    assert gaps.notes[1].startswith("16 days are not built yet: 2024-05-20")


def test_the_same_seed_draws_the_same_sample(stored):
    replace(stored, NEWEST, "typical_7d * 2 AS typical_7d")
    assert looked_at(stored, sample=2) == looked_at(stored, sample=2)
