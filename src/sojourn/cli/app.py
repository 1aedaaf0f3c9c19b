"""The program `sojourn`: one verb a module, and one place where mistakes become a sentence and exit status 2."""

import sys

import typer

from sojourn import __version__
from sojourn.cli import (
    dashboard,
    demo,
    effects,
    events,
    features,
    ingest,
    ltv,
    metrics,
    model,
    publish,
    retention,
    rollup,
    run,
    serve,
    simulate,
    verify,
)
from sojourn.core import SojournError, say

VERBS = (
    demo,
    ingest,
    events,
    simulate,
    rollup,
    features,
    metrics,
    ltv,
    retention,
    effects,
    run,
    model,
    publish,
    serve,
    dashboard,
    verify,
)

app = typer.Typer(
    name="sojourn",
    help="From a log of what users did to decisions about them.",
    epilog="Example: sojourn demo",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(False, "--version", callback=_print_version, is_eager=True, help="Print the version."),
) -> None:
    """From a log of what users did to decisions about them."""


for _verb in VERBS:
    _verb.register(app)


def main() -> None:
    """Run the command line.

    Exit status 0: done; 1: `verify` found a fault, or `run` has an alert; 2: the user's mistake, told in one sentence;
    130: interrupted.
    """
    try:
        app()
    except SojournError as mistake:
        say(f"sojourn: {mistake}")
        sys.exit(2)
    except KeyboardInterrupt:
        say("sojourn: interrupted; what was finished stays, the rest is as it was. Run it again to go on.")
        sys.exit(130)
