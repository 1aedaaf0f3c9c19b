"""`sojourn effects`: whether treating helped, and whom, from a campaign table or a warehouse's pushes."""

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from sojourn.cli.options import CONFIG, DAYS, WAREHOUSE, opened

TABLE = Annotated[
    Path | None,
    typer.Argument(
        metavar="[TABLE]",
        help="Parquet or CSV with a row per user and decision; the warehouse's pushes when left out.",
        show_default=False,
    ),
]
OUTCOME = Annotated[
    str | None, typer.Option(help="The column of what happened afterwards; outcome_active_days when left out.")
]
CONTROL = Annotated[str | None, typer.Option(help="The arm to compare with; 'control' when left out.")]
HORIZON = Annotated[int | None, typer.Option(metavar="DAYS", help="Days after a push that count as its outcome; 7.")]
DAY = typer.Option(formats=DAYS, metavar="DATE")
COST = Annotated[float | None, typer.Option(help="What treating one user once costs.")]

effects = typer.Typer(help="Whether treating helped, whom, and whom to treat.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.add_typer(effects, name="effects", epilog="Example: sojourn effects estimate --warehouse ./app --out ./effects")


@effects.command(epilog="Example: sojourn effects table --warehouse ./app --horizon 7 --out campaign.parquet")
def table(
    out: Annotated[Path, typer.Option(help="The Parquet file to write.")] = Path("campaign.parquet"),
    horizon: HORIZON = None,
    first: Annotated[datetime | None, DAY] = None,
    last: Annotated[datetime | None, DAY] = None,
    warehouse: WAREHOUSE = Path("warehouse"),
    config: CONFIG = None,
) -> None:
    """Write the campaign table: one row per user and push decision, with what was known before and what came after."""
    from sojourn.core import UnreadableSource

    days = {"first": first, "last": last}
    asked = {name: moment.date() for name, moment in days.items() if moment is not None}
    found = _of_warehouse(warehouse, config, horizon, **asked)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        found.write_parquet(out)
    except OSError as fault:
        raise UnreadableSource(f"{out} cannot be written: {fault}. Choose another place with --out.") from fault
    typer.echo(f"{found.height:,} decisions about {found['user_id'].n_unique():,} users: {out}")


@effects.command(
    epilog="Example: sojourn effects estimate campaign.parquet --outcome outcome_active_days --out ./effects"
)
def estimate(
    table: TABLE = None,
    out: Annotated[Path, typer.Option(help="Folder for effects.csv and report.html.")] = Path("effects"),
    outcome: OUTCOME = None,
    control: CONTROL = None,
    cost: COST = None,
    horizon: HORIZON = None,
    warehouse: WAREHOUSE = Path("warehouse"),
    config: CONFIG = None,
) -> None:
    """Estimate the average effect of each arm by four methods, check the log, and write a page."""
    from sojourn.core import say
    from sojourn.effects import EffectSpec, as_asked, study_effects, write_effects

    settings = _settings(config)
    asked = _asked(settings, EffectSpec, outcome=outcome, control=control)
    found, spec = as_asked(_read(table, warehouse, config, horizon), spec=asked)
    study = study_effects(found, spec=spec, cost=cost)
    write_effects(study, out=out)
    for doubt in study.doubts:
        say(f"Note: {doubt}")
    columns = ["arm", "method", "effect", "low", "high", "control_mean"]
    typer.echo(_told(study.effects.select(columns)))
    for each in study.retention.values():
        typer.echo(_told(each.table()))
    typer.echo(f"report: {out / 'report.html'}")


@effects.command(
    epilog="Example: sojourn effects uplift campaign.parquet --value 1 --cost 0.02 --budget 50 --out ./uplift"
)
def uplift(
    table: TABLE = None,
    out: Annotated[
        Path, typer.Option(help="Folder for uplift.parquet, figures.json, the model and report.html.")
    ] = Path("uplift"),
    outcome: OUTCOME = None,
    control: CONTROL = None,
    value: Annotated[float, typer.Option(help="What one unit of the outcome is worth.")] = 1.0,
    cost: COST = None,
    budget: Annotated[float | None, typer.Option(help="How much may be spent on these decisions.")] = None,
    horizon: HORIZON = None,
    warehouse: WAREHOUSE = Path("warehouse"),
    config: CONFIG = None,
) -> None:
    """Learn whom treating helps, judge the order by Qini beside random scores, and value policies under a budget."""
    from sojourn.effects import PolicySpec, UpliftSpec, as_asked, study_uplift, write_uplift

    settings = _settings(config)
    asked = _asked(settings, UpliftSpec, outcome=outcome, control=control)
    found, spec = as_asked(_read(table, warehouse, config, horizon), spec=asked)
    assert isinstance(spec, UpliftSpec)
    study = study_uplift(found, spec=spec, policy=PolicySpec(value=value, cost=cost or 0.0, budget=budget))
    write_uplift(study, out=out)
    for arm, chosen in study.model.chosen_.items():
        typer.echo(f"{arm}: {chosen['learner']} (evidence {chosen['evidence']:.2f} standard errors)")
    typer.echo(_told(study.figures()))
    typer.echo(_told(study.policies))
    typer.echo(f"report: {out / 'report.html'}")


def _settings(config: Path | None) -> dict[str, Any]:
    from sojourn.cli.settings import read_settings

    return read_settings(config)


def _asked(settings: dict[str, Any], kind: Any, **flags: Any) -> Any:
    """The spec of section [effects], with what was asked for on the command line."""
    return kind(**{**settings.get("effects", {}), **{name: flag for name, flag in flags.items() if flag is not None}})


def _read(table: Path | None, warehouse: Path, config: Path | None, horizon: int | None) -> Any:
    from sojourn.core import BadSpec
    from sojourn.effects import read_campaign

    if table is None:
        return _of_warehouse(warehouse, config, horizon)
    if horizon is not None:
        raise BadSpec("--horizon is for a warehouse's pushes; a table has its outcomes already. Leave one of them out.")
    return read_campaign(table)


def _of_warehouse(warehouse: Path, config: Path | None, horizon: int | None, **asked: Any) -> Any:
    from sojourn.effects import CampaignSpec, campaign_table

    changed = {**asked, **({} if horizon is None else {"horizon_days": horizon})}
    return campaign_table(opened(warehouse, config)[1], spec=CampaignSpec(**changed))


def _told(table: Any) -> str:
    from sojourn.cli.tables import aligned

    heads = table.columns
    rows = [
        ["" if cell is None else f"{cell:.4f}" if isinstance(cell, float) else str(cell) for cell in row]
        for row in table.rows()
    ]
    numbers = [name for name, kind in table.schema.items() if kind.is_numeric()]
    return aligned(heads, rows, right=numbers)
