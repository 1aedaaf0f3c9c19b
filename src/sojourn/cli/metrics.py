"""`sojourn metrics`: growth metrics by day, week and month, each defined once."""

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from sojourn.cli import growth
from sojourn.cli.options import CLOSED, CONFIG, DAYS, END, FIRST, WAREHOUSE, day_of, opened

BOARD = Annotated[
    str | None, typer.Option(help="Only this one of [metrics.boards.<name>]; all when left out.", show_default=False)
]

metrics = typer.Typer(help="Growth metrics by day, week and month, each defined once.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the verb to the program."""
    growth.attach(metrics)
    app.add_typer(metrics, name="metrics", epilog="Example: sojourn metrics show active_users --grain week")


@metrics.command(epilog="Example: sojourn metrics advance --day 2025-03-01")
def advance(
    day: CLOSED,
    board: BOARD = None,
    warehouse: WAREHOUSE = Path("warehouse"),
    config: CONFIG = None,
) -> None:
    """Close a day: its metrics, those of its week and month so far, and of days before it that are missing or stale."""
    from sojourn.metrics import advance_board

    store, boards = _boards(warehouse, config, board)
    for spec in boards:
        typer.echo(_account(advance_board(store, spec, day=day.date())))


@metrics.command(epilog="Example: sojourn metrics backfill --from 2025-01-01 --to 2025-03-01")
def backfill(
    start: FIRST = None,
    end: END = None,
    again: Annotated[
        bool, typer.Option("--rebuild", help="Make all history anew, portraits read again and definitions replaced.")
    ] = False,
    board: BOARD = None,
    warehouse: WAREHOUSE = Path("warehouse"),
    config: CONFIG = None,
) -> None:
    """Make the metrics of the days that are missing or stale, and skip those that are current.

    A killed run is resumed by running it again.
    """
    from sojourn.core import BadSpec
    from sojourn.metrics import backfill_board, rebuild_board

    if again and (start or end):
        raise BadSpec("--rebuild makes all history anew. Leave out --from and --to.")
    store, boards = _boards(warehouse, config, board)
    for spec in boards:
        report = (
            rebuild_board(store, spec) if again else backfill_board(store, spec, start=day_of(start), end=day_of(end))
        )
        typer.echo(_account(report))


@metrics.command(epilog="Example: sojourn metrics show retention --grain week --html retention.html")
def show(
    name: Annotated[str, typer.Argument(help="The metric, as `sojourn metrics list` names it.")],
    grain: Annotated[str, typer.Option(help="day, week or month.")] = "day",
    by: Annotated[str, typer.Option(metavar="DIMS", help="By these dimensions, such as channel,country.")] = "",
    start: Annotated[
        datetime | None, typer.Option("--from", formats=DAYS, metavar="DATE", help="Periods that begin from here on.")
    ] = None,
    end: Annotated[
        datetime | None, typer.Option("--to", formats=DAYS, metavar="DATE", help="Periods that begin before this day.")
    ] = None,
    csv: Annotated[Path | None, typer.Option(help="Write the table there as CSV.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write the table there as JSON, with its definition.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write the chart there, as one page.")] = None,
    board: BOARD = None,
    warehouse: WAREHOUSE = Path("warehouse"),
    config: CONFIG = None,
) -> None:
    """Print one metric's table; write it, or its chart, where asked."""
    from sojourn.metrics import GRAINS, growth_table, metric_page, metric_table, metrics_of, write_table

    chosen = _choice("--grain", grain, GRAINS)
    dims = tuple(each.strip() for each in by.split(",") if each.strip())
    asked = {"grain": chosen, "by": dims, "start": day_of(start), "end": day_of(end)}
    found = growth.board_of(name, board, warehouse, config)
    if found is not None:
        store, spec, metric = found
        table = growth_table(store, spec, name, **asked)
    else:
        store, boards = _boards(warehouse, config, board)
        spec = _one(boards)
        table = metric_table(store, spec, name, **asked)
        metric = metrics_of(spec)[name]
    if csv is not None:
        write_table(table, metric, csv, kind="csv")
    if json is not None:
        write_table(table, metric, json, kind="json")
    if html is not None:
        metric_page(table, metric, spec, grain=chosen, by=dims).write(html)
    if csv is None and json is None and html is None:
        typer.echo(_shown(table, metric))


@metrics.command("list", epilog="Example: sojourn metrics list")
def list_metrics(board: BOARD = None, warehouse: WAREHOUSE = Path("warehouse"), config: CONFIG = None) -> None:
    """Print every metric of a board: its name, unit, grains and formula in words."""
    from sojourn.cli.tables import aligned
    from sojourn.metrics import metrics_of, told_board

    store, boards = _boards(warehouse, config, board)
    for spec in boards:
        typer.echo(
            f"board {spec.name}: {spec.entity} of table {spec.source}, by {', '.join(spec.dims) or 'no dimension'}"
        )
        typer.echo(told_board(spec).replace("`", ""))
        rows = [[each.name, each.unit, ", ".join(each.grains), each.formula] for each in metrics_of(spec).values()]
        typer.echo(aligned(["metric", "unit", "by", "formula"], rows))
    for head, rows in growth.listed(store, config, board):
        typer.echo(head)
        typer.echo(aligned(["metric", "unit", "by", "formula"], rows))


@metrics.command(epilog="Example: sojourn metrics check --board users")
def check(
    board: BOARD = None,
    warehouse: WAREHOUSE = Path("warehouse"),
    config: CONFIG = None,
) -> None:
    """Check that every metric is current, that its parts add up, and that the last days equal a count from raw rows.

    Exit status 0: nothing is wrong; 1: something is, and the table says what; 2: a mistake in the call.
    """
    from sojourn.cli.tables import aligned
    from sojourn.metrics import check_board

    store, boards = _boards(warehouse, config, board)
    checks = [each for spec in boards for each in check_board(store, spec)]
    checks += growth.checks(store, config, board)
    typer.echo(aligned(["check", "table", "looked at", "verdict", "found"], [each.row() for each in checks]))
    if any(each.wrong for each in checks):
        raise typer.Exit(1)


def _boards(warehouse: Path, config: Path | None, name: str | None) -> tuple[Any, list[Any]]:
    from sojourn.core import BadSpec
    from sojourn.metrics import boards_of, metrics_from

    settings, store = opened(warehouse, config)
    boards = boards_of(store, metrics_from(settings))
    if name is not None and name not in boards:
        raise BadSpec(
            f"There is no board {name!r}; there are {', '.join(boards)}. "
            f"Declare [metrics.boards.{name}] in sojourn.toml."
        )
    return store, [spec for spec in boards.values() if name in (None, spec.name)]


def _one(boards: list[Any]) -> Any:
    from sojourn.core import BadSpec

    if len(boards) > 1:
        names = ", ".join(spec.name for spec in boards)
        raise BadSpec(f"There are several boards: {names}. Say which: --board {boards[0].name}")
    return boards[0]


def _choice(option: str, said: str, among: tuple[Any, ...]) -> Any:
    from sojourn.core import BadSpec

    if said not in among:
        raise BadSpec(f"{option} {said} is none of {', '.join(among)}.")
    return said


def _shown(table: Any, metric: Any) -> str:
    from sojourn.cli.tables import aligned
    from sojourn.metrics import told_rows

    heads, rows = told_rows(table, metric)
    figures = heads[heads.index("numerator") :]
    return f"{metric.title} ({metric.unit}): {metric.formula}\n{aligned(heads, rows, right=figures)}"


def _account(report: Any) -> str:
    told = f"board {report.board}: {len(report.made):,} days made, {report.current:,} current, up to {report.last}"
    if not report.holes:
        return told
    more = len(report.holes) - 10
    named = ", ".join(map(str, report.holes[:10]))
    return f"{told}\n  days without any row: {named}{f' and {more:,} more' if more > 0 else ''}"
