"""What is published reads back as it was, in every place, once, whatever it was there before."""

from datetime import date

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from sojourn.core import BadInput, BadSpec, MissingTable, Unreachable, UnreadableSource
from sojourn.operate import PublishSpec, publish, publishers_from
from sojourn.operate.publishing import clickhouse
from sojourn.operate.publishing.documents import read_document
from tests.operate.publishing.places import PLACES, predictions, published, shop, spec_of, stored, write

PARTITIONED = [place for place in PLACES if place != "redis"]


@pytest.fixture
def store(tmp_path):
    return shop(tmp_path / "w")


def whats(done):
    return [each.what for each in done.sent]


@pytest.mark.parametrize("to", PARTITIONED)
def test_values_and_types_read_back_as_they_were(store, tmp_path, to):
    spec = spec_of(to, tmp_path)
    done = publish(store, spec=spec)
    assert whats(done) == ["written", "written"]
    assert done.rows == 100
    assert_frame_equal(published(spec), stored(store), check_exact=True)


@pytest.mark.parametrize("to", PARTITIONED)
def test_again_nothing_is_written_and_what_changed_alone_is_replaced(store, tmp_path, to):
    spec = spec_of(to, tmp_path)
    publish(store, spec=spec)
    again = publish(store, spec=spec)
    assert again.is_current
    assert again.lines() == ["board: predictions: 0 rows; partitions 2 current"]
    write(store, "predictions", {"as_of": "2025-05-08"}, predictions(7, users=20), mark="model.7")
    assert publish(store, spec=spec).lines() == ["board: predictions: 20 rows; partitions 1 written, 1 current"]
    assert_frame_equal(published(spec), stored(store), check_exact=True)


@pytest.mark.parametrize("to", PARTITIONED)
def test_a_partition_that_the_warehouse_dropped_goes(store, tmp_path, to):
    spec = spec_of(to, tmp_path)
    publish(store, spec=spec)
    with store.writing("predictions") as writer:
        writer.drop({"as_of": "2025-05-07"})
    assert sorted(whats(publish(store, spec=spec))) == ["current", "dropped"]
    assert_frame_equal(published(spec), stored(store), check_exact=True)


@pytest.mark.parametrize("to", PARTITIONED)
def test_a_day_bounds_what_is_written_and_takes_nothing_back(store, tmp_path, to):
    spec = spec_of(to, tmp_path)
    assert publish(store, spec=spec, day=date(2025, 5, 6)).rows == 50
    assert published(spec)["as_of"].unique().to_list() == ["2025-05-07"]
    publish(store, spec=spec)
    assert publish(store, spec=spec, day=date(2025, 5, 6)).is_current
    assert published(spec).height == 100


@pytest.mark.parametrize("to", PARTITIONED)
def test_a_new_column_is_null_where_it_was_not_yet(store, tmp_path, to):
    spec = spec_of(to, tmp_path)
    publish(store, spec=spec)
    wider = predictions(2).with_columns(churn_prob=pl.lit(0.25))
    write(store, "predictions", {"as_of": "2025-05-08"}, wider, mark="model.wide")
    publish(store, spec=spec)
    found = stored(store)
    assert "churn_prob" in found.columns
    if to != "parquet":  # whose files lie as they are: each reader unites their columns
        assert_frame_equal(published(spec).select(found.columns), found, check_exact=True)


@pytest.mark.parametrize("to", ["duckdb", "clickhouse"])
def test_a_column_of_another_type_is_refused_and_what_stood_stands(store, tmp_path, to):
    spec = spec_of(to, tmp_path)
    publish(store, spec=spec)
    before = published(spec)
    other = predictions(2).with_columns(pl.col("purchases").cast(pl.String))
    write(store, "predictions", {"as_of": "2025-05-08"}, other, mark="model.text")
    with pytest.raises(BadInput, match=r"Column 'purchases' of table 'predictions' is .* DROP TABLE"):
        publish(store, spec=spec)
    assert_frame_equal(published(spec), before)


@pytest.mark.parametrize("to", PARTITIONED)
def test_partitions_of_two_keys_and_of_none_are_replaced_too(store, tmp_path, to):
    spec = spec_of(to, tmp_path, tables=("rollup_channels", "items"))
    for mark, count in (("1", 3), ("2", 4)):
        rows = pl.DataFrame({"channel": ["x", "y"], "n": [count, None]})
        for place in ({"grain": "day", "start": "2025-05-07"}, {"grain": "week", "start": "2025-05-05"}):
            write(store, "rollup_channels", place, rows, mark=mark)
        write(store, "items", {}, rows, mark=mark)
        assert publish(store, spec=spec).rows == 6
        assert publish(store, spec=spec).is_current
    with store.writing("rollup_channels") as writer:
        writer.drop({"grain": "week", "start": "2025-05-05"})
    assert publish(store, spec=spec).lines()[0].endswith("partitions 1 current, 1 dropped")


def test_lists_go_to_clickhouse_as_json(store, tmp_path):
    spec = spec_of("clickhouse", tmp_path, tables=("baskets",))
    rows = pl.DataFrame({"user_id": ["a", "b", "c"], "last": [["x", None], None, []]})
    write(store, "baskets", {"as_of": "2025-05-08"}, rows, mark="1")
    publish(store, spec=spec)
    assert published(spec, "baskets")["last"].to_list() == ['["x",null]', None, "[]"]


# Redis.


def document(port, user, space="sojourn"):
    """The user as any client may read it: the version that is live, then the key."""
    import json

    import redis

    with redis.Redis(port=port, decode_responses=True) as client:
        live = json.loads(client.get(f"{space}:live"))
        text = client.get(f"{space}:{live['version']}:{user}")
    columns = {table: described["columns"] for table, described in live["tables"].items()}
    return None if text is None else read_document(text, columns=columns)


def test_a_user_s_rows_read_back_from_redis_as_they_were(store, tmp_path, empty_redis):
    spec = spec_of("redis", tmp_path, redis=empty_redis, tables=("predictions", "features"))
    assert publish(store, spec=spec).rows == 110
    for table in ("predictions", "features"):
        latest = store.frame(table, only=[{"as_of": "2025-05-08"}])
        for row in latest.iter_rows(named=True):
            found = document(empty_redis, row["user_id"])[table]
            expected = {name: cell for name, cell in row.items() if name != "user_id"}
            assert {
                name: repr(cell).replace("tzinfo=datetime.timezone.utc", "UTC") for name, cell in found.items()
            } == {
                name: repr(cell).replace("tzinfo=zoneinfo.ZoneInfo(key='UTC')", "UTC")
                for name, cell in expected.items()
            }
    assert set(document(empty_redis, "user-2-0055")) == {"features"}
    assert document(empty_redis, "user-1-0001") is None


def test_redis_keeps_one_version_and_the_later_day(store, tmp_path, empty_redis):
    import redis

    spec = spec_of("redis", tmp_path, redis=empty_redis)
    assert whats(publish(store, spec=spec, day=date(2025, 5, 6))) == ["written"]
    assert whats(publish(store, spec=spec)) == ["written"]
    assert whats(publish(store, spec=spec)) == ["current"]
    assert publish(store, spec=spec, day=date(2025, 5, 6)).lines() == [
        "board: predictions: 0 rows; partitions left as it is, which is newer"
    ]
    with redis.Redis(port=empty_redis) as client:
        assert client.dbsize() == 50 + 2


def test_a_reader_never_sees_two_versions_or_none(store, tmp_path, empty_redis):
    """While versions are swapped in, every read of both users gives the same version of each."""
    import threading

    import redis

    from sojourn.operate.publishing.redis import read_users

    spec = spec_of("redis", tmp_path, redis=empty_redis)
    users = ["ann", "bob"]

    def put(nth):
        rows = pl.DataFrame({"user_id": users, "ltv": [float(nth)] * 2})
        write(store, "predictions", {"as_of": "2025-05-09"}, rows, mark=f"model.{nth}")
        publish(store, spec=spec)

    put(0)
    stop, seen = threading.Event(), []

    def read():
        with redis.Redis(port=empty_redis, decode_responses=True) as client:
            while not stop.is_set():
                found = read_users(client, users, space="sojourn")
                seen.append({found[user]["predictions"]["ltv"] for user in users})

    reader = threading.Thread(target=read)
    reader.start()
    for nth in range(1, 40):
        put(nth)
    stop.set()
    reader.join()
    assert all(len(versions) == 1 for versions in seen)
    assert len(set.union(*seen)) > 5, "the reads came too late to prove anything"


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ({"channel": ["x"], "n": [1]}, "has no text column 'user_id', so no key in Redis"),
        ({"user_id": ["a", "a"], "n": [1, 2]}, "has 2 rows for 1 users"),
        ({"user_id": ["a"], "to_user_id": ["b"]}, "Column 'to_user_id' of table 'odd' names other users"),
    ],
)
def test_what_no_key_can_hold_is_refused(store, tmp_path, empty_redis, rows, words):
    write(store, "odd", {"as_of": "2025-05-08"}, pl.DataFrame(rows), mark="1")
    with pytest.raises(BadInput, match=words):
        publish(store, spec=spec_of("redis", tmp_path, redis=empty_redis, tables=("odd",)))


# Mistakes.


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (
            {"to": "clickhouse", "url": "./folder"},
            "clickhouse needs a url that begins with one of http:, https:, chdb:",
        ),
        ({"to": "duckdb", "url": "redis://x"}, "duckdb needs the path of a file as its url"),
        ({"to": "redis", "url": "redis://:secret@x"}, "put it into a variable and name that with password_env"),
        ({"to": "parquet", "url": "p", "tables": ["a", "a"]}, "a table is named twice"),
        ({"to": "parquet", "url": "p", "space": "a b"}, "use letters, digits and _"),
    ],
)
def test_a_place_that_cannot_be_is_refused(fields, words):
    with pytest.raises(BadSpec, match=words):
        PublishSpec(**fields)


def test_declared_places_have_the_names_of_their_sections():
    found = publishers_from({"publish": {"board": {"to": "parquet", "url": "p"}}})
    assert [spec.name for spec in found] == ["board"]
    with pytest.raises(BadSpec, match=r"Declare a place as \[publish.to\]"):
        publishers_from({"publish": {"to": "parquet"}})


def test_the_password_comes_from_a_variable(monkeypatch):
    spec = PublishSpec(to="redis", url="redis://app@cache:6379/0", password_env="CACHE_PASSWORD")
    with pytest.raises(BadSpec, match="export CACHE_PASSWORD="):
        spec.with_password()
    monkeypatch.setenv("CACHE_PASSWORD", "a/b@c")
    assert spec.with_password() == "redis://app:a%2Fb%40c@cache:6379/0"


def test_a_table_that_is_not_there_is_named(store, tmp_path):
    with pytest.raises(MissingTable, match="has no table 'windows_x' yet"):
        publish(store, spec=spec_of("parquet", tmp_path, tables=("windows_x",)))


@pytest.mark.parametrize(("to", "url"), [("redis", "redis://127.0.0.1:1/0"), ("clickhouse", "http://127.0.0.1:1")])
def test_a_server_that_does_not_answer_is_named(store, to, url, monkeypatch):
    monkeypatch.setattr(clickhouse, "FIRST_PAUSE_S", 0.001)
    with pytest.raises(Unreachable, match=f"at {url} did not answer"):
        publish(store, spec=PublishSpec(to=to, url=url, tables=("predictions",)))


SAME = [
    ("redis", "redis://localhost:6379/0", "redis://127.0.0.1", ("features",), ("predictions",)),
    ("redis", "redis://h", "redis://h?db=0", ("features",), ("predictions",)),
    ("clickhouse", "http://h", "http://h:8123/", ("features",), ("features",)),
    ("clickhouse", "chdb:a/../b", "chdb:b", ("features",), ("predictions", "features")),
    ("duckdb", "b.duckdb", "./b.duckdb", ("features",), ("features",)),
    ("parquet", "lake", "x/../lake", ("features",), ("features",)),
]


@pytest.mark.parametrize(("to", "one", "other", "tables", "others"), SAME)
def test_two_sections_that_would_wipe_each_other_are_refused(to, one, other, tables, others):
    first = {"to": to, "url": one, "tables": list(tables)}
    with pytest.raises(BadSpec, match=r"\[publish.a\] and \[publish.b\] (are the same space|both publish table)"):
        publishers_from({"publish": {"a": first, "b": {**first, "url": other, "tables": list(others)}}})


@pytest.mark.parametrize("to", PARTITIONED)
def test_two_sections_with_different_tables_share_a_place(store, tmp_path, to):
    one, other = (
        spec_of(to, tmp_path).with_changes(name=table, tables=(table,)) for table in ("predictions", "features")
    )
    assert (
        len(publishers_from({"publish": {each.name: each.model_dump(exclude_none=True) for each in (one, other)}})) == 2
    )
    for _ in range(2):
        for spec in (one, other):
            publish(store, spec=spec)
    assert publish(store, spec=one).is_current
    assert publish(store, spec=other).is_current


def test_two_spaces_of_one_redis_are_two_places():
    place = {"to": "redis", "url": "redis://h"}
    assert len(publishers_from({"publish": {"a": place, "b": {**place, "space": "other"}}})) == 2


@pytest.mark.parametrize("name", ["file", "file/inside"])
def test_a_folder_that_cannot_be_an_embedded_clickhouse_is_told(store, tmp_path, name):
    (tmp_path / "file").write_text("no folder")
    spec = PublishSpec(name="board", to="clickhouse", url=f"chdb:{tmp_path / name}", tables=("predictions",))
    with pytest.raises(UnreadableSource, match=r"cannot be opened as an embedded ClickHouse: .* another url\.$"):
        publish(store, spec=spec)
