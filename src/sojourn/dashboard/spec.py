"""What a team declares of its dashboard: the section `[dashboard]` of sojourn.toml."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from sojourn.core import BadSpec, Spec
from sojourn.metrics import AcquisitionSpec, acquisition_from

Grain = Literal["day", "week", "month"]


class DashboardSpec(Spec):
    """What the pages are called, whose metrics they show (a board of `[metrics]`) and how far they look back.

    `title` stands on every page; `unit` goes before money ("$"). Without a date in the address the pages show the last
    `days`, `weeks` or `months` of the grain, which is `grain` unless the address says otherwise. A spender is at risk
    when the chance to slip away is at least `risk_prob`; a target list holds at most `list_users`. `channel` is the
    dimension that the filter of that name chooses from; every other dimension is a segment. The history behind the page
    of one user reaches back `history_days`, in `history_buckets` files. `acquisition` is what section `[acquisition]`
    declares, board by board: the page of that name looks at costs as it says.

    >>> DashboardSpec(unit="€").grain
    'week'
    """

    title: str = "Sojourn"
    board: str = "users"
    unit: str = "$"
    grain: Grain = "week"
    days: int = Field(default=60, ge=2, le=3660)
    weeks: int = Field(default=26, ge=2, le=520)
    months: int = Field(default=18, ge=2, le=120)
    channel: str = "channel"
    risk_prob: float = Field(default=0.5, gt=0, lt=1)
    list_users: int = Field(default=10_000, ge=1, le=1_000_000)
    history_days: int = Field(default=365, ge=1, le=3660)
    history_buckets: int = Field(default=64, ge=1, le=4096)
    acquisition: tuple[AcquisitionSpec, ...] = ()

    def periods(self, grain: Grain) -> int:
        """How many periods of this grain the pages show when the address names no date."""
        return {"day": self.days, "week": self.weeks, "month": self.months}[grain]


def dashboard_from(settings: Mapping[str, Any]) -> DashboardSpec:
    """The dashboard that the settings declare; the default one without a section. Raises `BadSpec`."""
    section = settings.get("dashboard", {})
    if not isinstance(section, Mapping):
        raise BadSpec("sojourn.toml: 'dashboard' must be a section. Write [dashboard] and below it: unit = \"$\"")
    if "acquisition" in settings:
        section = {"acquisition": tuple(acquisition_from(settings).values()), **section}
    return DashboardSpec(**section)
