"""An erasure reaches what was published and what was exported: no byte of any store holds the id any more."""

import re
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest

from sojourn.core import Unreachable
from sojourn.dashboard import DashboardSpec, write_history
from sojourn.operate import Alert, Elsewhere, Outcome, PublishSpec, RunReport, elsewhere_from, forget, publish
from sojourn.operate.account import write_account
from sojourn.warehouse import Warehouse
from tests.operate.publishing.places import PLACES, redis_server
from tests.operate.test_forget import BOTH, rows, world

LATER = datetime(2025, 7, 1, tzinfo=UTC)
ID, OTHER = "3b1f0c9a-forget-me-7d5e", "9a77c2d1-keep-me-0b4c"
TABLES = ("features", "predictions", "windows_users", "windows_channels")


@pytest.fixture
def port(tmp_path):
    with redis_server(tmp_path / "stores" / "redis") as found:
        yield found


@pytest.fixture
def store(tmp_path):
    return world(tmp_path / "one", rows([ID, OTHER, "eve"]))


def places(folder, port):
    stores = folder / "stores"
    urls = {
        "parquet": str(stores / "parquet"),
        "duckdb": str(stores / "board.duckdb"),
        "clickhouse": f"chdb:{stores / 'clickhouse'}",
        "redis": f"redis://127.0.0.1:{port}/0",
    }
    single = ("features", "predictions")
    return tuple(
        PublishSpec(name=f"on_{to}", to=to, url=urls[to], tables=single if to == "redis" else TABLES) for to in PLACES
    )


def holding(folder, user):
    """The files that hold the id, by a search of every byte; Parquet's pages are opened, as they are compressed."""
    found = []
    for path in folder.rglob("*"):
        if path.is_file():
            raw = path.read_bytes()
            texts = [raw] if path.suffix != ".parquet" else [str(pl.read_parquet(path).to_dicts()).encode()]
            found += [path] if any(user.encode() in text for text in texts) else []
    return found


def exported(folder):
    """Target lists and a history beside the warehouse, as other verbs write them."""
    folder.mkdir()
    lists = pl.DataFrame({"user_id": [ID, OTHER, "eve"], "expected_spend": ["1.50", "2.25", "0.10"]})
    lists.write_csv(folder / "likely_high_spenders.csv")
    lists.write_parquet(folder / "history.parquet")
    return folder


def test_no_byte_of_any_store_holds_the_id_and_the_others_stay(store, tmp_path, port):
    specs = places(tmp_path, port)
    lists = exported(tmp_path / "lists")
    for spec in specs:
        publish(store, spec=spec, day=date(2025, 5, 6))
        publish(store, spec=spec)
    assert len({path.relative_to(tmp_path).parts[1] for path in holding(tmp_path / "stores", ID)}) >= 3
    assert len(holding(lists, ID)) == 2
    report = forget(store, [ID], as_of=LATER, rollups=BOTH, elsewhere=Elsewhere(specs, (lists,)))
    assert report.is_complete, report.proof
    told = {(each.table, each.what.split()[0]): each.rows for each in report.changes}
    assert told["on_clickhouse:predictions", "published"] == told["on_duckdb:predictions", "published"] == 1
    assert told["on_redis:keys", "published"] == 1
    assert told["on_parquet:windows_channels", "dropped"] is None
    assert told[str(lists / "history.parquet"), "rows"] == 1
    for folder in (tmp_path / "stores", lists, store.root):
        assert holding(folder, ID) == []
    assert len(holding(tmp_path / "stores", OTHER)) >= 3
    assert (lists / "likely_high_spenders.csv").read_text() == f"user_id,expected_spend\n{OTHER},2.25\neve,0.10\n"
    names = [f"on_{to}" for to in PLACES]
    assert all(re.search(rf"and {name} \(", report.proof) for name in names)
    again = forget(store, [ID], as_of=LATER, rollups=BOTH, elsewhere=Elsewhere(specs, (lists,)))
    assert again.is_complete
    assert again.lines()[0] == "No table had to change."


def test_what_no_search_may_pass_over_is_told(store, tmp_path):
    spec = PublishSpec(name="board", to="parquet", url=str(tmp_path / "stores"), tables=("notes",))
    for warehouse in (store, Warehouse.create(tmp_path / "stores")):
        with warehouse.writing("notes") as writer:
            writer.put({}, pl.DataFrame({"note": [f"met {ID} today"]}), order_by=(), fingerprint="1")
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "diary.txt").write_text(f"met {ID} today")
    elsewhere = Elsewhere((spec,), (tmp_path / "lists",))
    report = forget(store, [ID], as_of=LATER, rollups=BOTH, ignoring=["notes.note"], elsewhere=elsewhere)
    assert [each.place for each in report.search.findings] == [
        "board:notes.note",
        str(tmp_path / "lists" / "diary.txt"),
    ]


ERASER = """
import os, signal, sys, threading, time
from datetime import UTC, datetime
from pathlib import Path
from sojourn.operate import Elsewhere, PublishSpec, forget
from sojourn.operate.publishing import clickhouse
from sojourn.warehouse import EngineSpec, Warehouse
from tests.operate.test_forget import BOTH

at, done, step = int(sys.argv[3]), 0, clickhouse.ClickHouse._do

def dies(self, sql):
    global done
    if done == at:
        os.kill(os.getpid(), signal.SIGKILL)
    done += 1
    step(self, sql)

clickhouse.ClickHouse._do = dies
warehouse = Warehouse.open(Path(sys.argv[1]), engine=EngineSpec(threads=1))
elsewhere = Elsewhere((PublishSpec.from_json(sys.argv[2]),))
forget(warehouse, [sys.argv[4]], as_of=datetime(2025, 7, 1, tzinfo=UTC), rollups=BOTH, elsewhere=elsewhere)
"""


def test_killed_while_it_erases_what_is_published_it_completes_on_the_next_run(store, tmp_path):
    spec = PublishSpec(name="board", to="clickhouse", url=f"chdb:{tmp_path / 'stores'}", tables=TABLES)
    publish(store, spec=spec)
    cut = 0
    for at in (4, 8):
        words = [sys.executable, "-c", ERASER, str(store.root), spec.to_json(), str(at), ID]
        cut += subprocess.run(words, capture_output=True).returncode != 0
    assert cut == 2
    report = forget(store, [ID], as_of=LATER, rollups=BOTH, elsewhere=Elsewhere((spec,)))
    assert report.is_complete, report.proof
    assert holding(tmp_path / "stores", ID) == []
    assert holding(tmp_path / "stores", OTHER)


def test_a_server_that_does_not_answer_fails_the_erasure_and_the_next_run_completes(store, tmp_path):
    gone = PublishSpec(name="cache", to="redis", url="redis://127.0.0.1:1/0")
    with pytest.raises(Unreachable, match="did not answer"):
        forget(store, [ID], as_of=LATER, rollups=BOTH, elsewhere=Elsewhere((gone,)))
    assert forget(store, [ID], as_of=LATER, rollups=BOTH).is_complete


def test_the_settings_name_every_place(tmp_path):
    settings = {"publish": {"board": {"to": "parquet", "url": "p"}}, "forget": {"folders": [str(tmp_path)]}}
    found = elsewhere_from(settings)
    assert (found.published[0].name, found.folders) == ("board", (tmp_path,))
    with pytest.raises(ValueError, match=r"\[forget\] names the folder 'nowhere', which is not there"):
        elsewhere_from({"forget": {"folders": ["nowhere"]}})


def told_of(store, user):
    """A morning's account whose sentences name the user, as a server's words or a check of free text may."""
    told = f"note is something else than the values allowed: '{user}' (2), 'met {user}' (1)"
    outcome = Outcome("check notes", "failed", told, None, 0.1, LATER)
    alert = Alert("check", "notes", "fail", told, 0.5, 0.0)
    write_account(store, RunReport(date(2025, 5, 8), (outcome,), (alert,)), at=LATER)


def test_accounts_and_cached_histories_lose_the_id_and_the_search_agrees(store):
    told_of(store, ID)
    told_of(store, OTHER)
    settings = DashboardSpec(history_buckets=4)
    assert write_history(store, settings) == 4
    assert {"runs", "alerts", "dashboard_history"} <= {
        path.relative_to(store.root).parts[0] for path in holding(store.root, OTHER)
    }
    assert {"runs", "dashboard_history"} <= {path.relative_to(store.root).parts[0] for path in holding(store.root, ID)}
    report = forget(store, [ID], as_of=LATER, rollups=BOTH)
    assert report.is_complete, report.proof
    assert holding(store.root, ID) == []
    changes = {each.table: each.rows for each in report.changes}
    assert changes["runs"] == 1
    assert changes["dashboard_history"] == sum(user == ID for user, *_ in rows([ID, OTHER, "eve"]))
    words = "note is something else than the values allowed: '(forgotten)' (2), 'met (forgotten)' (1)"
    assert store.frame("runs").sort("attempt")["told"].to_list()[0] == words
    assert OTHER in store.frame("runs").sort("attempt")["told"].to_list()[1]
    assert write_history(store, settings) == 4, "the log is another, so the cache is made again"
    assert holding(store.root, ID) == []
    assert forget(store, [ID], as_of=LATER, rollups=BOTH).changes == ()


def test_places_that_no_section_names_any_more_are_reached(store, tmp_path, port):
    specs = places(tmp_path, port)
    for spec in specs:
        publish(store, spec=spec)
    renamed = specs[0].with_changes(name="renamed", tables=("predictions",))
    report = forget(store, [ID], as_of=LATER, rollups=BOTH, elsewhere=Elsewhere((renamed,)))
    assert report.is_complete, report.proof
    for folder in (tmp_path / "stores", store.root):
        assert holding(folder, ID) == []
    assert len(holding(tmp_path / "stores", OTHER)) >= 3
    named = " ".join(report.elsewhere)
    assert all(name in named for name in ("renamed (", "on_duckdb (", "on_clickhouse (", "on_redis ("))
    assert "on_parquet (" not in named, "one place is searched once"


def test_a_former_place_that_is_gone_is_passed_over_and_a_server_is_asked_for(store, tmp_path):
    import shutil

    for to in ("parquet", "duckdb"):
        publish(store, spec=next(each for each in places(tmp_path, 1) if each.to == to))
    (tmp_path / "stores" / "board.duckdb").unlink()
    shutil.rmtree(tmp_path / "stores" / "parquet")
    assert forget(store, [ID], as_of=LATER, rollups=BOTH).elsewhere == ()
    gone = PublishSpec(name="cache", to="redis", url="redis://127.0.0.1:1/0")
    with pytest.raises(Unreachable, match="did not answer"):
        publish(store, spec=gone)
    with pytest.raises(Unreachable, match=r"if it is gone for good, remove its record: rm (\S+)$") as fault:
        forget(store, [ID], as_of=LATER, rollups=BOTH)
    Path(str(fault.value).split()[-1]).unlink()
    assert forget(store, [ID], as_of=LATER, rollups=BOTH).is_complete
