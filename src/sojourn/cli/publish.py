"""`sojourn publish`: tables of the warehouse go where others read them."""

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from sojourn.cli.options import CONFIG, DAYS, WAREHOUSE, day_of, opened


def register(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.command(epilog="Example: sojourn publish --only board --day 2017-12-31")(publish)


def publish(
    only: Annotated[str | None, typer.Option(metavar="NAME", help="Only the place [publish.NAME].")] = None,
    day: Annotated[
        datetime | None,
        typer.Option(formats=DAYS, metavar="DATE", help="Nothing later than this day; all if left out."),
    ] = None,
    warehouse: WAREHOUSE = Path("warehouse"),
    config: CONFIG = None,
) -> None:
    """Bring tables to the files, ClickHouse or Redis that sojourn.toml declares; what is current there stays.

    Run it again after a kill or a lost connection: it completes, and no row stands there twice.
    """
    from sojourn.core import BadSpec
    from sojourn.operate import publish as send
    from sojourn.operate import publishers_from

    settings, store = opened(warehouse, config)
    declared = {spec.name: spec for spec in publishers_from(settings)}
    if not declared:
        raise BadSpec("No place to publish to is declared. Declare [publish.NAME] with to, url and tables.")
    if only is not None and only not in declared:
        raise BadSpec(f"There is no [publish.{only}]; there are {', '.join(declared)}. Choose one of them with --only.")
    for spec in declared.values():
        if only in (None, spec.name):
            typer.echo("\n".join(send(store, spec=spec, day=day_of(day)).lines()))
