"""Which rows of a source are no sales, and what their amounts are then: negative where money went back, or 0."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from sojourn.events._names import DOCUMENT, IS_BACK, IS_STATE, KIND, STATE, matching, meaning
from sojourn.events._numbers import NumberReading
from sojourn.events._reading import Reading
from sojourn.events._sources import Look
from sojourn.warehouse.engine import identifier, literal

EXACT = "DECIMAL(18,6)"
# A column of more words than this says something else.
MOST_WORDS, MOST_EVENTS = 60, 500
# Above this share of all rows with an amount, a word means another thing than money that goes back.
MOST_BACK = 0.5
# Rows that take back an earlier sale of the same user, item and amount in this share are movements of their own.
PAIRED = 0.5
YES = ("true", "t", "yes", "y", "1")


@dataclass(frozen=True)
class Money:
    """What is known of the amounts of a source: how they are read, whose they are, and what lies around them.

    `numbers` are the columns that come as text, `user` and `item` whose sale a row is, and of what; `later` are words
    that stand in no sample, by column.
    """

    amount: Reading
    user: Reading
    item: Reading | None
    numbers: Mapping[str, NumberReading]
    look: Look
    later: Mapping[str, frozenset[str]]

    def over(self, relation: str) -> str:
        """The relation with text that holds numbers as numbers."""
        made = ", ".join(f"{each.sql(EXACT)} AS {identifier(name)}" for name, each in self.numbers.items())
        return f"(SELECT * REPLACE ({made}) FROM {relation})" if made else relation


@dataclass(frozen=True)
class Movements:
    """The amount with its sign, sentences on it, and by column the words that were looked at."""

    amount: Reading
    notes: tuple[str, ...]
    seen: Mapping[str, frozenset[str]]


@dataclass(frozen=True)
class _Rule:
    """Rows of a column with these words: their amount is negative, or 0 where not `back`."""

    column: str
    words: tuple[str, ...]
    back: bool
    why: str

    @property
    def sql(self) -> str:
        return f"CAST({identifier(self.column)} AS VARCHAR) IN ({', '.join(map(literal, self.words))})"


def signed(money: Money, *, columns: Mapping[str, str], event: Reading | None) -> Movements:
    """The amount as the words of other columns have it.

    Looked at are the event, columns that say of what kind a row is or how it stands, and numbers of documents. Only
    rows with an amount above 0 are touched.
    """
    rules: list[_Rule] = []
    seen: dict[str, frozenset[str]] = {}
    notes: list[str] = []
    for column, role in _candidates(columns, event):
        words = _words(money, column, most=MOST_EVENTS if role == "event" else MOST_WORDS, document=role == "document")
        if not words:
            continue
        seen[column] = frozenset(words)
        later = dict.fromkeys(money.later.get(column, ()), 1)
        for rule in _rules(money, column, role, {**words, **later}):
            share = sum(words.get(word, 0) for word in rule.words) / max(1, sum(words.values()))
            if rule.back and share > MOST_BACK:
                notes.append(
                    f"Most rows say {rule.words[0]!r} in {column!r}: they are not taken for money that goes back."
                )
            else:
                rules.append(rule)
    if not rules:
        return Movements(money.amount, tuple(notes), seen)
    price = money.amount.sql
    cases = " ".join(
        f"WHEN {rule.sql} AND {price} > 0 THEN {f'-({price})' if rule.back else '0'}"
        for rule in sorted(rules, key=lambda rule: not rule.back)
    )
    uses = dict.fromkeys([*money.amount.uses, *(rule.column for rule in rules)])
    amount = replace(
        money.amount, sql=f"CASE {cases} ELSE {price} END", uses=tuple(uses), plain=False, needs=money.amount.needed
    )
    as_they_are = f"--map amount='{money.amount.shown}' takes amounts as they are."
    return Movements(amount, (*notes, *map(_sentence, rules), as_they_are), seen)


def _sentence(rule: _Rule) -> str:
    words = " or ".join(map(repr, rule.words[:4])) + (" and the like" if len(rule.words) > 4 else "")
    amount = "a negative amount" if rule.back else "amount 0"
    return f"Rows with {words} in {rule.column!r} have {amount}: {rule.why}."


def _candidates(columns: Mapping[str, str], event: Reading | None) -> Iterator[tuple[str, str]]:
    found: dict[str, str] = {event.uses[0]: "event"} if event is not None and event.plain else {}
    for role, names in (("kind", KIND), ("back", IS_BACK), ("state", (*IS_STATE, *STATE)), ("document", DOCUMENT)):
        for column in matching(names, dict(columns)):
            found.setdefault(column, role)
    yield from found.items()


def _words(money: Money, column: str, *, most: int, document: bool) -> dict[str, int]:
    """The words of a column in the sample, with the number of rows above 0; none where there are too many."""
    name = identifier(column)
    word = f"CAST({name} AS VARCHAR)"
    if document:
        # C536365 beside 536365: a credit note.
        credit, plain = (f"regexp_full_match({word}, '{form}')" for form in ("C\\d+", "\\d+"))
        word = f"CASE WHEN {credit} THEN 'C' WHEN {plain} THEN '0' ELSE '' END"
    above = f"count(*) FILTER (WHERE {money.amount.sql} > 0)"
    rows = money.look.engine.rows(
        f"SELECT {word} AS word, {above} AS n FROM {money.over(money.look.sample)} "
        f"WHERE word IS NOT NULL GROUP BY 1 ORDER BY n DESC, word LIMIT {most + 1}"
    )
    return dict(rows) if len(rows) <= most else {}


def _rules(money: Money, column: str, role: str, words: Mapping[str, int]) -> Iterator[_Rule]:
    said = {word: meaning(word) for word, above in words.items() if above}
    back, nothing, unbought = (
        tuple(sorted(word for word, what in said.items() if what == each)) for each in ("back", "nothing", "unbought")
    )
    yes = tuple(sorted(word for word, above in words.items() if above and word.lower() in YES))
    if role in ("event", "kind"):
        if unbought:
            yield _Rule(column, unbought, back=False, why="nothing was bought")
        if back:
            yield _Rule(column, back, back=True, why="money went back")
        if nothing:
            yield _reversal(money, column, nothing)
    elif role == "back" and yes:
        yield _Rule(column, yes, back=True, why="money went back")
    elif role == "state" and (back or nothing or yes):
        flags = matching(IS_STATE, {column: column}) or column.lower() in IS_STATE
        called_off = yes if flags and not (back or nothing) else (*back, *nothing)
        if called_off:
            yield _reversal(money, column, tuple(sorted(called_off)))
    elif role == "document" and words.get("C") and words.get("0") and "" not in words:
        yield _Credit(column, ("C...",), back=True, why="they are credit notes")


class _Credit(_Rule):
    """Rows whose document is C and a number."""

    @property
    def sql(self) -> str:
        # Documents of any other form would have ruled this out.
        return f"CAST({identifier(self.column)} AS VARCHAR) LIKE 'C%'"


def _reversal(money: Money, column: str, words: Sequence[str]) -> _Rule:
    """Rows that were called off: movements of their own that take sales back, or sales that never came to be."""
    rule = _Rule(column, tuple(words), back=False, why="the sale was called off or taken back")
    if _paired(money, rule) >= PAIRED:
        return replace(rule, back=True, why="most take back a sale of the same amount")
    return rule


def _paired(money: Money, rule: _Rule) -> float:
    """Which share of these rows has a sale of the same user, item and amount beside it, one for one."""
    item = money.item.sql if money.item is not None else "NULL"
    told = f"{money.user.sql} AS u, {item} AS i, {money.amount.sql} AS a, {rule.sql} AS off"
    rows = f"SELECT {told} FROM {money.over(money.look.whole)}"
    [(share,)] = money.look.engine.rows(
        f"""
        WITH counted AS (
            SELECT count(*) FILTER (WHERE off) AS called_off, count(*) FILTER (WHERE NOT off) AS sold
            FROM ({rows}) WHERE a > 0 AND u IS NOT NULL GROUP BY u, i, a
        )
        SELECT coalesce(sum(least(called_off, sold)) / nullif(sum(called_off), 0), 0) FROM counted
        """
    )
    return float(share)
