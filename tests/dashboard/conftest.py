"""Fixtures of the dashboard's tests: the small app, an empty warehouse, and a real browser."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import sleep

import pytest

from sojourn.dashboard.reader import Reader
from sojourn.warehouse import Warehouse
from tests.dashboard.worlds import SPEC, build

PROGRAM = Path(sys.executable).parent / "sojourn"


@pytest.fixture(scope="session")
def app(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """The small app; tests read it and do not write into it."""
    return build(tmp_path_factory.mktemp("dashboard") / "app")


@pytest.fixture(scope="session")
def reader(app: Warehouse) -> Reader:
    """The small app as the pages see it."""
    return Reader(app, SPEC)


@contextmanager
def served(root: Path) -> Iterator[str]:
    """`sojourn dashboard` over this warehouse, as a person starts it; its address."""
    (root.parent / "dashboard.toml").write_text(
        f"[dashboard]\nhistory_buckets = {SPEC.history_buckets}\nweeks = {SPEC.weeks}\n"
    )
    words = ["dashboard", "--warehouse", str(root), "--port", "0", "--config", str(root.parent / "dashboard.toml")]
    log = root.parent / "dashboard.log"
    with log.open("w") as told, subprocess.Popen([str(PROGRAM), *words], stdout=told, stderr=told) as process:
        try:
            yield _listens(process, log)
        finally:
            process.terminate()


def _listens(process: subprocess.Popen[bytes], log: Path) -> str:
    """The address that the server says once it listens."""
    for _ in range(600):
        said = log.read_text()
        if said.startswith("http://127.0.0.1:") and "\n" in said:
            return said.split("/ ")[0]
        assert process.poll() is None, said
        sleep(0.1)
    raise AssertionError(f"the server did not say that it listens: {log.read_text()}")


@pytest.fixture(scope="session")
def address(app: Warehouse) -> Iterator[str]:
    """Where the small app's dashboard is served."""
    with served(app.root) as found:
        yield found


@pytest.fixture(scope="session")
def chromium() -> str | None:
    """The path of a Chromium; None for Playwright's own, fetched where there is none; skipped where that fails too."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is not None:
        return found
    fetch = [sys.executable, "-m", "playwright", "install", "chromium"]
    done = subprocess.run(fetch, capture_output=True, text=True, env=dict(os.environ))
    if done.returncode:
        pytest.skip("no Chromium is installed and Playwright could not fetch one: apt-get install -y chromium")
    return None
