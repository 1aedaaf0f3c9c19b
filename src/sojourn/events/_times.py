"""How a column of times is read: as text in a format found from its values, as an epoch, or as a time already."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from sojourn.core import BadInput, BadSpec
from sojourn.events._names import snake
from sojourn.events._reading import Reading
from sojourn.events._sources import Look
from sojourn.warehouse.engine import identifier, literal

ISO = tuple(
    f"%Y-%m-%d{rest}" for rest in ("", " %H:%M:%S", " %H:%M:%S.%f", "T%H:%M:%S", "T%H:%M:%S.%f", " %H:%M", "T%H:%M")
)
DATES = (
    *("%m/%d/%Y", "%d/%m/%Y", "%Y/%m/%d", "%m/%d/%y", "%d/%m/%y", "%d.%m.%Y", "%d.%m.%y", "%m-%d-%Y", "%d-%m-%Y"),
    *("%Y%m%d", "%d %b %Y", "%d-%b-%Y", "%d-%b-%y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y", "%Y.%m.%d"),
)
CLOCKS = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", " %I:%M %p", " %I:%M:%S %p", "T%H:%M:%S")
ZONED = r"\s*\d{4}-\d{1,2}-\d{1,2}[T ].*(Z|z|[+-]\d{2}(:?\d{2})?|[A-Z]{3,4}|[A-Za-z]+/[A-Za-z_/]+)\s*"
NAIVE = r"\s*\d{4}-\d{1,2}-\d{1,2}([T ]\d{1,2}:\d{1,2}(:\d{1,2}(\.\d*)?)?)?\s*"
EPOCHS = {"s": r"\d{9,10}(\.\d+)?", "ms": r"\d{12,13}", "us": r"\d{15,16}", "ns": r"\d{18,19}"}
TICKS_US = {"s": 1_000_000, "ms": 1_000, "us": 1}
CLOCK = r"\s*\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?(\s*[AaPp][Mm])?\s*"
# What is written in a way that the engine does not read is written anew first, where a sample holds it: more than six
# digits of a second, a zone after a space, a whole number with a point, the dates of mail and of logs.
MONTH = "([A-Z][a-z]{2})"
HOUR = r"(\d{1,2}:\d{2}(?::\d{2})?)"
OFFSET = r"([+-]\d{2}:?\d{2}|GMT|UTC|UT|Z)"
# Mon, 05 Jan 2024 10:11:12 GMT; Fri Jan 5 10:11:12 2024 -0500; Fri Jan 05 10:11:12 +0000 2024
MAIL = {
    rf"\s*(?:[A-Z][a-z]{{2}}, *)?(\d{{1,2}}) +{MONTH} +(\d{{4}}) +{HOUR} +{OFFSET}\s*": r"\1 \2 \3 \4 \5",
    rf"\s*[A-Z][a-z]{{2}} +{MONTH} +(\d{{1,2}}) +{HOUR} +(\d{{4}}) +{OFFSET}\s*": r"\2 \1 \4 \3 \5",
    rf"\s*[A-Z][a-z]{{2}} +{MONTH} +(\d{{1,2}}) +{HOUR} +{OFFSET} +(\d{{4}})\s*": r"\2 \1 \5 \3 \4",
}
MAIL_FORMATS = ("%d %b %Y %H:%M:%S %z", "%d %b %Y %H:%M %z")
DAY = r"(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})"
POINTED_DAY = r"(\d{4})[/.](\d{1,2})[/.](\d{1,2})"
REWRITTEN = (
    (r"(\d{4}-\d{1,2}-\d{1,2}[T ]\d{1,2}:\d{2}:\d{2}\.\d{6})\d+(.*)", r"\1\2"),
    (rf"{DAY}([T ]{HOUR}(?:\.\d{{1,6}})?) +([+-]\d{{2}}:?\d{{2}})", r"\1-\2-\3\4\6"),
    (rf"{POINTED_DAY}([T ]{HOUR}(?:\.\d{{1,6}})?) *(?:UTC|GMT|UT|Z)", r"\1-\2-\3\4Z"),
    (rf"{POINTED_DAY}([T ]{HOUR}(?:\.\d{{1,6}})?)([+-]\d{{2}}:?\d{{2}})", r"\1-\2-\3\4\6"),
    (r"(\d{5,19})\.0+", r"\1"),
)
# Compact times: 20240105101112 would be taken for an epoch.
COMPACT = r"\s*(19|20)\d{2}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])([01]\d|2[0-3])[0-5]\d([0-5]\d)?\s*"
COMPACT_FORMATS = ("%Y%m%d%H%M%S", "%Y%m%d%H%M")
# Days since 1899-12-30, as spreadsheets count them: 1954 to 2064, in a column that is named like a date.
SERIAL = r"[2-5]\d{4}(\.\d+)?"
DATED = re.compile(r"date|datum|fecha|data|time|zeit|day|tag|when|_at$|^ts$|created|ordered|paid")
SERIAL_NOTE = "Numbers are days since 1899-12-30, as spreadsheets count them."
# What most values are decides how a column is read; the others are faults of their rows. A column of which so few read
# as times is no column of times.
MOST = 0.5
ENOUGH = 0.1
READ = (
    "Read are ISO times with or without a zone, dates with slashes, points or month names, 20240131, mail's dates, and "
    "epochs."
)


@dataclass(frozen=True)
class TimeReading:
    """SQL that gives a UTC instant, NULL where the value is no time; `naive` when a zone had to be assumed."""

    sql: str
    naive: bool
    note: str | None = None


def instant(look: Look, reading: Reading, *, kind: str, zone: str) -> TimeReading:
    """Read a column of type `kind` as instants, taking `zone` for times that carry none.

    A text's format is found from a sample; from the whole source where the sample leaves day and month open. Raises
    `BadInput` where no format fits, and where no value tells day from month.
    """
    sql = reading.sql
    if kind == "TIMESTAMP WITH TIME ZONE":
        return TimeReading(f"CASE WHEN isfinite({sql}) THEN {sql} END", naive=False)
    if kind in {"TIMESTAMP", "DATE", "TIMESTAMP_NS", "TIMESTAMP_MS", "TIMESTAMP_S"}:
        return TimeReading(_in_utc(f"CAST({sql} AS TIMESTAMP)", zone=zone), naive=True)
    return _from_text(look, reading, text=sql if kind == "VARCHAR" else f"CAST({sql} AS VARCHAR)", zone=zone)


def time_of(look: Look, reading: Reading, *, kind: str, declared: str | None, zone: str) -> TimeReading:
    """Read a column by the declared format where there is one and it can be, else as `instant` does."""
    if declared is not None and (kind == "VARCHAR" or declared in EPOCHS):
        return declared_instant(reading, time_format=declared, zone=zone)
    return instant(look, reading, kind=kind, zone=zone)


def date_and_clock(look: Look, names: Sequence[str]) -> tuple[str, str] | None:
    """Of two columns the one of dates and the one of clock times, where they are just that."""
    if len(names) != 2:
        return None
    texts = [f"CAST({identifier(name)} AS VARCHAR)" for name in names]
    tests = ", ".join(
        f"bool_and(regexp_full_match({text}, {literal(CLOCK)})), bool_or(contains({text}, ':'))" for text in texts
    )
    [(clock, colon, other_clock, other_colon)] = look.engine.rows(f"SELECT {tests} FROM {look.sample}")
    if other_clock and not colon:
        return names[0], names[1]
    return (names[1], names[0]) if clock and not other_colon else None


def declared_instant(reading: Reading, *, time_format: str, zone: str) -> TimeReading:
    """Read a column by the declared format: strptime's, or `s`, `ms`, `us`. Raises `BadSpec` for another."""
    text = f"CAST({reading.sql} AS VARCHAR)"
    if time_format in EPOCHS:
        return TimeReading(_epoch(text, unit=time_format), naive=False)
    if "%" not in time_format:
        raise BadSpec(f"time_format = {time_format!r} is not one of s, ms, us, ns nor a format like '%d/%m/%Y %H:%M'.")
    parsed = f"try_strptime({text}, {literal(time_format)})"
    if "%z" in time_format or "%Z" in time_format:
        return TimeReading(parsed, naive=False)
    return TimeReading(_in_utc(parsed, zone=zone), naive=True)


def _from_text(look: Look, reading: Reading, *, text: str, zone: str) -> TimeReading:
    text = _rewritten(look, text)
    tests = {**{form: form for form in MAIL}, "zoned": ZONED, "compact": COMPACT, "serial": SERIAL, **EPOCHS}
    counted = ", ".join(
        f"count(*) FILTER (WHERE regexp_full_match({text}, {literal(test)}))" for test in tests.values()
    )
    [(total, *found)] = look.engine.rows(f"SELECT count({text}), {counted} FROM {look.sample}")
    shares = {name: count / max(total, 1) for name, count in zip(tests, found, strict=True)}
    mail = next((form for form in MAIL if shares[form] >= MOST), None)
    if mail is not None:
        return TimeReading(_mailed(text, mail), naive=False)
    if shares["compact"] >= MOST:
        parsed = f"try_strptime(trim({text}), [{', '.join(map(literal, COMPACT_FORMATS))}])"
        return TimeReading(_in_utc(parsed, zone=zone), naive=True, note=f"Times are read as {COMPACT_FORMATS[0]!r}.")
    if shares["serial"] >= MOST and any(DATED.search(snake(name)) for name in reading.uses):
        return TimeReading(_in_utc(_serial(text), zone=zone), naive=True, note=SERIAL_NOTE)
    unit = next((name for name in EPOCHS if shares[name] >= MOST), None)
    if unit is not None:
        return TimeReading(_epoch(text, unit=unit), naive=False, note=f"Numbers are epochs in {unit}.")
    zoned = f"CASE WHEN regexp_full_match({text}, {literal(ZONED)}) THEN TRY_CAST({text} AS TIMESTAMPTZ) END"
    if shares["zoned"] >= MOST:
        naive = f"CASE WHEN regexp_full_match({text}, {literal(NAIVE)}) THEN TRY_CAST({text} AS TIMESTAMP) END"
        return TimeReading(f"coalesce({zoned}, {_in_utc(naive, zone=zone)})", naive=shares["zoned"] < 1)
    formats = _formats(look, reading, text=text)
    parsed = f"try_strptime({text}, [{', '.join(map(literal, formats))}])"
    if formats[0] not in ISO:
        # A year in front is never taken for another thing: such dates may stand among the others.
        parsed = f"try_strptime({text}, [{', '.join(map(literal, (*formats, *ISO)))}])"
        return TimeReading(_in_utc(parsed, zone=zone), naive=True, note=f"Times are read as {formats[0]!r}.")
    # The formats parse fast; what they leave (another ISO shape, a zone) takes the slow road.
    rest = f"CASE WHEN regexp_full_match({text}, {literal(NAIVE)}) THEN TRY_CAST({text} AS TIMESTAMP) END"
    return TimeReading(f"coalesce({_in_utc(f'coalesce({parsed}, {rest})', zone=zone)}, {zoned})", naive=True)


def _formats(look: Look, reading: Reading, *, text: str) -> list[str]:
    """The formats of the family that reads most of the sample, the most frequent first."""
    families = [ISO, *(tuple(date + clock for clock in CLOCKS) for date in DATES)]
    # Most families fall out on a few values; only the others are tried on the whole sample.
    few = f"(SELECT * FROM {look.sample} WHERE {text} IS NOT NULL LIMIT 200)"
    families = [family for family, score in zip(families, _scores(look, families, text, few), strict=True) if score]
    scores = _scores(look, families, text, look.sample) if families else [0]
    best = max(scores)
    [(total,)] = look.engine.rows(f"SELECT count({text}) FROM {look.sample}")
    if best == 0 or best < ENOUGH * total:
        raise _no_times(look, reading, text=text, best=best, total=total)
    tied = [family for family, score in zip(families, scores, strict=True) if score == best]
    if len(tied) > 1:
        scores = _scores(look, tied, text, look.whole)
        tied = [family for family, score in zip(tied, scores, strict=True) if score == max(scores)]
    if len(tied) > 1:
        raise _ambiguous(reading, tied)
    counts = _scores(look, [(each,) for each in tied[0]], text, look.sample)
    return [each for _, each in sorted(zip(counts, tied[0], strict=True), key=lambda pair: -pair[0])]


def _scores(look: Look, families: Sequence[Sequence[str]], text: str, relation: str) -> list[int]:
    """How many values each family reads as a time between 1900 and 2200."""
    counts = ", ".join(
        f"count(*) FILTER (WHERE year(try_strptime({text}, [{', '.join(map(literal, family))}])) BETWEEN 1900 AND 2200)"
        for family in families
    )
    [row] = look.engine.rows(f"SELECT {counts} FROM {relation}")
    return list(row)


def _no_times(look: Look, reading: Reading, *, text: str, best: int, total: int) -> BadInput:
    first = look.engine.rows(f"SELECT DISTINCT {text} AS x FROM {look.sample} WHERE x IS NOT NULL ORDER BY x LIMIT 3")
    return BadInput(
        f"{reading.shown!r} does not look like times: {best} of {total} values in a sample could be read; some are "
        f"{[each for (each,) in first]}. {READ} Map another column to the time, or give its format: "
        f"--time-format '%d/%m/%Y %H:%M' (or s, ms, us, ns)."
    )


def _ambiguous(reading: Reading, tied: Sequence[Sequence[str]]) -> BadInput:
    formats = [family[0] for family in tied]
    return BadInput(
        f"The dates in {reading.shown!r} can be read as {' or '.join(map(repr, formats))}, and no value settles it. "
        f"Say which: --time-format '{formats[0]}' (with %H:%M:%S where there is a clock)."
    )


def _rewritten(look: Look, text: str) -> str:
    """The text with those of its ways of writing mended that a sample holds."""
    for pattern, written in REWRITTEN:
        full = rf"\s*{pattern}\s*"
        if look.engine.rows(f"SELECT 1 FROM {look.sample} WHERE regexp_full_match({text}, {literal(full)}) LIMIT 1"):
            text = f"regexp_replace({text}, {literal(f'^{full}$')}, {literal(written)})"
    return text


def _mailed(text: str, form: str) -> str:
    parts = f"regexp_replace({text}, {literal(f'^{form}$')}, {literal(MAIL[form])})"
    offset = f"regexp_replace({parts}, '[A-Z]+$', '+0000')"
    return f"try_strptime({offset}, [{', '.join(map(literal, MAIL_FORMATS))}])"


def _serial(text: str) -> str:
    days = f"CASE WHEN regexp_full_match({text}, {literal(SERIAL)}) THEN TRY_CAST({text} AS DOUBLE) END"
    # A clock is a fraction of a day, and no double: whole seconds.
    return f"(TIMESTAMP '1899-12-30' + to_seconds(CAST(round(({days}) * 86400) AS BIGINT)))"


def _epoch(text: str, *, unit: str) -> str:
    if unit == "ns":
        return f"TRY(make_timestamptz(TRY_CAST({text} AS BIGINT) // 1000))"
    # TRY: a number beyond the range of time is a fault of its row, not of the query.
    ticks = f"TRY_CAST({text} AS DECIMAL(22,6)) * {TICKS_US[unit]}"
    return f"TRY(make_timestamptz(CAST({ticks} AS BIGINT)))"


def _in_utc(naive: str, *, zone: str) -> str:
    if zone == "UTC":
        return f"make_timestamptz(epoch_us({naive}))"
    return f"timezone({literal(zone)}, {naive})"
