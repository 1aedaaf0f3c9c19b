"""Data health: whether what is stored is whole, how fresh each table is, and where days are missing."""

from datetime import date, timedelta

import polars as pl

from sojourn.dashboard.checks import CHECKS
from sojourn.dashboard.figures import time_chart
from sojourn.dashboard.filters import Filters
from sojourn.dashboard.parts import Cell, Drawn, Part, Tile, View, nothing
from sojourn.dashboard.reader import Reader
from sojourn.evaluate.formats import number_text

DAY_KEYS = ("day", "as_of", "start")
ALERTS = "alerts"
NO_EVENTS = "The warehouse has no events yet. Fill it: sojourn ingest FILE"
VERDICTS = {"ok": 2, "skipped": 1, "wrong": 0}


def freshness(reader: Reader) -> pl.DataFrame:
    """Every table: its newest day, how many days that is behind the event log, its partitions and the days missing."""
    tables = reader.warehouse.tables()

    def look() -> pl.DataFrame:
        rows = [_fresh(reader, table) for table in tables]
        schema = {"table": pl.String, "newest": pl.Date, "partitions": pl.Int64, "missing_days": pl.Int64}
        return pl.DataFrame(rows, schema=schema, orient="row")

    found = reader.kept("freshness", tables=tables, make=look)
    log = found.filter(pl.col("table") == "events")["newest"].max()
    # The running week or month is there to date: it reaches as far as the log does.
    end = pl.lit(log, dtype=pl.Date)
    newest = pl.when(pl.col("newest") > end).then(end).otherwise("newest")
    return found.with_columns(newest=newest, behind=(end - newest).dt.total_days()).select(
        "table", "newest", "behind", "partitions", "missing_days"
    )


def _fresh(reader: Reader, table: str) -> tuple[str, date | None, int, int | None]:
    places = reader.warehouse.places(table)
    key = next((name for name in DAY_KEYS if places and name in places[0]), None)
    if key is None:
        return table, None, len(places), None
    days = sorted({date.fromisoformat(place[key]) for place in places})
    gaps = (days[-1] - days[0]).days + 1 - len(days) if key == "day" else None
    newest = max(_last_day(date.fromisoformat(place[key]), place.get("grain", key)) for place in places)
    return table, newest, len(places), gaps


def _last_day(start: date, grain: str) -> date:
    """The last day of which a partition tells: that of its week or month, and the day before it is said "as of".

    >>> _last_day(date(2025, 2, 3), "week"), _last_day(date(2025, 2, 1), "month")
    (datetime.date(2025, 2, 9), datetime.date(2025, 2, 28))
    """
    if grain == "month":
        return (start + timedelta(days=31)).replace(day=1) - timedelta(days=1)
    return start + timedelta(days={"week": 6, "as_of": -1}.get(grain, 0))


def missing_days(days: list[date]) -> list[date]:
    """The days between the first and the last that are not among these.

    >>> missing_days([date(2025, 1, 1), date(2025, 1, 3)])
    [datetime.date(2025, 1, 2)]
    """
    there = set(days)
    span = (max(days) - min(days)).days if days else 0
    return [day for at in range(span) if (day := min(days) + timedelta(days=at)) not in there]


def rows_per_day(reader: Reader, filters: Filters) -> pl.DataFrame:
    """`start` (the day), `value` (rows of the event log) and `mature`, between the filters' days; 0 on missing days."""

    def look() -> pl.DataFrame:
        parts = reader.warehouse.partitions("events")
        days = {date.fromisoformat(each.partition["day"]): each.rows for each in parts}
        every = {**dict.fromkeys(missing_days(list(days)), 0), **days}
        return pl.DataFrame({"start": list(every), "value": list(every.values())}).sort("start")

    found = reader.kept("rows_per_day", tables=["events"], make=look)
    first = filters.start or found["start"].max() - timedelta(days=180)  # type: ignore[operator]
    found = found.filter(pl.col("start") >= first)
    if filters.end is not None:
        found = found.filter(pl.col("start") <= filters.end)
    return found.with_columns(numerator=pl.col("value").cast(pl.Float64), mature=pl.lit(True))


def _tiles(reader: Reader, filters: Filters) -> list[Tile]:
    if not reader.has("events"):
        return []
    fresh = freshness(reader)
    log = fresh.filter(pl.col("table") == "events").row(0, named=True)
    gaps = log["missing_days"] or 0
    derived = fresh.filter(pl.col("behind") > 1)
    tiles = [
        Tile("Newest day of events", f"{log['newest']}"),
        Tile("Missing days", number_text(float(gaps)), against="between the first and the last day of the log"),
        Tile("Tables behind", number_text(float(derived.height)), against=f"of {fresh.height}, by more than a day"),
    ]
    if reader.has(CHECKS):
        checks = _checks_table(reader)
        wrong = checks.filter(pl.col("verdict") == "wrong").height
        when = f"checked {checks['checked_at'][0]:%Y-%m-%d %H:%M} UTC" if checks.height else ""
        tiles.append(Tile("Checks that failed", number_text(float(wrong)), against=f"of {checks.height}; {when}"))
    return tiles


def _checks_table(reader: Reader) -> pl.DataFrame:
    return reader.kept(CHECKS, tables=[CHECKS], make=lambda: reader.warehouse.frame(CHECKS).sort("number"))


def _rows(reader: Reader, filters: Filters) -> Drawn:
    if not reader.has("events"):
        return nothing(NO_EVENTS)
    table = rows_per_day(reader, filters)
    if table.is_empty():
        return nothing("The log has no day between these dates. Choose other dates.")
    figure = time_chart(table, grain="day", name="Rows", bars=True)
    gaps = table.filter(pl.col("value") == 0).height
    said = f"Rows of the event log on {table.height} days, {gaps} of them without any."
    return Drawn(table.select(day="start", rows="value"), figure, said=said, note=said if gaps else "")


def _freshness(reader: Reader, filters: Filters) -> Drawn:
    table = freshness(reader).sort("behind", "table", descending=[True, False], nulls_last=True)
    if table.is_empty():
        return nothing(NO_EVENTS)
    cells = {
        "table": Cell("Table"),
        "newest": Cell("Newest"),
        "behind": Cell("Days behind", "number", 0),
        "partitions": Cell("Partitions", "number", 0),
        "missing_days": Cell("Missing days", "number", 0),
    }
    return Drawn(table, cells=cells, shown=60, said="Every table, the most behind first.")


def _checks(reader: Reader, filters: Filters) -> Drawn:
    if not reader.has(CHECKS):
        return nothing("Nothing has been verified yet. Verify: sojourn dashboard --prepare")
    table = _checks_table(reader)
    order = pl.col("verdict").replace_strict(VERDICTS, default=1, return_dtype=pl.Int64)
    table = table.sort(order, "number").drop("number")
    cells = {"verdict": Cell("Verdict"), "check": Cell("Check"), "table": Cell("Table"), "looked_at": Cell("Looked at"),
             "found": Cell("Found")}  # fmt: skip
    return Drawn(table, cells=cells, shown=60, said="What sojourn verify found, faults first.")


def _alerts(reader: Reader, filters: Filters) -> Drawn:
    if not reader.has(ALERTS):
        return nothing("No alert has been raised: the table 'alerts' is not there.")
    table = reader.kept(ALERTS, tables=[ALERTS], make=lambda: reader.warehouse.frame(ALERTS))
    keys = [name for name in ("day", "ts", "as_of") if name in table.columns]
    return Drawn(table.sort(keys[0], descending=True) if keys else table, shown=30, said="Alerts, the latest first.")


HEALTH = View(
    "health",
    "Data health",
    "Whether what is stored is whole, fresh, and without gaps.",
    (
        Part(
            "rows", "Rows a day", "Rows of the event log on each business day; a day without a partition is 0.", _rows
        ),
        Part(
            "checks",
            "Verification",
            (
                "What sojourn verify found when it last ran for this page: files, gaps, row counts, "
                "ids, and a sample recomputed the slow way."
            ),
            _checks,
        ),
        Part(
            "freshness",
            "Freshness",
            (
                "The newest day of each table, how many days that is behind the newest day of "
                "events, and the days missing in between."
            ),
            _freshness,
        ),
        Part("alerts", "Alerts", "What the daily run raised, the latest first.", _alerts),
    ),
    tiles=_tiles,
    controls=("from", "to"),
)
