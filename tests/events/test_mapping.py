"""Columns are mapped as declared, guessed only from common names, and refused where a guess would be a gamble."""

import pytest

from sojourn.core import BadSpec, MissingColumn
from sojourn.events import IngestSpec, ingest
from sojourn.events._names import GUESSED, snake
from tests.events.logs import AS_OF, stored, take, write_csv

IN_UTC = "Times in ts without a zone are read in UTC, since no zone is declared (--time-zone)."
RETAIL = {
    "InvoiceNo": "536365",
    "StockCode": "85123A",
    "Description": "HOLDER",
    "Quantity": "6",
    "InvoiceDate": "12/13/2010 8:26",
    "UnitPrice": "2.55",
    "Customer ID": "17850",
    "Country": "France",
}


def test_an_invoice_log_is_understood_without_a_mapping_and_every_guess_is_told(warehouse, tmp_path):
    back = {**RETAIL, "InvoiceNo": "C536366", "Quantity": "-1", "InvoiceDate": "12/1/2010 8:26"}
    report = take(warehouse, write_csv(tmp_path / "retail.csv", [RETAIL, RETAIL, back]))
    found = stored(warehouse)
    assert found["amount"].cast(float).to_list() == [-2.55, 15.3, 15.3]
    assert set(found["event"]) == {"purchase"}
    assert {"invoice_no", "description", "quantity", "unit_price", "country"} < set(found.columns)
    assert found["quantity"].to_list() == [-1, 6, 6]
    assert report.notes == (
        "user_id is read from column 'Customer ID'.",
        "ts is read from column 'InvoiceDate'.",
        "item_id is read from column 'StockCode'.",
        'amount is "Quantity" * "UnitPrice".',
        "No column names the event; each row is taken for 'purchase'.",
        "Times are read as '%m/%d/%Y %H:%M'. " + IN_UTC,
    )
    assert report.columns["amount"] == '"Quantity" * "UnitPrice"'


def test_a_total_goes_before_quantity_times_price(warehouse, tmp_path):
    row = {"user_id": "a", "ts": "2025-03-01", "quantity": "3", "price": "2", "revenue": "5"}
    report = take(warehouse, write_csv(tmp_path / "log.csv", [row]))
    assert report.columns["amount"].endswith('ELSE "revenue" END')
    assert stored(warehouse)["amount"].cast(float).to_list() == [5]


def test_a_positive_total_of_a_negative_quantity_is_a_return(warehouse, tmp_path):
    row = {"user_id": "a", "ts": "2025-03-01", "quantity": "-3", "revenue": "5.25"}
    back = {"user_id": "a", "ts": "2025-03-02", "quantity": "-1", "revenue": "-2"}
    take(warehouse, write_csv(tmp_path / "log.csv", [row, back]))
    assert sorted(stored(warehouse)["amount"].cast(float)) == [-5.25, -2]


def test_a_price_beside_a_view_is_nothing_and_beside_a_refund_a_negative_one(warehouse, tmp_path):
    amounts = {"view": 0.0, "cart": 0.0, "purchase": 7.0, "refund": -7.0}
    rows = [{"user_id": "a", "event_time": "2025-03-01", "event_type": event, "price": "7"} for event in amounts]
    take(warehouse, write_csv(tmp_path / "log.csv", rows))
    found = stored(warehouse)
    assert dict(zip(found["event"], found["amount"].cast(float), strict=True)) == amounts


def test_a_declared_column_goes_before_any_guess_and_an_empty_one_is_left_out(warehouse, tmp_path):
    row = {"user_id": "a", "buyer": "b", "ts": "2025-03-01", "amount": "5", "event_id": "1"}
    columns = {"user_id": "buyer", "amount": "", "event": "'seen'", "twice": "CAST(amount AS INTEGER) * 2"}
    take(warehouse, write_csv(tmp_path / "log.csv", [row]), columns=columns)
    found = stored(warehouse).row(0, named=True)
    assert (found["user_id"], found["event"], found["amount"], found["twice"]) == ("b", "seen", None, 10)
    assert found["source_user_id"] == "a"
    assert (found["source_amount"], found["event_id"]) == (5, "1")


def test_keep_takes_those_columns_alone(warehouse, tmp_path):
    path = write_csv(tmp_path / "retail.csv", [RETAIL])
    take(warehouse, path, keep=("country",))
    assert "country" in stored(warehouse).columns
    assert "description" not in stored(warehouse).columns
    with pytest.raises(MissingColumn, match=r"keep names column 'contry', which .* Did you mean 'Country'\?"):
        take(warehouse, path, keep=("contry",))


def test_a_name_that_is_taken_is_kept_under_another_and_told(warehouse, tmp_path):
    row = {"user_id": "a", "ts": "2025-03-01", "day": "Saturday", "superseded_at": "x"}
    report = take(warehouse, write_csv(tmp_path / "log.csv", [row]))
    assert stored(warehouse)["source_day"].to_list() == ["Saturday"]
    assert "Column 'day' is kept as 'source_day'; 'day' is taken." in report.notes


REFUSED = [
    ({"user_id": "Customer"}, MissingColumn, r"columns.user_id = 'Customer' .* Did you mean 'Customer ID'\?"),
    ({"amount": "Quantity * Prize"}, MissingColumn, r"names column 'Prize', which .* Did you mean 'UnitPrice'\?"),
    ({"amount": "Quantity * xyz"}, MissingColumn, r"names column 'xyz', which the source lacks; .* Map one of these"),
    ({"amount": "Quantity *"}, BadSpec, r"columns.amount = 'Quantity \*' is neither a column of the source nor SQL"),
    ({"amount": "Quantity * Country"}, BadSpec, r"cannot be computed: .* The types are {'Quantity': 'BIGINT', 'Coun"),
    ({"amount": "nosuch(Quantity)"}, BadSpec, r"columns.amount = .* cannot be computed: .*nosuch"),
    ({"day": "Country"}, BadSpec, r"column 'day' of table 'events' is made by Sojourn"),
    ({"Amount": "Quantity"}, BadSpec, r"'Amount' cannot be a column's name"),
]


@pytest.mark.parametrize(("columns", "error", "sentence"), REFUSED, ids=[str(case[0]) for case in REFUSED])
def test_a_mapping_that_does_not_fit_is_refused_in_one_sentence(warehouse, tmp_path, columns, error, sentence):
    path = write_csv(tmp_path / "retail.csv", [RETAIL])
    with pytest.raises(error, match=sentence):
        take(warehouse, path, columns=columns)
    assert warehouse.tables() == []


AMBIGUOUS = [
    ({"user_id": "a", "date": "2025-03-01", "day": "2025-03-02"}, r"'ts' .* could be any of \['date', 'day'\]"),
    ({"user_id": "a", "ts": "2025-03-01", "revenue": "1", "total": "2"}, r"'amount' .* \['total', 'revenue'\]"),
    ({"member_id": "a", "account_id": "b", "ts": "2025-03-01"}, r"'user_id' .* \['member_id', 'account_id'\]"),
]


@pytest.mark.parametrize(("row", "sentence"), AMBIGUOUS, ids=[",".join(case[0]) for case in AMBIGUOUS])
def test_two_equally_likely_columns_are_not_guessed_between(warehouse, tmp_path, row, sentence):
    with pytest.raises(BadSpec, match=f"Column {sentence}. Choose: --map"):
        take(warehouse, write_csv(tmp_path / "log.csv", [row]))


@pytest.mark.parametrize("declared", [{}, {"ts": "date || ' ' || time"}], ids=["guessed", "as proposed"])
def test_a_date_beside_a_clock_is_one_time(warehouse, tmp_path, declared):
    path = write_csv(tmp_path / "log.csv", [{"user_id": "a", "time": "10:30", "date": "2025-03-01"}])
    report = take(warehouse, path, columns=declared)
    assert ("ts is made of 'date' and 'time'." in report.notes) == (not declared)
    assert stored(warehouse)["ts"].dt.to_string("iso:strict").to_list() == ["2025-03-01T10:30:00.000000+00:00"]


def test_a_needed_column_that_no_name_suggests_is_asked_for(warehouse, tmp_path):
    path = write_csv(tmp_path / "log.csv", [{"usr": "a", "moment": "2025-03-01"}])
    with pytest.raises(MissingColumn, match=r"Table 'events' needs 'user_id' and 'ts', .* Map it: --map user_id="):
        take(warehouse, path)


def test_an_id_is_guessed_only_from_a_name_that_says_event():
    assert GUESSED["events"]["event_id"] == (("event_id",), ("event_uuid", "insert_id"))


@pytest.mark.parametrize(
    ("table", "row", "needed"),
    [
        ("users", {"country": "FR"}, "user_id"),
        ("items", {"title": "x"}, "item_id"),
        ("costs", {"day": "2025-03-01", "channel": "ads"}, "amount"),
    ],
)
def test_each_table_asks_for_what_it_needs(warehouse, tmp_path, table, row, needed):
    with pytest.raises(MissingColumn, match=f"Table '{table}' needs '{needed}'"):
        take(warehouse, write_csv(tmp_path / "log.csv", [row]), table=table)


def test_a_query_with_its_columns_named_as_ours_needs_no_mapping(warehouse):
    spec = IngestSpec(query="SELECT 'a' AS user_id, TIMESTAMPTZ '2025-03-01' AS ts, 'buy' AS event, 1.5 AS amount")
    report = ingest(warehouse, spec, as_of=AS_OF)
    assert report.notes == ()


def test_snake_case_is_its_own_snake_case():
    for name in ("InvoiceNo", "Customer ID", "HTTPStatus", "a__b", "9lives", "prix €"):
        assert snake(snake(name)) == snake(name)


NAMES_OF_OURS = (
    *("h", "hit", "place", "stored", "versions", "together", "first", "line", "reason", "raw", "source", "mix", "name"),
    *("k", "x", "n", "w", "days", "old", "new", "shift", "after", "bucket", "part", "files", "broken", "rows", "rowid"),
    *("select", "order", "group", "table", "all", "from", "user", "end", "case"),
)


@pytest.mark.parametrize(("table", "key"), [("events", "event_id"), ("items", "item_id"), ("users", "user_id")])
def test_columns_of_any_name_come_through_corrections_and_rejects(warehouse, tmp_path, table, key):
    row: dict[str, object] = {"user_id": "ann", "ts": "2025-03-01", key: "1", **{name: name for name in NAMES_OF_OURS}}
    extra = [{**row, key: "2"}, {**row, key: "2", "place": "elsewhere"}, {**row, key: None}]
    for file, rows in (("a.csv", [row, row]), ("b.csv", [{**row, "hit": "other"}, *extra])):
        take(warehouse, write_csv(tmp_path / file, rows), table=table, max_rejected_share=0.5)
    found = warehouse.frame(table)
    assert found.height >= 2
    assert set(found["source_rowid"]) == {"rowid"}
    for name in set(NAMES_OF_OURS) - {"hit", "place", "user", "rowid"}:
        assert set(found[name]) == {name}, name
    assert warehouse.frame("rejected")["line"].to_list() == [5]
