"""How many bad rows a source may have, and what is said when it has more."""

import pytest

from sojourn.core import BadInput, Locked, NotAWarehouse, TooManyRejected
from sojourn.warehouse import Warehouse
from tests.events.logs import stored, take, write_csv

GOOD = {"user_id": "ann", "ts": "2025-03-01 10:00", "amount": "5"}


def log(*, good: int, nameless: int = 0, bad: int = 0) -> list[dict[str, str | None]]:
    """Rows of each kind."""
    kinds: list[tuple[int, dict[str, str | None]]] = [(nameless, {"user_id": None}), (bad, {"ts": "never"})]
    rows: list[dict[str, str | None]] = [{**GOOD, "amount": str(n)} for n in range(good)]
    for count, fault in kinds:
        rows += [{**GOOD, **fault}] * count
    return rows


def test_a_twentieth_of_bad_rows_passes_and_one_more_refuses_all(warehouse, tmp_path):
    assert take(warehouse, write_csv(tmp_path / "some.csv", log(good=95, bad=5))).rejected == 5
    before = stored(warehouse)
    with pytest.raises(TooManyRejected) as refused:
        take(warehouse, write_csv(tmp_path / "many.csv", log(good=94, bad=6)))
    assert str(refused.value) == (
        f"6 of 100 rows of {tmp_path}/many.csv are bad (6.0%; max_rejected_share allows 5.0%); nothing was written. "
        '6 times: ts is not a time (first in line 96: {"user_id":"ann","ts":"never","amount":"5"}). '
        "Mend the source or the mapping, or allow them: --max-rejected-share 0.07"
    )
    assert stored(warehouse).equals(before)
    assert warehouse.frame("rejected").height == 5


def test_rows_without_a_user_are_common_and_have_a_share_of_their_own(warehouse, tmp_path):
    report = take(warehouse, write_csv(tmp_path / "guests.csv", log(good=75, nameless=25)))
    assert (report.kept, report.reasons) == (75, {"user_id is missing": 25})
    with pytest.raises(TooManyRejected, match=r"40 of 100 rows .* without a user .* --max-anonymous-share 0.41"):
        take(warehouse, write_csv(tmp_path / "more.csv", log(good=60, nameless=40)), max_anonymous_share=0.3)


def test_a_shop_with_half_of_its_sales_to_guests_is_taken_and_their_money_is_told(warehouse, tmp_path):
    report = take(warehouse, write_csv(tmp_path / "guests.csv", log(good=50, nameless=50)))
    assert report.conservation == "read 100 = kept 50 + duplicate 0 + rejected 50"
    assert (
        "50 of 100 rows (50.0%) have no user, as sales to guests have none, with 250.00 in amounts "
        "(the others: 1,225.00): they are rejected and count in no figure of users."
    ) in report.notes
    with pytest.raises(TooManyRejected, match=r"51 of 100 rows .* are without a user"):
        take(warehouse, write_csv(tmp_path / "more.csv", log(good=49, nameless=51)))


def test_a_share_can_be_allowed(warehouse, tmp_path):
    path = write_csv(tmp_path / "log.csv", log(good=1, nameless=5, bad=4))
    report = take(warehouse, path, max_rejected_share=0.4, max_anonymous_share=0.5)
    assert report.conservation == "read 10 = kept 1 + duplicate 0 + rejected 9"


def test_a_column_of_the_wrong_type_is_refused_with_what_it_holds(warehouse, tmp_path):
    rows = [{**GOOD, "amount": word} for word in ("five", "six", "n/a")]
    with pytest.raises(TooManyRejected, match=r"3 times: amount is no number .* \(first in line 2: .*five"):
        take(warehouse, write_csv(tmp_path / "words.csv", rows))
    rows = [{**GOOD, "ts": word} for word in ("soon", "later")]
    with pytest.raises(BadInput, match=r"'ts' does not look like times: 0 of 2 .* some are \['later', 'soon'\]"):
        take(warehouse, write_csv(tmp_path / "times.csv", rows))


def test_a_second_writer_is_told_who_holds_the_table(warehouse, tmp_path):
    path = write_csv(tmp_path / "log.csv", [GOOD])
    with warehouse.writing("events"), pytest.raises(Locked, match=r"Table 'events' .* is being written by process"):
        take(warehouse, path)
    assert take(warehouse, path).kept == 1


def test_a_folder_that_is_no_warehouse_is_told(tmp_path):
    with pytest.raises(NotAWarehouse, match="is no warehouse"):
        Warehouse.open(tmp_path)


def test_no_temporary_table_outlives_an_ingest(warehouse, tmp_path):
    take(warehouse, write_csv(tmp_path / "some.csv", log(good=95, bad=5)))
    with pytest.raises(TooManyRejected):
        take(warehouse, write_csv(tmp_path / "many.csv", log(good=1, bad=6)))
    assert warehouse.engine.rows("SELECT table_name FROM information_schema.tables") == []
