"""`sojourn features`: what was known of every user on a day, and what came after."""

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from sojourn.cli.options import DAYS

EPILOG = "Example: sojourn features --as-of 2017-10-01 --labels 30,90 --out training.parquet"


def register(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.command(epilog=EPILOG)(features)


def features(
    as_of: Annotated[
        list[datetime],
        typer.Option(formats=DAYS, metavar="DATE", help="Know nothing from this day on. May be given several times."),
    ],
    labels: Annotated[
        str | None, typer.Option(metavar="DAYS", help="Add labels over these days from as-of on, such as 30,90.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="One Parquet file; table `features` of the warehouse when left out.")
    ] = None,
    known_after: Annotated[
        float | None,
        typer.Option(
            metavar="HOURS",
            help="Only what had arrived so many hours after each day's start: the row that a job at that time wrote.",
        ),
    ] = None,
    warehouse: Annotated[Path, typer.Option(help="The warehouse's folder.")] = Path("warehouse"),
    config: Annotated[Path | None, typer.Option(help="Settings; ./sojourn.toml when left out.")] = None,
) -> None:
    """Write one row per user and day: features from strictly before the day, and labels from the days after it."""
    from sojourn.cli.settings import open_warehouse, read_settings
    from sojourn.core import BadSpec, say
    from sojourn.features import export_features, export_training_set, features_from, population, write_features

    settings = read_settings(config)
    spec, days = features_from(settings), [moment.date() for moment in as_of]
    if known_after is not None:
        spec = spec.with_changes(known_after_hours=known_after)
    if labels is not None:
        spec = spec.with_changes(labels=spec.labels.with_changes(horizons_days=_whole(labels)))
        if out is None:
            raise BadSpec("Labels go into a file, not into table 'features'. Say which: --out training.parquet")
    store = open_warehouse(warehouse, settings)
    if out is None:
        rows = sum(write_features(store, spec, day).rows for day in days)
    else:
        rows = (export_features if labels is None else export_training_set)(store, spec, days, out=out)
    left_out = population(store, spec, days)["test_accounts"].sum()
    if left_out:
        say(f"Left out: {left_out:,} rows of test accounts ({spec.test_accounts} in table 'users').")
    typer.echo(f"{rows:,} rows: {out or store.root / 'features'}")


def _whole(days: str) -> tuple[int, ...]:
    from sojourn.core import BadSpec

    try:
        return tuple(int(each) for each in days.split(","))
    except ValueError as fault:
        raise BadSpec(f"--labels {days} is no list of whole days. Write it as --labels 30,90") from fault
