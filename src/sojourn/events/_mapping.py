"""From their columns to ours: what the spec declares, what common names suggest, a refusal where that is unclear."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from sojourn.core import BadSpec, MissingColumn
from sojourn.events._names import BROUGHT_BACK, GUESSED, NOT_BOUGHT, QUANTITY, UNIT_PRICE, candidates, snake
from sojourn.events.spec import NEEDED, OPTIONAL, RESERVED, IngestSpec
from sojourn.warehouse import Engine
from sojourn.warehouse.engine import identifier, literal


@dataclass(frozen=True)
class Reading:
    """How one column of ours is made: a column of theirs as it is, or a SQL expression over several."""

    sql: str
    uses: tuple[str, ...]
    plain: bool

    @property
    def shown(self) -> str:
        """The reading in the words of the spec."""
        return self.uses[0] if self.plain else self.sql


@dataclass(frozen=True)
class ColumnMap:
    """`ours` maps declared and guessed columns, `extras` the further columns kept; `notes` tells every guess."""

    ours: dict[str, Reading]
    extras: dict[str, Reading]
    notes: tuple[str, ...]

    def in_expressions(self) -> set[str]:
        """Their columns that expressions compute with, so that need a type."""
        return {name for reading in self.ours.values() if not reading.plain for name in reading.uses}


def map_columns(spec: IngestSpec, found: Sequence[str], *, engine: Engine) -> ColumnMap:
    """The map for a source with these columns.

    Raises `MissingColumn` for a name the source lacks, with the nearest one, and for a needed column that no name
    suggests; `BadSpec` where several names suggest it equally, or an expression is not SQL.
    """
    declared = {name: _read(name, text, found, engine=engine) for name, text in spec.columns.items() if text}
    guessed, notes = _guess(spec, found)
    ours = {name: reading for name, reading in {**guessed, **declared}.items() if spec.columns.get(name) != ""}
    wanted = (*NEEDED[spec.table], *OPTIONAL[spec.table])
    missing = [name for name in NEEDED[spec.table] if name not in ours]
    if missing:
        raise _not_suggested(spec, missing, found)
    extras = {name: reading for name, reading in ours.items() if name not in wanted}
    ours = {name: ours[name] for name in wanted if name in ours}
    kept, renamed = _kept(spec, found, ours, taken={*wanted, *RESERVED[spec.table], *spec.lists, *extras})
    return ColumnMap(ours, {**extras, **kept}, (*notes, *renamed))


def _read(name: str, text: str, found: Sequence[str], *, engine: Engine) -> Reading:
    column = next((each for each in found if each.lower() == text.strip().lower()), None)
    if column is not None:
        return Reading(identifier(column), (column,), plain=True)
    names = _names_in(name, text, engine=engine)
    by_lower = {each.lower(): each for each in found}
    unknown = [each for each in names if each.lower() not in by_lower]
    if unknown:
        raise _unknown(name, text, unknown[0], found)
    return Reading(text, tuple(dict.fromkeys(by_lower[each.lower()] for each in names)), plain=False)


def _names_in(name: str, text: str, *, engine: Engine) -> list[str]:
    [(tree,)] = engine.rows(f"SELECT json_serialize_sql({literal(f'SELECT ({text})')})")
    parsed = json.loads(tree)
    if parsed["error"]:
        raise BadSpec(
            f"columns.{name} = {text!r} is neither a column of the source nor SQL: {parsed['error_message']}. "
            f'Write a column, an expression such as "quantity * price", or a constant in quotes: "\'purchase\'".'
        )
    return list(dict.fromkeys(_references(parsed)))


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, Mapping):
        if node.get("class") == "COLUMN_REF":
            yield node["column_names"][-1]
        for value in node.values():
            yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)


def _guess(spec: IngestSpec, found: Sequence[str]) -> tuple[dict[str, Reading], list[str]]:
    columns = {snake(name): name for name in reversed(found)}
    guessed: dict[str, Reading] = {}
    notes: list[str] = []
    for name, groups in GUESSED[spec.table].items():
        if name in spec.columns:
            continue
        likely = candidates(groups, columns)
        if len(likely) > 1 and name in (*NEEDED[spec.table], "amount", "event_id"):
            raise _ambiguous(spec, name, likely)
        if len(likely) == 1:
            guessed[name] = Reading(identifier(likely[0]), (likely[0],), plain=True)
            if likely[0] != name:
                notes.append(f"{name} is read from column {likely[0]!r}.")
    if spec.table == "events":
        notes += _guess_amount(spec, columns, guessed)
        notes += _guess_event(spec, guessed)
    return guessed, notes


def _guess_amount(spec: IngestSpec, columns: dict[str, str], guessed: dict[str, Reading]) -> list[str]:
    if "amount" in spec.columns:
        return []
    quantity = next((columns[name] for name in QUANTITY if name in columns), None)
    if "amount" in guessed:
        return [] if quantity is None else _returned(guessed, quantity)
    price = next((columns[name] for name in UNIT_PRICE if name in columns), None)
    if price is None:
        return []
    if quantity is None:
        guessed["amount"] = Reading(identifier(price), (price,), plain=True)
    else:
        guessed["amount"] = Reading(f"{identifier(quantity)} * {identifier(price)}", (quantity, price), plain=False)
    return [f"amount is {guessed['amount'].shown}.", *_of_purchases(guessed)]


def _returned(guessed: dict[str, Reading], quantity: str) -> list[str]:
    """A total is often positive even where things came back, which then only the quantity tells."""
    [total] = guessed["amount"].uses
    back = f"TRY_CAST({identifier(quantity)} AS DOUBLE) < 0 AND TRY_CAST({identifier(total)} AS DOUBLE) > 0"
    negative = f"CAST(-TRY_CAST({identifier(total)} AS DECIMAL(18,4)) AS VARCHAR)"
    signed = f"CASE WHEN {back} THEN {negative} ELSE CAST({identifier(total)} AS VARCHAR) END"
    guessed["amount"] = Reading(signed, (total, quantity), plain=False)
    return [f"Where {quantity} is negative, amount is: things came back."]


def _of_purchases(guessed: dict[str, Reading]) -> list[str]:
    """A price stands beside every view too: only what is bought is worth it, and what comes back costs it."""
    event = guessed.get("event")
    if event is None or not event.plain:
        return []
    word = f"lower(CAST({event.sql} AS VARCHAR))"
    none, back = (f"{word} IN ({', '.join(map(literal, words))})" for words in (NOT_BOUGHT, BROUGHT_BACK))
    price = guessed["amount"]
    worth = f"CASE WHEN {none} THEN 0 WHEN {back} THEN -abs({price.sql}) ELSE {price.sql} END"
    guessed["amount"] = Reading(worth, (*price.uses, *event.uses), plain=False)
    return ["Views, carts and the like have amount 0; refunds and returns a negative one."]


def _guess_event(spec: IngestSpec, guessed: dict[str, Reading]) -> list[str]:
    if "event" in spec.columns or "event" in guessed:
        return []
    event = "purchase" if "amount" in guessed or spec.columns.get("amount") else "event"
    guessed["event"] = Reading(literal(event), (), plain=False)
    return [f"No column names the event; each row is taken for {event!r}."]


def _kept(
    spec: IngestSpec, found: Sequence[str], ours: Mapping[str, Reading], *, taken: set[str]
) -> tuple[dict[str, Reading], list[str]]:
    moved = {reading.uses[0] for reading in ours.values() if reading.plain}
    names = [name for name in found if name not in moved] if spec.keep is None else _asked_for(spec.keep, found)
    kept: dict[str, Reading] = {}
    notes: list[str] = []
    for name in names:
        own = snake(name)
        while own in taken | set(kept):
            own = f"source_{own}"
        if own != snake(name):
            notes.append(f"Column {name!r} is kept as {own!r}; {snake(name)!r} is taken.")
        kept[own] = Reading(identifier(name), (name,), plain=True)
    return kept, notes


def _asked_for(keep: Sequence[str], found: Sequence[str]) -> list[str]:
    by_name = {**{snake(name): name for name in found}, **{name.lower(): name for name in found}}
    for name in keep:
        if name.lower() not in by_name:
            raise _unknown("keep", name, name, found)
    return [by_name[name.lower()] for name in keep]


def _unknown(ours: str, text: str, name: str, found: Sequence[str]) -> MissingColumn:
    near = get_close_matches(name.lower(), [each.lower() for each in found], n=1, cutoff=0.5)
    mend = f"Did you mean {next(each for each in found if each.lower() == near[0])!r}?" if near else "Map one of these."
    where = "keep" if ours == "keep" else f"columns.{ours} = {text!r}"
    return MissingColumn(f"{where} names column {name!r}, which the source lacks; it has {list(found)}. {mend}")


def _not_suggested(spec: IngestSpec, missing: Sequence[str], found: Sequence[str]) -> MissingColumn:
    near = get_close_matches(missing[0], [snake(name) for name in found], n=1, cutoff=0.5)
    example = next((name for name in found if near and snake(name) == near[0]), "THEIR COLUMN")
    return MissingColumn(
        f"Table {spec.table!r} needs {' and '.join(map(repr, missing))}, and no column of the source is named like it; "
        f'it has {list(found)}. Map it: --map {missing[0]}="{example}", or columns.{missing[0]} in sojourn.toml.'
    )


def _ambiguous(spec: IngestSpec, name: str, likely: Sequence[str]) -> BadSpec:
    both = " || ' ' || ".join(identifier(each) if re.search(r"\W", each) else each for each in likely)
    joined = f' (or both: --map {name}="{both}")' if name == "ts" and len(likely) == 2 else ""
    return BadSpec(
        f"Column {name!r} of table {spec.table!r} could be any of {list(likely)}. "
        f'Choose: --map {name}="{likely[0]}"{joined}, or columns.{name} in sojourn.toml.'
    )
