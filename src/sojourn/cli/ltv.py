"""`sojourn ltv`: what users will spend, who slips away, and which model says it best."""

from pathlib import Path
from typing import Annotated, Any

import typer

from sojourn.cli.options import AS_OF, CONFIG, WAREHOUSE, day_of, features_of, opened

MODELS = Annotated[Path, typer.Option(help="The folder that `sojourn ltv fit` wrote.")]
REPLAY = Annotated[
    bool,
    typer.Option("--replay", help="Predict a day that the models have seen, too: no forecast, and said to be none."),
]
HORIZON = Annotated[list[int] | None, typer.Option(help="Days to look ahead; may be given several times: 30 and 90.")]

ltv = typer.Typer(help="What users will spend, who slips away, and which model says it best.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.add_typer(ltv, name="ltv", epilog="Example: sojourn ltv compare --warehouse ./warehouse --out ./ltv")


@ltv.command(epilog="Example: sojourn ltv compare --horizon 30 --horizon 90 --out ./ltv")
def compare(
    out: Annotated[
        Path, typer.Option(help="Folder for figures (metrics.json, four CSV files) and report.html.")
    ] = Path("ltv"),
    horizon: HORIZON = None,
    as_of: AS_OF = None,
    warehouse: WAREHOUSE = Path("warehouse"),
    config: CONFIG = None,
) -> None:
    """Fit every model on past dates, choose on the earlier folds, test once on the last."""
    from sojourn.cli.tables import show_frame
    from sojourn.lifetime import compare_models, verdict

    settings, store = opened(warehouse, config)
    found = compare_models(
        store, spec=_spec(settings, horizon), out=out, features=features_of(settings), end=day_of(as_of)
    )
    said = [f"{each.spec.name}: {verdict(each)}" for each in found.comparisons]
    left_out = [f"{task} is left out: {why}" for task, why in found.evidence.left_out.items()]
    cut = [found.evidence.cut] if found.evidence.cut else []
    show_frame(found.summary(), "")
    if not found.spreads().is_empty():
        show_frame(found.spreads(), "")
    typer.echo("\n".join([*cut, *said, *left_out, f"report: {out / 'report.html'}"]))


@ltv.command(epilog="Example: sojourn ltv newcomers --age 1 --age 7 --by-day 90 --out ./newcomers")
def newcomers(
    out: Annotated[Path, typer.Option(help="Folder for figures, forecasts and report.html.")] = Path("newcomers"),
    age: Annotated[
        list[int] | None,
        typer.Option(help="A day on which newcomers are seen; may be given several times. 1, 3 and 7 when left out."),
    ] = None,
    by_day: Annotated[int | None, typer.Option(help="The day by which their spend is told; 90 when left out.")] = None,
    as_of: AS_OF = None,
    warehouse: WAREHOUSE = Path("warehouse"),
    config: CONFIG = None,
) -> None:
    """Tell from a newcomer's first days what they will have spent by day 90; by cohort and by channel."""
    from sojourn.cli.tables import show_frame
    from sojourn.lifetime import NewcomerSpec, compare_newcomers, scores_summary, verdict

    settings, store = opened(warehouse, config)
    changed = {"ages_days": tuple(age) if age else None, "by_days": by_day}
    given = {name: value for name, value in changed.items() if value is not None}
    spec = NewcomerSpec(**{**settings.get("newcomers", {}), **given})
    known = {"features": features_of(settings), "money": _spec(settings, None), "end": day_of(as_of)}
    found = compare_newcomers(store, spec=spec, out=out, **known)
    comparisons = [each.comparison for each in found]
    said = [f"{each.spec.name}: {verdict(each)}" for each in comparisons]
    figures = scores_summary({each.spec.name: each.scores for each in comparisons})
    show_frame(figures, "\n".join([*said, f"report: {out / 'report.html'}"]))


@ltv.command(epilog="Example: sojourn ltv fit --out ./models --as-of 2017-10-03")
def fit(
    out: Annotated[Path, typer.Option(help="Folder for the models.")] = Path("models"),
    horizon: HORIZON = None,
    as_of: AS_OF = None,
    warehouse: WAREHOUSE = Path("warehouse"),
    config: CONFIG = None,
) -> None:
    """Fit the model of every task on what is known, and save it: the one named in the settings, or picked by folds."""
    from sojourn.lifetime import fit_models

    settings, store = opened(warehouse, config)
    model = fit_models(store, spec=_spec(settings, horizon), out=out, features=features_of(settings), end=day_of(as_of))
    typer.echo("\n".join(f"{task}: {name}" for task, name in model.chosen_.items()))
    typer.echo(f"models: {out} (fingerprint {model.fingerprint_})")


@ltv.command(epilog="Example: sojourn ltv predict --models ./models --out ./ltv")
def predict(
    out: Annotated[Path, typer.Option(help="Folder for predictions.parquet and the target lists.")] = Path("ltv"),
    models: MODELS = Path("models"),
    as_of: AS_OF = None,
    replay: REPLAY = False,
    warehouse: WAREHOUSE = Path("warehouse"),
    config: CONFIG = None,
) -> None:
    """Predict every user as of a day; write predictions as Parquet, and target lists as CSV."""
    from sojourn.lifetime import Lifetime, predict_users

    settings, store = opened(warehouse, config)
    known = {"features": features_of(settings), "as_of": day_of(as_of), "seen": "warn" if replay else "refuse"}
    found = predict_users(store, model=Lifetime.load(models), out=out, **known)
    outlook = found.outlook
    typer.echo(
        f"{found.predictions.height} users: {out / 'predictions.parquet'}\n"
        f"{outlook.high_spenders.height} likely high spenders: {out / 'likely_high_spenders.csv'}\n"
        f"{outlook.at_risk.height} high spenders at risk: {out / 'high_spenders_at_risk.csv'}"
    )


@ltv.command(epilog="Example: sojourn ltv score --models ./models --as-of 2017-12-31")
def score(
    models: MODELS = Path("models"),
    reasons: Annotated[
        int,
        typer.Option(
            min=0, metavar="USERS", help="Tell of so many, those of whom most is expected, why; 0: of nobody."
        ),
    ] = 0,
    as_of: AS_OF = None,
    replay: REPLAY = False,
    warehouse: WAREHOUSE = Path("warehouse"),
    config: CONFIG = None,
) -> None:
    """Predict every user into the warehouse's table `predictions`, however many there are; on DuckDB or on Spark.

    With `--reasons`, what pushed predictions up or down goes into table `prediction_reasons`.
    """
    from sojourn.lifetime import Lifetime, explain_users, score_users

    settings, store = opened(warehouse, config)
    model, features, day = Lifetime.load(models), features_of(settings), day_of(as_of)
    found = score_users(store, model=model, features=features, as_of=day, seen="warn" if replay else "refuse")
    typer.echo(f"{found.rows:,} users as of {found.partition['as_of']}: table predictions in {warehouse}")
    if reasons:
        told = explain_users(store, model=model, features=features, as_of=day, users=reasons)
        typer.echo(f"{told.rows:,} reasons: table prediction_reasons in {warehouse}")


@ltv.command(epilog="Example: sojourn ltv evaluate --models ./models --as-of 2017-10-03 --out ./ltv")
def evaluate(
    out: Annotated[Path, typer.Option(help="Folder for metrics.json.")] = Path("ltv"),
    models: MODELS = Path("models"),
    as_of: AS_OF = None,
    warehouse: WAREHOUSE = Path("warehouse"),
    config: CONFIG = None,
) -> None:
    """Judge saved models on days that they have not seen, beside the baselines."""
    from sojourn.cli.tables import show_frame
    from sojourn.lifetime import Lifetime, evaluate_models, scores_summary

    settings, store = opened(warehouse, config)
    scores = evaluate_models(
        store, model=Lifetime.load(models), out=out, features=features_of(settings), as_of=day_of(as_of)
    )
    show_frame(scores_summary(scores), f"metrics: {out / 'metrics.json'}")


@ltv.command(epilog="Example: sojourn ltv rates rates.csv --warehouse ./warehouse")
def rates(
    file: Annotated[Path, typer.Argument(help="CSV with the columns day, currency, rate.")],
    warehouse: WAREHOUSE = Path("warehouse"),
    config: CONFIG = None,
) -> None:
    """Put exchange rates into the warehouse: what a unit of each currency is worth in the one of the settings."""
    from sojourn.lifetime import read_rates, write_rates

    _, store = opened(warehouse, config)
    typer.echo(f"{write_rates(store, read_rates(file)):,} rates: table rates in {warehouse}")


def _spec(settings: dict[str, Any], horizon: list[int] | None) -> Any:
    from sojourn.lifetime import LifetimeSpec

    declared = settings.get("lifetime", {})
    # What is not asked for here is cut to what the log can judge, churn too.
    return LifetimeSpec(**{**declared, **({"horizons_days": tuple(horizon)} if horizon else {})})
