"""`sojourn ingest`: rows are accounted for on stdout, guesses go to stderr, a mistake is one sentence and status 2."""

import os
import resource
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest

from sojourn.warehouse import Warehouse

ORDERS = """customer,when,quantity,price,coupon
ann,2024-05-01 10:00,2,1.10,
ann,2024-05-01 10:00,2,1.10,
bob,2024-05-02 23:30,-1,8.00,SPRING
,2024-05-02 23:30,1,8.00,
"""
WHEN = ("--map", "ts=when")
GUESTS = (
    "1 of 4 rows (25.0%) have no user, as sales to guests have none, with 8.00 in amounts (the others: -3.60): they "
    "are rejected and count in no figure of users."
)


@pytest.fixture
def sojourn(program):
    """The program in a folder that holds orders.csv: arguments in; status, stdout and stderr out."""
    Path("orders.csv").write_text(ORDERS)

    return program


def events(root="warehouse", columns="user_id, amount::VARCHAR, day::VARCHAR", table="events"):
    warehouse = Warehouse.open(Path(root))
    return warehouse.engine.rows(f"SELECT {columns} FROM {warehouse.relation(table)} ORDER BY ALL")


def test_the_account_is_on_stdout_and_every_guess_on_stderr(sojourn):
    status, out, err = sojourn("ingest", "orders.csv", *WHEN)
    assert status == 0
    assert out.splitlines() == [
        "events: read 4 = kept 3 + duplicate 0 + rejected 1",
        "  rejected 1: user_id is missing",
        "  user_id   from customer",
        "  ts        from when",
        "  event     from 'purchase'",
        '  amount    from "quantity" * "price"',
        "  quantity  from quantity",
        "  price     from price",
        "  coupon    from coupon",
    ]
    assert err.splitlines() == [
        "user_id is read from column 'customer'.",
        'amount is "quantity" * "price".',
        "No column names the event; each row is taken for 'purchase'.",
        "Times in ts without a zone are read in UTC, since no zone is declared (--time-zone).",
        GUESTS,
    ]
    assert events() == [("ann", "2.2000", "2024-05-01")] * 2 + [("bob", "-8.0000", "2024-05-02")]
    again = sojourn("ingest", "orders.csv", *WHEN)[1]
    assert again.startswith("events: read 4 = kept 0 + duplicate 3 + rejected 1\n")


def test_zones_of_times_and_of_days_are_two_things(sojourn):
    zones = ("--time-zone", "UTC", "--zone", "Asia/Tokyo")
    assert sojourn("ingest", "orders.csv", *WHEN, *zones)[0] == 0
    assert events(columns="DISTINCT day::VARCHAR") == [("2024-05-01",), ("2024-05-03",)]


def test_flags_go_over_the_settings_and_the_settings_over_guesses(sojourn):
    settings = """
        [ingest]
        files = ["orders.csv"]
        keep = ["coupon"]
        columns = {ts = "when", amount = "price", event = "'sale'"}
        [ingest.users]
        files = ["people.csv"]
    """
    Path("sojourn.toml").write_text(settings)
    Path("people.csv").write_text("user_id,country\nann,FR\n")
    assert sojourn("ingest", "--map", "amount=quantity * price * 2", "--type", "coupon=VARCHAR")[0] == 0
    assert events(columns="DISTINCT event, coupon, amount::VARCHAR") == [
        ("sale", "SPRING", "-16.0000"),
        ("sale", None, "4.4000"),
    ]
    assert sojourn("ingest", "--table", "users")[1].startswith("users: read 1 = kept 1 +")
    assert events(columns="user_id, country", table="users") == [("ann", "FR")]
    Path("other.csv").write_text("customer,when,quantity,price,coupon\neve,2024-05-03,1,1,\n")
    assert sojourn("ingest", "other.csv", "--keep", "")[1].startswith("events: read 1 = kept 1")


def test_lists_of_a_text_are_asked_for_by_flag_or_in_the_settings(sojourn):
    Path("talk.csv").write_text("user_id,ts,event,note,title\nann,2024-05-01,say,Good tea 😀,#Tea\n")
    status, out, _ = sojourn("ingest", "talk.csv", "--text", "note", "--text", "title=words, tags")
    assert status == 0
    assert "  title_tags   from tags of title" in out.splitlines()
    lists = "note_words, note_emoji, note_tags, title_words, title_tags"
    assert events(columns=lists) == [(["good", "tea"], ["😀"], [], ["tea"], ["tea"])]
    Path("sojourn.toml").write_text('[ingest]\nfiles = ["talk.csv"]\n[ingest.texts]\nnote = ["words"]\n')
    assert sojourn("ingest", "--warehouse", "other")[0] == 0
    assert events("other", columns="note_words") == [(["good", "tea"],)]


def test_a_column_can_be_left_out_a_query_read_and_a_format_said(sojourn):
    query = "SELECT * FROM 'orders.csv' WHERE customer IS NOT NULL"
    assert sojourn("ingest", "--query", query, *WHEN, "--map", "amount=")[0] == 0
    assert [amount for _, amount, _ in events()] == [None] * 3
    Path("orders.csv").rename("orders.log")
    other = ("--format", "csv", "--time-format", "%Y-%m-%d %H:%M", "--warehouse", "other")
    assert sojourn("ingest", "orders.log", *WHEN, *other)[0] == 0
    assert len(events("other")) == 3


def test_corrections_are_counted(sojourn):
    Path("a.csv").write_text("event_id,user_id,ts,amount\n1,ann,2024-05-01,1\n" + "2,bob,2024-05-01,1\n" * 30)
    Path("b.csv").write_text("event_id,user_id,ts,amount\n1,ann,2024-05-01,3\n")
    sojourn("ingest", "a.csv")
    assert "  1 of the kept rows correct a known id\n" in sojourn("ingest", "b.csv")[1]


def test_a_lake_is_registered_in_place(sojourn):
    Path("lake/dt=2024-05-01").mkdir(parents=True)
    times = [datetime(2024, 5, 1, 9)]  # noqa: DTZ001
    pl.DataFrame({"uid": [7], "at": times, "eur": [1.5]}).write_parquet("lake/dt=2024-05-01/p.parquet")
    Path("sojourn.toml").write_text('[ingest]\nfiles = ["orders.csv"]\ncolumns = {ts = "at", amount = "eur"}\n')
    status, out, err = sojourn("ingest", "--in-place", "lake", "--partition", "dt")
    assert (status, out.splitlines()[0]) == (0, "events: 1 rows in 1 partitions, read in place from lake")
    assert "user_id is read from column 'uid'." in err
    assert events() == [("7", "1.5000", "2024-05-01")]
    assert list(Path("warehouse").rglob("*.parquet")) == []
    status, _, err = sojourn("ingest", "orders.csv", *WHEN)
    assert (status, err) == (
        2,
        "sojourn: Table 'events' is registered in place and only read. Write into another table.\n",
    )


def write(name, data):
    def make():
        Path(name).write_bytes(data if isinstance(data, bytes) else data.encode())

    return make


def write_truncated():
    pl.DataFrame({"user_id": ["a"] * 1000, "ts": ["2024-05-01"] * 1000}).write_parquet("half.parquet")
    data = Path("half.parquet").read_bytes()
    Path("half.parquet").write_bytes(data[: len(data) // 2])


def mixed(share):
    bad = int(100 * share)
    return "user_id,ts\n" + "ann,2024-05-01\n" * (100 - bad) + "ann,never\n" * bad


MISTAKES = {
    "missing column": (
        write("a.csv", "customer,moment\na,2024-05-01\n"),
        ["a.csv"],
        "needs 'ts', and no column of the source is named like it",
    ),
    "nearest name": (None, ["orders.csv", "--map", "ts=wen"], "'when'"),
    "wrong type": (
        write("a.csv", "user_id,ts,amount\na,2024-05-01,five\n"),
        ["a.csv"],
        "1 of 1 rows of a.csv are bad (100.0%; max_rejected_share allows 5.0%); nothing was written. 1 times: amount",
    ),
    "no times": (write("a.csv", "user_id,ts\na,soon\n"), ["a.csv"], "'ts' does not look like times: 0 of 1"),
    "empty file": (write("a.csv", ""), ["a.csv"], "a.csv is empty. Leave it out, or fetch it again."),
    "empty parquet": (write("a.parquet", ""), ["a.parquet"], "a.parquet is empty."),
    "header only": (write("a.csv", "user_id,ts\n"), ["a.csv"], "a.csv holds no rows"),
    "garbage": (write("a.csv", b"\x00\xff\x00\xfe" * 99), ["a.csv"], "a.csv is not text"),
    "garbage packed": (write("a.csv.gz", b"no gzip"), ["a.csv.gz"], "a.csv.gz cannot be unpacked"),
    "garbage jsonl": (write("a.jsonl", "{{{\n"), ["a.jsonl"], "a.jsonl has no line that is a JSON object"),
    "truncated parquet": (write_truncated, ["half.parquet"], "half.parquet cannot be read as parquet"),
    "missing file": (None, ["order.csv"], "order.csv does not exist. Did you mean orders.csv?"),
    "missing folder": (None, ["nowhere/*.csv"], "nowhere/*.csv does not exist. Check the path."),
    "folder without data": (lambda: Path("d").mkdir(), ["d"], "d holds no CSV, JSON lines or Parquet file"),
    "too many bad rows": (write("a.csv", mixed(0.2)), ["a.csv"], "20 of 100 rows of a.csv are bad (20.0%;"),
    "too many without a user": (
        write("a.csv", "user_id,ts\n" + ",2024-05-01\n" * 9),
        ["a.csv"],
        "9 of 9 rows of a.csv are without a user",
    ),
    "no warehouse": (None, ["orders.csv", "--warehouse", "."], "is no warehouse and is not empty"),
    "unknown zone": (
        None,
        ["orders.csv", *WHEN, "--zone", "Europe/Pari"],
        "field 'zone' = 'Europe/Pari': no such time zone",
    ),
    "unknown time zone": (None, ["orders.csv", "--time-zone", "Mars"], "field 'time_zone' = 'Mars': no such time zone"),
    "files and query": (None, ["orders.csv", "--query", "SELECT 1"], "give files or a query, not both"),
    "nothing": (None, [], "Nothing to ingest: give files, folders or globs, or a query"),
    "bad query": (None, ["--query", "SELEC 1"], "The query cannot be run"),
    "bad map": (None, ["orders.csv", "--map", "when"], "--map 'when' has no '='. Write ours first: --map amount="),
    "bad expression": (
        None,
        ["orders.csv", "--map", "amount=price +"],
        "neither a column of the source nor SQL",
    ),
    "expression of text": (None, ["orders.csv", *WHEN, "--map", "amount=customer * price"], "cannot be computed"),
    "bad table": (None, ["orders.csv", "--table", "visits"], "field 'table' = 'visits'"),
    "bad share": (None, ["orders.csv", "--max-rejected-share", "2"], "field 'max_rejected_share' = 2.0"),
    "reserved column": (
        None,
        ["orders.csv", *WHEN, "--map", "day=when"],
        "column 'day' of table 'events' is made by Sojourn",
    ),
    "text that is none": (None, ["orders.csv", *WHEN, "--text", "coupons"], "Did you mean 'coupon'?"),
    "unknown list": (None, ["orders.csv", *WHEN, "--text", "coupon=verbs"], "field 'texts.coupon.0' = 'verbs'"),
    "several formats": (write("a.parquet", "x"), ["orders.csv", "a.parquet"], "of several formats: csv, parquet"),
    "unknown setting": (write("sojourn.toml", "[ingest]\nfile = 1\n"), ["orders.csv"], "it has no field 'file'"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_sentence_status_2_and_nothing_half_written(sojourn, mistake):
    prepare, arguments, sentence = MISTAKES[mistake]
    if prepare:
        prepare()
    before = {path for path in Path.cwd().rglob("*") if "warehouse" not in path.parts}
    status, out, err = sojourn("ingest", *arguments)
    assert (status, out) == (2, "")
    assert sentence in err
    assert err.startswith("sojourn: ")
    assert err.count("\n") == 1
    assert "Traceback" not in err
    assert {path for path in Path.cwd().rglob("*") if "warehouse" not in path.parts} == before
    assert not [
        path for path in Path("warehouse").rglob("*") if path.is_file() and path.suffix not in {".json", ".lock"}
    ]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_rights_is_told(sojourn):
    Path("orders.csv").chmod(0)
    status, _, err = sojourn("ingest", "orders.csv", *WHEN)
    assert (status, err) == (2, "sojourn: orders.csv cannot be read: Permission denied. Mend its rights or its path.\n")


HOLDER = """
import sys
from pathlib import Path
from sojourn.warehouse import Warehouse
with Warehouse.open(Path("warehouse")).writing("events"):
    print("ready", flush=True)
    sys.stdin.read()
"""


def test_a_second_writer_is_told_who_the_first_is_and_succeeds_after_it(sojourn):
    sojourn("ingest", "orders.csv", *WHEN)
    before = events()
    Path("more.csv").write_text("customer,when\neve,2024-05-01\n")
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "ready\n"
        status, out, err = sojourn("ingest", "more.csv", *WHEN)
        first.communicate("")
    assert (status, out) == (2, "")
    assert f"is being written by process {first.pid}" in err
    assert err.count("\n") == 1
    assert events() == before
    assert sojourn("ingest", "more.csv", *WHEN)[0] == 0


def test_a_full_disk_is_one_sentence_and_the_old_table_stands(sojourn, tmp_path):
    sojourn("ingest", "orders.csv", *WHEN)
    before = events()
    rows = (f"u{n},2024-05-0{n % 9 + 1} 10:00:00,{n}.5,{n * 7919 % 1000003}" for n in range(60_000))
    Path("big.csv").write_text("customer,when,price,code\n" + "\n".join(rows) + "\n")

    def small_files():
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))

    command = [str(Path(sys.executable).parent / "sojourn"), "ingest", "big.csv", *WHEN]
    run = subprocess.run(command, capture_output=True, text=True, preexec_fn=small_files)
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr.startswith("sojourn: ")
    assert "The old version still stands" in run.stderr
    assert run.stderr.count("\n") == 1
    assert events() == before
    assert sojourn("ingest", "big.csv", *WHEN)[1].startswith("events: read 60,000 = kept 60,000 ")
    assert not list((tmp_path / "warehouse" / "_staging").rglob("*.parquet"))
