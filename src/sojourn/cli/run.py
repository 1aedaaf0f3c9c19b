"""`sojourn run`: everything that `sojourn.toml` declares for a day, and only what is stale of it."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sojourn.cli.options import CONFIG, DAYS, day_of

if TYPE_CHECKING:
    from sojourn.operate import Outcome, RunReport

HEADS = ("step", "verdict", "rows", "seconds", "what")
COLOURS = {"failed": "bold red", "held back": "red", "warned": "yellow", "done": "green", "passed": "green"}


def register(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.command(name="run", epilog="Example: sojourn run --day 2024-12-30")(_run)


def _run(
    day: Annotated[
        datetime | None, typer.Option(formats=DAYS, metavar="DATE", help="The business day that has closed.")
    ] = None,
    start: Annotated[
        datetime | None, typer.Option("--from", formats=DAYS, metavar="DATE", help="The first of several days.")
    ] = None,
    end: Annotated[
        datetime | None, typer.Option("--to", formats=DAYS, metavar="DATE", help="The day after the last of them.")
    ] = None,
    at: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%dT%H:%M:%S", *DAYS],
            metavar="TIME",
            help="When the rows that are taken in are learned of, in UTC; now when left out.",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="A JSON object a line for each step and each alert, not a table.")
    ] = False,
    warehouse: Annotated[Path, typer.Option(help="The warehouse's folder, made when missing.")] = Path("warehouse"),
    config: CONFIG = None,
) -> None:
    """Do a closed day's work: ingest, checks, rollups, features, models, predictions, and what is declared beside.

    What is current by fingerprint is skipped; killed and run again, it ends the same. The name of each step goes to
    stderr as it begins, the table of what was done to stdout.

    Exit status 0: all is well; 1: a check failed or an alert was raised; 2: a step could not be done.
    """
    from sojourn.cli.settings import create_warehouse, read_settings
    from sojourn.core import BadSpec, say
    from sojourn.operate import declared_from, run_day, run_days

    if (day is None) == (start is None or end is None) or (day and (start or end)):
        raise BadSpec("Say which days: --day 2024-12-30, or --from 2024-12-01 --to 2024-12-31 (the last not included).")
    settings = read_settings(config)
    declared, store = declared_from(settings), create_warehouse(warehouse, settings)
    moment = datetime.now(UTC) if at is None else at.replace(tzinfo=UTC)
    first, last = day_of(day or start), day_of(end)
    assert first is not None
    show = _tell_json if as_json else _tell_table
    if last is None:
        reports = [run_day(store, declared, day=first, at=moment, tell=say, clock=_now)]
        show(reports[0])
    else:
        reports = run_days(store, declared, start=first, end=last, at=moment, tell=say, clock=_now, ended=show)
    status = max(report.exit_status for report in reports)
    if status:
        raise typer.Exit(status)


def _now() -> datetime:
    return datetime.now(UTC)


def _tell_json(report: "RunReport") -> None:
    day = str(report.day)
    for kind, found in (("step", report.outcomes), ("alert", report.alerts)):
        for each in found:
            typer.echo(json.dumps({"kind": kind, "day": day, **each.as_dict()}))
    typer.echo(json.dumps({"kind": "run", "day": day, "seconds": report.seconds, "exit_status": report.exit_status}))


def _tell_table(report: "RunReport") -> None:
    from rich.console import Console

    console = Console()
    if console.is_terminal:
        console.print(_rich(report))
    else:
        from sojourn.cli.tables import aligned

        typer.echo(f"{report.day}\n{aligned(HEADS, [_cells(each) for each in report.outcomes], right=HEADS[2:4])}")
    failing = sum(each.severity == "fail" for each in report.alerts)
    words = f"{len(report.alerts)} alert{'' if len(report.alerts) == 1 else 's'}, {failing} of severity fail"
    typer.echo(f"{report.day}: {report.seconds:,.1f} s, {words}")


def _rich(report: "RunReport") -> Any:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(title=f"{report.day}", title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    for head in HEADS:
        table.add_column(head, justify="right" if head in HEADS[2:4] else "left", no_wrap=head != "what")
    for each in report.outcomes:
        table.add_row(*_cells(each), style=COLOURS.get(each.verdict, "dim"))
    return table


def _cells(outcome: "Outcome") -> list[str]:
    rows = "" if outcome.rows is None else f"{outcome.rows:,}"
    return [outcome.step, outcome.verdict, rows, f"{outcome.seconds:.1f}", outcome.told]
