"""Which rows of a source are no sales, and what their amounts are then: negative where money went back, or 0."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from sojourn.events._meaning import is_part, meaning
from sojourn.events._names import DOCUMENT, IS_BACK, IS_STATE, IS_TAKEN_BACK, KIND, STATE, matching
from sojourn.events._numbers import NumberReading, as_numbers
from sojourn.events._pairs import takes_back
from sojourn.events._reading import Reading
from sojourn.events._sources import Look
from sojourn.warehouse.engine import identifier, literal

# A column of more words than this says something else.
MOST_WORDS, MOST_EVENTS = 60, 500
# Above this share of all rows with an amount, a word means another thing than money that goes back or is not there yet.
MOST_BACK = 0.5
YES = ("true", "t", "yes", "y", "1", "ja", "si", "sí", "oui", "sim")
NOT_YET = "nothing is paid yet"
CALLED_OFF = "the sale was called off or taken back"
WENT_BACK = "money went back"


@dataclass(frozen=True)
class Money:
    """What is known of the amounts of a source: how they are read, whose they are, and what lies around them.

    `numbers` are the columns that come as text, `user` and `item` whose sale a row is, and of what; `ts` gives SQL of
    its time, None where there is none yet. `later` are words that stand in no sample, by column. `less_refunds` says
    that the amount has what was given back taken off already.
    """

    amount: Reading
    user: Reading
    item: Reading | None
    ts: Callable[[], str | None]
    numbers: Mapping[str, NumberReading]
    look: Look
    later: Mapping[str, frozenset[str]]
    less_refunds: bool = False

    def over(self, relation: str) -> str:
        """The relation with text that holds numbers as numbers."""
        return as_numbers(relation, self.numbers)


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
        notes += _parts(money, column, role, words)
        for rule in _rules(money, columns, column, role, {**words, **later}):
            share = sum(words.get(word, 0) for word in rule.words) / max(1, sum(words.values()))
            if (rule.back or rule.why == NOT_YET) and share > MOST_BACK:
                what = "money that goes back" if rule.back else "sales that are not paid yet"
                notes.append(f"Most rows say {rule.words[0]!r} in {column!r}: they are not taken for {what}.")
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
    # What was given back has its own sentence that says how to take amounts whole.
    as_they_are = () if money.less_refunds else (f"--map amount='{money.amount.shown}' takes amounts as they are.",)
    return Movements(amount, (*notes, *map(_sentence, rules), *as_they_are), seen)


def _sentence(rule: _Rule) -> str:
    words = " or ".join(map(repr, rule.words[:4])) + (" and the like" if len(rule.words) > 4 else "")
    amount = "a negative amount" if rule.back else "amount 0"
    return f"Rows with {words} in {rule.column!r} have {amount}: {rule.why}."


FLAGS = (
    *(("kind", KIND), ("back", IS_BACK), ("called off", IS_STATE), ("taken back", IS_TAKEN_BACK)),
    *(("state", STATE), ("document", DOCUMENT)),
)


def _candidates(columns: Mapping[str, str], event: Reading | None) -> Iterator[tuple[str, str]]:
    found: dict[str, str] = {event.uses[0]: "event"} if event is not None and event.plain else {}
    for role, names in FLAGS:
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


def _rules(
    money: Money, columns: Mapping[str, str], column: str, role: str, words: Mapping[str, int]
) -> Iterator[_Rule]:
    said: dict[str | None, list[str]] = {}
    for word in sorted(word for word, above in words.items() if above):
        said.setdefault(meaning(word), []).append(word)
    back, nothing, cancelled = (tuple(said.get(name, ())) for name in ("back", "nothing", "cancelled"))
    yes = tuple(sorted(word for word, above in words.items() if above and word.lower() in YES))
    if role in ("event", "kind"):
        if "unbought" in said:
            yield _Rule(column, tuple(said["unbought"]), back=False, why="nothing was bought")
        if back:
            yield _Rule(column, back, back=True, why=WENT_BACK)
        if nothing:
            yield _Rule(column, nothing, back=False, why=CALLED_OFF)
        if cancelled:
            yield _reversal(money, columns, column, cancelled)
    elif role == "back" and yes:
        yield _Rule(column, yes, back=True, why=WENT_BACK)
    elif role in ("called off", "taken back", "state"):
        yield from _states(money, columns, column, role, said, yes)
    elif role == "document" and words.get("C") and words.get("0") and "" not in words:
        yield _Credit(column, ("C...",), back=True, why="they are credit notes")


def _states(
    money: Money,
    columns: Mapping[str, str],
    column: str,
    role: str,
    said: Mapping[str | None, Sequence[str]],
    yes: Sequence[str],
) -> Iterator[_Rule]:
    """How an order stands: what came to nothing is 0, and what was taken back too, unless it is a movement."""
    taken_back = [word for word in said.get("back", ()) if not is_part(word)]
    called_off = [*said.get("nothing", ()), *said.get("cancelled", ())]
    if yes and not (taken_back or called_off):
        taken_back, called_off = (list(yes), []) if role == "taken back" else ([], list(yes))
        if role == "state":
            called_off = []
    if money.less_refunds:
        taken_back = []
    if taken_back:
        rule = _reversal(money, columns, column, taken_back)
        if rule.back:
            yield rule
        else:
            called_off += taken_back
    if called_off:
        yield _Rule(column, tuple(sorted(called_off)), back=False, why=CALLED_OFF)
    # An e-mail is opened, an order is open.
    waiting = [*said.get("waiting", ()), *(word for word in said.get("unbought", ()) if word.lower() == "open")]
    if waiting and role == "state":
        yield _Rule(column, tuple(sorted(waiting)), back=False, why=NOT_YET)


def _parts(money: Money, column: str, role: str, words: Mapping[str, int]) -> Iterator[str]:
    """A word on sales of which a part went back, when nothing says how much."""
    parts = [word for word, above in words.items() if above and is_part(word) and meaning(word) == "back"]
    if role == "state" and parts and not money.less_refunds:
        yield (
            f"Rows with {parts[0]!r} in {column!r} gave back a part that no column tells; their amounts count in full."
        )


class _Credit(_Rule):
    """Rows whose document is C and a number."""

    @property
    def sql(self) -> str:
        # Documents of any other form would have ruled this out.
        return f"CAST({identifier(self.column)} AS VARCHAR) LIKE 'C%'"


def _reversal(money: Money, columns: Mapping[str, str], column: str, words: Sequence[str]) -> _Rule:
    """Rows that were taken back: movements of their own that take back sales, or sales that never came to be."""
    rule = _Rule(column, tuple(words), back=False, why=CALLED_OFF)
    ts = money.ts()
    item = money.item.sql if money.item is not None else "NULL"
    told = f"{money.user.sql} AS u, {item} AS i, {money.amount.sql} AS a, coalesce({rule.sql}, FALSE) AS off"
    if ts is not None and takes_back(money.look.engine, money.over(money.look.whole), told, ts=ts, columns=columns):
        return replace(rule, back=True, why="most take back an earlier sale of the same amount")
    return rule
