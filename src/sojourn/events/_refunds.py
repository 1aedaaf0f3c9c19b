"""A column beside the amount that says how much of it was given back."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from sojourn.events._names import quoted, snake
from sojourn.events._numbers import NumberReading, as_numbers, is_text, numbers_of
from sojourn.events._reading import Reading
from sojourn.events._sources import Look
from sojourn.warehouse.engine import identifier

# So many rows have a refund of at most their amount, or the column says something else.
NEARLY_ALL = 0.99


def less_refunds(
    look: Look, amount: Reading, names: Sequence[str], numbers: Mapping[str, NumberReading]
) -> tuple[Reading, Mapping[str, NumberReading], str | None, list[str]]:
    """The amount less what was given back, all text columns of numbers, the column taken off, and sentences.

    Taken off is the first of these columns whose numbers lie between 0 and the amount, or between its negative and 0.
    An amount that says to be net has it off already.
    """
    notes = []
    for name in names:
        found = {**numbers, **({} if name in numbers else numbers_of(look, [name]))}
        if is_text(look, name) and name not in found:
            continue
        back = identifier(name)
        sign = _sign(look, amount, back, found)
        if sign is None:
            notes += _doubt(look, name, amount)
            continue
        shown = quoted(amount.uses[0]) if amount.plain else amount.sql
        if any(part == "net" for each in amount.uses for part in snake(each).split("_")):
            return amount, numbers, name, [*notes, f"{amount.shown!r} is taken to be less {name!r} already."]
        least, most = sorted(("0", f"{sign}({amount.sql})"), key=lambda end: (end == "0") == (sign == "-"))
        taken = f"CASE WHEN {back} BETWEEN {least} AND {most} THEN {back} ELSE 0 END"
        less = f"({amount.sql}) {'+' if sign == '-' else '-'} ({taken})"
        note = f"amount is less by what was given back, {name!r} (--map amount='{shown}' takes it whole)."
        made = replace(
            amount, sql=less, uses=tuple(dict.fromkeys([*amount.uses, name])), plain=False, needs=amount.needed
        )
        return made, found, name, [*notes, note]
    return amount, numbers, None, notes


def _doubt(look: Look, name: str, amount: Reading) -> list[str]:
    """A sentence on a column that is named like a refund and yet is no part of the amount."""
    back = identifier(name)
    number = f"TRY_CAST(CAST({back} AS VARCHAR) AS DOUBLE)"
    if not look.engine.rows(f"SELECT 1 FROM {look.sample} WHERE {number} NOT IN (0, 1) LIMIT 1"):
        return []
    taken = f"{quoted(amount.uses[0]) if amount.plain else amount.sql} - coalesce({quoted(name)}, 0)"
    return [f"Column {name!r} may hold money that was given back; amount does not count it (--map amount='{taken}')."]


def _sign(look: Look, amount: Reading, back: str, numbers: Mapping[str, NumberReading]) -> str | None:
    """Whether refunds are written as they are or as negatives; None where they are no part of the amount."""
    price = f"({amount.sql})"
    kind = look.engine.columns(f"SELECT {back} AS x FROM {as_numbers(look.sample, numbers)}")["x"]
    if kind == "BOOLEAN":
        return None
    given = f"{back} <> 0 AND {price} > 0"
    [(some, plain, negative, words)] = look.engine.rows(
        f"SELECT count(*) FILTER (WHERE {given}), count(*) FILTER (WHERE {given} AND {back} BETWEEN 0 AND {price}), "
        f"count(*) FILTER (WHERE {given} AND {back} BETWEEN -{price} AND 0), "
        f"count(*) FILTER (WHERE {back} NOT IN (0, 1)) FROM {as_numbers(look.whole, numbers)}"
    )
    if not some or not words:
        return None
    if plain >= NEARLY_ALL * some:
        return ""
    return "-" if negative >= NEARLY_ALL * some else None
