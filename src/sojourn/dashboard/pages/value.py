"""Value: what users will spend, how sure that is, who of them is about to leave, and whether it came true."""

from collections.abc import Callable
from datetime import date, timedelta

import polars as pl

from sojourn.core import EmptyInput, MissingTable
from sojourn.dashboard.figures import bar_chart, words
from sojourn.dashboard.filters import Filters
from sojourn.dashboard.numbers import figure_text
from sojourn.dashboard.parts import Cell, Drawn, Part, Tile, View, nothing
from sojourn.dashboard.reader import Reader
from sojourn.dashboard.scores import PREDICTIONS, Scores, at_risk, days_between, latest_scores, scores_of, value_cube

Make = Callable[[Reader, Filters], Drawn]
RISK = (
    "At risk: among the fifth of users of whom most is expected, those whose predicted "
    "chance to slip away is at least the "
    "declared risk_prob."
)
VALUE_RULE = (
    "Predicted value: what each user is expected to spend in the days after the day of scoring, refunds taken off."
)


def _tiles(reader: Reader, filters: Filters) -> list[Tile]:
    if not reader.has(PREDICTIONS):
        return []
    try:
        days_between(reader, filters)
    except EmptyInput:  # every panel says so
        return []
    scores, cube = value_cube(reader, filters)
    users, value, low, high = (float(cube[name].sum() or 0) for name in ("users", "value", "low", "high"))
    risk_users, risk_value = float(cube["risk_users"].sum() or 0), float(cube["risk_value"].sum() or 0)
    unit, horizon = reader.spec.unit, scores.horizon_days
    top = float(cube.filter(pl.col("decile") == 1)["value"].sum() or 0)
    shown = (
        figure_text(users),
        figure_text(value, unit=unit),
        figure_text(value / users if users else None, unit=unit),
    )
    held = figure_text(top / value if value else None, style="percent")
    days = len(days_between(reader, filters))
    told = f"as of {scores.as_of}" + (f", the newest of {days} days of scoring" if days > 1 else "")
    spread = f"users' ranges sum to {figure_text(low, unit=unit)} to {figure_text(high, unit=unit)}"
    return [
        Tile("Users scored", shown[0], against=told, definition=VALUE_RULE),
        Tile(f"Predicted spend, {horizon} days", shown[1], against=spread, definition=VALUE_RULE),
        Tile("Predicted spend per user", shown[2], against=f"in {horizon} days", definition=VALUE_RULE),
        Tile("Held by the top tenth", held, against="of predicted spend"),
        Tile(
            "Spenders at risk", figure_text(risk_users), definition=RISK,
            against=f"{figure_text(risk_value, unit=unit)} of predicted spend",
        ),
    ]  # fmt: skip


def _deciles(reader: Reader, filters: Filters) -> Drawn:
    scores, cube = value_cube(reader, filters)
    if cube.is_empty():
        return nothing("No scored user is left by these filters. Clear them.")
    table = cube.select("decile", "users", "value", per_user=pl.col("value") / pl.col("users"))
    figure = bar_chart(
        table.select(decile=pl.col("decile").cast(pl.String), value="per_user"), x="decile", style="number",
        unit=reader.spec.unit, x_title="Tenth of users, the most valuable first",
    )  # fmt: skip
    return Drawn(
        table,
        figure,
        note=f"Predicted spend per user in {scores.horizon_days} days.",
        said="Predicted spend per user by tenth of users, the most valuable first.",
    )


def _observed(reader: Reader, filters: Filters) -> Drawn:
    found = _judged(reader, filters)
    if found is None:
        return nothing(
            "No forecast is old enough to be judged: its days are not over yet. It will appear here once they are."
        )
    scores, end = found
    tables = [PREDICTIONS, "events"]
    sql = "SELECT * FROM {held} ORDER BY decile"
    table = reader.read(
        f"judged/{scores.as_of}", tables=tables, query=lambda: _judged_query(reader, scores, end), sql=sql, params={}
    )
    shown = table.select(
        decile=pl.col("decile").cast(pl.String), value=pl.col("observed") / pl.col("users"),
        predicted=pl.col("predicted") / pl.col("users"),
    )  # fmt: skip
    figure = bar_chart(
        shown, x="decile", unit=reader.spec.unit, x_title="Tenth of users by forecast, the highest first"
    )
    ratio = float(table["observed"].sum()) / float(table["predicted"].sum() or 1)
    told = (
        f"Scored as of {scores.as_of}: all users together spent {figure_text(ratio, style='percent')} of the forecast."
    )
    note = (
        f"{told} All users: a forecast of the past is not parted by filters."
        if filters.conditions(channel="")
        else told
    )
    return Drawn(table, figure, said=told, note=note)


def _judged(reader: Reader, filters: Filters) -> tuple[Scores, date] | None:
    """The newest predictions between the filters' days with a horizon that is over, and the end of it."""
    if not reader.has(PREDICTIONS) or not reader.has("events"):
        return None
    known = date.fromisoformat(reader.warehouse.places("events")[-1]["day"]) + timedelta(days=1)
    for as_of in reversed(days_between(reader, filters)):
        columns = reader.warehouse.engine.columns(
            f"SELECT * FROM {reader.warehouse.relation(PREDICTIONS, only=[{'as_of': str(as_of)}])}"
        )
        scores = scores_of(reader, as_of)
        for name in sorted(columns, reverse=True):
            days = name.removeprefix("ltv_")
            if name.startswith("ltv_") and days.isdigit() and as_of + timedelta(days=int(days)) <= known:
                return Scores(as_of, int(days), scores.churn_days), as_of + timedelta(days=int(days))
    return None


def _judged_query(reader: Reader, scores: Scores, end: date) -> str:
    days = [place for place in reader.warehouse.places("events") if str(scores.as_of) <= place["day"] < str(end)]
    spent = (
        f"SELECT user_id, sum(amount)::DOUBLE AS spent FROM {reader.warehouse.relation('events', only=days)} GROUP BY 1"
    )
    predicted = reader.warehouse.relation(PREDICTIONS, only=[{"as_of": str(scores.as_of)}])
    return (
        f"SELECT decile, count(*) AS users, sum(value) AS predicted, sum(coalesce(spent, 0)) AS observed FROM "
        f"(SELECT user_id, {scores.value} AS value, ntile(10) OVER (ORDER BY {scores.value} DESC, user_id) AS decile "
        f"FROM {predicted}) LEFT JOIN ({spent}) USING (user_id) GROUP BY 1"
    )


def _list(reader: Reader, filters: Filters) -> Drawn:
    scores, table = at_risk(reader, filters)
    if table.is_empty():
        return nothing("No spender is at risk by these filters. Clear them, or lower risk_prob in [dashboard].")
    unit, dims = (
        reader.spec.unit,
        [name for name in table.columns if name not in ("user_id", "value", "low", "high", "risk")],
    )
    cells = {
        "user_id": Cell("User"),
        **{dim: _dim_cell(dim) for dim in dims},
        "value": Cell(f"Predicted spend, {scores.horizon_days} days", "number", None, unit),
        "low": Cell("Low", "number", None, unit),
        "high": Cell("High", "number", None, unit),
        "risk": Cell(f"Chance to slip away, {scores.churn_days} days", "percent", 0),
    }
    return Drawn(table, cells=cells, said="The most valuable users at risk.")


def _dim_cell(dim: str) -> Cell:
    return Cell(words(dim), told=lambda row: words(str(row[dim])))


def _top(reader: Reader, filters: Filters) -> Drawn:
    scores, cube = value_cube(reader, filters)
    if cube.is_empty():
        return nothing("No scored user is left by these filters. Clear them.")
    table = cube.select("decile", "users", "risk_users", "risk_value", "value")
    cells = {
        "decile": Cell("Tenth", "number", 0),
        "users": Cell("Users", "number", 0),
        "value": Cell(f"Predicted spend, {scores.horizon_days} days", "number", None, reader.spec.unit),
        "risk_users": Cell("At risk", "number", 0),
        "risk_value": Cell("Spend at risk", "number", None, reader.spec.unit),
    }
    return Drawn(table, cells=cells, said="Users, value and risk by tenth.")


def _needs_scores(make: Make) -> Make:
    """The panel, or the sentence why nobody has been scored."""

    def made(reader: Reader, filters: Filters) -> Drawn:
        try:
            latest_scores(reader, filters)
        except (EmptyInput, MissingTable) as mistake:
            return nothing(str(mistake))
        return make(reader, filters)

    return made


VALUE = View(
    "value",
    "Value",
    "What users will spend, who of them is about to leave, and whether forecasts came true.",
    (
        Part(
            "deciles",
            "Forecast by tenth of users",
            f"{VALUE_RULE} Tenths are of all scored users, so with a filter they are not equally large.",
            _needs_scores(_deciles),
            "half",
        ),
        Part(
            "observed",
            "Forecast against observed",
            (
                f"{VALUE_RULE} Of the newest forecast whose days are over: what was forecast and what "
                "was then spent, by tenth of users."
            ),
            _observed,
            "half",
        ),
        Part("at_risk", "Spenders at risk", f"{RISK} {VALUE_RULE}", _needs_scores(_list)),
        Part("tenths", "Value and risk by tenth", f"{VALUE_RULE} {RISK}", _needs_scores(_top)),
    ),
    tiles=_tiles,
    controls=("from", "to", "channel", "segment"),
)
