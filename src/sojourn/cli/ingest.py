"""`sojourn ingest`: a source of the user's own becomes a table of the warehouse."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from sojourn.events import IngestReport, IngestSpec, Registration

EPILOG = 'Example: sojourn ingest orders.csv --map amount="quantity * price" --time-zone UTC'
TABLES = ("events", "users", "items", "costs")
PLACES = ("in_place", "partition")
LONGEST = 70


def register(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.command(name="ingest", epilog=EPILOG)(_ingest)


def _ingest(
    files: Annotated[
        list[str] | None,
        typer.Argument(help="Files, folders or globs of CSV, JSON lines or Parquet.", show_default=False),
    ] = None,
    table: Annotated[
        str | None, typer.Option(help="events, users, items or costs; events when left out.", show_default=False)
    ] = None,
    map_: Annotated[
        list[str] | None,
        typer.Option(
            "--map", metavar="OURS=THEIRS", help="A column of ours: theirs, or SQL over theirs; '' leaves it out."
        ),
    ] = None,
    keep: Annotated[
        list[str] | None, typer.Option(help="Keep only these further columns of theirs; '' keeps none.")
    ] = None,
    type_: Annotated[
        list[str] | None, typer.Option("--type", metavar="COLUMN=TYPE", help="The SQL type of a further column.")
    ] = None,
    text: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN", help="Make lists of a text's words, emoji and tags; some alone: COLUMN=words."),
    ] = None,
    query: Annotated[str | None, typer.Option(help="A DuckDB query instead of files.")] = None,
    format_: Annotated[
        str | None, typer.Option("--format", help="csv, jsonl or parquet, where the names do not tell.")
    ] = None,
    time_zone: Annotated[str | None, typer.Option(help="Zone of times that carry none; UTC when left out.")] = None,
    time_format: Annotated[
        str | None, typer.Option(help="Format of times, such as '%d/%m/%Y %H:%M'; s, ms, us, ns.")
    ] = None,
    max_rejected_share: Annotated[
        float | None, typer.Option(help="Share of bad rows beyond which all is refused; 0.05 when left out.")
    ] = None,
    max_anonymous_share: Annotated[
        float | None, typer.Option(help="The same for rows without a user; 0.5 when left out.")
    ] = None,
    in_place: Annotated[
        str | None, typer.Option(metavar="FOLDER", help="Read Hive-partitioned Parquet where it lies, without a copy.")
    ] = None,
    partition: Annotated[str, typer.Option(help="With --in-place: the partition that holds the day.")] = "day",
    zone: Annotated[str | None, typer.Option(help="Zone of the days, for a new warehouse; UTC when left out.")] = None,
    warehouse: Annotated[Path, typer.Option(help="The warehouse's folder, made when missing.")] = Path("warehouse"),
    config: Annotated[Path | None, typer.Option(help="Settings; ./sojourn.toml when left out.")] = None,
) -> None:
    """Take rows into the warehouse, and account for every one: read = kept + duplicate + rejected.

    Flags go over [ingest] of sojourn.toml, which is for events; [ingest.users] and so on are for the other tables.
    Taking the same source again changes nothing.
    """
    from sojourn.cli.settings import create_warehouse, read_settings

    settings = read_settings(config)
    if in_place is None and not files and query is None and table in (None, "events"):
        in_place = settings.get("ingest", {}).get("in_place")
        partition = settings.get("ingest", {}).get("partition", partition)
    flags = {
        "files": tuple(files or ()) if files or in_place else None,
        "query": query,
        "format": format_,
        "keep": None if keep is None else tuple(name for name in keep if name),
        "time_zone": time_zone,
        "time_format": time_format,
        "max_rejected_share": max_rejected_share,
        "max_anonymous_share": max_anonymous_share,
    }
    pairs: dict[str, dict[str, Any]] = {
        "columns": _pairs("--map", map_),
        "types": _pairs("--type", type_),
        "texts": _texts(text),
    }
    spec = _spec(settings.get("ingest", {}), flags, table=table, pairs=pairs)
    store = create_warehouse(warehouse, settings, zone=zone)
    if in_place is None:
        _take(store, spec)
    else:
        _register(store, spec, folder=in_place, partition=partition)


def _take(store: Any, spec: "IngestSpec") -> None:
    from sojourn.core import say
    from sojourn.events import ingest

    report = ingest(store, spec, as_of=datetime.now(UTC))
    for note in report.notes:
        say(note)
    typer.echo("\n".join(_account(report)))


def _register(store: Any, spec: "IngestSpec", *, folder: str, partition: str) -> None:
    from sojourn.core import say
    from sojourn.events import register_events

    done: Registration = register_events(store, spec, folder=folder, partition=partition)
    for note in done.notes:
        say(note)
    lines = [f"events: {done.rows:,} rows in {done.days:,} partitions, read in place from {folder}"]
    typer.echo("\n".join([*lines, *_columns(done.columns)]))


def _spec(
    section: Mapping[str, Any], flags: Mapping[str, Any], *, table: str | None, pairs: Mapping[str, dict[str, Any]]
) -> "IngestSpec":
    """The flags over the section of the settings that is for this table."""
    from sojourn.core import BadSpec
    from sojourn.events import IngestSpec

    general = {name: each for name, each in section.items() if name not in TABLES}
    own = general.get("table", "events")
    table = table or own
    found = general if table == own else section.get(str(table), {})
    strange = [name for name in pairs if not isinstance(found, Mapping) or not isinstance(found.get(name, {}), Mapping)]
    if strange:
        where = f"{table}" if not isinstance(found, Mapping) else strange[0]
        raise BadSpec(f"[ingest] has {where!r}, which is no table. Declare it as [ingest.{where}].")
    chosen = dict(found)
    for name in PLACES:  # for `_register`
        chosen.pop(name, None)
    given = {name: each for name, each in flags.items() if each is not None}
    if "files" in given or "query" in given:
        # A source on the command line stands in the place of the one in the settings.
        chosen.pop("files", None)
        chosen.pop("query", None)
    merged = {name: {**chosen.get(name, {}), **each} for name, each in pairs.items()}
    return IngestSpec(**{**chosen, **given, **merged, "table": table})


def _pairs(flag: str, texts: list[str] | None) -> dict[str, str]:
    from sojourn.core import BadSpec

    for text in texts or ():
        if "=" not in text:
            raise BadSpec(f"{flag} {text!r} has no '='. Write ours first: {flag} amount=\"quantity * price\"")
    return {ours.strip(): theirs.strip() for ours, _, theirs in (text.partition("=") for text in texts or ())}


def _texts(texts: list[str] | None) -> dict[str, tuple[str, ...]]:
    from sojourn.events.spec import LISTS

    parts = [text.partition("=") for text in texts or ()]
    return {
        column.strip(): tuple(name.strip() for name in names.split(",")) if is_ else LISTS
        for column, is_, names in parts
    }


def _account(report: "IngestReport") -> list[str]:
    lines = [f"{report.table}: {report.conservation}"]
    if report.corrections:
        lines.append(f"  {report.corrections:,} of the kept rows correct a known id")
    lines += [f"  rejected {count:,}: {reason}" for reason, count in report.reasons.items()]
    return [*lines, *_columns(report.columns)]


def _columns(columns: Mapping[str, str]) -> list[str]:
    width = max(map(len, columns), default=0)
    shown = {name: " ".join(text.split()) for name, text in columns.items()}
    return [
        f"  {name:<{width}}  from {text if len(text) <= LONGEST else text[: LONGEST - 3] + '...'}"
        for name, text in shown.items()
    ]
