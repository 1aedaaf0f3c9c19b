"""How a column of numbers is written: plain, with signs of money, with commas or points that part thousands."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sojourn.core import BadInput
from sojourn.events._names import escaped
from sojourn.events._sources import Look
from sojourn.warehouse.engine import identifier, literal

TEXT = "VARCHAR"
EXACT = "DECIMAL(18,6)"
# Spaces, apostrophes and their typographic kin part thousands everywhere; a comma or a point only in one of the two.
SPACES = "\u0020\u00a0\u202f'\u2019"
MINUS_SIGN = "\u2212"
CURRENCY = r"(?:[A-Za-z]{0,3}\p{Sc}|[A-Z]{3}|Rs\.?|kr\.?|zł)"
PLAIN = r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*"
POINT = rf"(?:\d{{1,3}}(?:[,{SPACES}]\d{{3}})+|\d{{1,2}}(?:,\d{{2}})+,\d{{3}}|\d+)(?:\.\d*)?"
COMMA = rf"(?:\d{{1,3}}(?:[.{SPACES}]\d{{3}})+|\d+)(?:,\d*)?"
DIGITS = rf"\d[\d.,{SPACES}]*"
MINUS = rf"[(\-{MINUS_SIGN}]"
# So many values of a sample read as numbers, or the column holds something else.
MOST = 0.5


@dataclass(frozen=True)
class NumberReading:
    """SQL that gives a number, NULL where the text is none; `plain` when a sample holds ordinary numbers alone."""

    column: str
    decimal_comma: bool
    plain: bool
    note: str | None = None

    def sql(self, kind: str, *, text: str | None = None) -> str:
        """The number as this decimal type, from the column or from another SQL text.

        A value that can be read in one way alone is so read, whatever the others are like.
        """
        text = text or identifier(self.column)
        plain, point, comma = f"TRY_CAST({text} AS {kind})", _point(text, kind), _comma(text, kind)
        if self.decimal_comma:
            return f"coalesce({comma}, {plain}, {point})"
        return f"coalesce({plain}, {point}, {comma})"


def read_numbers(look: Look, column: str) -> NumberReading | None:
    """How this text column is to be read as numbers; None where most of a sample is nothing like numbers.

    Raises `BadInput` for several currencies, and where no value settles what commas and points mean.
    """
    text = identifier(column)
    total, plain, point, comma = _counts(look, look.sample, text)
    if max(plain, point, comma) < MOST * total or not total:
        return None
    if plain == total:
        return NumberReading(column, decimal_comma=False, plain=True, note=_all_thousands(look, column))
    _check_currencies(look, column)
    if point == comma:
        _, _, point, comma = _counts(look, look.whole, text)
    if point == comma:
        _check_settled(look, column)
    found = NumberReading(column, decimal_comma=comma > point, plain=False)
    return NumberReading(column, found.decimal_comma, plain=False, note=_note(look, found))


def numbers_of(look: Look, names: Sequence[str]) -> dict[str, NumberReading]:
    """How these columns are read as numbers: those that come as text and are numbers."""
    found = {name: read_numbers(look, name) for name in dict.fromkeys(names) if is_text(look, name)}
    return {name: reading for name, reading in found.items() if reading is not None}


def is_text(look: Look, name: str) -> bool:
    """Whether a column comes as text."""
    return look.engine.columns(f"SELECT {identifier(name)} AS x FROM {look.sample}")["x"] == TEXT


def as_numbers(relation: str, numbers: Mapping[str, NumberReading]) -> str:
    """The relation with text that holds numbers as numbers."""
    made = ", ".join(f"{each.sql(EXACT)} AS {identifier(name)}" for name, each in numbers.items())
    return f"(SELECT * REPLACE ({made}) FROM {relation})" if made else relation


def _counts(look: Look, relation: str, text: str) -> tuple[int, int, int, int]:
    """How many values there are, and how many are plain, have a decimal point, and have a decimal comma."""
    tests = (PLAIN, _whole(POINT), _whole(COMMA))
    counted = ", ".join(f"count(*) FILTER (WHERE regexp_full_match({text}, {literal(test)}))" for test in tests)
    [(total, plain, point, comma)] = look.engine.rows(f"SELECT count({text}), {counted} FROM {relation}")
    return total, plain, point, comma


def _whole(number: str) -> str:
    """The pattern of a whole value: signs and currencies around a number, or brackets that make it negative."""
    sign, money = rf"[+\-{MINUS_SIGN}]\s*", rf"(?:{CURRENCY}\s*)?"
    before, after = rf"(?:{sign}{money}|{money}(?:{sign})?)", rf"(?:\s*{CURRENCY})?"
    return rf"\s*(?:{before}{number}{after}\s*-?|{money}\(\s*{money}{number}{after}\s*\){after})\s*"


def _point(text: str, kind: str) -> str:
    digits = rf"regexp_replace(regexp_extract({text}, {literal(DIGITS)}), '[^0-9.]', '', 'g')"
    return _number(text, POINT, digits, kind)


def _comma(text: str, kind: str) -> str:
    digits = rf"replace(regexp_replace(regexp_extract({text}, {literal(DIGITS)}), '[^0-9,]', '', 'g'), ',', '.')"
    return _number(text, COMMA, digits, kind)


def _number(text: str, pattern: str, digits: str, kind: str) -> str:
    sign = f"CASE WHEN regexp_matches({text}, {literal(MINUS)}) THEN '-' ELSE '' END"
    fits = f"regexp_full_match({text}, {literal(_whole(pattern))})"
    return f"CASE WHEN {fits} THEN TRY_CAST({sign} || {digits} AS {kind}) END"


def _check_currencies(look: Look, column: str) -> None:
    text = identifier(column)
    sign = f"trim(regexp_extract({text}, {literal(CURRENCY)}), ' .')"
    found = look.engine.rows(
        f"SELECT {sign} AS sign, count(*) AS n FROM {look.sample} WHERE regexp_matches({text}, '\\d') "
        "GROUP BY 1 HAVING sign <> '' ORDER BY n DESC, sign"
    )
    if len(found) > 1:
        told = ", ".join(f"{sign!r} {n:,} times" for sign, n in found[:4])
        name = escaped(column)
        raise BadInput(
            f"{column!r} holds amounts in several currencies (in a sample: {told}), which cannot be added. Make two "
            f"columns of it: --map amount=\"regexp_replace({name}, '[^0-9.-]', '', 'g')\" "
            f"--map currency=\"regexp_extract({name}, '[^0-9., -]+')\""
        )


def _check_settled(look: Look, column: str) -> None:
    """Raise `BadInput` where a value means two numbers, and no value says which."""
    text = identifier(column)
    both = f"{_point(text, 'DECIMAL(18,6)')}, {_comma(text, 'DECIMAL(18,6)')}"
    found = look.engine.rows(
        f"SELECT value, row, point, comma FROM (SELECT {text} AS value, row_number() OVER () AS row, {both} "
        f"FROM {look.sample}) AS told(value, row, point, comma) WHERE point <> comma ORDER BY row LIMIT 1"
    )
    if found:
        value, row, point, comma = found[0]
        name = escaped(column)
        raise BadInput(
            f"{column!r} can be read in two ways: {value!r} in row {row:,} is {point.normalize():f} or "
            f"{comma.normalize():f}, and no value settles it. Say which: "
            f"--map amount=\"replace({name}, ',', '')\" where commas part thousands, "
            f"--map amount=\"replace({name}, ',', '.')\" where they stand before cents."
        )


def _note(look: Look, reading: NumberReading) -> str | None:
    """One sentence with the values that look least like numbers, and what they are read as."""
    text, kind = identifier(reading.column), "DECIMAL(18,4)"
    odd = f"NOT regexp_full_match({text}, {literal(PLAIN)})"
    rows = look.engine.rows(
        f"SELECT trim({text}), {reading.sql(kind)} AS number FROM {look.sample} WHERE {odd} AND number IS NOT NULL "
        f"QUALIFY row_number() OVER (PARTITION BY number < 0 ORDER BY length({text}) DESC, {text}) = 1 "
        "ORDER BY number < 0"
    )
    if not rows:
        return None
    told = " and ".join(f"{value!r} as {number.normalize():f}" for value, number in rows)
    return f"Numbers in {reading.column!r} are read so: {told}."


def _all_thousands(look: Look, column: str) -> str | None:
    """A word of doubt where all numbers with a point have three digits after it, as thousands have."""
    text = identifier(column)
    [(pointed, thousands, example)] = look.engine.rows(
        f"SELECT count(*) FILTER (WHERE contains({text}, '.')), "
        f"count(*) FILTER (WHERE regexp_full_match({text}, '-?[1-9]\\d{{0,2}}(\\.\\d{{3}})+')), "
        f"max({text}) FILTER (WHERE contains({text}, '.')) FROM {look.sample}"
    )
    if pointed < 3 or pointed > thousands:
        return None
    name = escaped(column)
    return (
        f"All numbers in {column!r} with a point have three digits after it, such as {example}; they are read as "
        f"decimals. If they are thousands: --map amount=\"replace({name}, '.', '')\""
    )
