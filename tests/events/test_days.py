"""Times of any form become instants in UTC, and instants become business days."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from sojourn.core import BadInput
from sojourn.warehouse import EngineSpec, Warehouse, WarehouseSpec
from tests.events.logs import rows_of, take, write_table

HEADER = ("user_id", "ts", "event", "item_id", "amount")
INSTANTS = [datetime(2024, 3, 30, tzinfo=UTC) + timedelta(minutes=30 * n) for n in range(96)]
INSTANTS += [datetime(2024, 10, 26, 20, tzinfo=UTC) + timedelta(minutes=30 * n) for n in range(96)]


@pytest.mark.parametrize("zone", ["Europe/Paris", "America/New_York", "Asia/Kathmandu", "UTC"])
def test_the_day_is_the_local_date_in_the_warehouse_s_zone_on_both_sides_of_a_clock_change(tmp_path, zone):
    warehouse = Warehouse.create(tmp_path / "w", WarehouseSpec(zone=zone), engine=EngineSpec(threads=1))
    rows = [(f"u{n:03d}", when.isoformat(), "view", "", "") for n, when in enumerate(INSTANTS)]
    take(warehouse, write_table(tmp_path / "a.csv", HEADER, rows))
    expected = [(f"u{n:03d}", when.astimezone(ZoneInfo(zone)).date()) for n, when in enumerate(INSTANTS)]
    assert rows_of(warehouse, "user_id, day") == expected
    stored_days = {info.partition["day"] for info in warehouse.partitions("events")}
    assert stored_days == {str(each) for _, each in expected}


def test_a_zone_column_gives_each_row_the_day_of_its_own_zone(warehouse, tmp_path):
    zones = ("Asia/Tokyo", "America/Los_Angeles", "UTC", "Mars/Olympus")
    rows = [(zone, "2024-05-01T20:00:00Z", "view", zone) for zone in zones]
    file = write_table(tmp_path / "a.csv", ("user_id", "ts", "event", "zone"), rows)
    report = take(warehouse, file, columns={"zone": "zone"}, max_rejected_share=0.5)
    assert report.reasons == {"zone is unknown": 1}
    assert dict(rows_of(warehouse, "user_id, day")) == {
        "Asia/Tokyo": date.fromisoformat("2024-05-02"),
        "America/Los_Angeles": date.fromisoformat("2024-05-01"),
        "UTC": date.fromisoformat("2024-05-01"),
    }


def test_times_without_a_zone_take_the_declared_one_else_utc_and_the_report_says_so(tmp_path):
    file = write_table(tmp_path / "a.csv", HEADER, [("ann", "2024-07-01 00:30:00", "view", "", "")])
    expected = {None: "2024-07-01 00:30", "Europe/Paris": "2024-06-30 22:30"}
    for zone, instant in expected.items():
        warehouse = Warehouse.create(tmp_path / f"{zone}".replace("/", "-"))
        report = take(warehouse, file, time_zone=zone)
        assert rows_of(warehouse, "strftime(ts, '%Y-%m-%d %H:%M')") == [(instant,)]
        said = "in Europe/Paris, as declared" if zone else "in UTC, since no zone is declared"
        assert any(said in note for note in report.notes)


def test_a_local_time_that_a_clock_change_skips_or_repeats_is_still_one_instant(tmp_path, warehouse):
    rows = [("skipped", "2024-03-31 02:30:00", "view", "", ""), ("repeated", "2024-10-27 02:30:00", "view", "", "")]
    take(warehouse, write_table(tmp_path / "a.csv", HEADER, rows), time_zone="Europe/Paris")
    assert dict(rows_of(warehouse, "user_id, strftime(ts, '%m-%d %H:%M')")) == {
        "skipped": "03-31 01:30",
        "repeated": "10-27 01:30",
    }


@pytest.mark.parametrize(
    ("text", "time_format"),
    [
        ("1714557600", None),
        ("1714557600000", None),
        ("1714557600", "s"),
        ("2024-05-01T12:00:00+02:00", None),
        ("2024-05-01 10:00", None),
        ("05/01/2024 10:00", "%m/%d/%Y %H:%M"),
        ("31.05.2024 10:00", None),
    ],
)
def test_times_are_read_in_whatever_form_they_come(warehouse, tmp_path, text, time_format):
    take(warehouse, write_table(tmp_path / "a.csv", HEADER, [("ann", text, "view", "", "")]), time_format=time_format)
    [(found,)] = rows_of(warehouse, "strftime(ts, '%d %H:%M')")
    assert found == ("31 10:00" if text.startswith("31") else "01 10:00")


def test_dates_that_could_be_read_in_two_ways_are_not_guessed(warehouse, tmp_path):
    file = write_table(tmp_path / "a.csv", ("user_id", "ts"), [("ann", "05/04/2024"), ("ann", "05/05/2024")])
    with pytest.raises(BadInput, match=r"can be read as '%m/%d/%Y' or '%d/%m/%Y', and no value settles it"):
        take(warehouse, file)
    settled = write_table(tmp_path / "b.csv", ("user_id", "ts"), [("ann", "05/04/2024"), ("ann", "25/04/2024")])
    take(warehouse, settled)
    assert rows_of(warehouse, "day") == [(date.fromisoformat("2024-04-05"),), (date.fromisoformat("2024-04-25"),)]
