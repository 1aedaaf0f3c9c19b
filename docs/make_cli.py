"""Writes docs/cli.md from the command line's own help: `make docs`. A test fails when the page is stale."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main

from sojourn.cli import app

PAGE = Path(__file__).parent / "cli.md"
HEAD = """# Command line

This page is written by `make docs` from `sojourn --help` and the help of every verb. Results go to stdout and files,
progress and notes to stderr. A mistake ends with exit status 2 and one sentence; settings come from flags, else from
`sojourn.toml`.
"""


def page() -> str:
    """The whole page."""
    return HEAD + "".join(f"\n## `{name}`\n\n```text\n{text}\n```\n" for name, text in helps())


def helps() -> Iterator[tuple[str, str]]:
    """Every command's full name and its help as a terminal of 100 columns shows it."""
    yield from _helps(typer.main.get_command(app), "sojourn")


def _helps(command: Any, name: str) -> Iterator[tuple[str, str]]:
    context = command.make_context(name, [], resilient_parsing=True, terminal_width=100, max_content_width=100)
    lines = command.get_help(context).strip().splitlines()
    yield name, "\n".join(line.rstrip() for line in lines)
    for child_name, child in getattr(command, "commands", {}).items():
        yield from _helps(child, f"{name} {child_name}")


if __name__ == "__main__":
    PAGE.write_text(page())
