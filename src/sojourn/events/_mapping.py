"""From their columns to ours: what the spec declares, what common names suggest, a refusal where that is unclear."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import partial
from typing import Any

from sojourn.core import BadSpec, EngineError, MissingColumn
from sojourn.events._amounts import Guess, guess_amount, same_values
from sojourn.events._meaning import meaning
from sojourn.events._movements import MOST_WORDS
from sojourn.events._names import GUESSED, KIND, THINGS, candidates, escaped, matching, snake, without_currency
from sojourn.events._numbers import NumberReading, numbers_of
from sojourn.events._reading import Reading
from sojourn.events._sources import Look
from sojourn.events._times import date_and_clock, time_of
from sojourn.events.spec import NEEDED, OPTIONAL, RESERVED, IngestSpec
from sojourn.warehouse import Engine
from sojourn.warehouse.engine import identifier, literal


@dataclass(frozen=True)
class ColumnMap:
    """`ours` maps declared and guessed columns, `extras` the further columns kept; `notes` tells every guess.

    `numbers` are their text columns that are read as numbers of a certain writing, `seen` the words of their columns
    that a guessed amount heeds.
    """

    ours: dict[str, Reading]
    extras: dict[str, Reading]
    notes: tuple[str, ...]
    numbers: Mapping[str, NumberReading] = field(default_factory=dict)
    seen: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def in_expressions(self) -> set[str]:
        """Their columns that expressions compute with, so that need a type."""
        return {name for reading in self.ours.values() if not reading.plain for name in reading.uses}


def map_columns(
    spec: IngestSpec, found: Sequence[str], *, look: Look, later: Mapping[str, frozenset[str]] | None = None
) -> ColumnMap:
    """The map for a source with these columns.

    `later` are words of columns that a look at a sample did not show, and that a guessed amount has to heed.

    Raises `MissingColumn` for a name the source lacks, with the nearest one, and for a needed column that no name
    suggests; `BadSpec` where several names suggest it equally, or an expression is not SQL; `BadInput` where the text
    of an amount can be read in several ways.
    """
    declared = {name: _read(name, text, found, engine=look.engine) for name, text in spec.columns.items() if text}
    guessed, notes = _guess(spec, found, look=look)
    if spec.table == "events":
        notes += _guess_event(spec, found, guessed, look=look)
    amount = _amount(spec, found, guessed, declared, look=look, later=later or {})
    if amount.amount is not None and "amount" not in declared:
        guessed["amount"] = amount.amount
    notes += amount.notes
    if spec.table == "events" and "event" not in {**guessed, **spec.columns}:
        event = "purchase" if "amount" in {**guessed, **declared} else "event"
        guessed["event"] = Reading(literal(event), (), plain=False)
        notes.append(f"No column names the event; each row is taken for {event!r}.")
    ours = {name: reading for name, reading in {**guessed, **declared}.items() if spec.columns.get(name) != ""}
    wanted = (*NEEDED[spec.table], *OPTIONAL[spec.table])
    missing = [name for name in NEEDED[spec.table] if name not in ours]
    if missing:
        raise _not_suggested(spec, missing, found)
    extras = {name: reading for name, reading in ours.items() if name not in wanted}
    ours = {name: ours[name] for name in wanted if name in ours}
    kept, renamed = _kept(spec, found, ours, taken={*wanted, *RESERVED[spec.table], *spec.lists, *extras})
    return ColumnMap(ours, {**extras, **kept}, (*notes, *renamed), amount.numbers, amount.seen)


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


def _guess(spec: IngestSpec, found: Sequence[str], *, look: Look) -> tuple[dict[str, Reading], list[str]]:
    columns = _by_snake(found)
    guessed: dict[str, Reading] = {}
    notes: list[str] = []
    for name, groups in GUESSED[spec.table].items():
        if name in spec.columns:
            continue
        likely = candidates(groups, columns)
        if name == "amount" and not likely:
            likely = candidates(groups, without_currency(columns))
        if len(likely) > 1 and name in (*NEEDED[spec.table], "amount", "event_id"):
            guessed[name], note = _settled(spec, name, likely, look=look)
            notes.append(note)
        if len(likely) == 1:
            guessed[name] = Reading(identifier(likely[0]), (likely[0],), plain=True)
            if likely[0] != name:
                notes.append(f"{name} is read from column {likely[0]!r}.")
    return guessed, notes


def _by_snake(found: Sequence[str]) -> dict[str, str]:
    return {snake(name): name for name in reversed(found)}


def _settled(spec: IngestSpec, name: str, likely: Sequence[str], *, look: Look) -> tuple[Reading, str]:
    """Of several equally likely columns the one that their values tell. Raises `BadSpec` where they don't."""
    if same_values(look, likely):
        first = likely[0]
        others = " and ".join(map(repr, likely[1:]))
        return Reading(
            identifier(first), (first,), plain=True
        ), f"{name} is read from {first!r}, which {others} equals."
    clocked = date_and_clock(look, likely) if name == "ts" else None
    if clocked is None:
        raise _ambiguous(spec, name, likely)
    date, clock = clocked
    both = f"CAST({identifier(date)} AS VARCHAR) || ' ' || CAST({identifier(clock)} AS VARCHAR)"
    return Reading(both, (date, clock), plain=False), f"{name} is made of {date!r} and {clock!r}."


def _amount(
    spec: IngestSpec,
    found: Sequence[str],
    guessed: Mapping[str, Reading],
    declared: Mapping[str, Reading],
    *,
    look: Look,
    later: Mapping[str, frozenset[str]],
) -> Guess:
    """The guessed amount of an event, or how the text of the amount that names or the spec give is read."""
    known = {**guessed, **declared}
    if spec.table == "events" and "amount" not in spec.columns:
        return guess_amount(
            look,
            _by_snake(found),
            known,
            event=known.get("event"),
            ts=partial(_time_of, spec, known.get("ts"), look),
            later=later,
        )
    amount = known.get("amount")
    if amount is None or not amount.plain:
        return Guess(amount)
    numbers = numbers_of(look, amount.uses)
    return Guess(amount, tuple(each.note for each in numbers.values() if each.note is not None), numbers)


def _time_of(spec: IngestSpec, ts: Reading | None, look: Look) -> str | None:
    """SQL of the time of a raw row; None where it is not known before the columns have their types."""
    if ts is None:
        return None
    try:
        kind = look.engine.columns(f"SELECT ({ts.sql}) AS x FROM {look.sample}")["x"]
    except EngineError:
        return None
    return time_of(look, ts, kind=kind, declared=spec.time_format, zone=spec.time_zone or "UTC").sql


def _guess_event(spec: IngestSpec, found: Sequence[str], guessed: dict[str, Reading], *, look: Look) -> list[str]:
    """The event from a column of kinds, where its words are known to be events."""
    if "event" in spec.columns or "event" in guessed:
        return []
    for column in matching(KIND, _by_snake(found)):
        word = f"CAST({identifier(column)} AS VARCHAR)"
        words = look.engine.rows(
            f"SELECT DISTINCT {word} AS w FROM {look.sample} WHERE w IS NOT NULL ORDER BY w LIMIT 61"
        )
        if len(words) <= MOST_WORDS and any(meaning(word) not in (None, "waiting") for (word,) in words):
            guessed["event"] = Reading(identifier(column), (column,), plain=True)
            return [f"event is read from column {column!r}."]
    return []


def _kept(
    spec: IngestSpec, found: Sequence[str], ours: Mapping[str, Reading], *, taken: set[str]
) -> tuple[dict[str, Reading], list[str]]:
    moved = {reading.uses[0] for reading in ours.values() if reading.plain}
    if "amount" not in spec.columns:
        # A guessed amount with its sign mended: the column itself goes with it.
        moved |= {name for name in ours["amount"].uses if snake(name) == "amount"} if "amount" in ours else set()
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
    if sum(not re.search(r"[^\W\d_]{2}", name) for name in found) * 2 >= len(found):
        return MissingColumn(
            f"The first line of the source does not name its columns: it begins with {list(found)[:4]}. Write a "
            "header, or name them: --query "
            "\"SELECT column0 AS user_id, column1 AS ts FROM read_csv('FILE', header = false)\""
        )
    likely = [snake(name) for name in found if missing[0] != "user_id" or not THINGS.search(snake(name))]
    near = get_close_matches(missing[0], likely, n=1, cutoff=0.6)
    example = next((name for name in found if near and snake(name) == near[0]), "THEIR COLUMN")
    return MissingColumn(
        f"Table {spec.table!r} needs {' and '.join(map(repr, missing))}, and no column of the source is named like it; "
        f'it has {list(found)}. Map it: --map {missing[0]}="{example}", or columns.{missing[0]} in sojourn.toml.'
    )


def _ambiguous(spec: IngestSpec, name: str, likely: Sequence[str]) -> BadSpec:
    both = " || ' ' || ".join(map(escaped, likely))
    joined = f' (or both: --map {name}="{both}")' if name == "ts" and len(likely) == 2 else ""
    return BadSpec(
        f"Column {name!r} of table {spec.table!r} could be any of {list(likely)}. "
        f'Choose: --map {name}="{likely[0]}"{joined}, or columns.{name} in sojourn.toml.'
    )
