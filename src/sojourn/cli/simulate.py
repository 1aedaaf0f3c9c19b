"""`sojourn simulate`: an app world with known truth, written into a warehouse."""

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

EPILOG = "Example: sojourn simulate --users 100000 --days 120 --warehouse ./app"


def register(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.command(name="simulate", epilog=EPILOG)(_simulate)


def _simulate(
    users: Annotated[int, typer.Option(help="How many people install the app.")] = 10_000,
    days: Annotated[int, typer.Option(help="How many days are simulated.")] = 60,
    start: Annotated[
        datetime, typer.Option(formats=["%Y-%m-%d"], help="The first day.", show_default="2025-01-01")
    ] = datetime(2025, 1, 1),  # noqa: DTZ001
    seed: Annotated[int, typer.Option(help="Another seed is another world.")] = 0,
    push_strength: Annotated[float, typer.Option(help="How strongly pushes act, good and bad; 0: not at all.")] = 1.0,
    push_holdout: Annotated[float, typer.Option(help="Share of users whom chance never lets be pushed.")] = 0.2,
    install_days: Annotated[int | None, typer.Option(help="Days over which users install; all when left out.")] = None,
    zone: Annotated[str | None, typer.Option(help="Zone of the days, for a new warehouse; UTC when left out.")] = None,
    warehouse: Annotated[Path, typer.Option(help="The warehouse's folder, made when missing.")] = Path("warehouse"),
    config: Annotated[Path | None, typer.Option(help="Settings; ./sojourn.toml when left out.")] = None,
) -> None:
    """Simulate an app with known truth: installs, sessions, purchases, pushes, costs.

    Writes tables events, users, items, costs and pushes; the truth goes into a warehouse of its own, WAREHOUSE-truth.
    The same flags give the same bytes. A run that was cut off goes on where it stopped.
    """
    from sojourn.cli.settings import create_warehouse, read_settings
    from sojourn.events import WorldSpec, simulate

    store = create_warehouse(warehouse, read_settings(config), zone=zone)
    spec = WorldSpec(
        users=users,
        days=days,
        start=start.date(),
        seed=seed,
        push_strength=push_strength,
        push_holdout=push_holdout,
        install_days=install_days,
        zone=store.spec.zone,
    )
    typer.echo(simulate(store, spec).summary())
