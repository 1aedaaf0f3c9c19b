"""Further commands of `sojourn metrics`: acquisition and payback, rates, supply and demand, and why a metric moved."""

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from sojourn.cli.options import AS_OF, CONFIG, DAYS, WAREHOUSE, day_of, opened

HTML = Annotated[Path | None, typer.Option(help="Write the page here.", show_default=False)]


def attach(metrics: typer.Typer) -> None:
    """Add the commands to the verb."""
    metrics.command(epilog="Example: sojourn metrics acquisition --html acquisition.html")(acquisition)
    metrics.command(epilog="Example: sojourn metrics rates rates.csv")(rates)
    metrics.command(epilog="Example: sojourn metrics supply --warehouse ./market")(supply)
    metrics.command(
        epilog="Example: sojourn metrics why cpi --grain month --from 2025-01-01 --to 2025-02-01 --by channel"
    )(why)


def acquisition(
    html: HTML = None,
    board: Annotated[
        str | None, typer.Option(help="Only this one of [acquisition.boards.<name>]; all when left out.")
    ] = None,
    as_of: AS_OF = None,
    warehouse: WAREHOUSE = Path("warehouse"),
    config: CONFIG = None,
) -> None:
    """Bring up to date who was acquired from where, what that cost, and what each cohort brought and will bring.

    Declared in [acquisition.boards.<name>] of sojourn.toml.
    """
    from sojourn.core import BadSpec, say
    from sojourn.metrics import acquisition_from, acquisition_page, write_acquisition

    settings, store = opened(warehouse, config)
    boards = acquisition_from(settings)
    if board is not None and board not in boards:
        raise BadSpec(
            f"There is no board {board!r}; there are {', '.join(boards)}. Declare [acquisition.boards.{board}]."
        )
    chosen = [spec for name, spec in boards.items() if board in (None, name)]
    if html is not None and len(chosen) > 1:
        raise BadSpec(f"A page is of one board. Say which: --board {chosen[0].name}")
    for spec in chosen:
        report = write_acquisition(store, spec, as_of=day_of(as_of))
        typer.echo(f"board {spec.name}: {report.told()}")
        if report.acquired.test_accounts:
            say(f"Left out: {report.acquired.test_accounts:,} test accounts ({spec.attribution.test_accounts}).")
        if report.cost_outside:
            say(f"Left out: {report.cost_outside:,.2f} {spec.currency} spent before the first day of the log.")
        if html is not None:
            acquisition_page(store, spec).write(html)
            typer.echo(f"page: {html}")


def rates(
    file: Annotated[Path, typer.Argument(help="CSV or Parquet with the columns day, currency and rate.")],
    warehouse: WAREHOUSE = Path("warehouse"),
    config: CONFIG = None,
) -> None:
    """Declare what one unit of each foreign currency was worth on each day; replaces the rates there were."""
    from sojourn.metrics import put_rates, read_rates

    _, store = opened(warehouse, config)
    typer.echo(f"{put_rates(store, read_rates(file)):,} rates: table rates in {warehouse}")


def supply(as_of: AS_OF = None, warehouse: WAREHOUSE = Path("warehouse"), config: CONFIG = None) -> None:
    """Bring supply, demand and the fill rate by place and hour up to date, as [supply_demand] declares them."""
    from sojourn.metrics import supply_demand_from, write_supply_demand

    settings, store = opened(warehouse, config)
    spec = supply_demand_from(settings)
    report = write_supply_demand(store, spec, as_of=day_of(as_of))
    typer.echo(
        f"board {spec.name}: {len(report.days):,} days counted, {report.written:,} partitions written, "
        f"{report.current:,} current"
    )


def why(
    name: Annotated[str, typer.Argument(help="The metric, such as arpu or cpi.")],
    start: Annotated[datetime, typer.Option("--from", formats=DAYS, help="First day of the period before.")],
    end: Annotated[datetime, typer.Option("--to", formats=DAYS, help="First day of the period after.")],
    by: Annotated[str, typer.Option(help="The dimensions to tell segments apart by: channel,country.")],
    grain: Annotated[str, typer.Option(help="day, week or month.")] = "week",
    age: Annotated[int | None, typer.Option(help="Of a cohort metric: the age to compare at.")] = None,
    where: Annotated[
        list[str] | None, typer.Option(metavar="COLUMN=TEXT", help="Only rows with this text, such as state=new.")
    ] = None,
    board: Annotated[str, typer.Option(help="The board of the metric.")] = "users",
    html: HTML = None,
    csv: Annotated[Path | None, typer.Option(help="Write the table here.", show_default=False)] = None,
    warehouse: WAREHOUSE = Path("warehouse"),
    config: CONFIG = None,
) -> None:
    """Explain a metric's change between two periods: what each segment did to it, largest first, summing to the change.

    Of a ratio, a segment's part is its rate effect (its own value changed) and its mix effect (its weight did).
    """
    from sojourn.cli.tables import show_frame
    from sojourn.core import BadSpec
    from sojourn.metrics import (
        MARKET_METRICS,
        WhySpec,
        acquisition_from,
        boards_of,
        metrics_from,
        supply_demand_from,
        why_moved,
        why_page,
        write_why,
    )

    settings, store = opened(warehouse, config)
    asked = WhySpec(
        name=name,
        start=start.date(),
        end=end.date(),
        by=tuple(each.strip() for each in by.split(",") if each.strip()),
        grain=grain,
        board=board,
        age=age,
        where=_pairs(where or []),
    )
    boards, acquisitions = boards_of(store, metrics_from(settings)), acquisition_from(settings)
    market = supply_demand_from(settings) if "supply_demand" in settings else None
    sides = {} if market is None else {market.name: market}
    declared = (sides if name in MARKET_METRICS else acquisitions).get(board)
    every = list(dict.fromkeys([*boards, *acquisitions, *sides]))
    if board not in every:
        raise BadSpec(f"There is no board {board!r}; there are {', '.join(every)}. Say one of them: --board {every[0]}")
    found = why_moved(store, asked, board=boards.get(board), declared=declared)
    if csv is not None:
        write_why(found, csv)
    if html is not None:
        currency = acquisitions[board].currency if board in acquisitions else "USD"
        why_page(found, currency=currency).write(html)
    show_frame(found.table().drop("mature_before", "mature_after"), found.told())


def board_of(name: str, board: str | None, warehouse: Path, config: Path | None) -> Any:
    """The warehouse, board and metric that a name of acquisition or of a market stands for; None for any other name."""
    from sojourn.core import BadSpec
    from sojourn.metrics import ACQUISITION_METRICS, MARKET_METRICS, acquisition_from, supply_demand_from

    if name not in ACQUISITION_METRICS and name not in MARKET_METRICS:
        return None
    settings, store = opened(warehouse, config)
    if name in ACQUISITION_METRICS:
        boards: dict[str, Any] = acquisition_from(settings)
    else:
        market = supply_demand_from(settings)
        boards = {market.name: market}
    if board is not None and board not in boards:
        raise BadSpec(f"Metric {name!r} has no board {board!r}; there are {', '.join(boards)}. Say one of them.")
    if board is None and len(boards) > 1:
        raise BadSpec(f"There are several boards: {', '.join(boards)}. Say which: --board {next(iter(boards))}")
    return store, boards[board or next(iter(boards))], (ACQUISITION_METRICS | MARKET_METRICS)[name]


def listed(store: Any, config: Path | None, board: str | None) -> list[tuple[str, list[list[str]]]]:
    """Boards of acquisition and of the market that have tables, in words, with the metrics of each: part of `list`."""
    from sojourn.cli.settings import read_settings
    from sojourn.metrics import (
        ACQUISITION_METRICS,
        MARKET_METRICS,
        acquisition_from,
        supply_demand_from,
        told_board,
    )

    settings = read_settings(config)
    market = [supply_demand_from(settings)] if "supply_demand" in settings else []
    found: list[tuple[Any, dict[str, Any]]] = [
        (each, ACQUISITION_METRICS) for each in acquisition_from(settings).values()
    ]
    told = []
    for spec, metrics in [*found, *((each, MARKET_METRICS) for each in market)]:
        there = [
            each
            for each in metrics.values()
            if board in (None, spec.name)
            and any(at["board"] == spec.name for at in store.places(f"metric_{each.name}"))
        ]
        if there:
            rows = [[each.name, each.unit, ", ".join(each.grains), each.formula] for each in there]
            told.append((told_board(spec).replace("`", ""), rows))
    return told


def checks(store: Any, config: Path | None, board: str | None) -> list[Any]:
    """The checks of the acquisition boards that have tables: part of `sojourn metrics check`."""
    from sojourn.cli.settings import read_settings
    from sojourn.metrics import acquisition_from, check_acquisition

    boards = acquisition_from(read_settings(config))
    written = {place["board"] for place in store.places("metric_acquired_value")}
    chosen = [spec for name, spec in boards.items() if name in written and board in (None, name)]
    return [each for spec in chosen for each in check_acquisition(store, spec)]


def _pairs(texts: list[str]) -> dict[str, Any]:
    from sojourn.core import BadSpec

    wrong = [text for text in texts if "=" not in text]
    if wrong:
        raise BadSpec(f"--where {wrong[0]} has no '='. Write it as COLUMN=TEXT, such as state=new.")
    return {name: value for name, _, value in (text.partition("=") for text in texts)}
