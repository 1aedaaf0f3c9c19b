"""Every row is kept, known already, or rejected with its line; money is exact; columns keep their types."""

import json
from datetime import datetime, timedelta
from decimal import Decimal

import polars as pl
import pytest

from sojourn.core import BadInput
from sojourn.events import IngestReport
from sojourn.warehouse import Warehouse
from tests.events.logs import AS_OF, files_of, rows_of, take, write_table

HEADER = ("user_id", "ts", "event", "item_id", "amount")
ANN = ("ann", "2024-05-01 10:00:00", "purchase", "tea", "2.5")
BOB = ("bob", "2024-05-02 11:30:00", "purchase", "", "1.00")


def test_a_replay_leaves_every_table_byte_identical_rejected_rows_included(warehouse, tmp_path):
    file = write_table(tmp_path / "a.csv", HEADER, [ANN, ANN, BOB, ("", *BOB[1:])])
    first = take(warehouse, file, max_anonymous_share=1)
    before = files_of(warehouse)
    again = take(warehouse, file, max_anonymous_share=1, as_of=AS_OF + timedelta(days=3))
    assert (first.kept, first.rejected, first.written, first.unchanged) == (3, 1, 2, 0)
    assert (again.duplicate, again.rejected, again.written, again.unchanged) == (3, 1, 0, 2)
    assert files_of(warehouse) == before
    assert {path.partition("/")[0] for path in before} == {"events", "rejected"}


# Money.


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("0.1", "0.1"),
        ("-3.5", "-3.5"),
        ("1e3", "1000"),
        ("+7", "7"),
        (" 7.25 ", "7.25"),
        ("0.00005", "0.0001"),
        ("-0.00005", "-0.0001"),
        ("0.00015", "0.0002"),
        ("0.000049999", "0"),
        ("99999999999999.9999", "99999999999999.9999"),
        ("", None),
        ("NaN", "rejected"),
        ("inf", "rejected"),
        ("-Infinity", "rejected"),
        ("100000000000000", "rejected"),
        ('"1,234.50"', "rejected"),
        ("$5", "5"),
        ("(5.25)", "-5.25"),
        ("free", "rejected"),
    ],
)
def test_money_is_read_exactly_to_four_digits_ties_away_from_zero_or_not_at_all(warehouse, tmp_path, text, amount):
    report = take(warehouse, write_table(tmp_path / "a.csv", HEADER, [(*ANN[:4], text), BOB]), max_rejected_share=0.5)
    found = dict(rows_of(warehouse, "user_id, amount"))
    if amount == "rejected":
        assert report.reasons == {"amount is no number of at most 14 digits": 1}
        assert "ann" not in found
    else:
        assert found["ann"] == (None if amount is None else Decimal(amount))


def test_a_sum_of_dimes_is_exact_from_text_and_from_floats(tmp_path):
    rows = [(f"u{n}", "2024-05-01 10:00:00", "purchase", "", "0.1" if n % 2 else "0.2") for n in range(1000)]
    write_table(tmp_path / "a.csv", HEADER, rows)
    frame = pl.DataFrame(rows, schema=["user_id", "ts", "event", "item_id", "amount"], orient="row")
    frame.with_columns(pl.col("amount").cast(pl.Float64)).write_parquet(tmp_path / "a.parquet")
    for name in ("a.csv", "a.parquet"):
        warehouse = Warehouse.create(tmp_path / name.replace(".", "-"))
        take(warehouse, tmp_path / name)
        assert rows_of(warehouse, "sum(amount)") == [(Decimal("150.0000"),)]


def test_an_amount_can_be_computed_exactly_and_returns_stay(warehouse, tmp_path):
    rows = [("ann", "2024-05-01", "3", "1.1"), ("ann", "2024-05-02", "-1", "1.1"), ("bob", "2024-05-02", "x", "1.1")]
    file = write_table(tmp_path / "a.csv", ("user_id", "ts", "quantity", "price"), [*rows[:2] * 3, rows[2]])
    report = take(
        warehouse, file, columns={"amount": "quantity * price", "event": "'purchase'"}, max_rejected_share=0.5
    )
    assert rows_of(warehouse, "DISTINCT amount") == [(Decimal("-1.1"),), (Decimal("3.3"),)]
    assert report.columns["amount"] == "quantity * price"
    assert (report.kept, report.rejected) == (6, 1)


# Faults.


def test_every_fault_has_its_reason_its_line_and_what_came(warehouse, tmp_path):
    good = [(f"u{n}", "2024-05-01 10:00:00", "view", "", "") for n in range(8)]
    bad = {
        3: ("", "2024-05-01 10:00:00", "view", "", ""),
        5: ("eve", "", "view", "", ""),
        6: ("eve", "not a time", "view", "", ""),
        8: ("eve", "2044-05-01 10:00:00", "view", "", ""),
        10: ("eve", "1969-05-01 10:00:00", "view", "", ""),
        11: ("eve", "2024-05-01 10:00:00", "", "", ""),
        13: ("eve", "2024-05-01 10:00:00", "view", "", "much"),
        15: ("eve", "2024-05-01 10:00:00"),
        16: ("eve", "2024-05-01 10:00:00", "view", "", "1", "2", "3"),
    }
    rest = iter(good)
    rows = [bad.get(line) or next(rest) for line in range(2, 19)]
    report = take(warehouse, write_table(tmp_path / "a.csv", HEADER, rows), max_rejected_share=1)
    found = rows_of(warehouse, "line, reason", "rejected")
    assert found == [
        (3, "user_id is missing"),
        (5, "ts is missing"),
        (6, "ts is not a time"),
        (8, "ts is later than its arrival"),
        (10, "ts is before 1970-01-02"),
        (11, "event is missing"),
        (13, "amount is no number of at most 14 digits"),
        (15, "the line has too few columns"),
        (16, "the line has too many columns"),
    ]
    assert (report.read, report.kept, report.rejected) == (17, 8, 9)
    assert report.reasons == {reason: 1 for _, reason in found}
    raw = dict(rows_of(warehouse, "line, raw", "rejected"))
    assert json.loads(raw[13])["amount"] == "much"
    assert raw[16] == "eve,2024-05-01 10:00:00,view,,1,2,3"
    assert {source for (source,) in rows_of(warehouse, "source", "rejected")} == {str(tmp_path / "a.csv")}


def test_lines_of_json_that_are_no_objects_are_faults_and_blank_ones_are_nothing(warehouse, tmp_path):
    lines = ['{"user_id": "ann", "ts": "2024-05-01", "event": "view"}', "", '{"user_id": ', "[1, 2]"]
    lines += ['{"user_id": null, "ts": "2024-05-01", "event": "view"}', '{"ts": "2024-05-01", "event": "view"}']
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    report = take(warehouse, tmp_path / "a.jsonl", max_rejected_share=1, max_anonymous_share=1)
    assert rows_of(warehouse, "line, reason", "rejected") == [
        (3, "the line is no JSON object"),
        (4, "the line is no JSON object"),
        (5, "user_id is missing"),
        (6, "user_id is missing"),
    ]
    assert (report.read, report.kept) == (5, 1)


def test_a_report_that_does_not_add_up_cannot_be_made():
    with pytest.raises(RuntimeError, match=r"lost rows.*read 3 = kept 1 \+ duplicate 1 \+ rejected 0"):
        IngestReport("events", ("a.csv",), read=3, kept=1, duplicate=1, rejected=0)


def test_a_report_becomes_plain_json(warehouse, tmp_path):
    told = json.loads(json.dumps(take(warehouse, write_table(tmp_path / "a.csv", HEADER, [ANN])).to_dict()))
    assert (told["read"], told["kept"], told["sources"]) == (1, 1, [str(tmp_path / "a.csv")])


def test_an_as_of_without_a_zone_is_refused(warehouse, tmp_path):
    with pytest.raises(BadInput, match=r"as_of = .* has no zone\. Give one: as_of\.replace\(tzinfo=UTC\)"):
        take(warehouse, write_table(tmp_path / "a.csv", HEADER, [ANN]), as_of=AS_OF.replace(tzinfo=None))


# Further columns.

EXTRAS = ("user_id", "ts", "event", "Qty Sold", "sizeCm", "zip", "vip", "born", "note")
EXTRA_ROW = ("ann", "2024-05-01", "view", "3", "1.5", "01234", "true", "1990-02-03", "hello")


def test_further_columns_keep_their_types_and_take_names_in_snake_case(warehouse, tmp_path):
    take(warehouse, write_table(tmp_path / "a.csv", EXTRAS, [EXTRA_ROW]))
    types = warehouse.engine.columns(f"SELECT * FROM {warehouse.relation('events')}")
    extras = {name: types[name] for name in ("qty_sold", "size_cm", "zip", "vip", "born", "note")}
    assert extras == {
        "qty_sold": "BIGINT",
        "size_cm": "DOUBLE",
        "zip": "VARCHAR",
        "vip": "BOOLEAN",
        "born": "DATE",
        "note": "VARCHAR",
    }
    assert rows_of(warehouse, "zip, vip, qty_sold") == [("01234", True, 3)]


def test_parquet_s_own_types_survive(warehouse, tmp_path):
    row = {"user_id": [7], "ts": [datetime(2024, 5, 1)], "event": ["view"], "tags": [["a", "b"]], "score": [0.25]}  # noqa: DTZ001
    pl.DataFrame(row).with_columns(small=pl.lit(3, pl.Int8)).write_parquet(tmp_path / "a.parquet")
    take(warehouse, tmp_path / "a.parquet")
    assert rows_of(warehouse, "user_id, tags, score, small") == [("7", ["a", "b"], 0.25, 3)]
    types = warehouse.engine.columns(f"SELECT * FROM {warehouse.relation('events')}")
    assert (types["tags"], types["score"], types["small"]) == ("VARCHAR[]", "DOUBLE", "TINYINT")


def test_keep_chooses_and_types_declare(warehouse, tmp_path):
    file = write_table(tmp_path / "a.csv", EXTRAS, [EXTRA_ROW])
    take(warehouse, file, keep=("zip", "qty_sold"), types={"qty_sold": "DECIMAL(9,2)"})
    types = warehouse.engine.columns(f"SELECT * FROM {warehouse.relation('events')}")
    assert types["qty_sold"] == "DECIMAL(9,2)"
    assert set(types) >= {"zip", "qty_sold"}
    assert not set(types) & {"size_cm", "vip", "born", "note"}


def test_a_later_source_takes_the_types_that_the_table_has(warehouse, tmp_path):
    take(warehouse, write_table(tmp_path / "a.csv", EXTRAS, [EXTRA_ROW]))
    other = (*EXTRA_ROW[:3], "many", *EXTRA_ROW[4:])
    report = take(warehouse, write_table(tmp_path / "b.csv", EXTRAS, [other, EXTRA_ROW]), max_rejected_share=0.5)
    assert report.reasons == {"qty_sold is not BIGINT": 1}
    assert (report.kept, report.duplicate) == (0, 1)


def test_a_column_that_begins_as_numbers_and_goes_on_as_text_is_kept_as_text(warehouse, tmp_path):
    rows = [(f"u{n}", "2024-05-01", "view", str(n) if n < 25_000 else "many") for n in range(25_001)]
    report = take(warehouse, write_table(tmp_path / "a.csv", ("user_id", "ts", "event", "size"), rows))
    assert (report.kept, report.rejected) == (25_001, 0)
    assert any("'size' begins with values of one type and goes on with others" in note for note in report.notes)


def test_a_column_declared_as_text_keeps_what_came_though_it_begins_as_numbers(warehouse, tmp_path):
    names = ("user_id", "ts", "event", "note")
    rows = [("ann", "2024-05-01", "view", "1.50")] * 20_000 + [("ann", "2024-05-01", "view", "late word")]
    take(warehouse, write_table(tmp_path / "a.csv", names, rows), types={"note": "VARCHAR"})
    assert rows_of(warehouse, "DISTINCT note") == [("1.50",), ("late word",)]
    take(warehouse, write_table(tmp_path / "b.csv", names, rows[:1]))
    assert rows_of(warehouse, "count(*)") == [(20_001,)]


def test_a_new_column_leaves_the_identity_of_rows_without_it(warehouse, tmp_path):
    take(warehouse, write_table(tmp_path / "a.csv", HEADER, [ANN, BOB]))
    wider = write_table(tmp_path / "b.csv", (*HEADER, "via"), [(*ANN, ""), (*BOB, "web")])
    report = take(warehouse, wider)
    assert (report.kept, report.duplicate) == (1, 1)
    assert rows_of(warehouse, "user_id, via") == [("ann", None), ("bob", "web"), ("bob", None)]
