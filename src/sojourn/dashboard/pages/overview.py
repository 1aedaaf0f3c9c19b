"""Overview: where growth stands, how it changed, and which channels and countries moved it."""

from sojourn.dashboard.filters import Filters
from sojourn.dashboard.pages._shared import over_time, tiles_of
from sojourn.dashboard.parts import View

OVERVIEW = View(
    "overview",
    "Overview",
    "The latest period that is over, against the one before.",
    (
        over_time("active_users", by_channel=True, width="half"),
        over_time("revenue", bars=True),
        over_time("new_users", bars=True),
        over_time("arpu"),
    ),
    tiles=tiles_of(["active_users", "new_users", "revenue", "arpu", "paying_share", "stickiness"]),
)
