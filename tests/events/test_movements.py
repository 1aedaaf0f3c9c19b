"""What other columns say of a row decides the sign of its amount: refunds, cancellations, views, credit notes."""

import polars as pl
import pytest

from tests.events.logs import stored, take, write_csv

USUAL = {"user_id": "ann", "ts": "2025-03-01 10:00"}


def amounts(warehouse, *key: str) -> dict[object, float]:
    """The sum of amounts by these columns."""
    found = stored(warehouse).group_by(*key).agg(amount=pl.col("amount").sum().cast(float))
    return {row[0] if len(key) == 1 else row[:-1]: row[-1] for row in found.iter_rows()}


def rows(column: str, words: list[str], *, total: str = "8.00", **more: str) -> list[dict[str, object]]:
    """A row for each word, with the same total."""
    return [{**USUAL, "item": f"i{n}", column: word, "total": total, **more} for n, word in enumerate(words)]


@pytest.mark.parametrize("column", ["type", "transaction_type", "event_name", "TxnType", "action"])
def test_money_that_goes_back_is_negative_whatever_its_sign_was(warehouse, tmp_path, column):
    log = rows(column, ["sale", "Sale", "sale", "Refund", "chargeback"])
    log += rows(column, ["Partial refund"], total="-2.00")
    report = take(warehouse, write_csv(tmp_path / "log.csv", log))
    assert amounts(warehouse, "event") == {"sale": 16, "Sale": 8, "Refund": -8, "chargeback": -8, "Partial refund": -2}
    said = f"Rows with 'Refund' or 'chargeback' in {column!r} have a negative amount: money went back."
    assert said in report.notes
    assert "--map amount='total' takes amounts as they are." in report.notes


def test_orders_that_were_called_off_come_to_nothing_and_keep_their_status(warehouse, tmp_path):
    log = rows("order_status", ["delivered"] * 4 + ["canceled", "Refunded", "returned"])
    report = take(warehouse, write_csv(tmp_path / "log.csv", log))
    found = amounts(warehouse, "order_status")
    assert found == {"delivered": 32, "canceled": 0, "Refunded": 0, "returned": 0}
    said = "have amount 0: the sale was called off or taken back."
    assert any(note.endswith(said) and "'Refunded' or 'canceled' or 'returned'" in note for note in report.notes)


@pytest.mark.parametrize(("column", "word"), [("status", "refunded"), ("type", "cancellation")])
def test_rows_that_take_back_an_earlier_sale_of_the_same_amount_are_movements_of_their_own(
    warehouse, tmp_path, column, word
):
    sold = rows(column, ["sale"] * 6)
    back = [{**row, "ts": "2025-03-02 10:00", column: word} for row in sold[:2]]
    report = take(warehouse, write_csv(tmp_path / "log.csv", [*sold, *back]))
    assert stored(warehouse)["amount"].sum() == 32
    said = (
        f"Rows with {word!r} in {column!r} have a negative amount: most take back an earlier sale of the same amount."
    )
    assert said in report.notes


def test_rows_before_their_twin_take_nothing_back(warehouse, tmp_path):
    sold = rows("status", ["sale"] * 6)
    back = [{**row, "ts": "2025-02-02 10:00", "status": "refunded"} for row in sold[:2]]
    take(warehouse, write_csv(tmp_path / "log.csv", [*sold, *back]))
    assert stored(warehouse)["amount"].sum() == 48


@pytest.mark.parametrize(("number", "back"), [("own", 0), ("the sale's", -16)])
def test_an_order_with_a_number_of_its_own_is_no_movement(warehouse, tmp_path, number, back):
    sold = [{**row, "order_id": f"o{n}"} for n, row in enumerate(rows("status", ["sale"] * 6))]
    again = {"ts": "2025-03-02 10:00", "status": "refunded"}
    returned = [
        {**row, **again, **({"order_id": f"r{n}"} if number == "own" else {})} for n, row in enumerate(sold[:2])
    ]
    take(warehouse, write_csv(tmp_path / "log.csv", [*sold, *returned]))
    assert amounts(warehouse, "status") == {"sale": 48, "refunded": back}


@pytest.mark.parametrize("word", ["failed", "voided", "declined", "canceled", "pending", "open", "refunded"])
def test_a_subscription_whose_price_repeats_is_never_negative(warehouse, tmp_path, word):
    log = [
        {"user_id": f"u{n % 9}", "ts": f"2025-0{n // 9 % 4 + 1}-0{n % 9 + 1}", "status": "paid", "amount": "9.99"}
        for n in range(120)
    ]
    for row in log[3::10]:
        row["status"] = word
    take(warehouse, write_csv(tmp_path / "log.csv", log))
    assert amounts(warehouse, "status") == {"paid": pytest.approx(108 * 9.99), word: 0}


def test_sales_that_mostly_wait_count(warehouse, tmp_path):
    report = take(warehouse, write_csv(tmp_path / "log.csv", rows("status", ["open"] * 3 + ["closed"])))
    assert stored(warehouse)["amount"].sum() == 32
    assert "Most rows say 'open' in 'status': they are not taken for sales that are not paid yet." in report.notes


def test_a_part_that_went_back_is_told_where_nothing_says_how_much(warehouse, tmp_path):
    report = take(warehouse, write_csv(tmp_path / "log.csv", rows("status", ["paid", "paid", "partially_refunded"])))
    assert stored(warehouse)["amount"].sum() == 24
    assert any("gave back a part that no column tells" in note for note in report.notes)


@pytest.mark.parametrize(
    ("column", "no", "yes", "back"),
    [("is_return", "0", "1", -8), ("is_refund", "false", "true", -8), ("Cancelled", "no", "yes", 0)],
)
def test_a_yes_says_the_same_as_a_word(warehouse, tmp_path, column, no, yes, back):
    take(warehouse, write_csv(tmp_path / "log.csv", rows(column, [no, no, no, yes])))
    assert sorted(stored(warehouse)["amount"].cast(float)) == sorted([8, 8, 8, back])


def test_credit_notes_are_negative_where_their_totals_are_not(warehouse, tmp_path):
    log = [
        row | {"Invoice": number} for row, number in zip(rows("x", ["a"] * 3), ("5001", "C5002", "5003"), strict=True)
    ]
    take(warehouse, write_csv(tmp_path / "log.csv", log))
    assert amounts(warehouse, "invoice") == {"5001": 8, "C5002": -8, "5003": 8}


def test_other_forms_of_numbers_say_nothing(warehouse, tmp_path):
    log = [
        row | {"Invoice": number} for row, number in zip(rows("x", ["a"] * 3), ("5001", "C5002", "AB-3"), strict=True)
    ]
    take(warehouse, write_csv(tmp_path / "log.csv", log))
    assert stored(warehouse)["amount"].sum() == 24


def test_amounts_that_are_signed_already_stay_and_nothing_is_said(warehouse, tmp_path):
    log = [*rows("type", ["sale", "sale"]), *rows("type", ["refund"], total="-8.00"), *rows("type", ["view"], total="")]
    report = take(warehouse, write_csv(tmp_path / "log.csv", log))
    assert report.columns["amount"] == "total"
    assert amounts(warehouse, "event") == {"sale": 16, "refund": -8, "view": 0}
    assert stored(warehouse)["amount"].null_count() == 1


def test_a_word_that_most_rows_bear_is_not_money_that_goes_back(warehouse, tmp_path):
    report = take(warehouse, write_csv(tmp_path / "log.csv", rows("type", ["return"] * 3 + ["single"])))
    assert stored(warehouse)["amount"].sum() == 32
    assert "Most rows say 'return' in 'type': they are not taken for money that goes back." in report.notes


def test_a_refund_that_comes_after_the_sample_is_found_too(warehouse, tmp_path):
    log = rows("type", ["sale"] * 20_010 + ["refund"])
    take(warehouse, write_csv(tmp_path / "log.csv", log))
    assert amounts(warehouse, "event") == {"sale": 160_080, "refund": -8}


def test_an_amount_that_is_declared_is_taken_as_it_is(warehouse, tmp_path):
    path = write_csv(tmp_path / "log.csv", rows("type", ["sale", "refund"]))
    take(warehouse, path, columns={"amount": "total"})
    assert stored(warehouse)["amount"].sum() == 16


@pytest.mark.parametrize("column", ["refund_amount", "Refunded Amount", "amount_refunded", "refund_total"])
@pytest.mark.parametrize("sign", ["", "-"])
def test_money_given_back_in_a_column_of_its_own_is_taken_off_once(warehouse, tmp_path, column, sign):
    log = rows("status", ["paid"] * 5 + ["refunded", "partially refunded", "failed"])
    for row, back in zip(log, ["0"] * 4 + ["", f"{sign}8.00", f"{sign}2.00", "0"], strict=True):
        row[column] = back
    report = take(warehouse, write_csv(tmp_path / "log.csv", log))
    assert amounts(warehouse, "status") == {"paid": 40, "refunded": 0, "partially refunded": 6, "failed": 0}
    [told] = [note for note in report.notes if column in note]
    assert told == f"amount is less by what was given back, {column!r} (--map amount='total' takes it whole)."


def test_what_a_net_amount_has_off_already_is_not_taken_off_again(warehouse, tmp_path):
    log = [{**USUAL, "net_amount": "8.00", "refund_amount": "2.00"}]
    report = take(warehouse, write_csv(tmp_path / "log.csv", log))
    assert stored(warehouse)["amount"].sum() == 8
    assert "'net_amount' is taken to be less 'refund_amount' already." in report.notes


def test_more_money_back_than_came_in_is_another_thing(warehouse, tmp_path):
    log = [{**USUAL, "total": "8.00", "refund_amount": "200.00"}, {**USUAL, "total": "9.00", "refund_amount": "3.00"}]
    report = take(warehouse, write_csv(tmp_path / "log.csv", log))
    assert stored(warehouse)["amount"].sum() == 17
    assert any("'refund_amount' may hold money that was given back" in note for note in report.notes)


def test_a_log_without_an_amount_says_so(warehouse, tmp_path):
    report = take(warehouse, write_csv(tmp_path / "log.csv", [{**USUAL, "event": "purchase"}]))
    assert any(note.startswith("No column is named like an amount of money") for note in report.notes)


def test_two_columns_that_hold_the_same_are_no_riddle(warehouse, tmp_path):
    log = [{**USUAL, "total": "5", "revenue": "5"}, {**USUAL, "total": "7", "revenue": "7"}]
    report = take(warehouse, write_csv(tmp_path / "log.csv", log))
    assert "amount is read from 'total', which 'revenue' equals." in report.notes
    assert stored(warehouse)["amount"].sum() == 12
