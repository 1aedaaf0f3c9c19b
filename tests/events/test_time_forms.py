"""Times as shops, logs, mail and spreadsheets write them are read without a format; a column of none is named."""

from datetime import UTC, datetime, timedelta

import pytest

from sojourn.core import BadInput, TooManyRejected
from tests.events.logs import stored, take, write_csv

START = datetime(2024, 1, 5, 10, 11, 12, tzinfo=UTC)
WRITTEN = {
    "a zone after a space": lambda t: f"{t - timedelta(hours=5):%Y-%m-%d %H:%M:%S} -0500",
    "no offset after a space": lambda t: f"{t:%Y-%m-%d %H:%M:%S} +0000",
    "slashes and a zone": lambda t: f"{t:%Y/%m/%d %H:%M:%S} UTC",
    "seven digits": lambda t: f"{t:%Y-%m-%d %H:%M:%S}.0000009",
    "nine digits": lambda t: f"{t:%Y-%m-%dT%H:%M:%S}.000000999",
    "nine digits and a zone": lambda t: f"{t:%Y-%m-%dT%H:%M:%S}.000000999+00:00",
    "compact": lambda t: f"{t:%Y%m%d%H%M%S}",
    "mail": lambda t: f"{t:%a, %d %b %Y %H:%M:%S} GMT",
    "mail with an offset": lambda t: f"{t + timedelta(hours=2):%a, %d %b %Y %H:%M:%S} +0200",
    "a log": lambda t: f"{t:%a %b %d %H:%M:%S %Y} +0000",
    "a feed": lambda t: f"{t:%a %b %d %H:%M:%S} +0000 {t:%Y}",
    "a spreadsheet": lambda t: str((t - datetime(1899, 12, 30, tzinfo=UTC)) / timedelta(days=1)),
    "nanoseconds": lambda t: f"{int(t.timestamp())}000000000",
    "a whole number with a point": lambda t: f"{int(t.timestamp())}.0",
}


@pytest.mark.parametrize("form", WRITTEN)
def test_a_time_is_the_same_however_it_is_written(warehouse, tmp_path, form):
    times = [START + timedelta(days=day, seconds=day) for day in range(30)]
    log = [{"user_id": "ann", "order_date": WRITTEN[form](time), "amount": "1"} for time in times]
    take(warehouse, write_csv(tmp_path / "log.csv", log))
    assert sorted(stored(warehouse)["ts"]) == times


@pytest.mark.parametrize("written", ["20240105", "20240105.0"])
def test_a_compact_date_is_a_date(warehouse, tmp_path, written):
    take(warehouse, write_csv(tmp_path / "log.csv", [{"user_id": "ann", "date": written, "amount": "1"}]))
    assert stored(warehouse)["ts"].to_list() == [datetime(2024, 1, 5, tzinfo=UTC)]


@pytest.mark.parametrize(("column", "value"), [("order_date", "12345"), ("order_date", "75000")])
def test_numbers_that_no_spreadsheet_has_for_a_day_are_no_times(warehouse, tmp_path, column, value):
    path = write_csv(tmp_path / "log.csv", [{"user_id": "ann", column: value, "amount": "1"}])
    with pytest.raises(BadInput, match=r"does not look like times: .* Read are ISO times"):
        take(warehouse, path)


def test_a_number_is_a_day_only_in_a_column_named_like_a_date(warehouse, tmp_path):
    path = write_csv(tmp_path / "log.csv", [{"user_id": "ann", "postcode": "45000", "amount": "1"}])
    with pytest.raises(BadInput, match="'postcode' does not look like times"):
        take(warehouse, path, columns={"ts": "postcode"})


def test_where_nearly_all_rows_are_bad_the_column_is_named_and_no_share_is_offered(warehouse, tmp_path):
    log = [{"user_id": "ann", "order_date": f"2024-{n}-01", "amount": "1"} for n in (12, 13, 14, 15, 16)]
    path = write_csv(tmp_path / "log.csv", log)
    with pytest.raises(TooManyRejected) as refused:
        take(warehouse, path)
    assert "4 times: ts is not a time (first in line 3: " in str(refused.value)
    assert "Column 'order_date' has '2024-13-01' there. Read are ISO times" in str(refused.value)
    assert "2024-13" not in refused.value.plain
    assert "--map ts='COLUMN', or give its format: --time-format" in str(refused.value)
    assert "max-rejected-share" not in str(refused.value)
