"""A reader of the warehouse and a choice of filters come in; the tiles and charts of each page go out."""

from sojourn.dashboard.pages.acquisition import ACQUISITION
from sojourn.dashboard.pages.engagement import ENGAGEMENT
from sojourn.dashboard.pages.health import HEALTH
from sojourn.dashboard.pages.overview import OVERVIEW
from sojourn.dashboard.pages.retention import RETENTION
from sojourn.dashboard.pages.users import USERS
from sojourn.dashboard.pages.value import VALUE

VIEWS = (OVERVIEW, ACQUISITION, RETENTION, VALUE, ENGAGEMENT, USERS, HEALTH)

__all__ = ["VIEWS"]
