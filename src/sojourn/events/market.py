"""A market's spec goes in; events of drivers and riders, their portraits and what they cost go into a warehouse."""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from sojourn.core import MONEY, UTC_US, BadInput
from sojourn.events._market_spec import MarketSpec
from sojourn.warehouse import Warehouse

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

# Channel, share of those who join, price of one in dollars, chance to work or appetite, chance to leave on a day.
DRIVER_CHANNELS = (
    ("organic", 0.30, 0.0, 0.55, 0.006),
    ("driver_referral", 0.25, 120.0, 0.62, 0.004),
    ("job_board", 0.30, 45.0, 0.45, 0.016),
    ("driver_social", 0.15, 70.0, 0.50, 0.010),
)
RIDER_CHANNELS = (
    ("organic", 0.40, 0.0, 0.34, 0.008),
    ("search_ads", 0.25, 6.5, 0.40, 0.008),
    ("social_video", 0.20, 4.0, 0.24, 0.016),
    ("promo_code", 0.15, 9.0, 0.30, 0.022),
)
WEEKDAY = np.array([0.95, 0.95, 1.0, 1.05, 1.25, 1.2, 0.8])
HOURS = np.array([2, 1, 1, 1, 1, 2, 5, 9, 10, 6, 4, 4, 5, 5, 4, 5, 7, 10, 11, 9, 7, 6, 5, 4]) / 124.0
SHIFT_STARTS = np.array([0, 6, 7, 7, 8, 11, 15, 16, 16, 17, 18, 20])
TRIPS_AN_HOUR = 2
PAYOUT = 75  # percent of the fare
IRE, IDLE = 0.03, 0.02  # how much likelier one leaves after each unserved request, after a day without a trip
LOG: dict[str, Any] = {
    "user_id": pl.String,
    "ts": UTC_US,
    "event": pl.String,
    "driver_id": pl.String,
    "rider_id": pl.String,
    "city": pl.String,
    "minutes": pl.Int32,
    "trip_id": pl.String,
    "amount": MONEY,
    "payout": MONEY,
}


@dataclass(frozen=True)
class MarketReport:
    """What a market's simulation wrote."""

    events: int
    drivers: int
    riders: int
    requests: int
    trips: int

    def summary(self) -> str:
        """The report in a line for a person."""
        return (
            f"{self.drivers:,} drivers and {self.riders:,} riders: {self.requests:,} requests, {self.trips:,} trips "
            f"({self.trips / max(self.requests, 1):.1%}), {self.events:,} events"
        )


def simulate_market(warehouse: Warehouse, spec: MarketSpec) -> MarketReport:
    """Write the market into the warehouse's tables events, users, driver_costs and rider_costs.

    `events` holds, beside the columns of every event table, `driver_id`, `rider_id` and `city`, so that either side can
    be the entity: `signup` (both sides), `online` (one row per driver and hour, `minutes` of it), `request`, and `trip`
    with the same `trip_id`, the fare as `amount` and what the driver gets of it as `payout`. A request that nobody
    could serve has no trip. `user_id` is who did it: of a trip, the rider. `users` holds both sides' portraits (`side`,
    `city`, `channel`); costs are those of each side's channels, on the day of joining. Days that are there already are
    kept. Raises `BadInput` for a warehouse with days other than UTC's, or with tables of another origin.
    """
    _check(warehouse, spec)
    market = _Market(spec)
    requests = trips = events = 0
    with warehouse.writing("events") as writer:
        stored = {info.partition["day"]: info.fingerprint for info in warehouse.partitions("events")}
        for number in range(spec.days):
            frame = market.live(number)
            kinds = frame["event"]
            requests, trips = requests + int((kinds == "request").sum()), trips + int((kinds == "trip").sum())
            events += frame.height
            day, mark = str(spec.start + timedelta(days=number)), _mark(spec, number)
            if stored.get(day) != mark:
                writer.put({"day": day}, frame, order_by=["event_id"], fingerprint=mark)
    for name, table in market.beside().items():
        with warehouse.writing(name) as writer:
            writer.put({}, table, order_by=table.columns[:3], fingerprint=spec.fingerprint)
    joined = [int((side.joined < spec.days).sum()) for side in (market.drivers, market.riders)]
    return MarketReport(events, drivers=joined[0], riders=joined[1], requests=requests, trips=trips)


class _Side:
    """Everyone of one side: when they join, where, by which channel, and how they are."""

    def __init__(self, spec: MarketSpec, *, count: int, prefix: str, channels: Any, purpose: int) -> None:
        rng = np.random.default_rng([spec.seed, purpose])
        width = len(str(count))
        self.ids = np.array([f"{prefix}{number:0{width}d}" for number in range(count)], dtype=object)
        # A quarter come in the first week, with the launch; the others day by day.
        early = rng.random(count) < 0.25
        later = rng.integers(0, max(spec.days, 1), count)
        self.joined: Ints = np.where(early, rng.integers(0, min(7, spec.days), count), later)
        shares = np.array([0.7**at for at in range(len(spec.cities))])
        self.city: Ints = rng.choice(len(spec.cities), count, p=shares / shares.sum())
        self.channel: Ints = rng.choice(len(channels), count, p=[each[1] for each in channels])
        self.rate: Floats = np.array([each[3] for each in channels])[self.channel] * rng.gamma(4.0, 0.25, count)
        self.leaving: Floats = np.array([each[4] for each in channels])[self.channel]
        self.is_gone: Flags = np.zeros(count, dtype=bool)
        self.channels = channels

    def here(self, number: int) -> Ints:
        """The places of those who have joined and not left."""
        return np.flatnonzero((self.joined <= number) & ~self.is_gone)


class _Market:
    """The market's state from day to day."""

    def __init__(self, spec: MarketSpec) -> None:
        self.spec = spec
        self.drivers = _Side(spec, count=spec.drivers, prefix="d", channels=DRIVER_CHANNELS, purpose=1)
        self.riders = _Side(spec, count=spec.riders, prefix="r", channels=RIDER_CHANNELS, purpose=2)

    def live(self, number: int) -> pl.DataFrame:
        """The events of one day; who leaves at its end is gone from the next."""
        rng = np.random.default_rng([self.spec.seed, 3, number])
        day = self.spec.start + timedelta(days=number)
        driver, at_work = self._shifts(rng, number, day)
        rider, hour, second = self._requests(rng, number, day)
        place = self.riders.city[rider] * 24 + hour
        order = np.lexsort((rider, second, place))
        rider, hour, second, place = rider[order], hour[order], second[order], place[order]
        served_by = _matched(place, of_driver=self.drivers.city[driver] * 24 + at_work, driver=driver)
        self._leave(rng, number, rider=rider, served_by=served_by, worked=np.unique(driver))
        moments = _Moments(day)
        parts = [
            self._signups(moments, number, self.drivers, "driver_id"),
            self._signups(moments, number, self.riders, "rider_id"),
            self._online(moments, driver, at_work),
            *self._rides(rng, moments, number, rider=rider, second=hour * 3600 + second, served_by=served_by),
        ]
        rows = pl.concat([part.select(*LOG) for part in parts]).sort("ts", "user_id", "event", "trip_id")
        ids = pl.format("m{}-{}", pl.lit(f"{number:04d}"), pl.int_range(pl.len()).cast(pl.String).str.zfill(8))
        return rows.select(
            ids.alias("event_id"),
            "user_id",
            "ts",
            pl.col("ts").alias("arrived_at"),
            "event",
            pl.lit(None, pl.String).alias("item_id"),
            pl.exclude("user_id", "ts", "event"),
        )

    def beside(self) -> dict[str, pl.DataFrame]:
        """The portraits of both sides, and each side's costs by day and channel."""
        sides = {"driver": self.drivers, "rider": self.riders}
        users = pl.concat([self._portraits(name, side) for name, side in sides.items()]).sort("user_id")
        return {"users": users, **{f"{name}_costs": self._costs(side) for name, side in sides.items()}}

    def _shifts(self, rng: np.random.Generator, number: int, day: date) -> tuple[Ints, Ints]:
        """The hours at work: a driver's place and an hour for each."""
        here = self.drivers.here(number)
        chance = np.minimum(self.drivers.rate[here] * WEEKDAY[day.weekday()], 0.97)
        if self.spec.shortage_from is not None and day >= self.spec.shortage_from:
            short = self.drivers.city[here] == self.spec.cities.index(self.spec.shortage_city or "")
            chance = np.where(short, chance * (1 - self.spec.shortage_share), chance)
        works = here[rng.random(len(here)) < chance]
        starts = rng.choice(SHIFT_STARTS, len(works))
        lengths = rng.integers(4, 9, len(works))
        driver = np.repeat(works, lengths)
        step = np.arange(len(driver)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        hour = np.repeat(starts, lengths) + step
        keep = hour < 24
        return driver[keep], hour[keep]

    def _requests(self, rng: np.random.Generator, number: int, day: date) -> tuple[Ints, Ints, Ints]:
        """A rider's place, an hour and a second of it for each request."""
        here = self.riders.here(number)
        counts = rng.poisson(self.riders.rate[here] * WEEKDAY[day.weekday()])
        rider = np.repeat(here, counts)
        return rider, rng.choice(24, len(rider), p=HOURS / HOURS.sum()), rng.integers(0, 3000, len(rider))

    def _leave(self, rng: np.random.Generator, number: int, *, rider: Ints, served_by: Ints, worked: Ints) -> None:
        """Riders leave the likelier the more often nobody came, drivers after a day at work without a trip."""
        unserved = np.bincount(rider[served_by < 0], minlength=self.spec.riders)
        here = self.riders.here(number)
        self.riders.is_gone[here] = rng.random(len(here)) < self.riders.leaving[here] + IRE * unserved[here]
        idle = np.zeros(self.spec.drivers)
        idle[np.setdiff1d(worked, served_by)] = IDLE
        here = self.drivers.here(number)
        self.drivers.is_gone[here] = rng.random(len(here)) < self.drivers.leaving[here] + idle[here]

    def _signups(self, moments: "_Moments", number: int, side: _Side, column: str) -> pl.DataFrame:
        new = np.flatnonzero(side.joined == number)
        ids = pl.Series(side.ids[new], dtype=pl.String)
        cities = pl.Series(np.array(self.spec.cities, dtype=object)[side.city[new]], dtype=pl.String)
        # Before anything else on that day, so that the first row of everyone is the signup.
        return _log(
            user_id=ids, ts=moments.at(np.zeros(len(new), dtype=np.int64)), event="signup", city=cities
        ).with_columns(ids.alias(column))

    def _online(self, moments: "_Moments", driver: Ints, hour: Ints) -> pl.DataFrame:
        ids = pl.Series(self.drivers.ids[driver], dtype=pl.String)
        return _log(
            user_id=ids, ts=moments.at(hour * 3600 + 1), event="online", city=self._cities(self.drivers.city[driver])
        ).with_columns(ids.alias("driver_id"), minutes=pl.lit(60, pl.Int32))

    def _rides(
        self, rng: np.random.Generator, moments: "_Moments", number: int, *, rider: Ints, second: Ints, served_by: Ints
    ) -> list[pl.DataFrame]:
        ids = pl.Series(self.riders.ids[rider], dtype=pl.String)
        trips = pl.Series([f"t{number:04d}-{at:07d}" for at in range(len(rider))], dtype=pl.String)
        asked = _log(user_id=ids, ts=moments.at(second), event="request", city=self._cities(self.riders.city[rider]))
        asked = asked.with_columns(ids.alias("rider_id"), trips.alias("trip_id"))
        km_tenths = np.rint(10 * rng.lognormal(1.5, 0.6, len(rider))).astype(np.int64)
        wait = rng.integers(30, 600, len(rider))
        fare_cents = 250 + 11 * km_tenths
        is_served = served_by >= 0
        money = pl.Series(fare_cents).cast(pl.Decimal(18, 0)).cast(MONEY) / 100
        payout = pl.Series(fare_cents * PAYOUT // 100).cast(pl.Decimal(18, 0)).cast(MONEY) / 100
        rides = asked.with_columns(
            pl.lit("trip").alias("event"),
            moments.at(second + wait).alias("ts"),
            pl.Series(self.drivers.ids[np.maximum(served_by, 0)], dtype=pl.String).alias("driver_id"),
            money.cast(MONEY).alias("amount"),
            payout.cast(MONEY).alias("payout"),
        )
        return [asked, rides.filter(pl.Series(is_served))]

    def _portraits(self, name: str, side: _Side) -> pl.DataFrame:
        here = side.joined < self.spec.days
        starts = (np.datetime64(self.spec.start) + side.joined).astype("datetime64[us]")
        channels = np.array([each[0] for each in side.channels], dtype=object)[side.channel]
        return pl.DataFrame(
            {
                "user_id": pl.Series(side.ids, dtype=pl.String),
                "valid_from": pl.Series(starts).dt.replace_time_zone("UTC"),
                "valid_to": pl.Series([None] * len(side.ids), dtype=UTC_US),
                "side": pl.Series([name] * len(side.ids)),
                "city": self._cities(side.city),
                "channel": pl.Series(channels, dtype=pl.String),
                "is_test": pl.Series([False] * len(side.ids)),
            }
        ).filter(pl.Series(here))

    def _costs(self, side: _Side) -> pl.DataFrame:
        rng = np.random.default_rng([self.spec.seed, 4, len(side.ids)])
        mood = 850 + rng.integers(0, 301, (self.spec.days, len(side.channels)))  # the day's prices, in thousandths
        rows = []
        for number in range(self.spec.days):
            new = np.bincount(side.channel[side.joined == number], minlength=len(side.channels))
            for at, (channel, _, price, *_) in enumerate(side.channels):
                if price > 0:
                    mills = int(new[at]) * int(price * 100) * int(mood[number, at])
                    rows.append((self.spec.start + timedelta(days=number), channel, mills))
        frame = pl.DataFrame(rows, schema=["day", "channel", "mills"], orient="row")
        amount = (pl.col("mills").cast(pl.Decimal(18, 0)).cast(pl.Decimal(38, 4)) / 100_000).cast(MONEY)
        return frame.select(
            "day",
            "channel",
            pl.lit("always on").alias("campaign"),
            amount.alias("amount"),
            pl.lit("USD").alias("currency"),
        )

    def _cities(self, places: Ints) -> pl.Series:
        return pl.Series(np.array(self.spec.cities, dtype=object)[places], dtype=pl.String)


@dataclass(frozen=True)
class _Moments:
    """Seconds of one UTC day as instants."""

    day: date

    def at(self, seconds: Ints) -> pl.Series:
        start = (self.day - date(1970, 1, 1)).days * 86_400
        return pl.Series((start + seconds) * 1_000_000, dtype=pl.Int64).cast(UTC_US)


def _matched(place: Ints, *, of_driver: Ints, driver: Ints) -> Ints:
    """The driver of each request (-1: nobody could), in the requests' order within a city's hour, drivers in turn."""
    order = np.lexsort((driver, of_driver))
    driver, of_driver = driver[order], of_driver[order]
    first, last = (np.searchsorted(of_driver, place, side=side) for side in ("left", "right"))
    online = last - first
    rank = np.arange(len(place)) - np.searchsorted(place, place)
    is_served = rank < TRIPS_AN_HOUR * online
    found = np.full(len(place), -1, dtype=np.int64)
    found[is_served] = driver[(first + rank % np.maximum(online, 1))[is_served]]
    return found


def _log(*, user_id: pl.Series, ts: pl.Series, event: str, city: pl.Series) -> pl.DataFrame:
    """Rows of the log, with every column."""
    said = {"user_id": user_id, "ts": ts, "event": pl.Series([event] * len(user_id), dtype=pl.String), "city": city}
    frame = pl.DataFrame({name: series.cast(LOG[name]) for name, series in said.items()})
    return frame.with_columns(pl.lit(None, kind).alias(name) for name, kind in LOG.items() if name not in said)


def _check(warehouse: Warehouse, spec: MarketSpec) -> None:
    if warehouse.spec.zone != "UTC":
        raise BadInput(
            f"The market's days are UTC's, the warehouse's those of {warehouse.spec.zone}. Simulate into one in UTC."
        )
    foreign = [info for info in warehouse.partitions("events")[:1] if not info.fingerprint.startswith(spec.fingerprint)]
    if foreign:
        raise BadInput(
            f"The warehouse {warehouse.root} already holds events that this market did not write. "
            "Simulate into a new folder."
        )


def _mark(spec: MarketSpec, number: int) -> str:
    return f"{spec.fingerprint}:{number}"
