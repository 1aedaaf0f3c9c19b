"""What a simulated two-sided market is made of."""

from datetime import date, timedelta
from typing import Self

from pydantic import Field, model_validator

from sojourn.core import Spec


class MarketSpec(Spec):
    """A ride market whose truth is known: same spec, same tables.

    `drivers` and `riders` join over `days` from `start` on in `cities`, each city smaller than the one before. From
    `shortage_from` on, drivers of `shortage_city` come to work less often by the share `shortage_share`: the cause that
    an explanation of the fill rate should find.

    >>> MarketSpec(drivers=50, riders=400, days=28).last_day
    datetime.date(2025, 1, 28)
    """

    drivers: int = Field(default=300, ge=1, le=1_000_000)
    riders: int = Field(default=3_000, ge=1, le=10_000_000)
    days: int = Field(default=84, ge=1, le=3660)
    start: date = date(2025, 1, 1)
    seed: int = Field(default=0, ge=0, lt=2**63)
    cities: tuple[str, ...] = Field(default=("Aldenport", "Brookvale", "Castine"), min_length=1, max_length=100)
    shortage_city: str | None = None
    shortage_from: date | None = None
    shortage_share: float = Field(default=0.6, ge=0, le=1)

    @model_validator(mode="after")
    def _shortage(self) -> Self:
        if len(set(self.cities)) < len(self.cities):
            raise ValueError("a city stands there twice; name each once")
        if (self.shortage_city is None) != (self.shortage_from is None):
            raise ValueError("a shortage has a city and a first day; give both or neither")
        if self.shortage_city is not None and self.shortage_city not in self.cities:
            raise ValueError(f"shortage_city {self.shortage_city!r} is none of the cities {list(self.cities)}")
        return self

    @property
    def last_day(self) -> date:
        """The last simulated day."""
        return self.start + timedelta(days=self.days - 1)
