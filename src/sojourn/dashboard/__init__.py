"""Tables of metrics and predictions come in; pages that a browser shows go out, with nothing from outside."""

from sojourn.dashboard.app import dashboard_app
from sojourn.dashboard.checks import write_checks
from sojourn.dashboard.filters import Filters
from sojourn.dashboard.history import bucket_of, user_events, write_history
from sojourn.dashboard.hours import write_hours
from sojourn.dashboard.serving import Look, check_pages, serve
from sojourn.dashboard.spec import DashboardSpec, dashboard_from

__all__ = [
    "DashboardSpec",
    "Filters",
    "Look",
    "bucket_of",
    "check_pages",
    "dashboard_app",
    "dashboard_from",
    "serve",
    "user_events",
    "write_checks",
    "write_history",
    "write_hours",
]
