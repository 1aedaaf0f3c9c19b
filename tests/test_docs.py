"""Documents cannot lie: every block of code in README.md and docs/ runs, and every verb and public name is there.

A fence marked `python` or `console` is run; `text` is for reading. The blocks of a page run in order, in one folder of
their own, as a reader would run them. In a `console` block, lines that begin with `$ ` are commands; the rest is output
to read. A `toml` or `csv` block whose first line is a comment with a file name is written to that file. `orders.csv`
lies there from the start.
"""

import io
import os
import re
import shlex
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

import sojourn
from docs import make_cli
from sojourn.cli import main

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ROOMS = sorted(path.parent.name for path in Path(sojourn.__file__).parent.glob("*/__init__.py"))
# Commands that a page shows but whose run has its own test: tests/operate/test_demo.py.
SHOWN_ONLY = ("make ", "git clone", "cd ", "sojourn demo", "open ", "pip install", "python -m benchmarks")

# What starts servers, other engines or a browser runs as a program of its own, and so does what the shell works on.
ALONE = ("sojourn run", "sojourn publish", "sojourn serve", "sojourn events forget", "sojourn dashboard")
SHELL = re.compile(r"[|&;<>$`*]")


def blocks(page: Path) -> list[tuple[str, str]]:
    return FENCE.findall(page.read_text())


def commands(block: str) -> list[str]:
    lines = block.replace("\\\n", " ").splitlines()
    found = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    return [command for command in found if not command.startswith(SHOWN_ONLY)]


def own_orders() -> str:
    """The file of the reader's own: 200 customers who order at their own pace from June to the end of 2024."""
    chance = np.random.default_rng(3)
    lines = ["customer_id,order_date,revenue"]
    for customer in range(200):
        first, gap_days = chance.integers(0, 100), chance.gamma(2.0, 12.0)
        days = first + np.cumsum(chance.exponential(gap_days, size=40))
        dates = np.datetime64("2024-06-01") + days[days < 214].astype("timedelta64[D]")
        lines += [f"c{customer},{day},{chance.gamma(2.0, 20.0):.2f}" for day in dates]
    return "\n".join(lines) + "\n"


def run(command: str) -> None:
    if command.startswith("sojourn ") and not command.startswith(ALONE) and not SHELL.search(command):
        status, said = run_here(shlex.split(command))
    else:
        status, said = run_alone(command)
    assert status == 0, f"{command}\n{said}"


def run_here(words: list[str]) -> tuple[int, str]:
    """The exit status and output of a command in this process, as starting Python and its libraries takes seconds."""
    said = io.StringIO()
    with redirect_stdout(said), redirect_stderr(said), pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", words)
        try:
            main()
        except SystemExit as left:
            return int(left.code or 0), said.getvalue()
    return 0, said.getvalue()


def run_alone(command: str) -> tuple[int, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(["bash", "-ec", command], env={**os.environ, "PATH": path}, capture_output=True, text=True)
    return done.returncode, f"{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_of_the_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("orders.csv").write_text(own_orders())
    names: dict[str, object] = {"__name__": page.stem}
    for language, block in blocks(page):
        assert language in {"python", "console", "text", "toml", "csv"}, f"{page.name} has a fence of {language!r}"
        file = re.match(r"# (\S+\.(?:toml|csv))\n", block)
        if file:
            Path(file[1]).write_text(block if language == "toml" else block.split("\n", 1)[1])
        elif language == "python":
            exec(compile(block, page.name, "exec"), names)
        elif language == "console":
            for command in commands(block):
                run(command)


def test_make_targets_that_a_page_names_exist():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {name for page in PAGES for name in re.findall(r"`make ([a-z-]+)`", page.read_text())}
    assert named <= targets


def test_benchmarks_that_a_page_names_exist():
    named = {name for page in PAGES for name in re.findall(r"python -m benchmarks\.(\w+)", page.read_text())}
    assert all((ROOT / "benchmarks" / f"{name}.py").exists() for name in named)


HELPS = dict(make_cli.helps())


def test_the_page_of_verbs_is_what_the_command_line_says():
    assert make_cli.PAGE.read_text() == make_cli.page(), "docs/cli.md is stale: make docs"


@pytest.mark.parametrize("verb", HELPS)
def test_every_help_page_ends_in_an_example(verb):
    assert HELPS[verb].splitlines()[-1].strip().startswith(("Example: sojourn", "sojourn ")), HELPS[verb]


@pytest.mark.parametrize("room", [room for room in ROOMS if room not in {"core", "cli"}])
def test_every_public_name_is_in_the_docs(room):
    text = "\n".join(page.read_text() for page in PAGES)
    missing = [name for name in import_module(f"sojourn.{room}").__all__ if not re.search(rf"\b{name}\b", text)]
    assert not missing, f"docs/{room}.md does not mention {missing}"
