"""User numbers go in and people come out: a portrait anybody may see, and hidden traits that only the truth shows."""

from dataclasses import dataclass, fields
from functools import cache
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from sojourn.events import _world_numbers as numbers
from sojourn.events._world_calendar import installs_by_day, is_burst, system_release_days
from sojourn.events._world_draws import (
    Bits,
    Floats,
    Index,
    Table,
    choices,
    draw,
    look_up,
    second_unit,
    slot,
    stream,
    unit,
)
from sojourn.events._world_spec import WorldSpec
from sojourn.events._world_tables import tables

Array = npt.NDArray[Any]
_PLACE, _SYSTEM, _GROUP, _MOVE, _UPDATE = range(1, 6)
_NATURE, _PURSE, _BUDGET, _SKIN = range(11, 15)


@dataclass(frozen=True)
class Columns:
    """Equally long arrays, one row per person."""

    def take(self, rows: Array) -> Self:
        """These rows, by number or mask."""
        return type(self)(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})


@dataclass(frozen=True)
class Portrait(Columns):
    """What the app knows of a user from the first launch on; `user` is the user's number."""

    user: Index
    install_day: Index
    place: Array
    channel: Array
    campaign: Array
    system: Array
    device: Array
    age: Array
    opted_in: Array
    programme: Array
    is_test: Array


@dataclass(frozen=True)
class Nature(Columns):
    """What nobody sees: `ident` is the counter of the person's random numbers."""

    ident: Bits
    kind: Array
    appetite: Floats
    week: Array
    chrono: Array
    archetype: Array
    payer: Array
    budget_cents: Index
    payday: Array
    price_taste: Array
    purse_share: Floats
    response: Floats
    thin_skin: Floats
    patience: Floats


@dataclass(frozen=True)
class Changes(Columns):
    """Later versions of a portrait: the day of a move and the new place, the days of system updates (-1: never)."""

    move_day: Index
    new_place: Array
    update_days: Index  # shape (people, 2)
    first_version: Array


@dataclass(frozen=True)
class Block:
    """A run of people and what is fixed about them."""

    portrait: Portrait
    nature: Nature
    changes: Changes

    def take(self, rows: Array) -> Self:
        """These rows, by number or mask."""
        return type(self)(self.portrait.take(rows), self.nature.take(rows), self.changes.take(rows))


def block_of(spec: WorldSpec, users: Index) -> Block:
    """These users (numbers, ascending) as they are on the day they install."""
    portrait = portraits(spec, users)
    nature = natures(spec, portrait, users.astype(np.uint64))
    return Block(portrait, nature, changes(spec, portrait, system_release_days(spec)))


def portraits(spec: WorldSpec, users: Index) -> Portrait:
    """The portraits of these users (numbers, ascending; users install in the order of their numbers)."""
    ident = users.astype(np.uint64)
    place_bits = draw(stream(spec.seed, _PLACE), ident)
    install_day = np.searchsorted(np.cumsum(installs_by_day(spec)), users, side="right")
    place = _place_table()[slot(place_bits, 0)]
    bursts = np.array([is_burst(spec.seed, day) for day in range(spec.install_span)])
    channel = look_up(_channel_tables(), bursts[install_day], slot(place_bits, 12))
    system_bits = draw(stream(spec.seed, _SYSTEM), ident)
    ios_share = np.array([each.ios_share for each in numbers.PLACES], dtype=np.float32)
    system = np.where(unit(system_bits) < ios_share[place], numbers.IOS, numbers.ANDROID).astype(np.uint8)
    group_bits = draw(stream(spec.seed, _GROUP), ident)
    return Portrait(
        user=users,
        install_day=install_day,
        place=place,
        channel=channel,
        campaign=look_up(_campaign_tables(), channel, slot(place_bits, 24)),
        system=system,
        device=_device(place, slot(place_bits, 48)),
        age=choices(numbers.AGE_SHARES)[slot(place_bits, 36)],
        opted_in=second_unit(system_bits) < np.array(numbers.OPT_IN, dtype=np.float32)[system],
        programme=unit(group_bits) >= np.float32(spec.push_holdout),
        is_test=second_unit(group_bits) < np.float32(numbers.TEST_SHARE),
    )


def natures(spec: WorldSpec, portrait: Portrait, ident: Bits) -> Nature:
    """The hidden traits of people with these portraits: drawn afresh for each `ident`.

    A user's own are drawn with the user's number; other idents give the imaginary people of the Bayesian filter.
    """
    look = tables()
    nature = draw(stream(spec.seed, _NATURE), ident)
    kind = look_up(_kind_tables(), portrait.channel, slot(nature, 0))
    purse = draw(stream(spec.seed, _PURSE), ident)
    payer = _payer(portrait, kind, purse)
    money = draw(stream(spec.seed, _BUDGET), ident)
    power = np.array([place.power for place in numbers.PLACES], dtype=np.float32)[portrait.place]
    skin = draw(stream(spec.seed, _SKIN), ident)
    budget = look_up(look.budget, payer, slot(money, 0)) * (0.4 + 0.6 * power)
    return Nature(
        ident=ident,
        kind=kind,
        appetite=look.appetite[slot(nature, 12)] * np.where(portrait.is_test, np.float32(3.0), np.float32(1.0)),
        week=choices(numbers.WEEK_SHARES)[slot(nature, 24)],
        chrono=choices(numbers.CHRONO_SHARES)[slot(nature, 36)],
        archetype=(slot(nature, 48) % numbers.ARCHETYPES).astype(np.uint8),
        payer=payer,
        budget_cents=np.minimum(budget, 5_000_000.0).astype(np.int64),
        payday=choices(numbers.PAYDAY_SHARES)[slot(money, 12)],
        price_taste=_price_taste(payer, slot(money, 24)),
        purse_share=unit(money),
        response=_response(portrait, skin),
        thin_skin=0.01 + 0.32 * unit(skin) * unit(skin) * unit(skin),
        patience=0.5 + 0.9 * (slot(skin, 24) / 4096).astype(np.float32),
    )


def changes(spec: WorldSpec, portrait: Portrait, releases: list[int]) -> Changes:
    """How these portraits change later: system updates after `releases` (world days), and a few moves abroad."""
    ident = portrait.user.astype(np.uint64)
    move = draw(stream(spec.seed, _MOVE), ident)
    moves = unit(move) < np.float32(numbers.MOVE_SHARE)
    days = np.full((len(ident), 2), -1, dtype=np.int64)
    first = np.zeros(len(ident), dtype=np.uint8)
    for turn, release in enumerate(releases):
        update = draw(stream(spec.seed, _UPDATE, turn), ident)
        day = release + 1 + (slot(update, 0) * slot(update, 0)) // 250_000
        before = portrait.install_day < day
        adopts = unit(update) < np.float32(0.7)
        days[:, turn] = np.where(before & adopts, day, -1)
        first += (~before & adopts).astype(np.uint8)
    return Changes(
        move_day=np.where(moves, portrait.install_day + 8 + slot(move, 0) // 24, -1),
        new_place=_place_table()[slot(move, 12)],
        update_days=days,
        first_version=first,
    )


def _payer(portrait: Portrait, kind: Array, bits: Bits) -> Array:
    lift = np.array([channel.payer_lift for channel in numbers.CHANNELS], dtype=np.float32)[portrait.channel]
    power = np.array([place.power for place in numbers.PLACES], dtype=np.float32)[portrait.place]
    would = np.array(numbers.PAYER_BY_KIND, dtype=np.float32)[kind] * lift * (0.7 + 0.4 * power)
    size = 1 + choices(numbers.PAYER_CLASS)[slot(bits, 0)]
    return np.where(unit(bits) < would, size, 0).astype(np.uint8)


def _price_taste(payer: Array, place: Index) -> Array:
    lowest = np.array((0, 1, 2, 3), dtype=np.int64)[payer]
    return (lowest + place * 3 // 4096).astype(np.uint8)


def _response(portrait: Portrait, bits: Bits) -> Floats:
    age = np.array(numbers.PUSH_BY_AGE, dtype=np.float32)[portrait.age]
    system = np.array(numbers.PUSH_BY_SYSTEM, dtype=np.float32)[portrait.system]
    channel = np.array([each.push_lift for each in numbers.CHANNELS], dtype=np.float32)[portrait.channel]
    hidden = ((slot(bits, 0) + slot(bits, 12)) / 4096 - 1.0).astype(np.float32) * np.float32(0.6)
    response: Floats = age + system + channel + hidden
    return response


def _device(place: Array, dice: Index) -> Array:
    power = np.array([each.power for each in numbers.PLACES], dtype=np.float32)[place]
    rank = dice / 4096 + power - 0.5
    return (rank > 0.45).astype(np.uint8) + (rank > 0.95)


@cache
def _place_table() -> Table:
    return choices([place.share for place in numbers.PLACES])


@cache
def _channel_tables() -> Table:
    calm = [channel.share for channel in numbers.CHANNELS]
    burst = [share * (3.0 if place == numbers.BURST_CHANNEL else 1.0) for place, share in enumerate(calm)]
    return np.stack([choices(calm), choices(burst)])


@cache
def _campaign_tables() -> Table:
    names = [channel for channel, *_ in numbers.CAMPAIGNS]
    rows = []
    for channel in numbers.CHANNELS:
        first = names.index(channel.name)
        rows.append(choices([share for _, share, _ in channel.campaigns]) + np.uint8(first))
    return np.stack(rows)


@cache
def _kind_tables() -> Table:
    return np.stack([choices(channel.kinds) for channel in numbers.CHANNELS])
