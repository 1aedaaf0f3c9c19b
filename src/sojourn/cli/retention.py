"""`sojourn retention`: who comes back on which day, how long users stay, and whom a push would keep."""

from pathlib import Path
from typing import Annotated, Any

import typer

from sojourn.cli.options import AS_OF, CONFIG, WAREHOUSE, day_of, features_of, opened

ACTIVE = Annotated[
    str | None, typer.Option(help="SQL condition for rows that make a user active, such as: event = 'launch'")
]

retention = typer.Typer(help="Who comes back on which day, and whom a push would keep.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.add_typer(
        retention,
        name="retention",
        epilog="Example: sojourn retention compare --warehouse ./warehouse --out ./retention",
    )


@retention.command(epilog="Example: sojourn retention compare --active \"event = 'launch'\" --out ./retention")
def compare(
    out: Annotated[Path, typer.Option(help="Folder for metrics.json, by_day.csv, report.html.")] = Path("retention"),
    active: ACTIVE = None,
    as_of: AS_OF = None,
    warehouse: WAREHOUSE = Path("warehouse"),
    config: CONFIG = None,
) -> None:
    """Fit every model of daily activity on past dates, choose on the earlier folds, test once on the last."""
    from sojourn.cli.tables import show_frame
    from sojourn.lifetime import compare_retention, retention_summary

    settings, store = opened(warehouse, config)
    spec = _spec(settings, active)
    found = compare_retention(store, spec=spec, out=out, features=features_of(settings), end=day_of(as_of))
    show_frame(retention_summary(found), f"report: {out / 'report.html'}")


@retention.command(epilog="Example: sojourn retention fit --out ./retention-model --as-of 2025-05-01")
def fit(
    out: Annotated[Path, typer.Option(help="Folder for the model.")] = Path("retention-model"),
    active: ACTIVE = None,
    as_of: AS_OF = None,
    warehouse: WAREHOUSE = Path("warehouse"),
    config: CONFIG = None,
) -> None:
    """Fit the model named in the settings, or picked by folds, and the effect of pushes where the log can tell it."""
    from sojourn.lifetime import fit_retention

    settings, store = opened(warehouse, config)
    spec = _spec(settings, active)
    fitted = fit_retention(store, spec=spec, out=out, features=features_of(settings), end=day_of(as_of))
    learned = "none known" if fitted.effect is None else f"from {fitted.effect.decisions_:,} decisions"
    typer.echo(f"model: {fitted.name}\neffect of pushes: {learned}\nsaved: {out} (fingerprint {fitted.mark})")


@retention.command(epilog="Example: sojourn retention predict --model ./retention-model --push-day 0 --push-day 7")
def predict(
    out: Annotated[Path, typer.Option(help="Folder for retention.parquet, whom_to_push.csv.")] = Path("retention"),
    model: Annotated[Path, typer.Option(help="The folder that `sojourn retention fit` wrote.")] = Path(
        "retention-model"
    ),
    push_day: Annotated[
        list[int] | None, typer.Option(help="Push on this day ahead (0 is the first); may be given several times.")
    ] = None,
    budget: Annotated[
        float | None, typer.Option(help="Spend at most this on pushes, in units of cost_per_push.")
    ] = None,
    as_of: AS_OF = None,
    warehouse: WAREHOUSE = Path("warehouse"),
    config: CONFIG = None,
) -> None:
    """Predict every user's coming days; with push days or [retention.plan] also what the pushes would change."""
    from sojourn.lifetime import FittedRetention, predict_retention

    settings, store = opened(warehouse, config)
    fitted, plan = FittedRetention.load(model), _plan(settings, push_day, budget)
    said = predict_retention(
        store, fitted=fitted, out=out, plan=plan, features=features_of(settings), as_of=day_of(as_of)
    )
    typer.echo(
        f"{said.height} users, {said['expected_days'].sum():,.1f} active days expected: {out / 'retention.parquet'}"
    )
    if plan is not None:
        pushed = said.filter("push")
        typer.echo(
            f"{pushed.height} users to push, {pushed['gain_days'].sum():,.1f} days gained at a cost of "
            f"{pushed['cost'].sum():,.2f}: {out / 'whom_to_push.csv'}"
        )


def _spec(settings: dict[str, Any], active: str | None) -> Any:
    from sojourn.lifetime import RetentionSpec

    section = {name: value for name, value in settings.get("retention", {}).items() if name != "plan"}
    return RetentionSpec(**{**section, **({"active": active} if active else {})})


def _plan(settings: dict[str, Any], push_day: list[int] | None, budget: float | None) -> Any:
    from sojourn.lifetime import NudgePlan

    section = settings.get("retention", {}).get("plan")
    if section is None and not push_day:
        return None
    if section is not None and not isinstance(section, dict):
        from sojourn.core import BadSpec

        raise BadSpec(f"[retention] has plan = {section!r}, which is no table. Declare it as [retention.plan].")
    asked = {"offsets": tuple(push_day) if push_day else None, "budget": budget}
    return NudgePlan(**{**(section or {}), **{name: value for name, value in asked.items() if value is not None}})
