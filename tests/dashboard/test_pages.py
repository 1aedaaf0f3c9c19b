"""Every chart of every page: full, empty and broken; what is downloaded is what is drawn."""

import subprocess
from concurrent.futures import ThreadPoolExecutor
from io import StringIO

import polars as pl
import pytest

from sojourn.core import SojournError
from sojourn.dashboard import DashboardSpec, Filters, check_pages, dashboard_app, dashboard_from
from sojourn.dashboard.choices import known
from sojourn.dashboard.layout import as_csv, body
from sojourn.dashboard.pages import VIEWS
from sojourn.dashboard.parts import Drawn, drawn
from sojourn.dashboard.reader import Reader
from tests.dashboard.conftest import PROGRAM
from tests.dashboard.worlds import SPEC

PARTS = [(view, part) for view in VIEWS for part in view.parts]
IDS = [f"{view.name}-{part.name}" for view, part in PARTS]
CHOICES = [Filters(), Filters(channel="organic"), Filters(grain="day", segment="country=US"), Filters(grain="month")]


def run(*words, cwd):
    return subprocess.run([str(PROGRAM), "dashboard", *words], cwd=cwd, capture_output=True, text=True)


@pytest.mark.parametrize(("view", "part"), PARTS, ids=IDS)
@pytest.mark.parametrize("filters", CHOICES, ids=lambda each: each.query() or "all")
def test_every_chart_is_drawn_or_says_why_not(reader, view, part, filters):
    made = drawn(part, reader, known(reader, view, filters.only(view.controls))[0])
    assert isinstance(made, Drawn), str(made)
    assert made.empty is not None or made.table.height > 0
    if made.empty is None and made.figure is not None:
        assert made.said, "a figure says what it shows, for who cannot see it"


@pytest.mark.parametrize(("view", "part"), PARTS, ids=IDS)
def test_an_empty_warehouse_has_a_sentence_in_every_chart(warehouse, view, part):
    made = drawn(part, Reader(warehouse, DashboardSpec()), Filters())
    told = str(made) if isinstance(made, SojournError) else made.empty
    assert told
    assert told.endswith(".") or "sojourn" in told or "[metrics" in told
    assert "Traceback" not in told


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)
def test_a_page_of_an_empty_warehouse_can_be_built(warehouse, view):
    assert body(view, Reader(warehouse, DashboardSpec()), Filters()) is not None


@pytest.mark.parametrize("name", ["overview-revenue", "value-at_risk", "retention-retention", "health-freshness"])
def test_the_csv_is_the_table(reader, name):
    view, part = PARTS[IDS.index(name)]
    table = part.make(reader, Filters().only(view.controls)).table
    back = pl.read_csv(StringIO(as_csv(table)), try_parse_dates=True)
    assert back.columns == table.columns
    assert back.height == table.height
    numbers = [column for column, kind in table.schema.items() if kind.is_float()]
    for column in numbers:
        assert back[column].cast(pl.Float64).to_list() == table[column].to_list()


def test_check_looks_at_every_chart(app):
    looks = check_pages(app, SPEC)
    assert [f"{look.page}-{look.chart}" for look in looks] == [each for each in IDS if not each.startswith("market-")]
    assert not [look for look in looks if look.failed]


def test_the_server_answers_with_pages_and_tables(app):
    client = dashboard_app(app, SPEC).server.test_client()
    page = client.get("/").get_data(as_text=True)
    assert "<html lang='en'" in page
    assert "https://" not in page.replace("https://dash.plotly", "")
    csv = client.get("/csv/overview/revenue.csv?grain=day")
    assert csv.mimetype == "text/csv"
    assert csv.get_data(as_text=True).startswith("start,value,numerator,denominator,mature")
    for wrong in ("/csv/overview/nothing.csv", "/csv/nowhere/revenue.csv", "/csv/overview/revenue.csv?from=x"):
        assert client.get(wrong).status_code == 404
        assert "." in client.get(wrong).get_data(as_text=True)


def test_visitors_at_once_get_what_each_alone_would_get(app):
    client = dashboard_app(app, SPEC).server.test_client
    asked = [
        f"/csv/{name}.csv?grain={grain}" for name in ("overview/revenue", "value/at_risk") for grain in ("day", "week")
    ]
    alone = {path: client().get(path).get_data() for path in asked}
    with ThreadPoolExecutor(4) as crowd:
        found = list(crowd.map(lambda path: (path, client().get(path).get_data()), asked * 6))
    assert all(data == alone[path] for path, data in found)


def test_the_command_looks_and_prepares(app, tmp_path):
    done = run("--warehouse", str(app.root), "--check", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "active_users_by_channel" in done.stdout


@pytest.mark.parametrize(
    ("words", "settings", "said"),
    [
        (["--warehouse", "nowhere"], "", "nowhere"),
        (["--warehouse", "w"], "[dashboard]\ngrain = 'hour'\n", "field 'grain' = 'hour'"),
        (["--warehouse", "w"], "[dashboard]\ncolour = 'red'\n", "has no field 'colour'"),
        (["--warehouse", "w", "--prepare"], "", "needs the table 'events'"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_status_2(tmp_path, warehouse, words, settings, said):
    (tmp_path / "sojourn.toml").write_text(settings)
    words = [word.replace("w", str(warehouse.root)) if word == "w" else word for word in words]
    done = run(*words, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_that_is_taken_is_one_sentence(tmp_path, warehouse):
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run("--warehouse", str(warehouse.root), "--port", str(port), cwd=tmp_path)
    assert done.returncode == 2
    assert f"Port {port} on 127.0.0.1 cannot be used" in done.stderr


def test_settings_declare_the_dashboard():
    assert dashboard_from({}) == DashboardSpec()
    assert dashboard_from({"dashboard": {"unit": "€", "weeks": 8}}).periods("week") == 8
    with pytest.raises(SojournError, match="must be a section"):
        dashboard_from({"dashboard": "blue"})
