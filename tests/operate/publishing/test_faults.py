"""Whatever is killed or lost on the way, a partition stands there once: the old one or the new one."""

import random
import signal
import subprocess
import sys

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from sojourn.core import Unreachable
from sojourn.operate import PublishSpec, publish
from sojourn.operate.publishing import clickhouse
from tests.operate.publishing.http_clickhouse import Forgetful, clickhouse_server
from tests.operate.publishing.places import predictions, published, shop, spec_of, stored, write

# The same work as `sojourn publish`, but the process kills itself with SIGKILL: before or after its nth change of the
# place, or so many milliseconds into the statement that puts the partition in its place.
CHILD = """
import os, signal, sys, threading, time
from pathlib import Path
from sojourn.operate import PublishSpec, publish
from sojourn.operate.publishing import {module}
from sojourn.warehouse import EngineSpec, Warehouse

root, spec, when, count = sys.argv[1], PublishSpec.from_json(sys.argv[2]), sys.argv[3], float(sys.argv[4])
done = 0

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def dies(step):
    def wrapped(self, *words):
        global done
        if when == "before" and done == count:
            die()
        if when == "during" and any(each in str(words[0]) for each in ("REPLACE PARTITION", "EXCHANGE TABLES")):
            threading.Thread(target=lambda: (time.sleep(count / 1000) if count else None, die())).start()
        found = step(self, *words)
        done += 1
        if when == "after" and done == count:
            die()
        return found
    return wrapped

place = {module}.{place}
for name in {steps}:
    setattr(place, name, dies(getattr(place, name)))
publish(Warehouse.open(Path(root), engine=EngineSpec(threads=1)), spec=spec)
print("done")
"""
CLICKHOUSE = CHILD.format(module="clickhouse", place="ClickHouse", steps=["_do", "_insert"])
DUCKDB = CHILD.format(module="duckdb_file", place="DuckDBFile", steps=["_rows"])
REDIS = CHILD.format(module="redis", place="Redis", steps=["_ask"])


def killed(code, warehouse, spec, *when):
    """Whether the child was killed; false where it came to its end."""
    words = [sys.executable, "-c", code, str(warehouse.root), spec.to_json(), *map(str, when)]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode in {0, -signal.SIGKILL}, done.stderr
    return done.returncode != 0


@pytest.fixture
def store(tmp_path):
    return shop(tmp_path / "w")


def changed(store):
    """A new version of the later day; what stood before."""
    before = stored(store)
    write(store, "predictions", {"as_of": "2025-05-08"}, predictions(9, users=70), mark="model.9")
    return before


def is_one_of(spec, *versions):
    found = published(spec)
    return any(found.equals(version.select(found.columns), null_equal=True) for version in versions)


MOMENTS = [("before", 4), ("during", 0), ("after", 4)]
EVERY_MOMENT = [("before", nth) for nth in range(14)] + [("during", ms / 2) for ms in range(20)]


def survives(store, spec, code, moments, *, look=published):
    """Kill at each moment, in turn; how many kills came before the end."""
    publish(store, spec=spec)
    cut = 0
    for nth, when in enumerate(moments):
        before = stored(store)
        rows = predictions(100 + nth, users=60 + nth)
        write(store, "predictions", {"as_of": "2025-05-08"}, rows, mark=f"model.{100 + nth}")
        cut += killed(code, store, spec, *when)
        assert is_one_of(spec, before, stored(store))
        publish(store, spec=spec)
        assert_frame_equal(look(spec), stored(store), check_exact=True)
        assert publish(store, spec=spec).is_current
    return cut


def test_killed_before_during_and_after_the_replacement_clickhouse_counts_nothing_twice(store, tmp_path):
    assert survives(store, spec_of("clickhouse", tmp_path), CLICKHOUSE, MOMENTS) >= 2


@pytest.mark.slow
def test_killed_at_every_statement_clickhouse_counts_nothing_twice(store, tmp_path):
    assert survives(store, spec_of("clickhouse", tmp_path), CLICKHOUSE, EVERY_MOMENT) >= 8


def test_killed_at_every_other_statement_a_duckdb_file_counts_nothing_twice(store, tmp_path):
    moments = [("before", nth) for nth in range(5, 15, 4)]
    assert survives(store, spec_of("duckdb", tmp_path), DUCKDB, moments) >= 2


@pytest.mark.slow
def test_killed_at_any_command_redis_has_the_old_version_or_the_new(store, tmp_path, empty_redis):
    import redis

    from sojourn.operate.publishing.redis import read_users

    spec = spec_of("redis", tmp_path, redis=empty_redis)

    def live():
        with redis.Redis(port=empty_redis, decode_responses=True) as client:
            users = ["ann", *(f"user-{nth}" for nth in range(20))]
            found = read_users(client, users, space="sojourn")
            assert len(found) == len(users)
            return {each["predictions"]["ltv"] for each in found.values()}

    def put(nth):
        rows = pl.DataFrame({"user_id": ["ann", *(f"user-{each}" for each in range(20))], "ltv": float(nth)})
        write(store, "predictions", {"as_of": "2025-05-09"}, rows, mark=f"model.{nth}")

    put(0)
    publish(store, spec=spec)
    cut = 0
    for nth in range(1, 9):
        put(nth)
        cut += killed(REDIS, store, spec, "before", nth)
        assert live() in ({float(nth - 1)}, {float(nth)})
        publish(store, spec=spec)
        assert live() == {float(nth)}
        with redis.Redis(port=empty_redis) as client:
            assert client.dbsize() == 21 + 2, "a version that was cut off lies on"
    assert cut >= 4


# Replies that are lost on the way back, after the server has done the work.

WORDS = (b"REPLACE PARTITION", b"FORMAT+Arrow", b"CREATE TABLE", b"DROP TABLE", b"SELECT count() FROM s")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with clickhouse_server(tmp_path_factory.mktemp("clickhouse") / "data") as port:
        yield port


def over(port, nth):
    return PublishSpec(
        name="board", to="clickhouse", url=f"http://127.0.0.1:{port}", space=f"s{nth}", tables=("predictions",)
    )


def read_over(port, space):
    from sojourn.operate.publishing.clickhouse import ClickHouse

    with ClickHouse(over(port, space)) as place:
        rows = place._rows(f"SELECT user_id, ltv, toString(as_of) FROM s{space}.predictions ORDER BY as_of, user_id")
        tables = place._rows(f"SELECT name FROM system.tables WHERE database = 's{space}'")
    return rows, [name for (name,) in tables]


LOSSES = [pytest.param(nth, marks=[pytest.mark.slow] * (nth > 1), id=WORDS[nth].decode()) for nth in range(len(WORDS))]


@pytest.mark.parametrize("nth", LOSSES)
def test_a_lost_reply_is_made_good_and_nothing_counts_twice(store, server, monkeypatch, nth):
    monkeypatch.setattr(clickhouse, "FIRST_PAUSE_S", 0.01)
    proxy = Forgetful(server, words=WORDS[nth], losses=2)
    assert publish(store, spec=over(proxy.port, nth)).rows == 100
    changed(store)
    assert publish(store, spec=over(proxy.port, nth)).rows == 70
    proxy.close()
    assert proxy.lost == 2
    rows, tables = read_over(server, nth)
    assert tables == ["predictions"]
    expected = stored(store).select("user_id", "ltv", "as_of").rows()
    assert list(map(repr, rows)) == list(map(repr, expected))


def test_where_every_reply_is_lost_it_says_so_and_the_next_run_completes(store, server, monkeypatch):
    monkeypatch.setattr(clickhouse, "FIRST_PAUSE_S", 0.01)
    proxy = Forgetful(server, words=b"FORMAT+Arrow", losses=random.Random(1).randint(50, 60))
    with pytest.raises(Unreachable, match=r"did not answer: .* publish again"):
        publish(store, spec=over(proxy.port, 99))
    proxy.close()
    assert publish(store, spec=over(server, 99)).rows == 100
    assert len(read_over(server, 99)[0]) == 100
    assert publish(store, spec=over(server, 99)).is_current
