"""`sojourn rollup` on the command line: one line of result, exit 2 and one sentence for a mistake."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sojourn.cli import main
from sojourn.warehouse import Warehouse
from tests.rollups.logs import put_events
from tests.rollups.test_partials import log

Run = Callable[..., tuple[int, str, str]]
SETTINGS = """
[rollups.pay]
windows_days = [1, 3]
[rollups.pay.aggregates.spend]
function = "sum"
expression = "amount"
where = "event = 'pay'"
"""


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Run the program in an empty folder: its exit status, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def _run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["sojourn", *arguments])
        status = 0
        try:
            main()
        except SystemExit as end:
            status = int(end.code or 0)
        told = capsys.readouterr()
        return status, told.out, told.err

    return _run


@pytest.fixture
def shop(tmp_path: Path) -> Warehouse:
    """A warehouse in the default folder, with a rollup declared in the settings."""
    (tmp_path / "sojourn.toml").write_text(SETTINGS)
    warehouse = Warehouse.create(tmp_path / "warehouse")
    put_events(warehouse, log())
    return warehouse


def test_backfill_and_advance_say_what_they_did(run, shop):
    status, out, err = run("rollup", "backfill", "--from", "2024-05-03", "--to", "2024-05-06")
    assert (status, err) == (0, "")
    assert out.startswith("rollup_pay: 3 days built, 0 current, 0 dropped, 0 weeks and months merged (definition ")
    status, out, _ = run("rollup", "advance", "--day", "2024-05-07")
    assert status == 0
    assert "rollup_pay: 2 days built, 1 current, 0 dropped" in out
    assert out.endswith("windows_pay: 3 rows as of 2024-05-08, read from partials\n")
    assert run("rollup", "advance", "--day", "2024-05-07", "--name", "pay")[1].endswith("current\n")
    assert shop.tables() == ["events", "rollup_pay", "windows_pay"]


def test_a_changed_definition_needs_the_word_rebuild(run, shop, tmp_path):
    run("rollup", "backfill")
    (tmp_path / "sojourn.toml").write_text(SETTINGS.replace('"amount"', '"2 * amount"'))
    status, out, err = run("rollup", "backfill")
    assert (status, out) == (2, "")
    assert err.startswith("sojourn: Table 'rollup_pay' holds partials of another definition: ")
    assert run("rollup", "backfill", "--rebuild")[1].startswith("rollup_pay: 12 days built")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("backfill", "--name", "other"), "There is no rollup 'other'; there are pay. Declare [rollups.other] in"),
        (("backfill", "--rebuild", "--to", "2024-05-06"), "--rebuild replaces partials over all history. Leave out"),
        (("advance", "--day", "2024-06-01"), "Table 'events' has no row on business day 2024-06-01; its days end with"),
        (("advance", "--day", "2024-05-02"), "3 days before 2024-05-03 are needed and there are 2; history begins on"),
        (("backfill", "--warehouse", "nowhere"), "is no warehouse: it does not exist. Make one: sojourn ingest"),
        (("advance", "--day", "tuesday"), "'tuesday' does not match the format"),
    ],
)
def test_mistakes_exit_2_with_one_sentence(run, shop, arguments, message):
    status, out, err = run("rollup", *arguments)
    assert (status, out) == (2, "")
    assert message in err.replace("\n", " ")
    assert "Traceback" not in err


def test_settings_that_declare_one_rollup_wrongly_name_the_field(run, shop, tmp_path):
    (tmp_path / "sojourn.toml").write_text(SETTINGS.replace("[1, 3]", "[1, 0]"))
    status, _, err = run("rollup", "backfill")
    assert status == 2
    assert err == (
        "sojourn: RollupSpec is wrong: field 'windows_days' = [1, 0]: a window of 0 days covers nothing; "
        "a span is at least 1 day.\n"
    )


@pytest.mark.parametrize("verb", ["advance", "plan"])
@pytest.mark.parametrize("day", ["9999-12-31", "0001-01-01"])
def test_a_day_beyond_any_log_is_refused(run, shop, verb, day):
    status, out, err = run("rollup", verb, "--day", day)
    assert (status, out) == (2, "")
    assert "lies beyond any log" in err


def test_another_zone_or_week_start_than_the_warehouse_s_is_refused(run, shop, tmp_path):
    for setting in ('zone = "Asia/Tokyo"', 'week_start = "sunday"'):
        (tmp_path / "sojourn.toml").write_text(f"[warehouse]\n{setting}\n{SETTINGS}")
        status, out, err = run("rollup", "backfill")
        assert (status, out) == (2, "")
        assert setting.split('"')[1] in err


def test_a_window_longer_than_any_log_is_refused(run, shop, tmp_path):
    (tmp_path / "sojourn.toml").write_text(SETTINGS.replace("[1, 3]", "[1, 4000000]"))
    status, out, err = run("rollup", "backfill")
    assert (status, out) == (2, "")
    assert "a window of 4000000 days is longer than any log; the most is 100000" in err
