"""`sojourn events`: what was done is on stdout; an id that is left, or a mistake, is one sentence and status 2."""

from pathlib import Path

import polars as pl
import pytest

from sojourn.warehouse import Warehouse

LOG = """user_id,ts,event,channel
ann,2025-05-01,buy,x
ann-2,2025-05-02,buy,x
bob,2025-05-02,buy,y
ann,soon,buy,x
"""
SETTINGS = """[rollups.users]
windows_days = [1]
aggregates = {n = {function = "count"}}

[rollups.channels]
keys = ["channel"]
windows_days = [1]
aggregates = {n = {function = "count"}}
"""


@pytest.fixture
def sojourn(program):
    """The program in a folder with a warehouse, partials and windows: arguments in; status, stdout and stderr out."""
    Path("log.csv").write_text(LOG)
    Path("sojourn.toml").write_text(SETTINGS)
    Path("aliases.csv").write_text("alias,user_id\nann-2,ann\n")

    assert program("ingest", "log.csv", "--max-rejected-share", "1")[0] == 0
    assert program("rollup", "backfill")[0] == 0
    assert program("rollup", "advance", "--day", "2025-05-02")[0] == 0
    return program


def test_a_user_is_forgotten_with_the_aliases_and_a_replay_counts_them(sojourn):
    status, out, err = sojourn("events", "merge", "aliases.csv")
    assert (status, err) == (0, "")
    assert out.splitlines() == [
        "identities: read 1 pairs, 1 new aliases, 1 in all",
        "table                    rows  partitions",
        "events                      1           1  rows renamed",
        "rollup_users                            1  days rebuilt",
        "rollup_channels                         1  days rebuilt",
        "Still under the old ids until they are written again: windows_users (1 rows).",
    ]
    status, out, err = sojourn("events", "forget", "ann", "nobody")
    assert (status, err) == (0, "")
    assert out.splitlines() == [
        "table                     rows  partitions",
        "events                       2           2  rows removed",
        "rejected                     1           1  rows removed",
        "rollup_channels                          2  dropped, as users' shares cannot be taken out",
        "windows_channels                         1  dropped, as users' shares cannot be taken out",
        "rollup_users                             1  days rebuilt",
        "rollup_channels                          1  days rebuilt",
        "windows_users                1           1  rows removed",
        "identities                   1           1  rows removed",
        "No event and no portrait names 'nobody'; the tombstone keeps such rows out from now on.",
        "A search of all 5 files of the warehouse for 3 ids finds nothing.",
    ]
    status, out, _ = sojourn("ingest", "log.csv")
    assert (status, out.splitlines()[0]) == (0, "events: read 4 = kept 0 + duplicate 1 + rejected 0 + forgotten 3")


def test_ids_come_from_a_file_too(sojourn):
    Path("ids.txt").write_text("ann\n\nann-2\n")
    assert sojourn("events", "forget", "--file", "ids.txt")[0] == 0
    warehouse = Warehouse.open(Path("warehouse"))
    assert warehouse.frame("events")["user_id"].to_list() == ["bob"]
    assert warehouse.frame("forgotten").height == 2


def test_what_is_left_is_told_after_the_table_with_status_2_until_it_is_ignored(sojourn):
    with Warehouse.open(Path("warehouse")).writing("shelves") as writer:
        writer.put({}, pl.DataFrame({"shelf": ["ann"]}), order_by=["shelf"], fingerprint="1")
    status, out, err = sojourn("events", "forget", "ann")
    assert status == 2
    assert "events                       1           1  rows removed" in out
    assert err.startswith("sojourn: A search of all ")
    assert err.endswith("say so: --ignore shelves.shelf\n")
    assert sojourn("events", "forget", "ann", "--ignore", "shelves.shelf")[0] == 0


MISTAKES = {
    "no user": (["forget"], "No user to forget is given"),
    "no such file": (["forget", "--file", "none.txt"], "none.txt cannot be read"),
    "no warehouse": (["forget", "ann", "--warehouse", "none"], "is no warehouse"),
    "no mapping": (["merge", "none.csv"], "none.csv is no file"),
    "no such column": (["merge", "log.csv"], "needs column 'alias'"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_sentence_and_status_2(sojourn, mistake):
    arguments, sentence = MISTAKES[mistake]
    status, out, err = sojourn("events", *arguments)
    assert (status, out) == (2, "")
    assert err.startswith("sojourn: ")
    assert sentence in err
    assert err.count("\n") == 1
