"""`sojourn model`: the models that a daily run uses, which of them is in force, and which may take over."""

from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from sojourn.cli.options import AS_OF, CONFIG, WAREHOUSE, day_of, opened

KIND = Annotated[Literal["ltv", "retention"], typer.Argument(help="ltv or retention.")]

model = typer.Typer(help="Keep models, and say which is in force.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.add_typer(model, name="model", epilog="Example: sojourn model list --warehouse ./warehouse")


@model.command(name="list", epilog="Example: sojourn model list --warehouse ./warehouse")
def list_(warehouse: WAREHOUSE = Path("warehouse"), config: CONFIG = None) -> None:
    """Print every stored model, what it knows, and since when it is in force."""
    from sojourn.cli.tables import aligned
    from sojourn.operate import Registry

    _, store = opened(warehouse, config)
    rows = []
    for kind in ("ltv", "retention"):
        registry = Registry(store, kind)
        history = registry.standing().history
        for about in registry.versions():
            since = [
                f"{each.as_of} ({each.how.partition(':')[0]})" for each in history if each.version == about.version
            ]
            state = "in force" if history and history[-1].version == about.version else "was" if since else "candidate"
            rows.append([kind, about.version, str(about.fitted_as_of), str(about.known_until), state, ", ".join(since)])
    if not rows:
        typer.echo("No model is stored. Fit one: sojourn model fit ltv")
        return
    typer.echo(aligned(["kind", "version", "fitted as of", "known until", "state", "in force from"], rows))


@model.command(epilog="Example: sojourn model fit ltv --as-of 2024-12-01")
def fit(kind: KIND, as_of: AS_OF = None, warehouse: WAREHOUSE = Path("warehouse"), config: CONFIG = None) -> None:
    """Fit a candidate on what was known by a day, and store it; it is not in force before it is promoted.

    To compare it with the model in force, fit it as of a day whose label window is over.
    """
    from sojourn.operate import declared_from, fit_candidate

    settings, store = opened(warehouse, config)
    about = fit_candidate(store, kind, declared_from(settings), as_of=_end(store, as_of))
    typer.echo(f"{kind} {about.version}: {about.told}\nknows what came before {about.known_until}")


@model.command(epilog="Example: sojourn model promote ltv 3f2a9c")
def promote(
    kind: KIND,
    version: Annotated[str, typer.Argument(help="The version, or its first digits.")],
    as_of: AS_OF = None,
    warehouse: WAREHOUSE = Path("warehouse"),
    config: CONFIG = None,
) -> None:
    """Put a version in force, if it beats the one in force on the same users and days beyond chance.

    Where it does not, it is refused with the figures, exit status 2. Where none is in force it needs to beat none.
    """
    from sojourn.operate import Registry, declared_from
    from sojourn.operate import promote as put_in_force

    settings, store = opened(warehouse, config)
    features = declared_from(settings).features
    now, found = put_in_force(store, Registry(store, kind), version, as_of=_end(store, as_of), features=features)
    typer.echo(f"{kind} {now.version} is in force as of {now.as_of}" + (f": {found.told}" if found else ""))


@model.command(epilog="Example: sojourn model rollback ltv")
def rollback(kind: KIND, as_of: AS_OF = None, warehouse: WAREHOUSE = Path("warehouse"), config: CONFIG = None) -> None:
    """Put the version in force that was so before the present one."""
    from sojourn.operate import Registry

    _, store = opened(warehouse, config)
    now = Registry(store, kind).roll_back(as_of=_end(store, as_of))
    typer.echo(f"{kind} {now.version} is in force as of {now.as_of} ({now.how})")


def _end(store: Any, as_of: Any) -> date:
    from sojourn.lifetime import log_days

    day: date = day_of(as_of) or log_days(store)[1]
    return day
