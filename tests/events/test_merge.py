"""Two ids that are one person: the log reads as if every row had come with the user's id, whenever we learn of it."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sojourn.core import BadInput, EmptyInput, MissingColumn, UnreadableSource
from sojourn.events import IngestSpec, aliases_of, merge_identities, register_events
from sojourn.events.merge import resolve
from sojourn.events.tables import check_stored
from sojourn.warehouse import Warehouse
from tests.events.logs import AS_OF, files_of, rows_of, take, write_table
from tests.events.people import (
    LATER,
    busy_log,
    changed,
    copy_of,
    held,
    logs,
    marks,
    renamed,
    stopped,
    take_log,
    world,
)

MANY = settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
ALIASES = {"ann-2": "ann", "eve": "ann"}


def merge(warehouse, pairs, folder):
    folder.mkdir(parents=True, exist_ok=True)
    return merge_identities(warehouse, write_table(folder / "m.csv", ("alias", "user_id"), pairs), as_of=LATER)


@MANY
@given(log=logs, cut=st.integers(0, 3), chained=st.booleans())
def test_merging_at_any_time_gives_the_log_with_the_ids_replaced_before_ingest(log, cut, chained):
    pairs = [("eve", "ann-2"), ("ann-2", "ann")] if chained else list(ALIASES.items())
    with TemporaryDirectory() as folder:
        root = Path(folder)
        one, other = world(root / "one"), world(root / "other")
        take_log(one, (log[0][:cut], log[1][:cut]), root / "a")
        merge(one, pairs, root)
        take_log(one, (log[0][cut:], log[1][cut:]), root / "b")
        take_log(other, changed(log, renamed(ALIASES)), root / "c")
        one_held, other_held = held(one), held(other)
        # What was rejected is kept as it came.
        assert len(one_held.pop("rejected", [])) == len(other_held.pop("rejected", []))
        assert one_held == other_held
        assert marks(one, "events", "users") == marks(other, "events", "users")
        again = merge(one, pairs, root)
        assert (again.new, again.touched) == (0, ())


@MANY
@given(log=logs)
def test_without_ids_of_its_own_a_replay_of_the_old_file_is_still_known(log):
    with TemporaryDirectory() as folder:
        root = Path(folder)
        warehouse = world(root / "one")
        take_log(warehouse, log, root / "a", own_ids=False)
        ids = rows_of(warehouse, "event_id") if warehouse.has("events") else []
        merge(warehouse, list(ALIASES.items()), root)
        before = files_of(warehouse)
        take_log(warehouse, log, root / "a", own_ids=False)
        assert files_of(warehouse) == before
        if ids:
            assert rows_of(warehouse, "event_id") == ids
            assert not {user for (user,) in rows_of(warehouse, "user_id")} & set(ALIASES)


BECOMES = {"ann": "bob", "zoe": "aaron"}
# Versions that arrived together are ordered by their content, of which the user is part: a merge may turn them round.
TURNED = [
    {"event_id": "e", "user_id": user, "ts": "2025-03-01", "arrived_at": "2025-03-05", "event": "buy"}
    for user in ("zoe", "bob", "ann")
]
# After a merge of zoe and aaron, what was known of aaron on the 6th stands again: his last word is zoe's of the 5th.
TURNED_PORTRAITS = [
    {"user_id": user, "valid_from": "2025-03-01", "arrived_at": f"2025-03-0{day}", "country": country}
    for user, day, country in [("zoe", 5, "fr"), ("aaron", 6, "de"), ("aaron", 7, "fr")]
]


@pytest.fixture(scope="module")
def turned(tmp_path_factory) -> tuple[Path, dict[str, list[tuple[Any, ...]]]]:
    """The folder of a warehouse to merge in, and what one holds that had the ids replaced before ingest."""
    folder = tmp_path_factory.mktemp("turned")
    events, portraits = busy_log()
    log = ([*events, TURNED], [*portraits, TURNED_PORTRAITS])
    one, other = world(folder / "one"), world(folder / "other")
    take_log(one, log, folder / "a")
    take_log(other, changed(log, renamed(BECOMES)), folder / "b")
    return one.root, held(other)


@pytest.mark.parametrize("at", range(14))
def test_a_merge_that_stops_before_any_write_completes_when_run_again(turned, tmp_path, at):
    root, other_held = turned
    one = copy_of(root, tmp_path)
    assert stopped(lambda: merge(one, list(BECOMES.items()), tmp_path), before_write=at) == (at < 13)
    merge(one, list(BECOMES.items()), tmp_path)
    one_held = held(one)
    assert len(one_held.pop("rejected")) == len(other_held["rejected"])
    assert one_held == {table: rows for table, rows in other_held.items() if table != "rejected"}
    assert not one.has("unsettled")


def test_events_that_have_the_user_already_are_left_alone(warehouse, tmp_path):
    rows = [("ann", "2025-05-01", "buy"), ("bob", "2025-05-02", "buy"), ("ann-2", "2025-05-03", "buy")]
    take(warehouse, write_table(tmp_path / "a.csv", ("user_id", "ts", "event"), rows))
    before = files_of(warehouse)
    report = merge(warehouse, [("ann-2", "ann"), ("nobody", "bob"), ("bob", "bob")], tmp_path)
    assert (report.read, report.new, report.aliases) == (3, 2, 2)
    assert [(each.table, each.rows, each.partitions) for each in report.touched] == [("events", 1, 1)]
    after = files_of(warehouse)
    assert [name for name in before if after[name] != before[name]] == ["events/day=2025-05-03/data.parquet"]
    check_stored(warehouse.frame("identities"), table="identities")
    assert aliases_of(warehouse) == ["ann-2", "nobody"]


def test_the_time_we_learned_of_an_alias_stays(warehouse, tmp_path):
    merge_identities(warehouse, write_table(tmp_path / "m.csv", ("alias", "user_id"), [("a", "b")]), as_of=AS_OF)
    merge(warehouse, [("b", "c"), ("a", "b")], tmp_path)
    assert rows_of(warehouse, "alias, user_id, arrived_at::DATE::VARCHAR", "identities") == [
        ("a", "c", "2025-06-01"),
        ("b", "c", "2025-07-01"),
    ]


def test_a_parquet_file_with_numbers_for_ids_is_read(warehouse, tmp_path):
    take(warehouse, write_table(tmp_path / "a.csv", ("user_id", "ts", "event"), [("7", "2025-05-01", "buy")]))
    pl.DataFrame({"alias": [7], "user_id": [3]}).write_parquet(tmp_path / "m.parquet")
    merge_identities(warehouse, tmp_path / "m.parquet", as_of=LATER)
    assert rows_of(warehouse, "user_id") == [("3",)]


# Chains and circles, against a slow twin.


def end_of(alias, becomes):
    """The end of an alias's chain, or None in a circle."""
    met = set()
    while alias in becomes:
        if alias in met:
            return None
        met.add(alias)
        alias = becomes[alias]
    return alias


@settings(max_examples=200, deadline=None)
@given(becomes=st.dictionaries(st.sampled_from("abcdefghij"), st.sampled_from("abcdefghijk")))
def test_every_alias_gets_the_end_of_its_chain_and_a_circle_is_refused(becomes):
    becomes = {alias: user for alias, user in becomes.items() if alias != user}
    ends = {alias: end_of(alias, becomes) for alias in becomes}
    pairs = pl.DataFrame(list(becomes.items()), schema={"alias": pl.String, "user_id": pl.String}, orient="row")
    if None in ends.values():
        with pytest.raises(BadInput, match="the aliases go in a circle through '"):
            resolve(pairs)
    else:
        assert resolve(pairs).rows() == sorted(ends.items())


def test_two_users_of_an_alias_are_no_mistake_where_they_are_one_person():
    pairs = pl.DataFrame({"alias": ["a", "a", "b"], "user_id": ["b", "c", "c"]})
    assert resolve(pairs).rows() == [("a", "c"), ("b", "c")]


MISTAKES = {
    "two users": ("alias,user_id\na,b\na,c\n", BadInput, "alias 'a' is of two users, 'b' and 'c'.* Leave one pair out"),
    "a stored other": ("alias,user_id\nx,z\n", BadInput, "alias 'x' is of two users, 'y' and 'z'"),
    "a circle": ("alias,user_id\na,b\nb,c\nc,a\n", BadInput, "in a circle through 'a', 'b', 'c'.* nobody's alias"),
    "a stored circle": ("alias,user_id\ny,x\n", BadInput, "in a circle through 'x', 'y'"),
    "an empty cell": ("alias,user_id\na,b\nc,\n", BadInput, "row 2 lacks an alias or a user_id"),
    "no row": ("alias,user_id\n", EmptyInput, "holds no pair"),
    "another header": ("alias,user\na,b\n", MissingColumn, "needs column 'user_id'"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_a_sentence_and_nothing_is_written(warehouse, tmp_path, mistake):
    text, error, words = MISTAKES[mistake]
    merge(warehouse, [("x", "y")], tmp_path)
    take(warehouse, write_table(tmp_path / "a.csv", ("user_id", "ts", "event"), [("a", "2025-05-01", "buy")]))
    before = files_of(warehouse)
    (tmp_path / "wrong.csv").write_text(text)
    with pytest.raises(error, match=words):
        merge_identities(warehouse, tmp_path / "wrong.csv", as_of=LATER)
    assert files_of(warehouse) == before


def test_a_file_that_is_not_there_a_time_without_zone_and_another_engine_are_refused(warehouse, tmp_path):
    with pytest.raises(UnreadableSource, match=r"none\.csv is no file\. Give a CSV or Parquet file"):
        merge_identities(warehouse, tmp_path / "none.csv", as_of=LATER)
    with pytest.raises(BadInput, match="has no zone"):
        merge_identities(warehouse, tmp_path / "none.csv", as_of=LATER.replace(tzinfo=None))
    spark = Warehouse(warehouse.root, warehouse.spec, object())  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="Ids are merged with DuckDB"):
        merge_identities(spark, tmp_path / "none.csv", as_of=LATER)


def test_events_in_place_are_never_renamed(warehouse, tmp_path):
    part = tmp_path / "lake" / "day=2025-05-01" / "part-0.parquet"
    part.parent.mkdir(parents=True)
    pl.DataFrame({"user_id": ["ann-2"], "ts": [LATER]}).write_parquet(part)
    register_events(warehouse, IngestSpec(), folder=str(tmp_path / "lake"))
    with pytest.raises(BadInput, match=rf"in place from {tmp_path / 'lake'}.* Map the ids there"):
        merge(warehouse, [("ann-2", "ann")], tmp_path)
    assert not warehouse.has("identities")
