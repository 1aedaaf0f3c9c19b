"""What a child process cost, and the table and JSON that every benchmark ends with."""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

# More columns than this do not fit on a terminal of 80 characters.
WIDEST = 8
# Many rows of many columns are printed on lines of this length, which a terminal may wrap but a file holds.
UNFOLDED = 220


@dataclass(frozen=True)
class Cost:
    """Seconds on the wall, seconds of CPU and the peak resident memory of one finished child process."""

    wall_s: float
    cpu_s: float
    peak_mb: float
    stdout: str


def child(argv: Sequence[str], *, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> Cost:
    """Run the command to its end in a process of its own. Raises `CalledProcessError` when it fails."""
    started = time.perf_counter()
    with subprocess.Popen(
        argv, cwd=cwd, env={**os.environ, **(env or {})}, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        stdout = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    wall_s = time.perf_counter() - started
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, argv, stdout)
    return Cost(wall_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, stdout)


def python(code: str, *arguments: str) -> Cost:
    """Run this Python code in a fresh interpreter; its arguments are `sys.argv[1:]`."""
    return child([sys.executable, "-c", code, *arguments])


def arguments(what: str, *, keeps: bool = False) -> argparse.Namespace:
    """The two options of every benchmark, `quick` and `json`; with `keeps` also `keep`, for one that takes long."""
    parser = argparse.ArgumentParser(description=what)
    parser.add_argument("--quick", action="store_true", help="small data, done within a minute")
    parser.add_argument("--json", type=Path, metavar="PATH", help="also write the figures here")
    if keeps:
        parser.add_argument(
            "--keep", type=Path, metavar="PATH", help="write each part here when done, and go on from those of before"
        )
    return parser.parse_args()


def _table(title: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(title=title, title_justify="left")
    for name in rows[0]:
        table.add_column(name.replace("_", " "), justify="left" if isinstance(rows[0][name], str) else "right")
    for row in rows:
        table.add_row(*map(_told, row.values()))
    return table


def _upright(title: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    """A line for each figure: what would be too wide for a terminal."""
    table = Table(title=title, title_justify="left")
    first, *others = rows[0]
    table.add_column(first.replace("_", " "))
    for row in rows:
        table.add_column(_told(row[first]), justify="right")
    for name in others:
        table.add_row(name.replace("_", " "), *(_told(row[name]) for row in rows))
    return table


def _told(figure: object) -> str:
    if isinstance(figure, float):
        return f"{figure:,.2f}"
    return f"{figure:,}" if isinstance(figure, int) and not isinstance(figure, bool) else str(figure)


def show(title: str, rows: Sequence[Mapping[str, Any]], *, to: Path | None) -> None:
    """Print the rows as a table, and write them with the machine's description as JSON when a path is given."""
    if len(rows[0]) <= WIDEST:
        Console().print(_table(title, rows))
    elif len(rows) <= WIDEST:
        Console().print(_upright(title, rows))
    else:
        Console(width=UNFOLDED).print(_table(title, rows))
    if to is not None:
        machine = {"cores": os.cpu_count(), "python": platform.python_version(), "system": platform.system()}
        to.write_text(json.dumps({"title": title, "machine": machine, "rows": list(rows)}, indent=2) + "\n")


def run_parts(names: Sequence[str], *, what: str) -> None:
    """Run these benchmarks one after another, each to its end; the first that fails ends the run with its status.

    With `--json` their tables go into one file, by name.
    """
    options = arguments(what)
    tables = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            path = Path(folder) / f"{name}.json"
            command = [sys.executable, "-m", f"benchmarks.{name}", "--json", str(path)]
            done = subprocess.run([*command, *(["--quick"] if options.quick else [])], check=False)
            if done.returncode:
                sys.exit(done.returncode)
            tables[name] = json.loads(path.read_text())
    if options.json is not None:
        options.json.write_text(json.dumps(tables, indent=2) + "\n")
