"""A reader of the warehouse and a choice of filters come in; the tiles and charts of each page go out."""

from sojourn.dashboard.pages.acquisition import ACQUISITION
from sojourn.dashboard.pages.engagement import ENGAGEMENT
from sojourn.dashboard.pages.health import HEALTH
from sojourn.dashboard.pages.market import MARKET
from sojourn.dashboard.pages.overview import OVERVIEW
from sojourn.dashboard.pages.retention import RETENTION
from sojourn.dashboard.pages.users import USERS
from sojourn.dashboard.pages.value import VALUE
from sojourn.dashboard.parts import View
from sojourn.dashboard.reader import Reader

VIEWS = (OVERVIEW, ACQUISITION, RETENTION, VALUE, ENGAGEMENT, MARKET, USERS, HEALTH)


def views_of(reader: Reader) -> list[View]:
    """The pages that have to do with this warehouse."""
    return [view for view in VIEWS if view.wanted is None or view.wanted(reader)]


__all__ = ["VIEWS", "views_of"]
