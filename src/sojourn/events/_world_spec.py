"""What one asks of the simulator: a world, and what-if plans of pushes in it."""

from datetime import date, timedelta
from typing import Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, field_validator, model_validator

from sojourn.core import Spec, fingerprint
from sojourn.events._world_numbers import WORLD_VERSION


class WorldSpec(Spec):
    """A simulated app: how many people install it, when, and how strongly pushes act on them.

    `users` install within the first `install_days` days (None: all the days). `push_strength` scales every effect of a
    push, good and bad; at 0 the world with pushes equals the world without, to the byte. `push_holdout` is the share of
    users whom chance never lets be pushed. `late_share` of sessions arrive hours or days late. The world's day is the
    local day in `zone`, which must be the warehouse's.

    >>> WorldSpec(users=500, days=30).last_day
    datetime.date(2025, 1, 30)
    """

    users: int = Field(default=10_000, ge=1, le=50_000_000)
    days: int = Field(default=60, ge=1, le=3660)
    start: date = date(2025, 1, 1)
    seed: int = Field(default=0, ge=0, lt=2**63)
    push_strength: float = Field(default=1.0, ge=0, le=5)
    push_holdout: float = Field(default=0.2, ge=0, le=1)
    install_days: int | None = Field(default=None, ge=1, le=3660)
    late_share: float = Field(default=0.03, ge=0, le=1)
    zone: str = "UTC"

    @field_validator("zone")
    @classmethod
    def _known(cls, zone: str) -> str:
        try:
            ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError) as fault:
            raise ValueError("no such time zone; give an IANA name such as 'Europe/Paris' or 'UTC'") from fault
        return zone

    @property
    def last_day(self) -> date:
        """The last simulated day."""
        return self.start + timedelta(days=self.days - 1)

    @property
    def install_span(self) -> int:
        """The number of days over which users install."""
        return self.install_days or self.days

    @property
    def world(self) -> str:
        """The fingerprint of the world, however many of its days are simulated: same world, same days, same bytes."""
        endless = self.with_changes(days=1, install_days=self.install_span)
        return fingerprint("world", str(WORLD_VERSION), endless.to_json())


class PushPlan(Spec):
    """Who is pushed from `as_of` on: every reachable user on the days `as_of + offset` for each of `offsets`.

    On the other days nobody is pushed (`otherwise="nobody"`) or the world's own random campaigns go on
    (`otherwise="campaigns"`), except on the days `as_of + offset` for each of `quiet`, on which nobody is pushed.
    `horizon_days` is how far ahead one looks. Users who have opted out are never pushed. What one push today does while
    campaigns go on is the difference between `offsets=(0,)` and `quiet=(0,)`, both with `otherwise="campaigns"`.

    >>> PushPlan(as_of=date(2025, 2, 1), offsets=(0, 7)).horizon_days
    30
    """

    as_of: date
    horizon_days: int = Field(default=30, ge=1, le=365)
    offsets: tuple[int, ...] = ()
    quiet: tuple[int, ...] = ()
    otherwise: Literal["nobody", "campaigns"] = "nobody"

    @model_validator(mode="after")
    def _inside(self) -> Self:
        outside = [offset for offset in (*self.offsets, *self.quiet) if not 0 <= offset < self.horizon_days]
        if outside:
            raise ValueError(f"offset {outside[0]} lies outside the horizon [0, {self.horizon_days})")
        both = sorted(set(self.offsets) & set(self.quiet))
        if both:
            raise ValueError(f"day {both[0]} is both in offsets and in quiet; on a day everybody is pushed or nobody")
        return self
