"""`sojourn dashboard`: the metrics, forecasts and users of a warehouse as pages in a browser."""

from pathlib import Path
from typing import Annotated, Any

import typer

from sojourn.cli.options import CONFIG, WAREHOUSE, opened


def register(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.command(epilog="Example: sojourn dashboard --warehouse ./warehouse --port 8050")(dashboard)


def dashboard(
    warehouse: WAREHOUSE = Path("warehouse"),
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Where to listen; 0: any port that is free.")] = 8050,
    host: Annotated[str, typer.Option(help="Who may ask: 127.0.0.1 is this machine alone.")] = "127.0.0.1",
    check: Annotated[
        bool, typer.Option("--check", help="Make every chart once, print what it holds, and end.")
    ] = False,
    prepare: Annotated[
        bool, typer.Option("--prepare", help="Write what the pages need of their own, verify the warehouse, and end.")
    ] = False,
    config: CONFIG = None,
) -> None:
    """Serve the pages until interrupted; nothing is asked of any other machine, and nothing is written.

    `--prepare` writes the hours of the week, the history of single users and the last verification, where they are not
    current: run it after each day's work.
    """
    from sojourn.dashboard import check_pages, dashboard_app, dashboard_from, serve

    settings, store = opened(warehouse, config)
    spec = dashboard_from(settings)
    if prepare:
        _prepare(settings, store, spec)
    elif check:
        _check(check_pages(store, spec))
    else:
        serve(dashboard_app(store, spec), host=host, port=port, ready=_ready)


def _ready(address: str) -> None:
    from sojourn.core import say

    say(f"{address} shows the dashboard; end it with Ctrl-C.")


def _check(looks: list[Any]) -> None:
    from sojourn.cli.tables import aligned

    typer.echo(aligned(["page", "chart", "rows", "time", "instead"], [look.row() for look in looks]))
    if any(look.failed for look in looks):
        raise typer.Exit(1)


def _prepare(settings: dict[str, Any], store: Any, spec: Any) -> None:
    from datetime import UTC, datetime

    from sojourn.cli.options import features_of
    from sojourn.dashboard import write_checks, write_history, write_hours
    from sojourn.operate import verify
    from sojourn.rollups import VerifySpec, rollups_from

    hours, buckets = write_hours(store), write_history(store, spec)
    features = features_of(settings) if store.has("features") else None
    found = verify(store, rollups=rollups_from(settings), features=features, spec=VerifySpec())
    write_checks(store, found.rows(), checked_at=datetime.now(UTC))
    wrong = sum(check.verdict == "wrong" for check in found.checks)
    typer.echo(
        f"hours: {hours} days written\nhistory: {buckets} files written\nchecks: {len(found.checks)}, {wrong} wrong"
    )
