"""Users: one user's days, what is expected of them, and what sets them apart from everyone else."""

from datetime import timedelta

import polars as pl

from sojourn.core import MissingTable
from sojourn.dashboard.figures import blank, day_words, words
from sojourn.dashboard.filters import Filters
from sojourn.dashboard.history import HISTORY, bucket_of, user_events
from sojourn.dashboard.homes import OTHERS
from sojourn.dashboard.numbers import figure_text
from sojourn.dashboard.parts import Cell, Drawn, Part, Tile, View, nothing
from sojourn.dashboard.reader import Reader
from sojourn.dashboard.scores import PREDICTIONS, at_risk, latest_scores, user_reasons, user_scores
from sojourn.evaluate.formats import number_text
from sojourn.evaluate.theme import COLORS, color_of

CHOOSE = "Type a user's id above to see them here."
FEATURES = "features"
SHOWN_FEATURES = 12
# So many users stand for all in the comparison; a share among them errs by one point at most.
COMPARED = 10_000


def _events(reader: Reader, user: str) -> pl.DataFrame:
    buckets = reader.spec.history_buckets
    if not reader.has(HISTORY):
        raise MissingTable("No history of single users has been written yet. Write it: sojourn dashboard --prepare")
    place = bucket_of(user, buckets=buckets)
    return reader.kept(
        f"user/{user}",
        tables=[f"{HISTORY}/bucket={place}"],
        make=lambda: user_events(reader.warehouse, user, buckets=buckets),
    )


def _tiles(reader: Reader, filters: Filters) -> list[Tile]:
    if filters.user is None or not reader.has(HISTORY):
        return []
    events = _events(reader, filters.user)
    if events.is_empty():
        return []
    days = events["ts"].dt.date()
    spend = float(events["amount"].cast(pl.Float64).sum()) if "amount" in events.columns else None
    unit = reader.spec.unit
    tiles = [
        Tile("Last seen", day_words(days.max(), "day"), against=f"first on {day_words(days.min(), 'day')}"),  # type: ignore[arg-type]
        Tile("Active days", figure_text(float(days.n_unique()))),
        Tile("Events", figure_text(float(events.height))),
    ]
    if spend is not None:
        tiles.append(Tile("Net spend", figure_text(spend, unit=unit)))
    if reader.has(PREDICTIONS):
        scores, row = latest_scores(reader, Filters()), user_scores(reader, filters.user)
        if row.height:
            low, high = (figure_text(row[f"{scores.value}_{end}"][0], unit=unit) for end in ("low", "high"))
            value, risk = (
                figure_text(row[scores.value][0], unit=unit),
                figure_text(row[scores.risk][0], style="percent"),
            )
            tiles.append(Tile(f"Predicted spend, {scores.horizon_days} days", value, against=f"{low} to {high}"))
            tiles.append(Tile("Chance to slip away", risk, against=f"within {scores.churn_days} days"))
    return tiles


def _timeline(reader: Reader, filters: Filters) -> Drawn:
    if filters.user is None:
        return nothing(CHOOSE)
    events = _events(reader, filters.user)
    if events.is_empty():
        return nothing(
            f"No event of user '{filters.user}' is in the history. Check the id; large and small letters differ."
        )
    table = events.group_by(day=pl.col("ts").dt.date(), event="event").agg(events=pl.len()).sort("day", "event")
    kinds = (
        table.group_by("event")
        .agg(pl.col("events").sum())
        .sort("events", "event", descending=[True, False])["event"]
        .to_list()
    )
    figure, edge = blank(), {"width": 1, "color": COLORS["paper"]}
    for at, kind in enumerate(kinds):
        part = table.filter(pl.col("event") == kind)
        size = [min(22.0, 6.0 + 3.0 * count**0.5) for count in part["events"]]
        figure.add_scatter(
            x=part["day"].to_list(), y=[words(kind)] * part.height, mode="markers", name=words(kind), showlegend=False,
            marker={"size": size, "color": color_of(at), "opacity": 0.75, "line": edge},
            customdata=part["events"].to_list(), hovertemplate="%{x|%a %d %b %Y}: %{customdata}<extra>%{y}</extra>",
        )  # fmt: skip
    figure.update_layout(hovermode="closest")
    figure.update_yaxes(type="category", autorange="reversed", showgrid=True)
    ends = [table["day"].min() - timedelta(days=3), table["day"].max() + timedelta(days=3)]  # type: ignore[operator]
    figure.update_xaxes(type="date", showgrid=False, nticks=8, range=ends, tickformat="%-d %b %Y")
    return Drawn(table, figure, said=f"Events of user {filters.user} by day and kind; {events.height} in all.")


def _recent(reader: Reader, filters: Filters) -> Drawn:
    if filters.user is None:
        return _suggestions(reader, filters)
    events = _events(reader, filters.user)
    if events.is_empty():
        return nothing(
            f"No event of user '{filters.user}' is in the history. Check the id; large and small letters differ."
        )
    told = events.drop("event_id", "user_id")
    told = told.select(name for name in told.columns if told[name].null_count() < told.height)
    amount = Cell("Amount", "number", 2, reader.spec.unit)
    names = {"ts": "Time (UTC)", "event": "Event", "item_id": "Item", "push_id": "Push", "order_id": "Order"}
    cells = {name: amount if name == "amount" else Cell(names.get(name, words(name))) for name in told.columns}
    cells["event"] = Cell("Event", told=lambda row: words(row["event"]))
    return Drawn(told, cells=cells, shown=15)


def _suggestions(reader: Reader, filters: Filters) -> Drawn:
    if not reader.has(PREDICTIONS):
        return nothing(CHOOSE)
    scores, table = at_risk(reader, filters.with_changes(channel=None, segment=None))
    if table.is_empty():
        return nothing(CHOOSE)
    cells = {
        "user_id": Cell("User"),
        "value": Cell(f"Predicted spend, {scores.horizon_days} days", "number", 2, reader.spec.unit),
        "risk": Cell("Chance to slip away", "percent", 0),
    }
    note = "Some to begin with: the most valuable users at risk. Choose one, or type another id above."
    return Drawn(table.head(10), cells=cells, note=note)


def _why(reader: Reader, filters: Filters) -> Drawn:
    if filters.user is None:
        return nothing(CHOOSE)
    table = user_reasons(reader, filters.user)
    if table.is_empty():
        return nothing(
            "The reasons were worked out for the users of whom most is expected, and this is none of them, or was "
            "predicted without trees. For more: sojourn ltv score --models ./models --reasons 100000"
        )
    cells = {
        "prediction": Cell("Prediction", told=lambda row: prediction_words(row["prediction"])),
        "words": Cell("Because of"),
        "value": Cell("This user", "number", told=lambda row: number_text(row["value"])),
        "push": Cell("Pushes it", "change", 0, told=lambda row: _pushed(row["push"])),
    }
    return Drawn(table, cells=cells, shown=16, said="What pushed each prediction up or down, largest first.")


def _pushed(push: float) -> str:
    return f"{'up' if push > 0 else 'down'} {number_text(abs(push), style='percent', digits=0)}"


def prediction_words(name: str) -> str:
    """A column of the predictions as a reader says it.

    >>> prediction_words("ltv_90"), prediction_words("churn_prob_30")
    ('Spend, 90 days', 'Slipping away, 30 days')
    """
    what, _, days = name.rpartition("_")
    return f"{'Slipping away' if what.startswith('churn') else 'Spend'}, {days} days"


def _reasons(reader: Reader, filters: Filters) -> Drawn:
    if filters.user is None:
        return nothing(CHOOSE)
    if not reader.has(FEATURES):
        return nothing("No table of features was kept. Keep one: sojourn ltv score --models ./models")
    table = _apart(reader, filters.user)
    if table.is_empty():
        return nothing(f"User '{filters.user}' has no features: they were not there on the day of scoring.")
    cells = {
        "feature": Cell("What was known of the user"),
        "user": Cell("This user", "number", told=lambda row: figure_text(row["user"])),
        "median": Cell("Median user", "number", told=lambda row: figure_text(row["median"])),
        "below": Cell("Share of users below", "percent", 0),
    }
    return Drawn(table, cells=cells, shown=SHOWN_FEATURES, said="Where this user stands among all others.")


def _apart(reader: Reader, user: str) -> pl.DataFrame:
    """The user's numeric features with the median user's and the share of users below, the most unusual first."""
    place = reader.warehouse.places(FEATURES)[-1:]
    relation = reader.warehouse.relation(FEATURES, only=place)
    columns = reader.warehouse.engine.columns(f"SELECT * FROM {relation}")
    numeric = [
        name for name, kind in columns.items()
        if kind.split("(")[0] in ("DOUBLE", "FLOAT", "BIGINT", "INTEGER", "DECIMAL", "HUGEINT") and name not in OTHERS
    ]  # fmt: skip
    if not numeric:
        return pl.DataFrame()
    picked = ", ".join(f'"{name}"::DOUBLE AS "{name}"' for name in numeric)

    def sample() -> pl.DataFrame:
        info = reader.warehouse.partition(FEATURES, place[0])
        every = max(1, (info.rows if info else 0) // COMPARED)
        drawn = f"CAST('0x' || substr(md5(user_id), 1, 15) AS BIGINT) % {every} = 0"
        return reader.warehouse.engine.frame(f"SELECT {picked} FROM {relation} WHERE {drawn}")

    one = reader.asked(
        f"SELECT {picked} FROM {relation} WHERE user_id = $user_id",
        stamps=[reader.stamp(FEATURES)],
        params={"user_id": user},
    )
    if one.is_empty():
        return pl.DataFrame()
    return apart(one, reader.kept("features/sample", tables=[FEATURES], make=sample))


def apart(one: pl.DataFrame, others: pl.DataFrame) -> pl.DataFrame:
    """`feature`, `user`, `median`, `below` (the share of others below, ties half), by distance from the middle."""
    rows = []
    for name in one.columns:
        value, rest = one[name][0], others[name].drop_nulls()
        if value is None or rest.is_empty() or rest.n_unique() < 2:
            continue
        below = ((rest < value).sum() + 0.5 * (rest == value).sum()) / rest.len()
        rows.append((words(name), float(value), rest.median(), float(below)))
    schema = {"feature": pl.String, "user": pl.Float64, "median": pl.Float64, "below": pl.Float64}
    found = pl.DataFrame(rows, schema=schema, orient="row")
    return found.sort((pl.col("below") - 0.5).abs(), "feature", descending=[True, False])


USERS = View(
    "users",
    "Users",
    "One user: what they did, what is expected of them, and what sets them apart.",
    (
        Part(
            "timeline",
            "Timeline",
            (
                "Events of the user by day and kind, from the history that is kept; a larger mark is "
                "more events. Days are UTC."
            ),
            _timeline,
        ),
        Part(
            "recent",
            "Latest events",
            "The events of the user, the latest first, from the history that is kept.",
            _recent,
            "half",
        ),
        Part(
            "why",
            "Why these predictions",
            "What each feature adds to the score of the trees that made the prediction (its SHAP value), as a share of "
            "all that features add or take for this user, the largest first. Up: the prediction is higher for it than "
            "the average user's. Models without trees have no such reasons. It explains the model, not the user.",
            _why,
            "half",
        ),
        Part(
            "reasons",
            "What sets them apart",
            (
                "Features that the models saw, of the newest table of features: the share of users "
                "below this one, among some 10,000 drawn by a hash; ties count half. It says what is "
                "unusual, not what caused the prediction."
            ),
            _reasons,
        ),
    ),
    tiles=_tiles,
    controls=("user",),
)
