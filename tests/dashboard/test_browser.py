"""The dashboard in a real browser: a headless Chromium, the real server, the small app."""

import json
from collections.abc import Iterator
from datetime import timedelta
from urllib.parse import parse_qs, urlparse

import polars as pl
import pytest

from sojourn.dashboard import Filters
from sojourn.dashboard.boards import metric
from sojourn.dashboard.pages import VIEWS
from sojourn.dashboard.reader import Reader
from sojourn.evaluate.formats import number_text
from tests.dashboard.conftest import served
from tests.dashboard.worlds import DAYS, SPEC, START, build_market

READY = "#page-body [data-query]"
PHONE, DESK = {"width": 390, "height": 844}, {"width": 1440, "height": 900}


class Visitor:
    """One browser tab that remembers what it asked of whom, and what its console said."""

    def __init__(self, page, address):
        self.page, self.address = page, address
        self.outside: list[str] = []
        self.said: list[str] = []
        page.route("**/*", self._only_here)
        page.on("console", lambda each: self.said.append(each.text) if each.type in ("error", "warning") else None)
        page.on("pageerror", lambda each: self.said.append(str(each)))

    def _only_here(self, route):
        if urlparse(route.request.url).hostname in ("127.0.0.1", None):
            route.continue_()
        else:
            self.outside.append(route.request.url)
            route.abort()

    def go(self, path="/", query=""):
        self.page.goto(f"{self.address}{path}{'?' if query else ''}{query}")
        return self.shown(query)

    def shown(self, query=None):
        """Wait until the page holds what these filters ask for."""
        wanted = READY if query is None else f"#page-body [data-query='{query}']"
        self.page.wait_for_selector(wanted, state="attached", timeout=30_000)
        return self

    def faults(self):
        """What axe finds in the page that is serious or worse, as rule and element."""
        from axe_playwright_python.sync_playwright import Axe

        found = Axe().run(self.page, options={"resultTypes": ["violations"]}).response["violations"]
        grave = [each for each in found if each["impact"] in ("serious", "critical")]
        return [(each["id"], node["html"]) for each in grave for node in each["nodes"]]

    def query(self):
        return {name: values[0] for name, values in parse_qs(urlparse(self.page.url).query).items()}

    def tile(self, label):
        return self.page.locator(".sj-tile", has_text=label).first.locator(".sj-value").inner_text()


@pytest.fixture(scope="module")
def browser(chromium) -> Iterator[object]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as player:
        found = player.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def visitor(browser, address):
    page = browser.new_page(viewport=DESK)
    found = Visitor(page, address)
    yield found
    page.close()
    assert found.outside == [], "a page asked something of another machine"
    assert found.said == [], "the browser's console has something to say"


def test_the_overview_opens_is_filtered_and_keeps_its_filters(visitor, app):
    visitor.go()
    week = latest(app, "active_users", Filters())
    assert visitor.tile("Active users") == number_text(week)
    visitor.page.select_option("#filter-channel", "organic")
    visitor.shown("channel=organic")
    assert visitor.query() == {"channel": "organic"}
    assert visitor.tile("Active users") == number_text(latest(app, "active_users", Filters(channel="organic")))
    visitor.page.reload()
    visitor.shown("channel=organic")
    assert visitor.page.input_value("#filter-channel") == "organic"


def latest(app, name, filters):
    """The newest value that is over, asked for in a way of its own."""
    table = metric(Reader(app, SPEC), name, filters)
    return table.filter(pl.col("mature"))["value"].to_list()[-1]


@pytest.mark.slow
@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
@pytest.mark.parametrize("view", [view for view in VIEWS if view.wanted is None], ids=lambda view: view.name)
def test_every_page_renders(visitor, view, size):
    visitor.page.set_viewport_size(size)
    visitor.go(view.path)
    page = visitor.page
    assert page.locator("h1").inner_text() == view.title
    assert page.locator(".sj-panel").count() == len(view.parts)
    assert page.locator(".sj-problem").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
    assert visitor.faults() == []
    for graph in page.locator("[role=img]").all():
        assert graph.get_attribute("aria-label")
        graph.locator(".main-svg").first.wait_for()


@pytest.mark.slow
def test_another_page_keeps_the_filters(visitor):
    visitor.go("/", "grain=day&segment=country%3DUS")
    visitor.page.click("#nav-bar >> text=Retention")
    visitor.page.wait_for_selector("h1:text('Retention')")
    visitor.shown("grain=day&segment=country%3DUS")
    assert visitor.query() == {"grain": "day", "segment": "country=US"}


@pytest.mark.slow
def test_clear_takes_every_filter_away(visitor):
    visitor.go("/", "channel=organic")
    visitor.page.click("#filter-clear")
    visitor.shown("")
    assert visitor.query() == {}


@pytest.mark.slow
def test_dates_and_periods_go_into_the_address(visitor):
    visitor.go()
    visitor.page.select_option("#filter-grain", "day")
    visitor.shown("grain=day")
    day = START + timedelta(days=DAYS - 10)
    visitor.page.fill("#filter-from", str(day))
    visitor.page.press("#filter-from", "Enter")
    visitor.shown(f"from={day}&grain=day")
    assert f"{day.day} " in visitor.page.locator(".sj-range").inner_text()


@pytest.mark.slow
def test_dates_without_a_figure_are_said_on_the_page(visitor):
    visitor.go("/", "from=2031-01-01")
    assert "There is no figure between" in visitor.page.locator(".sj-problem").first.inner_text()


@pytest.mark.slow
def test_a_channel_that_is_not_there_is_said_on_the_page(visitor):
    visitor.page.goto(f"{visitor.address}/value?segment=planet%3DMars")
    visitor.shown()
    assert "no such dimension; there are channel, country" in visitor.page.locator(".sj-notice").inner_text()
    assert visitor.page.locator(".sj-problem").count() == 0


@pytest.mark.slow
def test_the_csv_link_downloads_the_table(visitor, app):
    visitor.go("/", "channel=organic")
    with visitor.page.expect_download() as waiting:
        visitor.page.click("#overview-revenue .sj-csv")
    back = pl.read_csv(waiting.value.path(), try_parse_dates=True)
    table = metric(Reader(app, SPEC), "revenue", Filters(channel="organic"))
    assert back.select("start", "value").rows() == table.select("start", "value").rows()


@pytest.mark.slow
def test_what_is_drawn_is_the_table(visitor, app):
    visitor.go("/", "grain=day")
    graph = "#overview-revenue .js-plotly-plot"
    visitor.page.wait_for_selector(f"{graph} .bars")
    # Plotly keeps its numbers in binary; a list of them is what a person would read off.
    drawn = json.loads(
        visitor.page.evaluate(f"JSON.stringify(Array.from(document.querySelector('{graph}')._fullData[0].y))")
    )
    table = metric(Reader(app, SPEC.with_changes(days=60)), "revenue", Filters(grain="day"))
    assert drawn == table["value"].to_list()


@pytest.mark.slow
def test_the_definition_opens_with_the_keyboard(visitor):
    visitor.go()
    about = visitor.page.locator("#overview-revenue summary")
    about.focus()
    visitor.page.keyboard.press("Enter")
    text = visitor.page.locator("#overview-revenue .sj-about p")
    assert text.is_visible()
    assert "refunds taken off" in text.inner_text()


@pytest.mark.slow
def test_every_control_has_a_name_for_screen_readers(visitor):
    visitor.go()
    unnamed = visitor.page.evaluate(
        "Array.from(document.querySelectorAll('.sj-page input, .sj-page select, .sj-page a, "
        ".sj-page button, .sj-page summary'))"
        ".filter(e => !e.getAttribute('aria-label') && !e.innerText && !(e.labels && e.labels.length)).length"
    )
    assert unnamed == 0


@pytest.mark.slow
def test_one_user_is_found(visitor, app):
    user = app.engine.rows(
        f"SELECT user_id FROM {app.relation('events')} GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT 1"
    )[0][0]
    visitor.go("/users")
    visitor.page.fill("#filter-user", user)
    visitor.page.press("#filter-user", "Enter")
    visitor.shown(f"user={user}")
    events = app.engine.rows(f"SELECT count(*) FROM {app.relation('events')} WHERE user_id = $user", user=user)[0][0]
    assert visitor.tile("Events") == number_text(float(events))


@pytest.mark.slow
def test_an_empty_warehouse_has_designed_emptiness(browser, warehouse):
    with served(warehouse.root) as address:
        page = browser.new_page(viewport=PHONE)
        found = Visitor(page, address)
        for view in (view for view in VIEWS if view.wanted is None):
            found.go(view.path)
            shown = page.locator(".sj-empty, .sj-problem")
            assert shown.count() == len(view.parts)
            assert all(each.inner_text().strip() for each in shown.all())
        assert found.said == []
        assert found.outside == []
        page.close()


@pytest.mark.slow
def test_the_key_of_a_legend_hides_its_line_and_shows_it_again(visitor):
    visitor.go()
    page, key = visitor.page, visitor.page.locator("#overview-active_users_by_channel .sj-key").first
    page.wait_for_selector("#overview-active_users_by_channel .main-svg")
    shown = (
        "document.querySelector('#overview-active_users_by_channel .js-plotly-plot').data"
        f".filter(each => each.legendgroup === '{key.get_attribute('data-group')}').map(each => each.visible)"
    )
    key.focus()
    page.keyboard.press("Enter")
    assert key.get_attribute("aria-pressed") == "false"
    assert set(page.evaluate(shown)) == {False}
    page.keyboard.press("Enter")
    assert set(page.evaluate(shown)) == {True}


@pytest.mark.slow
def test_a_wide_table_on_a_phone_says_that_it_scrolls_and_does(visitor):
    visitor.page.set_viewport_size(PHONE)
    visitor.go("/acquisition")
    table = visitor.page.locator("#acquisition-cohorts .sj-table")
    visitor.page.wait_for_selector("#acquisition-cohorts .sj-table.sj-more")
    assert "scroll sideways" in visitor.page.locator("#acquisition-cohorts .sj-aside").inner_text()
    assert table.get_attribute("role") == "region"
    assert table.get_attribute("aria-label")
    table.evaluate("each => each.scrollLeft = each.scrollWidth")
    visitor.page.wait_for_selector("#acquisition-cohorts .sj-table:not(.sj-more)")


@pytest.mark.slow
def test_every_tick_of_weeks_is_a_week_that_is_shown(visitor, app):
    visitor.go()
    visitor.page.wait_for_selector("#overview-revenue .bars")
    ticks = visitor.page.evaluate(
        "document.querySelector('#overview-revenue .js-plotly-plot')._fullLayout.xaxis.tickvals"
    )
    starts = metric(Reader(app, SPEC), "revenue", Filters())["start"].to_list()
    assert ticks
    assert set(ticks) <= {str(start) for start in starts}


@pytest.mark.slow
def test_charts_below_the_window_are_drawn_too(visitor):
    visitor.page.set_viewport_size(PHONE)
    visitor.go()
    charts = visitor.page.locator(".sj-plot")
    visitor.page.wait_for_function(
        "count => document.querySelectorAll('.sj-plot .main-svg').length >= count", arg=charts.count()
    )


@pytest.mark.slow
def test_another_board_is_chosen_and_the_market_has_a_page(browser, tmp_path):
    with served(build_market(tmp_path / "market").root) as address:
        page = browser.new_page(viewport=DESK)
        found = Visitor(page, address)
        found.go()
        page.select_option("#filter-board", "riders")
        found.shown("board=riders")
        page.wait_for_selector("#filter-segment option[value='city=Castine']", state="attached")
        assert found.query() == {"board": "riders"}
        found.go("/market")
        page.wait_for_selector("#market-hours .main-svg")
        assert page.locator(".sj-problem, .sj-empty").count() == 0
        assert (found.faults(), found.said, found.outside) == ([], [], [])
        page.close()
