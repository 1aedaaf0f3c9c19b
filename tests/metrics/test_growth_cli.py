"""The commands of acquisition, supply and why: what they print, and mistakes in one sentence with exit status 2."""

import sys
from datetime import date

import pytest

from sojourn.cli import main
from sojourn.events import MarketSpec, simulate_market
from sojourn.warehouse import Warehouse
from tests.metrics.growth import START, event, numbered, put_costs, put_log

SETTINGS = """
[acquisition.boards.users]
margin_share = 0.7
customer_days = 1
horizon_days = 5
allow = ["north"]

[acquisition.boards.users.attribution]
active = "event = 'launch'"
model = "last"
touches = [{ name = "ads", where = "event = 'ad'", channel = "network" }]

[supply_demand]
supply = "event = 'online'"
demand = "event = 'request'"
served = "event = 'trip'"
"""


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Runs the program in a folder with settings; its exit status, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sojourn.toml").write_text(SETTINGS)

    def call(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["sojourn", "metrics", *words])
        try:
            main()
            status = 0
        except SystemExit as left:
            status = int(left.code or 0)
        told = capsys.readouterr()
        return status, told.out, told.err

    return call


@pytest.fixture
def shop(tmp_path):
    """Two weeks of arrivals by two networks, and their costs."""
    warehouse = Warehouse.create(tmp_path / "warehouse")
    events = []
    for n in range(14):
        who, network = f"u{n:02d}", "north" if n % 3 else "south"
        events += [event(who, "ad", 24 * n, network=network), event(who, "launch", 24 * n + 1)]
        events += [event(who, "pay", 24 * n + 2, amount=4)] if n % 2 else []
    put_log(warehouse, numbered(events))
    put_costs(warehouse, [(START, "south", None, "6", None), (date(2025, 3, 10), "south", None, "2", "EUR")])
    return warehouse


def test_acquisition_wants_rates_then_writes_its_tables_and_page(run, shop, tmp_path):
    status, _, said = run("acquisition", "--html", "page.html")
    assert status == 2
    assert said.count("\n") == 1
    assert "costs have amounts without a rate to USD: EUR on 2025-03-10" in said
    (tmp_path / "rates.csv").write_text("day,currency,rate\n2025-03-10,EUR,1.5\n")
    assert run("rates", "rates.csv")[1] == "1 rates: table rates in warehouse\n"
    status, told, _ = run("acquisition", "--html", "page.html")
    assert status == 0
    assert "board users: 0 days attributed, 14 current" in told
    assert "<h1>Acquisition and payback</h1>" in (tmp_path / "page.html").read_text()
    assert "0 partitions of metrics written" in run("acquisition")[1]


def test_why_prints_the_parts_largest_first_and_writes_page_and_table(run, shop, tmp_path):
    (tmp_path / "rates.csv").write_text("day,currency,rate\n2025-03-10,EUR,1.5\n")
    run("rates", "rates.csv")
    run("acquisition")
    asked = ("why", "cpi", "--from", "2025-03-03", "--to", "2025-03-10", "--by", "channel")
    status, told, _ = run(*asked, "--html", "why.html", "--csv", "why.csv")
    assert status == 0
    assert "cpi, week of 2025-03-03 → week of 2025-03-10: 0 → 0.6 (+0.6). south" in told
    assert "<h1>Why did cost per acquired user move?</h1>" in (tmp_path / "why.html").read_text()
    assert (tmp_path / "why.csv").read_text().startswith("channel,value_before,value_after,weight_before")
    told = run("why", "cpi", "--from", "2025-02-24", "--to", "2025-03-03", "--by", "channel", "--csv", "why.csv")[1]
    assert "Careful: the week of 2025-02-24 is not mature" in told
    assert (tmp_path / "why.csv").read_text().splitlines()[1].endswith(",false,true")


def test_metrics_of_acquisition_are_shown_listed_and_written_as_any_other(run, shop, tmp_path):
    put_costs(shop, [(START, "south", None, "6", None), (date(2025, 3, 4), "south", None, "2", None)])
    run("acquisition")
    status, told, _ = run("show", "ltv_cac", "--grain", "week", "--by", "channel", "--from", "2025-03-03")
    assert (status, told.splitlines()[0][:20]) == (0, "LTV : CAC (times): m")
    south = [line.split() for line in told.splitlines() if " south " in line]
    # Of the two who came on the 4th and the 7th, for 2 in all, one paid 4, of which 0.7 is margin.
    assert south[0] == ["2025-03-03", "south", "2025-03-03", "0", "2.8", "2", "1.40×"]
    assert told.splitlines()[1].endswith("value  forecast  forecast_low  forecast_high")
    assert (
        run("show", "roas", "--grain", "week", "--csv", "roas.csv", "--json", "roas.json", "--html", "roas.html")[0]
        == 0
    )
    assert (
        (tmp_path / "roas.csv").read_text().startswith("start,cohort,age,value,numerator,denominator,mature,forecast")
    )
    assert "Return on ad spend" in (tmp_path / "roas.html").read_text()
    listed = run("list")[1]
    assert "user_id is acquired with its first row where event = 'launch', through the last touch" in listed
    assert [line.split()[0] for line in listed.splitlines()].count("acquired_margin") == 1
    for words, sentence in (
        (("show", "roas", "--board", "drivers"), "Metric 'roas' has no board 'drivers'; there are users."),
        (("show", "roas"), "is told by week or month, not by day. Ask for --grain month."),
        (("show", "fill_rate"), "no values of metric 'fill_rate' by day yet. Make them: sojourn metrics supply"),
    ):
        status, _, said = run(*words)
        assert (status, said.count("\n")) == (2, 1)
        assert sentence in said


def test_without_activity_nobody_is_acquired_and_nothing_is_written(run, shop, tmp_path):
    (tmp_path / "sojourn.toml").write_text(
        SETTINGS.replace("active = \"event = 'launch'\"", "active = \"event = 'lauch'\"")
    )
    status, _, said = run("acquisition")
    assert (status, said.count("\n")) == (2, 1)
    assert "no row of table 'events' up to 2025-03-14 makes any user_id active (active = \"event = 'lauch'\")" in said
    assert not [table for table in shop.tables() if table.startswith("metric_")]


def test_numbers_of_an_edited_board_are_refused_until_they_are_built_again(run, shop, tmp_path):
    put_costs(shop, [(START, "south", None, "6", None)])
    run("acquisition")
    run("backfill")
    (tmp_path / "sojourn.toml").write_text(SETTINGS.replace("0.7", "0.6") + "[metrics.boards.users]\namount = '2'\n")
    asked = ("--from", "2025-03-03", "--to", "2025-03-10", "--by", "channel")
    assert "Build it anew: sojourn metrics acquisition" in run("why", "cpi", *asked)[2]
    status, _, said = run("show", "revenue")
    assert (status, said.count("\n")) == (2, 1)
    assert "Build it anew: sojourn metrics backfill --rebuild" in said
    assert run("acquisition")[0] == run("backfill", "--rebuild")[0] == run("show", "revenue")[0] == 0
    assert run("why", "cpi", *asked)[0] == 0


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("acquisition", "--board", "drivers"), "There is no board 'drivers'; there are users."),
        (
            ("why", "cpi", "--from", "2024-01-01", "--to", "2025-03-10", "--by", "channel"),
            "no week that starts on 2024",
        ),
        (("why", "nps", "--from", "2025-03-03", "--to", "2025-03-10", "--by", "channel"), "there is no metric 'nps'"),
        (("why", "cpi", "--from", "2025-03-03", "--to", "2025-03-03", "--by", "channel"), "both periods start on"),
        (("why", "cpi", "--from", "2025-03-03", "--to", "2025-03-10", "--by", "town"), "needs column 'town'"),
        (
            ("why", "cpi", "--from", "2025-03-03", "--to", "2025-03-10", "--by", "channel", "--where", "state"),
            "--where state has no '='",
        ),
        (("rates", "none.csv"), "none.csv cannot be read"),
        (
            ("why", "arpu", "--from", "2025-03-03", "--to", "2025-03-10", "--by", "channel", "--board", "usrs"),
            "There is no board 'usrs'; there are users, market.",
        ),
        (
            ("why", "cpi", "--from", "2025-03-03", "--to", "2025-03-10", "--by", "channel", "--html", "sojourn.toml/a"),
            "sojourn.toml/a cannot be written",
        ),
        (("why", "acquired", "--from", "2025-03-03", "--to", "2025-03-10", "--by", "channel"), "holds no metric"),
        (("acquisition", "--html", "/proc/none/page.html"), "/proc/none/page.html cannot be written"),
    ],
)
def test_mistakes_are_one_sentence_and_status_2(run, shop, words, sentence):
    put_costs(shop, [(START, "south", None, "6", None)])
    run("acquisition")
    status, _, said = run(*words)
    assert status == 2
    assert sentence in said
    assert said.count("\n") == 1


def test_supply_is_counted_and_explained(run, tmp_path):
    market = Warehouse.create(tmp_path / "warehouse")
    spec = MarketSpec(drivers=60, riders=400, days=14, start=date(2025, 1, 6))
    simulate_market(
        market, spec.with_changes(shortage_city="Aldenport", shortage_from=date(2025, 1, 13), shortage_share=0.9)
    )
    assert run("supply")[1].startswith("board market: 14 days counted, ")
    asked = ("--board", "market", "--from", "2025-01-06", "--to", "2025-01-13", "--by", "place", "--html", "why.html")
    assert " Aldenport" in run("why", "pressure", *asked)[1].splitlines()[1]
    (tmp_path / "sojourn.toml").write_text("")
    status, _, said = run("supply")
    assert status == 2
    assert "Supply and demand are not declared. Add to sojourn.toml: [supply_demand]" in said


def test_metrics_check_looks_at_acquisition_too(run, shop):
    put_costs(shop, [(START, "south", None, "6", None)])
    run("acquisition")
    assert run("backfill")[0] == 0
    status, told, _ = run("check")
    assert status == 0
    assert any(line.split()[:2] == ["attributed", "metric_acquired"] for line in told.splitlines())
    put_costs(shop, [(START, "south", None, "7", None)])
    status, told, _ = run("check")
    assert status == 1
    assert "by day there are 6.0000, not 7.0000. Make it anew: sojourn metrics acquisition" in told
