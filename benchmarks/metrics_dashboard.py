"""Part of `python -m benchmarks.metrics`: the dashboard of ten million users in a real browser, page and filter times.

The metric tables and predictions are made by formulas in the shape of the real ones (board_tables.py); server, queries
and browser are the real ones: `sojourn dashboard`, and a headless Chromium. A page is there when every chart that lies
in the window has been painted, and whole when those below the window have been too: both are measured. A change of a
filter counts until the last chart has been painted, wherever it lies. Every filter is a new one to the server. Beside
the time on the clock stands the CPU time of server and browser together, as other work on the machine stretches the
clock.
"""

import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.board_tables import CHANNELS, COUNTRIES, START, fill_board, fill_predictions
from benchmarks.measure import arguments, show
from sojourn.warehouse import Warehouse

SPENT: dict[int, int] = {}
PAGES = ("overview", "retention", "value", "engagement")
# Resolves with the milliseconds from now (or from the start of the page) until the charts of these filters are painted:
# those in the window, or all.
PAINTED = """([query, since, inView]) => new Promise((done) => {
  const look = () => {
    const body = document.querySelector(`#page-body [data-query="${query}"]`);
    const seen = (plot) => !inView || (plot.getBoundingClientRect().top < innerHeight);
    const plots = body ? Array.from(body.querySelectorAll(".sj-plot")).filter(seen) : [];
    const painted = (plot) => plot.querySelector(".main-svg") && plot.painted === plot.dataset.figure;
    const there = body && plots.length && plots.every(painted);
    if (!there || document.querySelector("#page-body[data-dash-is-loading=true]")) return requestAnimationFrame(look);
    requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() - since)));
  };
  look();
})"""
CHOOSE = """([name, value]) => {
  const select = document.getElementById(`filter-${name}`);
  Object.getOwnPropertyDescriptor(HTMLSelectElement.prototype, "value").set.call(select, value);
  select.dispatchEvent(new Event("change", { bubbles: true }));
  return performance.now();
}"""


def rows(*, quick: bool) -> list[dict[str, Any]]:
    """One row a page: seconds until a fresh browser shows it, and until a change of a filter is painted."""
    users, days = (200_000, 60) if quick else (10_000_000, 120)
    repeats = 3 if quick else 9
    with TemporaryDirectory(prefix="board") as folder:
        root = Path(folder) / "warehouse"
        warehouse = Warehouse.create(root)
        cells = fill_board(warehouse, users=users, days=days)
        fill_predictions(warehouse, users=users, as_of=START + timedelta(days=days))
        began = time.perf_counter()
        with served(root) as address:
            started_s = time.perf_counter() - began
            timed = _timed(address, repeats)
    return [
        {"page": page, "users": users, "metric_rows": cells, "server_ready_s": started_s, **figures}
        for page, figures in timed.items()
    ]


def _timed(address: str, repeats: int) -> dict[str, dict[str, float]]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as player:
        browser = player.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        found = {page: _page(browser, address, page, repeats) for page in PAGES}
        browser.close()
    return found


def _page(browser: Any, address: str, page: str, repeats: int) -> dict[str, float]:
    path = "" if page == "overview" else page
    firsts, wholes, spent, changes = [], [], [], []
    before_changes = after_changes = 0.0
    for _ in range(3):
        # A context of its own: nothing in the browser's cache, as on a visitor's first day.
        began = cpu_s()
        context = browser.new_context(viewport={"width": 1440, "height": 900})
        tab = context.new_page()
        tab.goto(f"{address}/{path}", wait_until="commit")
        firsts.append(tab.evaluate(PAINTED, ["", 0, True]) / 1000)
        wholes.append(tab.evaluate(PAINTED, ["", 0, False]) / 1000)
        before_changes = cpu_s()
        spent.append(before_changes - began)
        if len(firsts) == 3:
            changes = [_change(tab, query, name, value) for name, value, query in _choices(repeats)]
        after_changes = cpu_s()
        context.close()
    return {
        "first_page_s": statistics.median(firsts),
        "whole_page_s": statistics.median(wholes),
        "first_page_cpu_s": statistics.median(spent),
        "filter_ms": statistics.median(changes),
        "filter_cpu_ms": 1000 * (after_changes - before_changes) / len(changes),
        "slowest_filter_ms": max(changes),
    }


def cpu_s() -> float:
    """The CPU seconds that server and browser have used so far, together: what a busy machine does not change much.

    Of every process below this one, as Linux counts it; 0 where there is no /proc.
    """
    parents, used = {}, {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        pid = int(stat.parent.name)
        parents[pid], used[pid] = int(fields[1]), sum(map(int, fields[11:13]))
    below: set[int] = {os.getpid()}
    found: set[int] = set()
    while below:
        below = {pid for pid, parent in parents.items() if parent in below} - found
        found |= below
    # What a process that has ended had used still counts.
    SPENT.update({pid: used[pid] for pid in found})
    return float(sum(SPENT.values())) / os.sysconf("SC_CLK_TCK")


def _choices(repeats: int) -> Iterator[tuple[str, str, str]]:
    """Filters that no page was asked for before, one select at a time: its name, its value, the query then."""
    chosen: dict[str, str] = {}
    pairs = [("channel", each) for each in CHANNELS] + [("segment", f"country={each}") for each in COUNTRIES]
    for name, value in pairs[:repeats]:
        chosen[name] = value
        parts = [f"{key}={chosen[key].replace('=', '%3D')}" for key in ("channel", "segment") if key in chosen]
        yield name, value, "&".join(parts)


def _change(tab: Any, query: str, name: str, value: str) -> float:
    since = tab.evaluate(CHOOSE, [name, value])
    return float(tab.evaluate(PAINTED, [query, since, False]))


def chromium() -> str | None:
    """The path of a Chromium; None for the one that Playwright fetched."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@contextmanager
def served(root: Path) -> Iterator[str]:
    """`sojourn dashboard` over this warehouse; its address."""
    program = Path(sys.executable).parent / "sojourn"
    log = root.parent / "server.log"
    with log.open("w") as told:
        command = [str(program), "dashboard", "--warehouse", str(root), "--port", "0"]
        with subprocess.Popen(command, stdout=told, stderr=told) as process:
            try:
                while "shows the dashboard" not in log.read_text():
                    if process.poll() is not None:
                        raise RuntimeError(f"the server ended: {log.read_text()}")
                    time.sleep(0.05)
                yield log.read_text().split("/ ")[0]
            finally:
                process.terminate()


def main() -> None:
    """Measure, print, and write JSON when asked."""
    options = arguments("The dashboard's page and filter times in a real browser.")
    show("Dashboard in headless Chromium", rows(quick=options.quick), to=options.json)


if __name__ == "__main__":
    main()
