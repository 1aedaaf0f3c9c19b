"""Forgotten users are gone as if they had never come, and no file brings them back."""

import hmac
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sojourn.core import BadInput, UnreadableSource
from sojourn.events import (
    IngestSpec,
    erase_identities,
    erase_users,
    find_users,
    leave_tombstones,
    merge_identities,
    register_events,
)
from sojourn.events._tombstones import forgotten_among, mark_of, mark_sql, values_sql
from sojourn.events.tables import check_stored
from sojourn.warehouse import DuckDBEngine, EngineSpec, Warehouse
from tests.events.logs import files_of, rows_of, take, write_csv, write_table
from tests.events.people import LATER, busy_log, changed, copy_of, held, logs, marks, stopped, take_log, without, world

MANY = settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def forget(warehouse, *users):
    """The room's part of an erasure, in its order."""
    ids = leave_tombstones(warehouse, users, as_of=LATER)
    return [*erase_users(warehouse, ids), *erase_identities(warehouse, ids)]


@MANY
@given(log=logs, own_ids=st.booleans())
def test_forgetting_leaves_the_log_that_never_had_the_user_fingerprints_included(log, own_ids):
    with TemporaryDirectory() as folder:
        root = Path(folder)
        one, other = world(root / "one"), world(root / "other")
        take_log(one, log, root / "a", own_ids=own_ids)
        before = held(one)
        touched = forget(one, "ann")
        take_log(other, changed(log, without("ann")), root / "b", own_ids=own_ids)
        # A file without the user's rows numbers its lines anew.
        assert held(one, leaving_out=["line"]) == held(other, leaving_out=["line"])
        assert marks(one, "events", "users") == marks(other, "events", "users")
        assert find_users(one, ["ann"]).findings == ()
        lost = {each.table: each.rows for each in touched}
        theirs = {table: sum("ann" in repr(row).split("'") for row in rows) for table, rows in before.items()}
        assert lost.items() >= {table: n for table, n in theirs.items() if n and table != "rejected"}.items()
        assert forget(one, "ann") == []


@MANY
@given(log=logs, own_ids=st.booleans())
def test_a_replay_brings_nothing_back_and_every_row_is_accounted_for(log, own_ids):
    with TemporaryDirectory() as folder:
        root = Path(folder)
        warehouse = world(root / "one")
        take_log(warehouse, log, root / "a", own_ids=own_ids)
        forget(warehouse, "ann")
        before = held(warehouse)
        forgotten = take_log(warehouse, log, root / "a", own_ids=own_ids)
        assert held(warehouse) == before
        assert forgotten == sum(row["user_id"] == "ann" for files in log for file in files for row in file)
        assert find_users(warehouse, ["ann"]).findings == ()


def test_a_version_that_a_forgotten_user_replaced_stands_again(warehouse, tmp_path):
    rows = [
        {"event_id": "e", "user_id": user, "ts": f"2025-05-0{day}", "event": "buy", "arrived_at": f"2025-05-1{day}"}
        for day, user in enumerate(["bob", "ann", "eve", "ann"])
        if day
    ]
    take(warehouse, write_csv(tmp_path / "a.csv", [{**rows[0], "user_id": "bob", "arrived_at": "2025-05-10"}, *rows]))
    assert [(user, str(day)) for user, day in rows_of(warehouse, "user_id, day")] == [("ann", "2025-05-03")]
    forget(warehouse, "ann")
    assert [(user, str(day)) for user, day in rows_of(warehouse, "user_id, day")] == [("eve", "2025-05-02")]
    [(user, until)] = rows_of(warehouse, "user_id, superseded_at::DATE::VARCHAR", "superseded")
    assert (user, until) == ("bob", "2025-05-12")


@pytest.fixture(scope="module")
def busy(tmp_path_factory) -> tuple[Path, dict[str, list[tuple[Any, ...]]]]:
    """The folder of a warehouse to forget in, and what one holds that ann never came to."""
    folder = tmp_path_factory.mktemp("busy")
    one, other = world(folder / "one"), world(folder / "other")
    take_log(one, busy_log(), folder / "a")
    take_log(other, changed(busy_log(), without("ann")), folder / "b")
    return one.root, held(other)


@pytest.mark.parametrize("at", range(14))
def test_an_erasure_that_stops_before_any_write_completes_when_run_again(busy, tmp_path, at):
    root, other_held = busy
    one = copy_of(root, tmp_path)
    assert stopped(lambda: forget(one, "ann"), before_write=at) == (at < 13)
    forget(one, "ann")
    assert held(one) == other_held
    assert not one.has("unsettled")
    assert take_log(one, busy_log(), tmp_path / "a") > 0
    assert held(one) == other_held


# Tombstones.


@MANY
@given(texts=st.lists(st.text(st.characters(codec="utf-8")), min_size=1), key=st.binary(min_size=1, max_size=64))
def test_the_engine_hashes_ids_as_the_standard_library_does(texts, key):
    engine = DuckDBEngine(EngineSpec(threads=1))
    with engine.table(pl.DataFrame({"id": texts})) as name:
        hashed = [mark for (mark,) in engine.rows(f"SELECT {mark_sql(key, 'id')} FROM {name}")]
    assert hashed == [hmac.new(key, text.encode(), "sha256").hexdigest() for text in texts]
    assert hashed == [mark_of(key, text) for text in texts]


def test_the_key_is_its_owners_alone_and_stays(warehouse):
    forget(warehouse, "ann")
    key = warehouse.root / "_sojourn_key"
    before = key.read_text()
    assert key.stat().st_mode & 0o777 == 0o600
    assert len(bytes.fromhex(before)) == 32
    forget(warehouse, "bob", "ann")
    assert key.read_text() == before
    check_stored(warehouse.frame("forgotten"), table="forgotten")
    assert warehouse.frame("forgotten").height == 2
    assert forgotten_among(warehouse, pl.Series(["ann", "bob", "eve"])) == {"ann", "bob"}


def test_without_the_key_nothing_is_let_in(warehouse, tmp_path):
    forget(warehouse, "ann")
    (warehouse.root / "_sojourn_key").unlink()
    file = write_table(tmp_path / "a.csv", ("user_id", "ts", "event"), [("ann", "2025-05-01", "buy")])
    with pytest.raises(UnreadableSource, match=r"_sojourn_key cannot be read .*not known again\. Restore the file"):
        take(warehouse, file)
    with pytest.raises(UnreadableSource, match="_sojourn_key cannot be read"):
        forget(warehouse, "bob")
    assert not warehouse.has("events")


def test_a_user_given_as_a_constant_is_known_too(warehouse, tmp_path):
    forget(warehouse, "ann")
    file = write_table(tmp_path / "a.csv", ("ts", "event"), [("2025-05-01", "buy")])
    assert take(warehouse, file, columns={"user_id": "'ann'"}).forgotten == 1
    assert take(warehouse, file, columns={"user_id": "'bob'"}).kept == 1


def test_broken_lines_and_faults_of_forgotten_users_are_dropped_and_others_kept(warehouse, tmp_path):
    forget(warehouse, "ann", "a, b")
    rows = [
        ("ann", "2025-05-01", "buy"),
        ("bob", "2025-05-01", "buy"),
        ("ann", "soon", "buy"),
        ("bob", "soon", "ann"),
        ("bob", "soon", "annual"),
        ("ann", "2025-05-01"),
        ("", "2025-05-02", "a, b"),
        ("eve", "2025-05-01", "buy", "x"),
        ("a, b", "2025-05-01", "buy", "x"),
    ]
    report = take(warehouse, write_table(tmp_path / "a.csv", ("user_id", "ts", "event"), rows), max_rejected_share=1)
    assert (report.read, report.kept, report.rejected, report.forgotten) == (9, 1, 2, 6)
    assert report.conservation == "read 9 = kept 1 + duplicate 0 + rejected 2 + forgotten 6"
    assert ("forgotten", 6) in report.lines()
    assert [line for (line,) in rows_of(warehouse, "line", "rejected")] == [6, 9]
    assert find_users(warehouse, ["ann", "a, b"]).findings == ()


@pytest.mark.parametrize(
    ("raw", "values"),
    [
        ('{"a b.c": "x\\"q", "b": {"c": [1, "y"]}, "z": null}', ["1", 'x"q', "y"]),
        ('ann,"a,b",3;4', ["3", "4", "a", "a,b", "ann", "b"]),
        ("7", ["7"]),
    ],
)
def test_every_value_of_a_rejected_row_is_looked_at(warehouse, raw, values):
    found = warehouse.engine.rows(f"SELECT {values_sql('raw')} FROM (SELECT $raw AS raw)", raw=raw)
    assert sorted(value for (value,) in found) == values


# The search.


def plant(warehouse, table, frame):
    with warehouse.writing(table) as writer:
        writer.put({"day": "2025-05-01"}, frame, order_by=frame.columns, fingerprint="planted")


PLANTED = {
    "a text column": (lambda w: plant(w, "notes", pl.DataFrame({"who": ["bob", "user-0017"]})), "notes.who"),
    "within a long text": (lambda w: plant(w, "notes", pl.DataFrame({"t": ["see user-0017, ok"]})), "notes.t"),
    "a list": (lambda w: plant(w, "notes", pl.DataFrame({"l": [["x"], ["user-0017"]]})), "notes.l"),
    "a struct": (lambda w: plant(w, "notes", pl.DataFrame({"s": [{"a": {"b": "user-0017"}}]})), "notes.s"),
    "a JSON file": (lambda w: (w.root / "x.json").write_text(json.dumps({"a": ["user-0017"]})), "x.json"),
    "a CSV file": (lambda w: (w.root / "x.csv").write_text("a,b\n1,'user-0017'\n"), "x.csv"),
    "a log": (lambda w: (w.root / "x.log").write_text("one\nGET /user-0017/home\n"), "x.log"),
    "a folder's name": (lambda w: (w.root / "notes" / "who=user-0017").mkdir(parents=True), "the name of notes/who="),
    "a stray file": (
        lambda w: (
            (w.root / "_staging" / "t").mkdir(parents=True),
            pl.DataFrame({"u": ["user-0017"]}).write_parquet(w.root / "_staging" / "t" / "1.parquet"),
        ),
        "_staging/t/1.parquet.u",
    ),
}


@pytest.mark.parametrize("where", PLANTED)
def test_the_search_finds_what_was_planted_and_nothing_like_it(warehouse, where):
    plant(warehouse, "rest", pl.DataFrame({"x": ["user-00171", "xuser-0017", "user-001", ""], "n": [1, 2, 3, 4]}))
    (warehouse.root / "rest.csv").write_text("user-00171,user_0017\n")
    assert find_users(warehouse, ["user-0017", "u9"]).findings == ()
    put, place = PLANTED[where]
    put(warehouse)
    [found] = find_users(warehouse, ["user-0017", "u9"]).findings
    assert found.place.startswith(place)
    assert found.count == 1
    assert find_users(warehouse, ["user-0017"], ignoring=[found.place]).findings == ()


def test_a_short_id_is_found_as_a_whole_value_only(warehouse):
    plant(warehouse, "notes", pl.DataFrame({"t": ["see you at 7", "17"], "l": [["77"], ["7 7"]]}))
    (warehouse.root / "x.txt").write_text("7 of 9\n")
    assert find_users(warehouse, ["7"]).findings == ()
    plant(warehouse, "notes", pl.DataFrame({"t": ["see you at 7", "7"], "l": [["77", "7"], ["7 7"]]}))
    (warehouse.root / "x.txt").write_text("9,7\n")
    assert [each.place for each in find_users(warehouse, ["7"]).findings] == ["notes.t", "notes.l", "x.txt"]


# The door.


def test_a_source_in_place_is_never_changed_but_may_lose_the_user_itself(warehouse, tmp_path):
    part = tmp_path / "lake" / "day=2025-05-01" / "part-0.parquet"
    part.parent.mkdir(parents=True)
    log = pl.DataFrame({"user_id": ["ann", "bob"], "ts": [LATER, LATER]})
    log.write_parquet(part)
    register_events(warehouse, IngestSpec(), folder=str(tmp_path / "lake"))
    before = part.read_bytes()
    with pytest.raises(BadInput, match=rf"in place from {tmp_path / 'lake'}, where 1 rows .* Delete the rows there"):
        forget(warehouse, "ann")
    assert part.read_bytes() == before
    assert not warehouse.has("forgotten")
    log.filter(pl.col("user_id") != "ann").write_parquet(part)
    assert forget(warehouse, "ann") == []


@pytest.mark.parametrize("users", [[], [""], ["ann", " "]])
def test_no_user_or_an_empty_one_is_refused(warehouse, users):
    with pytest.raises(BadInput, match="No user to forget is given, or an empty one"):
        leave_tombstones(warehouse, users, as_of=LATER)


def test_a_time_without_a_zone_and_another_engine_are_refused(warehouse):
    with pytest.raises(BadInput, match="has no zone"):
        leave_tombstones(warehouse, ["ann"], as_of=LATER.replace(tzinfo=None))
    spark = Warehouse(warehouse.root, warehouse.spec, object())  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="Users are forgotten with DuckDB"):
        leave_tombstones(spark, ["ann"], as_of=LATER)


def test_aliases_go_with_the_user_and_so_does_the_mapping(warehouse, tmp_path):
    rows = [(user, "2025-05-01", "buy") for user in ("ann", "ann-2", "ann-3", "bob", "bob-2")]
    file = write_table(tmp_path / "a.csv", ("user_id", "ts", "event"), rows)
    pairs = [("ann-2", "ann"), ("ann-3", "ann-2"), ("bob-2", "bob")]
    mapping = write_table(tmp_path / "m.csv", ("alias", "user_id"), pairs)
    take(warehouse, file)
    merge_identities(warehouse, mapping, as_of=LATER)
    forget(warehouse, "ann-3")
    assert rows_of(warehouse, "user_id") == [("bob",), ("bob",)]
    assert rows_of(warehouse, "alias, user_id", "identities") == [("bob-2", "bob")]
    assert find_users(warehouse, ["ann", "ann-2", "ann-3"]).findings == ()
    before = files_of(warehouse)
    assert take(warehouse, file).forgotten == 3
    assert merge_identities(warehouse, mapping, as_of=LATER).forgotten == 2
    assert files_of(warehouse) == before
