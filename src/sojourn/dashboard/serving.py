"""An app is served to browsers on this machine, or looked at once without a browser."""

import socket
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from sojourn.core import BadInput, SojournError, need, progress
from sojourn.dashboard.choices import on_board
from sojourn.dashboard.filters import Filters
from sojourn.dashboard.pages import views_of
from sojourn.dashboard.parts import drawn
from sojourn.dashboard.reader import Reader
from sojourn.dashboard.spec import DashboardSpec
from sojourn.warehouse import Warehouse

THREADS = 8


@dataclass(frozen=True)
class Look:
    """What one chart came to when it was looked at: rows of its table, or why there is none, and the time it took."""

    page: str
    chart: str
    rows: int
    told: str
    failed: bool
    ms: float

    def row(self) -> tuple[str, ...]:
        """The line of the table that `sojourn dashboard --check` prints."""
        return self.page, self.chart, f"{self.rows:,}", f"{self.ms:.0f} ms", self.told


def check_pages(warehouse: Warehouse, spec: DashboardSpec | None = None) -> list[Look]:
    """Every chart of every page made once, without a browser: what it holds, or the sentence it would show."""
    reader = on_board(Reader(warehouse, spec or DashboardSpec()), None)
    return [_look(reader, view.name, part) for view in views_of(reader) for part in view.parts]


def _look(reader: Reader, page: str, part: Any) -> Look:
    began = perf_counter()
    made = drawn(part, reader, Filters())
    ms = 1000 * (perf_counter() - began)
    if isinstance(made, SojournError):
        return Look(page, part.name, 0, str(made), failed=True, ms=ms)
    return Look(page, part.name, made.table.height, made.empty or "", failed=False, ms=ms)


def serve(app: Any, *, host: str = "127.0.0.1", port: int = 8050, ready: Callable[[str], None] = print) -> None:
    """Serve the app until interrupted; `ready` is called with its address once it listens. Port 0: any that is free.

    Every page is made once before, so that the first visitor does not wait for what takes a pass over all users.
    Raises `BadInput` when the port is taken.
    """
    need("waitress", extra="dashboard", for_="sojourn dashboard")
    from waitress import create_server

    listening = _listening(host, port)
    _warm(app.reader)
    ready(f"http://{host}:{listening.getsockname()[1]}/")
    create_server(app.server, sockets=[listening], threads=THREADS, ident="sojourn").run()


def _warm(reader: Reader) -> None:
    reader = on_board(reader, None)
    parts = [part for view in views_of(reader) for part in view.parts]
    with reader.one_look(), progress("looking at the tables", total=len(parts)) as advance:
        for part in parts:
            drawn(part, reader, Filters())
            advance(1)


def _listening(host: str, port: int) -> socket.socket:
    found = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((host, port))
    except OSError as fault:
        found.close()
        raise BadInput(
            f"Port {port} on {host} cannot be used: {fault.strerror}. Choose another: --port {port + 1}, or 0 for any."
        ) from fault
    return found
