"""`sojourn demo`: the main job, end to end, on real data."""

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.command(epilog="Example: sojourn demo --out ./sojourn-demo")(demo)


def demo(
    out: Annotated[Path, typer.Option(help="Folder for everything it makes.")] = Path("sojourn-demo"),
) -> None:
    """Ingest a year of 2,469 households' real purchases; predict what each will spend and who slips away."""
    from sojourn.operate import run_demo

    typer.echo(run_demo(out).text())
