"""`sojourn rollup`: events are counted into day partials, and windows are read from them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sojourn.cli.options import CLOSED, CONFIG, END, FIRST, WAREHOUSE, day_of, opened

if TYPE_CHECKING:
    from sojourn.rollups import BackfillReport, RollupSpec

NAME = Annotated[
    str | None,
    typer.Option(help="Only this one of the [rollups.<name>] declared; all when left out.", show_default=False),
]
NAMED_HOLES = 10
DONE = {"current": "current", "slid": "slid on from the day before", "covered": "read from partials"}

rollup = typer.Typer(help="Count events into day partials, and read windows from them.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.add_typer(rollup, name="rollup", epilog="Example: sojourn rollup backfill --warehouse ./warehouse")


@rollup.command(epilog="Example: sojourn rollup backfill --from 2017-01-01 --to 2018-01-01")
def backfill(
    start: FIRST = None,
    end: END = None,
    again: Annotated[
        bool, typer.Option("--rebuild", help="Replace, over all history, what another definition made.")
    ] = False,
    name: NAME = None,
    warehouse: WAREHOUSE = Path("warehouse"),
    config: CONFIG = None,
) -> None:
    """Build the day partials that are missing or stale, and skip those that are current.

    A killed run is resumed by running it again.
    """
    from sojourn.core import BadSpec
    from sojourn.rollups import backfill as build
    from sojourn.rollups import rebuild

    if again and (start or end):
        raise BadSpec("--rebuild replaces partials over all history. Leave out --from and --to.")
    store, specs = _opened(warehouse, config, name)
    for spec in specs:
        report = rebuild(store, spec) if again else build(store, spec, start=day_of(start), end=day_of(end))
        typer.echo(_account(report))


@rollup.command(epilog="Example: sojourn rollup advance --day 2017-12-31")
def advance(
    day: CLOSED,
    name: NAME = None,
    warehouse: WAREHOUSE = Path("warehouse"),
    config: CONFIG = None,
) -> None:
    """Close a day: build its partial, and write table windows_<name> as of the morning after."""
    from sojourn.rollups import advance as close

    store, specs = _opened(warehouse, config, name)
    for spec in specs:
        report = close(store, spec, day=day.date())
        done = DONE[report.how]
        typer.echo(f"{_account(report.partials)}\n{report.table}: {report.rows:,} rows as of {report.as_of}, {done}")


@rollup.command(epilog="Example: sojourn rollup plan --day 2017-12-31")
def plan(
    day: CLOSED,
    name: NAME = None,
    warehouse: WAREHOUSE = Path("warehouse"),
    config: CONFIG = None,
) -> None:
    """Say what advancing that day reads: which partials cover each window, and how much that is of the raw days.

    Nothing is written. Partials that are missing or stale are named; they count as the raw days they are built from.
    """
    from datetime import timedelta

    from sojourn.cli.tables import aligned
    from sojourn.rollups import plan as look
    from sojourn.rollups.daily import need_real

    heads = ["window", "cover", "files", "rows", "bytes", "raw rows", "raw bytes"]
    store, specs = _opened(warehouse, config, name)
    for spec in specs:
        need_real(day.date())
        found = look(store, spec, as_of=day.date() + timedelta(days=1))
        typer.echo(f"{found.table} as of {found.as_of}: {found.told}")
        typer.echo(aligned(heads, found.rows(), right=heads[2:]))
        for note in found.notes:
            typer.echo(note)


def _opened(warehouse: Path, config: Path | None, name: str | None) -> "tuple[Any, list[RollupSpec]]":
    from sojourn.core import BadSpec
    from sojourn.rollups import rollups_from

    settings, store = opened(warehouse, config)
    declared = {spec.name: spec for spec in rollups_from(settings)}
    if name is not None and name not in declared:
        raise BadSpec(
            f"There is no rollup {name!r}; there are {', '.join(declared)}. Declare [rollups.{name}] in sojourn.toml."
        )
    return store, [spec for spec in declared.values() if name in (None, spec.name)]


def _account(report: "BackfillReport") -> str:
    days = f"{len(report.built):,} days built, {report.current:,} current, {len(report.dropped):,} dropped"
    told = f"{report.table}: {days}, {len(report.compacted):,} weeks and months merged (definition {report.definition})"
    if not report.holes:
        return told
    named = ", ".join(map(str, report.holes[:NAMED_HOLES]))
    more = len(report.holes) - NAMED_HOLES
    return f"{told}\n  days without any row: {named}{f' and {more:,} more' if more > 0 else ''}"
