"""`sojourn serve`: users' features and predictions, and scores of rows, over HTTP."""

from pathlib import Path
from typing import Annotated

import typer

from sojourn.cli.options import CONFIG, WAREHOUSE, opened


def register(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.command(epilog="Example: sojourn serve --models ./models --port 8000")(serve)


def serve(
    models: Annotated[Path | None, typer.Option(help="Folder of saved models; without it no rows are scored.")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen at; 127.0.0.1 if left out.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen at; 8000 if left out.")] = None,
    warehouse: WAREHOUSE = Path("warehouse"),
    config: CONFIG = None,
) -> None:
    """Serve users from the warehouse or from Redis, and score rows with saved models, until it is told to end.

    Section [serve] of sojourn.toml says from where, to whom and how much; /docs shows what can be asked.
    """
    from sojourn.core import say
    from sojourn.operate import ServeSpec, make_app, publishers_from, run_app

    settings, store = opened(warehouse, config)
    given = {"models": None if models is None else str(models), "host": host, "port": port}
    asked = {name: flag for name, flag in given.items() if flag is not None}
    spec = ServeSpec(**{**settings.get("serve", {}), **asked})
    app = make_app(store, spec=spec, published={each.name: each for each in publishers_from(settings)})
    run_app(app, host=spec.host, port=spec.port, ready=lambda at: say(f"Serving at {at}; what can be asked: {at}/docs"))
