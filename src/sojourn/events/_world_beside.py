"""Lived histories go in and the tables beside events come out: versions of portraits, and what users have cost."""

from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl

from sojourn.core import MONEY, UTC_US
from sojourn.events import _world_numbers as numbers
from sojourn.events._world_arrow import user_ids
from sojourn.events._world_calendar import calendar_day
from sojourn.events._world_draws import Index, stream
from sojourn.events._world_history import History
from sojourn.events._world_people import Portrait
from sojourn.events._world_spec import WorldSpec

_TEN_THOUSANDTHS = 10_000


def users_table(spec: WorldSpec, histories: list[History]) -> pl.DataFrame:
    """The table `users`: one row per version of a portrait, valid in [valid_from, valid_to).

    The first version holds from the install on; a system update or a move begins another at the start of its day. What
    happens after the first uninstall is never learned.
    """
    versions = pl.concat([_versions(spec, history) for history in histories]).sort("user_id", "valid_from")
    valid_to = pl.col("valid_from").shift(-1).over("user_id")
    columns = versions.columns
    return versions.with_columns(valid_to.alias("valid_to")).select(*columns[:2], "valid_to", *columns[2:])


def costs_table(spec: WorldSpec, histories: list[History]) -> pl.DataFrame:
    """The table `costs`: what each paid campaign cost on each day: its installs at that day's prices."""
    prices = sum((_installs_priced(spec, history.block.portrait) for history in histories), start=_nothing(spec))
    rows = []
    for day in range(min(spec.days, spec.install_span)):
        for campaign, (channel, name, _, price) in enumerate(numbers.CAMPAIGNS):
            if price > 0:
                mood = 850 + stream(spec.seed, 920, day, campaign) % 301  # the day's prices, in thousandths
                amount = int(prices[day, campaign]) * mood // 1000
                rows.append((spec.start + timedelta(days=day), channel, name, amount))
    frame = pl.DataFrame(rows, schema=["day", "channel", "campaign", "amount"], orient="row")
    dollars = (pl.col("amount").cast(pl.Decimal(18, 0)).cast(MONEY) / _TEN_THOUSANDTHS).cast(MONEY)
    return frame.with_columns(dollars, currency=pl.lit("USD"))


def _versions(spec: WorldSpec, history: History) -> pl.DataFrame:
    portrait, changes = history.block.portrait, history.block.changes
    here = np.flatnonzero(portrait.install_day < spec.days)
    first = _portrait(history, here, np.full(len(here), -1)).with_columns(
        valid_from=pl.Series(history.installed_us[here]).cast(UTC_US)
    )
    end = np.where(history.totals.gone_day >= 0, history.totals.gone_day, spec.days)
    dates = np.concatenate([changes.move_day[:, None], changes.update_days], axis=1)
    rows, which = np.nonzero((dates > portrait.install_day[:, None]) & (dates < end[:, None]))
    days = dates[rows, which]
    once = np.unique(np.stack([rows, days], axis=1), axis=0)
    starts = np.array([calendar_day(spec, day).start_us for day in range(spec.days)])
    later = _portrait(history, once[:, 0], once[:, 1]).with_columns(
        valid_from=pl.Series(starts[once[:, 1]]).cast(UTC_US)
    )
    return pl.concat([first, later]).select("user_id", "valid_from", pl.exclude("user_id", "valid_from"))


def _portrait(history: History, rows: Index, days: Index) -> pl.DataFrame:
    """The portraits of these rows as they are from these days on (-1: from the install on)."""
    portrait, changes = history.block.portrait.take(rows), history.block.changes.take(rows)
    moved = (changes.move_day >= 0) & (changes.move_day <= days)
    place = np.where(moved, changes.new_place, portrait.place)
    updates = ((changes.update_days >= 0) & (changes.update_days <= days[:, None])).sum(axis=1)
    version = np.minimum(changes.first_version + updates, 2)
    system, device = portrait.system.astype(np.int64), portrait.device.astype(np.int64)
    return pl.DataFrame(
        {
            "user_id": pl.from_arrow(user_ids(portrait.user)),
            "country": _named([each.country for each in numbers.PLACES], place),
            "zone": _named([each.zone for each in numbers.PLACES], place),
            "language": _named([each.language for each in numbers.PLACES], place),
            "os": _named(numbers.SYSTEMS, system),
            "os_version": _named([v for versions in numbers.VERSIONS for v in versions], system * 3 + version),
            "device": _named([d for devices in numbers.DEVICES for d in devices], system * 3 + device),
            "channel": _named([channel.name for channel in numbers.CHANNELS], portrait.channel),
            "campaign": _named([name for _, name, _, _ in numbers.CAMPAIGNS], portrait.campaign),
            "age_band": _named(numbers.AGES, portrait.age),
            "push_opt_in": portrait.opted_in,
            "push_group": _named(("holdout", "programme"), portrait.programme.astype(np.int64)),
            "is_test": portrait.is_test,
        }
    )


def _named(names: Any, places: Any) -> pl.Series:
    return pl.Series(list(names)).gather(pl.Series(places.astype(np.int64)))


def _nothing(spec: WorldSpec) -> Index:
    return np.zeros((spec.install_span, len(numbers.CAMPAIGNS)), dtype=np.int64)


def _installs_priced(spec: WorldSpec, portrait: Portrait) -> Index:
    """Summed prices of the installs of each day and campaign, in ten-thousandths of a dollar: integers, so exact."""
    price = np.array([round(price * 100) for *_, price in numbers.CAMPAIGNS])[portrait.campaign]
    place = np.array([round(each.cpi * 100) for each in numbers.PLACES])[portrait.place]
    system = np.array([round(each * 100) for each in numbers.SYSTEM_CPI])[portrait.system]
    spent = _nothing(spec)
    np.add.at(spent, (portrait.install_day, portrait.campaign), price * place * system // 100)
    return spent
