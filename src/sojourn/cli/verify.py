"""`sojourn verify`: whether what is stored is what the events say."""

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.command(epilog="Example: sojourn verify --sample 1000 --seed 7")(verify)


def verify(
    sample: Annotated[int, typer.Option(help="Keys of each table to recompute from raw events, one at a time.")] = 100,
    seed: Annotated[int, typer.Option(help="What draws the sample.")] = 0,
    everything: Annotated[
        bool, typer.Option("--all", help="Make every partition anew, not a few of each table.")
    ] = False,
    json: Annotated[Path | None, typer.Option(help="Write every check and fault there too, as JSON.")] = None,
    warehouse: Annotated[Path, typer.Option(help="The warehouse's folder.")] = Path("warehouse"),
    config: Annotated[Path | None, typer.Option(help="Settings; ./sojourn.toml when left out.")] = None,
) -> None:
    """Check files, fingerprints, gaps, row counts and ids, and recompute a sample the slow way.

    Exit status 0: nothing is wrong; 1: something is, and the table says what; 2: a mistake in the call.
    """
    from json import dumps

    from sojourn.cli.settings import open_warehouse, read_settings
    from sojourn.cli.tables import aligned
    from sojourn.core import UnreadableSource
    from sojourn.features import features_from
    from sojourn.operate import verify as check
    from sojourn.rollups import VerifySpec, rollups_from

    settings = read_settings(config)
    spec = VerifySpec(sample=sample, seed=seed, **({"partitions": None} if everything else {}))
    store = open_warehouse(warehouse, settings)
    # Settings that suit no features are no mistake where there are none.
    features = features_from(settings) if store.has("features") else None
    found = check(store, rollups=rollups_from(settings), features=features, spec=spec)
    if json is not None:
        try:
            json.write_text(dumps(found.as_dict(), indent=2))
        except OSError as fault:
            raise UnreadableSource(f"{json} cannot be written: {fault.strerror}. Choose another --json.") from fault
    typer.echo(aligned(["check", "table", "looked at", "verdict", "found"], found.rows()))
    if not found.fine:
        raise typer.Exit(1)
