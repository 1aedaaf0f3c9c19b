"""What the app sells and what people say in it: items with their latent appeal, tastes, and short comments."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import cache

import numpy as np
import polars as pl

from sojourn.core import MONEY
from sojourn.events import _world_numbers as numbers
from sojourn.events._world_draws import SLOTS, Table, choices, stream
from sojourn.events._world_tables import shop_window

GENRES, PER_GENRE = len(numbers.GENRES), numbers.ITEMS_PER_GENRE
ITEMS = GENRES * PER_GENRE
FREE = -1
_FIRST = ("silver", "hidden", "tiny", "north", "paper", "lucky", "wild", "quiet", "neon", "old", "velvet", "salt")
_SECOND = ("garden", "harbour", "fox", "engine", "letter", "island", "echo", "lantern", "river", "crown")
_PRAISE, _SHRUG, _GRUMBLE = range(3)
# Language -> praise, shrug, grumble. Short on purpose: later rooms read words, emoji and tone from them.
_COMMENTS = {
    "en": (
        ("love this 😍", "so much fun!!", "best update yet 🔥", "my new favourite", "can't stop playing 🎉"),
        ("it's ok", "not bad", "needs more levels", "fine for the bus 🚌"),
        ("keeps crashing 😡", "too many ads", "so slow today", "lost my progress 😢", "overpriced"),
    ),
    "es": (
        ("me encanta 😍", "muy divertido", "lo mejor 🔥", "no puedo parar 🎉"),
        ("está bien", "regular", "faltan niveles"),
        ("se cierra solo 😡", "demasiados anuncios", "muy lento hoy", "es caro 😢"),
    ),
    "pt": (
        ("amei 😍", "muito bom", "viciante 🔥", "adorei a novidade 🎉"),
        ("é legal", "mais ou menos", "precisa de mais fases"),
        ("trava muito 😡", "propaganda demais", "ficou lento", "perdi tudo 😢"),
    ),
    "de": (
        ("macht süchtig 😍", "richtig gut", "tolles Update 🔥", "mein Favorit"),
        ("ganz okay", "geht so", "mehr Level bitte"),
        ("stürzt ständig ab 😡", "zu viel Werbung", "viel zu teuer", "Spielstand weg 😢"),
    ),
    "ja": (
        ("最高 😍", "楽しい！", "神アプデ 🔥", "毎日やってる 🎉"),
        ("まあまあ", "普通かな", "もっと欲しい"),
        ("すぐ落ちる 😡", "広告が多い", "重すぎる", "データ消えた 😢"),
    ),
    "id": (
        ("seru banget 😍", "bagus sekali", "mantap 🔥", "suka banget 🎉"),
        ("lumayan", "biasa saja", "tambah level dong"),
        ("sering keluar sendiri 😡", "iklannya banyak", "lemot", "mahal 😢"),
    ),
}


@dataclass(frozen=True)
class Catalogue:
    """The shop: `seen[genre]` and `sold[genre, step]` are look-up tables of items, `tastes[archetype]` of genres."""

    step: Table  # item -> step of the price ladder, FREE for free
    genre: Table  # item -> its first genre
    appeal: Table  # genre x item -> share of the genre's views
    seen: Table
    sold: Table
    taste_shares: Table  # archetype x genre
    tastes: Table


@cache
def catalogue() -> Catalogue:
    """The one shop of world 1: the same in every world, whatever the seed."""
    step = np.tile(np.repeat(np.arange(FREE, len(numbers.LADDER)), shop_window()), GENRES)
    genre = np.repeat(np.arange(GENRES), PER_GENRE)
    appeal = _appeal(genre)
    shares = _taste_shares()
    sold = [[_table(np.where(step == tier, row, 0.0)) for tier in range(len(numbers.LADDER))] for row in appeal]
    return Catalogue(
        step=step,
        genre=genre,
        appeal=appeal,
        seen=np.stack([_table(row) for row in appeal]),
        sold=np.array(sold),
        taste_shares=shares,
        tastes=np.stack([choices([float(share) for share in row]) for row in shares]),
    )


def items() -> pl.DataFrame:
    """The table `items`: item_id, title, genre, creator_id, price (decimal), released."""
    shop = catalogue()
    prices = [Decimal(0) if step == FREE else Decimal(numbers.LADDER[step]) / 100 for step in shop.step.tolist()]
    made = [stream(0, 910, item) for item in range(ITEMS)]
    return pl.DataFrame(
        {
            "item_id": item_ids(),
            "title": [_title(item, luck) for item, luck in enumerate(made)],
            "genre": [numbers.GENRES[genre] for genre in shop.genre.tolist()],
            "creator_id": [f"c{luck % 97:03d}" for luck in made],
            "price": pl.Series(prices, dtype=MONEY),
            "released": [date.fromordinal(date(2023, 1, 1).toordinal() + luck // 97 % 700) for luck in made],
        }
    )


def item_ids() -> list[str]:
    """The items' ids in the order of their numbers."""
    return [f"i{item:04d}" for item in range(ITEMS)]


@cache
def comments() -> tuple[list[str], Table]:
    """All comments, and a table `place, tone -> 4096 numbers of comments` (flattened to rows place * 3 + tone)."""
    texts: list[str] = []
    rows: dict[tuple[str, int], Table] = {}
    for language, tones in _COMMENTS.items():
        for tone, lines in enumerate(tones):
            rows[language, tone] = len(texts) + choices([1.0 / (2 + rank) for rank in range(len(lines))]).astype(
                np.int16
            )
            texts.extend(lines)
    stacked = [rows[place.language, tone] for place in numbers.PLACES for tone in range(len(_COMMENTS["en"]))]
    return texts, np.stack(stacked)


def _appeal(genre: Table) -> Table:
    appeal = np.zeros((GENRES, ITEMS))
    for item, first in enumerate(genre.tolist()):
        luck = stream(0, 911, item)
        popularity = 1.0 / (3 + luck % PER_GENRE)
        appeal[first, item] += popularity
        appeal[(first + 1 + luck // 64 % (GENRES - 1)) % GENRES, item] += 0.2 * popularity
    shares: Table = np.round(appeal / appeal.sum(axis=1, keepdims=True), 9)
    return shares


def _taste_shares() -> Table:
    rows = []
    for archetype in range(numbers.ARCHETYPES):
        weights = [float((stream(0, 912, archetype, genre) % 1000 + 1) ** 3) for genre in range(GENRES)]
        rows.append([round(weight / sum(weights), 6) for weight in weights])
    return np.array(rows)


def _table(weights: Table) -> Table:
    # `choices` numbers options in 8 bits; there are more items than that.
    edges = np.round(np.cumsum(weights) / weights.sum() * SLOTS).astype(np.int64)
    return np.repeat(np.arange(len(weights), dtype=np.int16), np.diff(edges, prepend=0))


def _title(item: int, luck: int) -> str:
    words = f"{_FIRST[luck // 7 % len(_FIRST)]} {_SECOND[luck // 11 % len(_SECOND)]}"
    return f"{words.title()} {item % PER_GENRE + 1}"
