"""`sojourn metrics` on the command line: tables, files and pages; exit 2 and one sentence for a mistake."""

import json

import polars as pl
import pytest

from sojourn.warehouse import Warehouse
from tests.metrics.shop import LOG, at, put, row
from tests.rollups.test_cli import run

__all__ = ["run"]

SETTINGS = """
[metrics.boards.users]
active = "event <> 'pay'"
event_dims = { city = "city" }
[metrics.boards.users.funnels.buy]
steps = [{ name = "see", where = "event = 'see'" }, { name = "pay", where = "amount > 0" }]
"""


@pytest.fixture
def shop(tmp_path):
    (tmp_path / "sojourn.toml").write_text(SETTINGS)
    return put(Warehouse.create(tmp_path / "warehouse"))


def test_a_day_is_closed_and_the_rest_filled_and_all_of_it_checked(run, shop):
    assert run("metrics", "advance", "--day", "2024-05-07") == (
        0,
        "board users: 2 days made, 0 current, up to 2024-05-07\n",
        "",
    )
    status, out, _ = run("metrics", "backfill")
    assert (status, out.splitlines()) == (
        0,
        [
            "board users: 6 days made, 2 current, up to 2024-05-13",
            "  days without any row: 2024-05-09, 2024-05-10, 2024-05-11, 2024-05-12",
        ],
    )
    assert run("metrics", "check")[0] == 0
    put(shop, [*LOG, row("bob", at(8, 12))])
    status, out, _ = run("metrics", "check")
    assert status == 1
    assert "was made from other rows" in out
    assert run("metrics", "backfill", "--rebuild")[1].startswith("board users: 8 days made")


def test_a_metric_is_shown_and_written(run, shop, tmp_path):
    run("metrics", "backfill")
    assert run("metrics", "show", "active_users", "--grain", "week", "--by", "city")[1].splitlines() == [
        "Active users (users): entities with at least one active row in the day, week or month",
        "start       city     numerator  denominator  value",
        "2024-05-06  oslo             1                  1",
        "2024-05-06  rome             1                  1",
        "2024-05-06  unknown          1                  1",
        "2024-05-13  oslo             1                  1*",
        "2024-05-13  rome             0                  0*",
        "2024-05-13  unknown          0                  0*",
    ]
    written = ["--csv", "a.csv", "--json", "a.json", "--html", "a.html"]
    assert run("metrics", "show", "funnel_buy", *written) == (0, "", "")
    assert pl.read_csv("a.csv").filter(pl.col("step") == 2)["numerator"].sum() == 2
    assert json.loads((tmp_path / "a.json").read_text())["metric"]["name"] == "funnel_buy"
    assert "Funnel buy" in (tmp_path / "a.html").read_text()
    status, out, _ = run("metrics", "show", "revenue", "--from", "2024-05-07", "--to", "2024-05-08")
    assert (status, out.splitlines()[2:]) == (0, ["2024-05-07         10               10.00"])


def test_all_metrics_are_listed_with_their_formula(run, shop):
    _, out, _ = run("metrics", "list")
    assert "board users: user_id of table events, by city" in out
    assert "net revenue / active users" in out
    assert "funnel_buy" in out


MISTAKES = (
    (["show", "active_user"], "has no metric 'active_user'. Did you mean 'active_users'"),
    (["show", "active_users", "--grain", "year"], "--grain year is none of day, week, month."),
    (["show", "active_users", "--from", "2030-01-01"], "no day that begins from 2030-01-01"),
    (["show", "active_users", "--by", "channel"], "has no dimension 'channel'"),
    (["show", "active_users", "--board", "drivers"], "There is no board 'drivers'; there are users."),
    (["advance", "--day", "2030-01-01"], "no row on business day 2030-01-01"),
    (["backfill", "--rebuild", "--from", "2024-05-07"], "Leave out --from and --to."),
)


def test_a_mistake_is_one_sentence_and_exit_2(run, shop):
    run("metrics", "backfill")
    for arguments, told in MISTAKES:
        status, out, err = run("metrics", *arguments)
        assert (status, out) == (2, "")
        assert told in err
        assert err.startswith("sojourn: ")
        assert err.count("\n") == 1
