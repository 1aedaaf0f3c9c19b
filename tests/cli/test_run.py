"""`sojourn run` and `sojourn model` from the command line: tables, JSON lines, exit statuses."""

import json

import pytest
import tomli_w
from typer.testing import CliRunner

from sojourn.cli import app
from sojourn.core import BadInput, BadSpec
from tests.operate.shops import LAST, SETTINGS, settings_of, write_orders

AT = "2024-12-01T05:00:00"


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shop")
    write_orders(folder / "orders", users=60)
    return folder


def called(shop, *arguments, settings=SETTINGS, config="sojourn.toml"):
    path = shop / config
    path.write_text(tomli_w.dumps(settings_of(shop / "orders", settings)))
    found = CliRunner().invoke(app, [*arguments, "--warehouse", str(shop / "w"), "--config", str(path)])
    if found.exception is not None and not isinstance(found.exception, SystemExit):
        raise found.exception
    return found


def test_a_table_then_json_lines_and_the_model_that_was_fitted(shop):
    first = called(shop, "run", "--day", str(LAST), "--at", AT)
    assert first.exit_code == 0, first.output
    day, head, *lines = first.stdout.splitlines()
    assert (day, head.split()) == (str(LAST), ["step", "verdict", "rows", "seconds", "what"])
    assert lines[-1].endswith("s, 0 alerts, 0 of severity fail")
    assert f"{LAST} rollup user" in first.stderr.splitlines()
    again = called(shop, "run", "--day", str(LAST), "--at", AT, "--json")
    told = [json.loads(line) for line in again.stdout.splitlines()]
    assert {each["kind"] for each in told} == {"step", "run"}
    assert {each["verdict"] for each in told[:-1]} == {"current", "passed"}
    assert told[-1]["exit_status"] == 0
    assert "in force" in called(shop, "model", "list").stdout


def test_a_failed_check_exits_1_and_is_an_alert_line(shop):
    strict = SETTINGS.replace('kind = "rows"', 'kind = "rows"\nmin_rows = 99999', 1)
    found = called(shop, "run", "--day", str(LAST), "--json", settings=strict)
    assert found.exit_code == 1
    [alert] = [told for line in found.stdout.splitlines() if (told := json.loads(line))["kind"] == "alert"]
    assert (alert["source"], alert["name"], alert["severity"]) == ("check", "some", "fail")


def test_a_step_that_cannot_be_done_exits_2(shop):
    broken = SETTINGS.replace('kind = "rows"', 'kind = "rows"\nwhere = "nothing = 1"', 1)
    found = called(shop, "run", "--day", str(LAST), settings=broken)
    assert found.exit_code == 2
    assert "[checks.some] cannot be computed" in found.stdout


@pytest.mark.parametrize("days", [[], ["--day", "2024-11-01", "--from", "2024-11-01"], ["--from", "2024-11-01"]])
def test_which_days_must_be_said(shop, days):
    with pytest.raises(BadSpec, match="Say which days: --day 2024-12-30, or --from"):
        called(shop, "run", *days)


def test_going_back_without_a_former_model_is_refused(shop):
    called(shop, "run", "--day", str(LAST), "--at", AT)
    with pytest.raises(BadInput, match="there is none to go back to"):
        called(shop, "model", "rollback", "ltv")
