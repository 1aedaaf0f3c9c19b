"""What a source without a mapping most likely calls the amount, and how its text is read as numbers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from sojourn.events._movements import Money, signed
from sojourn.events._names import QUANTITY, TAKEN_OFF, UNIT_PRICE, matching, without_currency
from sojourn.events._numbers import TEXT, NumberReading, as_numbers, is_text, numbers_of
from sojourn.events._reading import Reading
from sojourn.events._refunds import less_refunds
from sojourn.events._silent import cents, discounts, pieces_back
from sojourn.events._sources import Look
from sojourn.warehouse.engine import identifier

NO_AMOUNT = (
    "No column is named like an amount of money, so nothing can be said of what users spend. If one holds it: "
    '--map amount="COLUMN" (or SQL over columns: --map amount="quantity * price").'
)


@dataclass(frozen=True)
class Guess:
    """A guessed amount, None where nothing suggests one; sentences on it, its text columns, words looked at."""

    amount: Reading | None
    notes: tuple[str, ...] = ()
    numbers: Mapping[str, NumberReading] = field(default_factory=dict)
    seen: Mapping[str, frozenset[str]] = field(default_factory=dict)


def guess_amount(
    look: Look,
    columns: Mapping[str, str],
    guessed: Mapping[str, Reading],
    *,
    event: Reading | None,
    ts: Callable[[], str | None],
    later: Mapping[str, frozenset[str]],
) -> Guess:
    """The amount: a total as it is named, else quantity times price; less what other columns say is no sale.

    `columns` maps names in snake case to theirs, `guessed` holds the total, the user and the item where names suggest
    them; `ts` gives SQL of the time of a row. Raises what `read_numbers` does.
    """
    total = guessed.get("amount")
    quantity = next(iter(matching(QUANTITY, dict(columns))), None)
    prices = [*matching(UNIT_PRICE, dict(columns)), *matching(UNIT_PRICE, without_currency(columns))]
    price = next(iter(prices), None) if total is None else None
    if total is None and price is None:
        return Guess(None, (NO_AMOUNT,))
    used = [*(total.uses if total is not None else [price]), *([quantity] if quantity is not None else [])]
    given_back = [name for name in matching(TAKEN_OFF, dict(columns)) if name not in used]
    numbers: Mapping[str, NumberReading] = numbers_of(look, [name for name in used if name is not None])
    numeric = all(name in numbers or not is_text(look, name) for name in used if name is not None)
    back, told_back = (
        pieces_back(
            look, columns, quantity=quantity, total=total.uses[0] if total is not None and total.plain else None
        )
        if quantity is not None and numeric and (price is not None or (total is not None and total.plain))
        else (None, [])
    )
    made, notes = _made(look, total, quantity, price, numbers if numeric else None, back=back)
    notes += told_back
    if price is not None and numeric:
        notes += discounts(look, columns, made)
    notes += [each.note for each in numbers.values() if each.note is not None]
    less: str | None = None
    if numeric:
        made, numbers, less, told = less_refunds(look, made, given_back, numbers)
        notes += told
    if not numeric or "user_id" not in guessed:
        return Guess(made, tuple(notes), numbers)
    money = Money(
        *(made, guessed["user_id"], guessed.get("item_id"), ts, numbers, look, later), less_refunds=less is not None
    )
    without = {name: column for name, column in columns.items() if column != less}
    found = signed(money, columns=without, event=event)
    notes = [*notes, *found.notes, *cents(look, columns, found.amount, numbers)]
    return Guess(found.amount, tuple(notes), numbers, found.seen)


def same_values(look: Look, names: Sequence[str]) -> bool:
    """Whether columns hold the same in all rows of a sample, so that it does not matter which is taken."""
    first, *others = (f"CAST({identifier(name)} AS {TEXT})" for name in names)
    differ = " OR ".join(f"{first} IS DISTINCT FROM {other}" for other in others)
    return not look.engine.rows(f"SELECT 1 FROM {look.sample} WHERE {differ} LIMIT 1")


def _made(
    look: Look,
    total: Reading | None,
    quantity: str | None,
    price: str | None,
    numbers: Mapping[str, NumberReading] | None,
    *,
    back: str | None,
) -> tuple[Reading, list[str]]:
    if total is not None:
        # Where there are no numbers, every row's fault will say so.
        return (total, []) if quantity is None or numbers is None else _returned(look, total, quantity, numbers)
    assert price is not None
    if quantity is None:
        return Reading(identifier(price), (price,), plain=True), [f"amount is {price}."]
    one, other = identifier(quantity), identifier(price)
    product = f"{one} * {other}" if back is None else f"({one} - coalesce({identifier(back)}, 0)) * {other}"
    if back is None and numbers is not None and _any(look, f"{one} < 0 AND {other} < 0", numbers):
        # A return of -1 at -5.00 gives 5 back.
        product = f"{one} * CASE WHEN {one} < 0 THEN abs({other}) ELSE {other} END"
    uses = (quantity, price) if back is None else (quantity, price, back)
    return Reading(product, uses, plain=False, needs=(quantity, price)), [f"amount is {product}."]


def _returned(
    look: Look, total: Reading, quantity: str, numbers: Mapping[str, NumberReading]
) -> tuple[Reading, list[str]]:
    """A total is often positive even where things came back, which then only the quantity tells."""
    back = f"{identifier(quantity)} < 0 AND {total.sql} > 0"
    signed_total = f"CASE WHEN {back} THEN -({total.sql}) ELSE {total.sql} END"
    found = _any(look, back, numbers)
    notes = [f"Where {quantity} is negative, amount is: things came back."] if found else []
    return Reading(signed_total, (*total.uses, quantity), plain=False, needs=total.uses), notes


def _any(look: Look, condition: str, numbers: Mapping[str, NumberReading]) -> bool:
    return bool(look.engine.rows(f"SELECT 1 FROM {as_numbers(look.sample, numbers)} WHERE {condition} LIMIT 1"))
