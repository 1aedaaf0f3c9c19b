"""Engagement: who stays, who comes back, who slips away, how often and at what hours."""

import polars as pl

from sojourn.dashboard.boards import funnels, grain_of, metric, published, span
from sojourn.dashboard.figures import day_words, hours_chart, stacked_chart, time_chart, words
from sojourn.dashboard.filters import Filters
from sojourn.dashboard.hours import HOURS
from sojourn.dashboard.pages._shared import EDGES, definition_of, no_metric, over_time, said_of, tiles_of
from sojourn.dashboard.parts import Cell, Drawn, Part, View, nothing
from sojourn.dashboard.reader import Reader
from sojourn.evaluate.theme import COLORS, color_of

STATES = {
    "returning": ("Returning", color_of(0), 1),
    "resurrected": ("Resurrected", color_of(5), 1),
    "new": ("New", color_of(1), 1),
    "dormant": ("Dormant", COLORS["other"], -1),
}
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def _lifecycle(reader: Reader, filters: Filters) -> Drawn:
    if not published(reader, "lifecycle"):
        return nothing(no_metric("lifecycle", reader))
    table = metric(reader, "lifecycle", filters, by=["state"])
    figure = stacked_chart(table, grain=grain_of(reader, filters), states=STATES)
    return Drawn(table, figure, said="New, returning and resurrected users above the line, dormant users below it.")


def _hours(reader: Reader, filters: Filters) -> Drawn:
    if not reader.has(HOURS):
        return nothing("The hours of the week have not been counted yet. Count them: sojourn dashboard --prepare")
    first, last = span(reader, filters, grain="day")
    sql = (
        "SELECT isodow(day) AS weekday, hour, sum(events)::DOUBLE / count(DISTINCT day) AS "
        "value, sum(events)::BIGINT AS "
        "events FROM {held} WHERE day BETWEEN $first AND $last GROUP BY ALL ORDER BY ALL"
    )
    table = reader.read(
        HOURS, tables=[HOURS], query=lambda: f"SELECT * FROM {reader.warehouse.relation(HOURS)}", sql=sql,
        params={"first": first, "last": last},
    )  # fmt: skip
    if table.is_empty():
        return nothing(
            "No event was counted between these days. Choose other days, or run: sojourn dashboard --prepare"
        )
    note = "All users: hours are not parted by channel or segment." if filters.channel or filters.segment else ""
    return Drawn(table, hours_chart(table, days=WEEKDAYS), said="Events by weekday and hour.", note=note)


NO_FUNNEL = "No funnel is declared. Declare one: [metrics.boards.users.funnels.checkout]"


def funnel_steps(reader: Reader, filters: Filters) -> pl.DataFrame:
    """Each funnel's newest period that is over: a row a step, of users who took their first step in that period.

    `funnel`, `start`, `step`, `step_name`, `users`, `share` (of the first step), `of_previous` (of the step before;
    null for the first) and `share_before` (of the first step, in the period before; null without one that is over).
    Periods are never summed: whoever begins in two of them would count twice.
    """
    rows = []
    for name in funnels(reader):
        table = metric(reader, f"funnel_{name}", filters, by=["step", "step_name"]).filter("mature")
        starts = table["start"].unique().sort().to_list()
        if not starts:
            continue
        now, before = (table.filter(pl.col("start").is_in(days)) for days in (starts[-1:], starts[-2:-1]))
        now = now.sort("step").join(before.select("step", share_before="value"), on="step", how="left")
        previous = pl.col("numerator").shift(1)
        rows.append(
            now.sort("step").select(
                "start", "step", "step_name", "share_before", funnel=pl.lit(name), users="numerator", share="value",
                of_previous=pl.when(previous > 0).then(pl.col("numerator") / previous),
            )
        )  # fmt: skip
    names = ["funnel", "start", "step", "step_name", "users", "share", "of_previous", "share_before"]
    return pl.concat(rows).select(names) if rows else pl.DataFrame()


def _funnels(reader: Reader, filters: Filters) -> Drawn:
    if not funnels(reader):
        return nothing(NO_FUNNEL)
    table, grain = funnel_steps(reader, filters), grain_of(reader, filters)
    if table.is_empty():
        return nothing(
            f"No {grain} of a funnel is over yet, with the hours that its users have for all steps. Choose a shorter "
            "period, or come back later."
        )
    cells = {
        "funnel": Cell("Funnel", told=lambda row: words(row["funnel"])),
        "step_name": Cell("Step", told=lambda row: words(row["step_name"])),
        "users": Cell("Users", "number", 0),
        "share": Cell("Of the first step", "percent"),
        "of_previous": Cell("Of the step before", "percent"),
        "share_before": Cell(f"Of the first, the {grain} before", "percent"),
    }
    last = max(table["start"])
    note = f"The newest {grain} that is over, of {day_words(last, grain)}; users by their first step in it."
    return Drawn(table, cells=cells, said=f"Users who reached each step. {note}", shown=40, note=note)


def _conversion(reader: Reader, filters: Filters) -> Drawn:
    names = funnels(reader)
    if not names:
        return nothing(NO_FUNNEL)
    rows = []
    for name in names:
        table = metric(reader, f"funnel_{name}", filters, by=["step"])
        last = table.filter(pl.col("step") == table["step"].max())
        rows.append(last.with_columns(funnel=pl.lit(name)).drop("step"))
    table = pl.concat(rows)
    if table.is_empty():
        return nothing("Nobody took the first step of a funnel in these days. Widen the dates, or clear the filters.")
    figure = time_chart(
        table, grain=grain_of(reader, filters), name="Conversion", style="percent",
        by="funnel" if len(names) > 1 else None, order=names,
    )  # fmt: skip
    return Drawn(table, figure, said=said_of(table, "Share that took every step", reader, filters))


ENGAGEMENT = View(
    "engagement",
    "Engagement",
    "Who stays, who returns, who slips away; how often, and when.",
    (
        Part("lifecycle", "Lifecycle", definition_of("lifecycle"), _lifecycle, height=380),
        over_time("stickiness"),
        over_time("sessions_per_user"),
        Part(
            "hours",
            "Hours of the week",
            f"Events by local hour, divided by the number of such days in the range. {EDGES}",
            _hours,
            height=330,
        ),
        Part(
            "funnels",
            "Funnels",
            (
                "Of the users with a first row of step one in the newest period that is over, those who reached each "
                f"step in order, within the declared hours. {EDGES}"
            ),
            _funnels,
        ),
        Part(
            "conversion",
            "Funnel conversion",
            (
                "Of the users with a first row of step one in a period, the share that took every step in order, "
                f"within the declared hours. A period is over once all its users have had these hours. {EDGES}"
            ),
            _conversion,
        ),
    ),
    tiles=tiles_of(["active_users", "stickiness", "sessions", "sessions_per_user"]),
)
