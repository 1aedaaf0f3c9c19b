"""What a guessed amount leaves out is said, with the mapping that takes it in; pieces that came back are taken off."""

import re
import shlex

import pytest

from tests.events.logs import stored, take, write_csv

LINE = {"user_id": "ann", "date": "2025-03-01"}


def offered(notes, column: str) -> str:
    """The mapping of the amount that the sentence on this column offers, as a shell would pass it."""
    [note] = [note for note in notes if repr(column) in note and "--map amount" in note]
    quoted = re.search(r"--map (amount='[^']*'|amount=\"(?:[^\"\\]|\\.)*\")", note)
    assert quoted is not None, note
    return shlex.split(quoted[1])[0].removeprefix("amount=")


@pytest.mark.parametrize(
    ("column", "values", "net"),
    [
        ("discount", ("0.25", "0"), 35),
        ("discount", ("3", "0"), 37),
        ("RETAIL_DISC", ("-3", "0"), 37),
        ("Discount Percent", ("25", "0"), 35),
        ("Rabatt", ("3", ""), 37),
    ],
)
def test_a_discount_beside_a_price_is_told_with_a_mapping_that_takes_it_off(warehouse, tmp_path, column, values, net):
    log = [{**LINE, "quantity": 2, "unit_price": "10.00", column: value} for value in values]
    path = write_csv(tmp_path / "log.csv", log)
    report = take(warehouse, path)
    assert stored(warehouse)["amount"].sum() == 40
    mapping = offered(report.notes, column)
    take(warehouse, path, columns={"amount": mapping, "event": "'net'"})
    again = stored(warehouse)
    assert float(again.filter(again["event"] == "net")["amount"].sum()) == net


def test_a_total_has_its_discount_off_already(warehouse, tmp_path):
    report = take(warehouse, write_csv(tmp_path / "log.csv", [{**LINE, "total": "10.00", "discount": "2"}]))
    assert not any("discount" in note for note in report.notes)


def test_pieces_that_came_back_are_taken_off(warehouse, tmp_path):
    log = [{**LINE, "sale_price": "10.00", "qty_sold": 2, "qty_returned": back} for back in ("0", "1", "", "2")]
    report = take(warehouse, write_csv(tmp_path / "log.csv", log))
    assert sorted(stored(warehouse)["amount"].cast(float)) == [0, 10, 20, 20]
    assert "Pieces that came back, 'qty_returned', are taken off 'qty_sold'." in report.notes


def test_pieces_that_came_back_beside_a_total_are_told(warehouse, tmp_path):
    log = [{**LINE, "total": "20.00", "quantity": 2, "qty_returned": back} for back in ("0", "1")]
    path = write_csv(tmp_path / "log.csv", log)
    mapping = offered(take(warehouse, path).notes, "qty_returned")
    assert stored(warehouse)["amount"].sum() == 40
    take(warehouse, path, columns={"amount": mapping, "event": "'net'"})
    again = stored(warehouse)
    assert again.filter(again["event"] == "net")["amount"].sum() == 30


@pytest.mark.parametrize(
    ("amounts", "currency", "told"),
    [
        (("1999", "999"), "usd", True),
        (("1999", "999.5"), "usd", False),
        (("1999", "999"), "JPY", False),
        (("9", "99"), "usd", False),
    ],
)
def test_whole_amounts_beside_a_currency_may_be_cents(warehouse, tmp_path, amounts, currency, told):
    log = [{**LINE, "amount": amount, "currency": currency, "status": "paid"} for amount in amounts]
    log.append({**log[0], "status": "failed"})
    path = write_csv(tmp_path / "log.csv", log)
    report = take(warehouse, path)
    assert any("If they are cents" in note for note in report.notes) == told
    if told:
        take(warehouse, path, columns={"amount": offered(report.notes, "currency"), "event": "'cents'"})
        again = stored(warehouse)
        assert float(again.filter(again["event"] == "cents")["amount"].sum()) == 29.98
