"""Engagement: who stays, who comes back, who slips away, how often and at what hours."""

import polars as pl

from sojourn.dashboard.boards import funnels, grain_of, metric, published, span
from sojourn.dashboard.figures import hours_chart, stacked_chart, words
from sojourn.dashboard.filters import Filters
from sojourn.dashboard.hours import HOURS
from sojourn.dashboard.pages._shared import EDGES, definition_of, heading, no_metric, over_time, tiles_of
from sojourn.dashboard.parts import Drawn, Part, View, nothing
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


def _funnels(reader: Reader, filters: Filters) -> Drawn:
    names = [f"funnel_{name}" for name in funnels(reader)]
    if not names:
        return nothing("No funnel is declared. Declare one: [metrics.boards.users.funnels.checkout]")
    rows = []
    for name in names:
        table = metric(reader, name, filters, by=["step", "step_name"])
        rows.append(
            table.group_by("step", "step_name")
            .agg(pl.col("numerator").sum(), pl.col("denominator").sum())
            .sort("step")
            .select(
                funnel=pl.lit(words(name.removeprefix("funnel_"))), step="step_name", users="numerator",
                share=pl.col("numerator") / pl.col("denominator"),
            )
        )  # fmt: skip
    cells = {"funnel": heading("funnel"), "step": heading("step"), "users": heading("users", "number", digits=0),
             "share": heading("share", "percent")}  # fmt: skip
    return Drawn(pl.concat(rows), cells=cells, said="Users who reached each step.", shown=40)


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
                "Of the users with a first row of step one in the period, the share that reached "
                f"each step in order, within the declared hours. {EDGES}"
            ),
            _funnels,
        ),
    ),
    tiles=tiles_of(["active_users", "stickiness", "sessions", "sessions_per_user"]),
)
