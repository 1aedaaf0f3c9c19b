"""What a guessed amount may leave out without a word: discounts, pieces that came back, cents."""

from collections.abc import Iterator, Mapping

from sojourn.events._names import CURRENCY, DISCOUNT, DISCOUNT_SHARE, QUANTITY_BACK, escaped, matching, quoted
from sojourn.events._numbers import NumberReading, as_numbers
from sojourn.events._reading import Reading
from sojourn.events._sources import Look
from sojourn.warehouse.engine import identifier

# Whole amounts whose median is this or more may be cents.
MANY_CENTS = 500
WITHOUT_CENTS = ("jpy", "krw", "vnd", "clp", "idr", "huf", "isk", "xaf", "xof", "pyg", "ugx")


def pieces_back(
    look: Look, columns: Mapping[str, str], *, quantity: str, total: str | None
) -> tuple[str | None, list[str]]:
    """The column of pieces that came back, where it lies between 0 and the quantity, and sentences.

    With a `total` it is told alone: the total may have them off already.
    """
    for name in matching(QUANTITY_BACK, dict(columns)):
        back, sold = (_number(each) for each in (name, quantity))
        [(some, fits)] = look.engine.rows(
            f"SELECT count(*) FILTER (WHERE {back} <> 0), count(*) FILTER (WHERE {back} <> 0 AND {back} BETWEEN 0 AND "
            f"{sold}) FROM {look.sample}"
        )
        if some and some == fits and name != quantity:
            if total is None:
                return name, [f"Pieces that came back, {name!r}, are taken off {quantity!r}."]
            less = f"{escaped(total)} * (1 - coalesce({escaped(name)}, 0) / nullif({escaped(quantity)}, 0))"
            return None, [
                f'Column {name!r} may hold pieces that came back; amount does not count them (--map amount="{less}").'
            ]
    return None, []


def discounts(look: Look, columns: Mapping[str, str], product: Reading) -> Iterator[str]:
    """A sentence on each column of discounts beside a quantity and a price."""
    for name in matching((*DISCOUNT, *DISCOUNT_SHARE), dict(columns)):
        number = _number(name)
        [(some, least, most)] = look.engine.rows(
            f"SELECT count(*) FILTER (WHERE {number} <> 0), min({number}), max({number}) FROM {look.sample}"
        )
        if not some:
            continue
        share, off = "a share", f"{_shown(product)} * (1 - coalesce({quoted(name)}, 0))"
        if most > 1 and name in matching(DISCOUNT_SHARE, dict(columns)):
            share, off = "a percentage", f"{_shown(product)} * (1 - coalesce({quoted(name)}, 0) / 100)"
        elif least < 0 or most > 1:
            sign = "+" if most <= 0 else "-"
            share, off = "money", f"{_shown(product)} {sign} coalesce({quoted(name)}, 0)"
        yield (
            f"Column {name!r} holds a discount, {share} as it seems; amount does not take it off "
            f"(--map amount='{off}')."
        )


def cents(look: Look, columns: Mapping[str, str], amount: Reading, numbers: Mapping[str, NumberReading]) -> list[str]:
    """A sentence where amounts beside a currency are whole and so great that they may be cents."""
    currency = next(iter(matching(CURRENCY, dict(columns))), None)
    if currency is None:
        return []
    price = f"TRY_CAST(CAST({amount.sql} AS VARCHAR) AS DOUBLE)"
    [(whole, median, other)] = look.engine.rows(
        f"SELECT bool_and({price} = round({price})), median(abs({price})) FILTER (WHERE {price} <> 0), "
        f"bool_or(lower(CAST({identifier(currency)} AS VARCHAR)) IN {WITHOUT_CENTS}) "
        f"FROM {as_numbers(look.sample, numbers)}"
    )
    if not whole or median is None or median < MANY_CENTS or other:
        return []
    shown = escaped(amount.uses[0]) if amount.plain else f"({amount.sql})".replace('"', '\\"')
    told = f"All amounts are whole numbers, half of them {median:,.0f} or more, beside a currency in {currency!r}."
    return [f'{told} If they are cents: --map amount="{shown} / 100"']


def _number(name: str) -> str:
    return f"TRY_CAST(CAST({identifier(name)} AS VARCHAR) AS DOUBLE)"


def _shown(product: Reading) -> str:
    return quoted(product.uses[0]) if product.plain else product.sql
