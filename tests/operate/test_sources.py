"""A take that was killed counts as one, a day that vanished is missed, and a file that changed is told."""

import shutil
import signal
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path

import pytest

from sojourn.events import IngestSpec
from sojourn.operate import CheckSpec, SourceSpec, check_day, forget, take_in
from tests.operate.shops import AT, content, opened, write_day

FIRST = date(2024, 9, 1)
DAYS = [FIRST + timedelta(days=nth) for nth in range(4)]
COUNTED = CheckSpec(name="counted", kind="conservation")


def lines(day, users="abc"):
    return [f"{user},{day},{nth + 1}.00" for nth, user in enumerate(users)]


@pytest.fixture
def shop(tmp_path):
    """Two days of orders in a warehouse, two more as files."""
    for day in DAYS[:2]:
        write_day(tmp_path / "orders", day, lines(day))
    take_in(opened(tmp_path / "w"), source_in(tmp_path), as_of=AT)
    for day in DAYS[2:]:
        write_day(tmp_path / "orders", day, lines(day))
    return tmp_path


def source_in(folder, **settings):
    return SourceSpec(spec=IngestSpec(files=(str(folder / "orders" / "*.csv"),), **settings))


def taken(folder, root="w"):
    return take_in(opened(folder / root), source_in(folder), as_of=AT)


def found(folder, day=DAYS[1]):
    return check_day(opened(folder / "w"), COUNTED, day=day)


KILLER = """
import os, signal, sys
from pathlib import Path
from sojourn.warehouse import store
from sojourn.operate import _held
from tests.operate.test_sources import taken

left = int(sys.argv[3])

def dies(step):
    def wrapped(*words):
        global left
        step(*words)
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
    return wrapped

store.swap, _held.write_text = dies(store.swap), dies(_held.write_text)
taken(Path(sys.argv[1]), sys.argv[2])
"""


def test_killed_after_each_write_the_account_is_that_of_one_take(shop):
    shutil.copytree(shop / "w", shop / "whole")
    report = taken(shop, "whole")
    expected = content(shop / "whole")
    assert report.told == "read 6 = kept 6 + duplicate 0 + rejected 0"
    killed = 0
    for nth in range(1, 9):
        root = f"killed-{nth}"
        shutil.copytree(shop / "w", shop / root)
        words = [sys.executable, "-c", KILLER, str(shop), root, str(nth)]
        done = subprocess.run(words, capture_output=True, text=True)
        again = taken(shop, root)
        assert content(shop / root) == expected, f"killed after write {nth}"
        shutil.rmtree(shop / root)
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
        assert again.told in (report.told, "none of 4 files is new")
        killed += 1
    assert killed >= 4, "the note of what is under way, two days, what was ingested"


def test_files_that_come_after_a_kill_are_a_take_of_their_own(shop):
    words = [sys.executable, "-c", KILLER, str(shop), "w", "2"]
    assert subprocess.run(words, capture_output=True).returncode == -signal.SIGKILL
    late = DAYS[-1] + timedelta(days=1)
    write_day(shop / "orders", late, lines(late, "ab"))
    assert taken(shop).told == (
        "read 6 = kept 6 + duplicate 0 + rejected 0; then read 2 = kept 2 + duplicate 0 + rejected 0"
    )
    assert opened(shop / "w").frame("ingested")["take"].sort().to_list() == [1, 1, 2, 2, 3]


def test_a_day_that_vanished_is_missed_until_it_is_back(shop):
    assert found(shop).holds
    partition = shop / "w" / "events" / f"day={DAYS[0]}"
    partition.rename(shop / "aside")
    gone = found(shop)
    assert gone.holds is False
    assert f"3 events are gone that nobody forgot, of {DAYS[0]} (0 of 3)" in gone.told
    taken(shop)
    assert found(shop).holds is False, "a take of other days does not hide it"
    assert found(shop, DAYS[0]).holds is False, "nor does there being no row to count"
    (shop / "aside").rename(partition)
    assert found(shop).holds


def test_a_file_with_fewer_rows_in_a_day_s_place_is_missed(shop):
    warehouse = opened(shop / "w")
    place = {"day": str(DAYS[0])}
    with warehouse.writing("events") as writer:
        writer.keep(place, where="user_id <> 'a'", fingerprint="other")
    assert f"{DAYS[0]} (2 of 3)" in found(shop).told


def test_who_was_forgotten_is_not_missed(shop):
    assert forget(opened(shop / "w"), ["a"], as_of=AT).is_complete
    assert found(shop).holds
    taken(shop)
    assert found(shop).holds
    last = opened(shop / "w").frame("ingested").filter(take=2)
    assert last.select("read", "kept", "forgotten").unique().rows() == [(6, 4, 2)]


def test_an_event_that_a_correction_moved_is_not_missed(tmp_path):
    source = source_in(tmp_path, columns={"event_id": "order_id"})
    folder = tmp_path / "orders"
    folder.mkdir()
    header = "order_id,customer_id,order_date,revenue\n"
    (folder / "1.csv").write_text(header + "1,a,2024-09-01,5\n2,b,2024-09-01,5\n3,b,2024-09-02,5\n")
    take_in(opened(tmp_path / "w"), source, as_of=AT)
    (folder / "2.csv").write_text(header + "1,a,2024-09-02,5\n")
    take_in(opened(tmp_path / "w"), source, as_of=AT + timedelta(days=1))
    assert found(tmp_path).holds


def test_a_file_that_was_changed_without_ids_is_told_and_one_that_grew_is_not(shop):
    taken(shop)
    path = shop / "orders" / f"orders-{DAYS[0]}.csv"
    path.write_text(path.read_text() + f"d,{DAYS[0]},9.00\n")
    assert taken(shop).doubled == ()
    path.write_text(path.read_text().replace("a,2024-09-01,1.00", "a,2024-09-01,1.50"))
    report = taken(shop)
    assert (report.doubled, report.rows) == ((str(path),), 1)


def test_a_day_without_ids_is_taken_anew_as_the_docs_say(shop):
    taken(shop)
    path = shop / "orders" / f"orders-{DAYS[0]}.csv"
    write_day(shop / "orders", DAYS[0], [f"a,{DAYS[0]},1.50"])
    for gone in (Path("events") / f"day={DAYS[0]}", Path("event_days")):
        shutil.rmtree(shop / "w" / gone)
    path.touch()
    taken(shop)
    events = opened(shop / "w").frame("events").filter(day=DAYS[0])
    assert [str(amount) for amount in events["amount"]] == ["1.5000"]
    assert found(shop).holds
