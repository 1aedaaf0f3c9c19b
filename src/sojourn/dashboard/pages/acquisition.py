"""Acquisition: through which channels users come, what they cost, and when they have paid that back."""

from sojourn.dashboard.pages._shared import over_time, tiles_of
from sojourn.dashboard.parts import View

ACQUISITION = View(
    "acquisition",
    "Acquisition",
    "Through which channels users come, what they cost, and when they have paid that back.",
    (over_time("new_users", bars=True, by_channel=True, title="New users by channel"),),
    tiles=tiles_of(["new_users"]),
)
