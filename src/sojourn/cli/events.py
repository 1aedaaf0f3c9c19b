"""`sojourn events`: users are forgotten, and ids that are one person are merged."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from sojourn.cli.options import CONFIG, WAREHOUSE

events = typer.Typer(help="Forget users, and merge ids that are one person.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.add_typer(events, name="events", epilog="Example: sojourn events forget ann --warehouse ./warehouse")


@events.command(epilog="Example: sojourn events forget ann bob --ignore events.item_id")
def forget(
    users: Annotated[list[str] | None, typer.Argument(help="The users' ids.", show_default=False)] = None,
    file: Annotated[Path | None, typer.Option(help="A text file with one id a line.")] = None,
    ignore: Annotated[
        list[str] | None,
        typer.Option(metavar="TABLE.COLUMN", help="The search passes over this column: it holds other things."),
    ] = None,
    warehouse: WAREHOUSE = Path("warehouse"),
    config: CONFIG = None,
) -> None:
    """Erase users from every table and published place, keep them out of later ingests, and search for their ids.

    Reaches what [publish.NAME] declares, and the files in the folders of [forget].
    Exit status 2 where the search finds one. Run it again after a kill: it completes.
    """
    from sojourn.cli.settings import open_warehouse, read_settings
    from sojourn.core import BadInput
    from sojourn.operate import elsewhere_from
    from sojourn.operate import forget as erase
    from sojourn.rollups import rollups_from

    settings = read_settings(config)
    ids = [*(users or ()), *(_lines(file) if file else ())]
    store = open_warehouse(warehouse, settings)
    report = erase(
        store,
        ids,
        as_of=datetime.now(UTC),
        rollups=rollups_from(settings),
        ignoring=ignore or (),
        elsewhere=elsewhere_from(settings),
    )
    if not report.is_complete:
        typer.echo("\n".join(report.lines()[:-1]))
        raise BadInput(report.proof)
    typer.echo("\n".join(report.lines()))


@events.command(epilog="Example: sojourn events merge aliases.csv --warehouse ./warehouse")
def merge(
    file: Annotated[Path, typer.Argument(help="CSV or Parquet with the columns alias and user_id.")],
    warehouse: WAREHOUSE = Path("warehouse"),
    config: CONFIG = None,
) -> None:
    """Give the rows of every alias the id of its user, now and in later ingests, and repair the touched partials."""
    from sojourn.cli.settings import open_warehouse, read_settings
    from sojourn.operate import merge as unite
    from sojourn.rollups import rollups_from

    settings = read_settings(config)
    store = open_warehouse(warehouse, settings)
    done = unite(store, file, as_of=datetime.now(UTC), rollups=rollups_from(settings))
    typer.echo("\n".join(done.lines()))


def _lines(file: Path) -> list[str]:
    from sojourn.core import UnreadableSource

    try:
        return [line for line in file.read_text().splitlines() if line]
    except (OSError, UnicodeDecodeError) as fault:
        raise UnreadableSource(f"{file} cannot be read: {fault}. Give a text file with one id a line.") from fault
