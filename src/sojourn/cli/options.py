"""The options that several verbs share, and what their words stand for."""

from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

WAREHOUSE = Annotated[Path, typer.Option(help="The warehouse's folder.")]
CONFIG = Annotated[Path | None, typer.Option(help="Settings; ./sojourn.toml when left out.")]
DAYS = ["%Y-%m-%d"]
AS_OF = Annotated[
    datetime | None,
    typer.Option(formats=DAYS, help="Know nothing from this day on; the day after the log's last if left out."),
]
CLOSED = Annotated[datetime, typer.Option(formats=DAYS, metavar="DATE", help="The business day that has closed.")]
FIRST = Annotated[
    datetime | None,
    typer.Option("--from", formats=DAYS, metavar="DATE", help="The first day; all history's when left out."),
]
END = Annotated[
    datetime | None,
    typer.Option("--to", formats=DAYS, metavar="DATE", help="The day after the last; all history's when left out."),
]


def opened(warehouse: Path, config: Path | None) -> tuple[dict[str, Any], Any]:
    """The settings, and the warehouse that they are for."""
    from sojourn.cli.settings import open_warehouse, read_settings

    settings = read_settings(config)
    return settings, open_warehouse(warehouse, settings)


def features_of(settings: dict[str, Any]) -> Any:
    """The features that the settings declare."""
    from sojourn.features import features_from

    return features_from(settings)


def day_of(moment: datetime | None) -> date | None:
    """The day, where one was given. Raises `BadSpec` for a year that no log has, which no window could look around."""
    from sojourn.core import BadSpec

    if moment is not None and not 1900 <= moment.year <= 2199:
        raise BadSpec(f"The day {moment.date()} lies outside the years 1900 to 2199. Give one such as 2024-12-30.")
    return None if moment is None else moment.date()
