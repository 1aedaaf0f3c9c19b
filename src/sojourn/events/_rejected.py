"""Rows that could not be taken: counted, weighed against what the spec allows, and kept with reason and line."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sojourn.core import TooManyRejected, fingerprint
from sojourn.events._content import content_fingerprint
from sojourn.events._reading import Reading
from sojourn.events._sources import Source
from sojourn.events._stage import BLANK, CANONICAL, NO_USER, ROWS, STAGE
from sojourn.events._times import READ
from sojourn.events.spec import IngestSpec
from sojourn.warehouse import Engine, Warehouse
from sojourn.warehouse.engine import literal

TABLE = "rejected"
FAULTS = "_faults"
ORDER = ("source", "line", "reason", "raw", "for_table")
# Above this share of bad rows not the rows are at fault, but what a column is taken for.
MOST = 0.5
READ_OF = {"ts": READ, "amount": "Read are numbers such as 1234.5, 1,234.50, 1.234,50, $12 and (12.00)."}
FORMAT_OF = {"ts": ", or give its format: --time-format '%d/%m/%Y %H:%M' (or s, ms, us, ns)."}
UNDECODABLE = "the text is not valid in its encoding"
BROKEN_REASONS = {
    "MISSING COLUMNS": "the line has too few columns",
    "TOO MANY COLUMNS": "the line has too many columns",
    "UNQUOTED VALUE": "a quote is not closed",
    "INVALID ENCODING": UNDECODABLE,
    "LINE SIZE OVER MAXIMUM": "the line is too long",
}


@dataclass(frozen=True)
class Faults:
    """How many rows were read, and how many were rejected for each reason, the most frequent first."""

    read: int
    reasons: Mapping[str, int]

    @property
    def rejected(self) -> int:
        """Rows rejected, whatever the reason."""
        return sum(self.reasons.values())


def collect_faults(engine: Engine, source: Source, *, table: str) -> Faults:
    """Put every rejected row of the stage, and every broken line, into the temporary table of faults.

    Its column `_user` is the row's user where one was read.
    """
    broken = _broken_lines(source) if source.broken else _NO_LINES
    names = ", ".join(f"({number}, {literal(name)})" for number, name in enumerate(source.files))
    user = "user_id" if "user_id" in CANONICAL[table] else "CAST(NULL AS VARCHAR)"
    engine.run(
        f"""
        CREATE OR REPLACE TEMP TABLE {FAULTS} AS
        WITH files(_file, _source) AS (VALUES {names}),
        broken AS ({broken}),
        starts AS (SELECT _file, min(_row) AS _first FROM {ROWS} GROUP BY ALL),
        -- After how many good rows of its file each broken line stands, and how many broken ones stand up to there.
        shifts AS (
            SELECT _file, _line - {source.first_line} - row_number() OVER w + 1 AS _after, row_number() OVER w AS _shift
            FROM broken WINDOW w AS (PARTITION BY _file ORDER BY _line)
        ),
        bad AS (
            SELECT _file, coalesce(_line, _row - _first) AS _place, _line, _fault, _raw, {user} AS _user
            FROM {ROWS} JOIN starts USING (_file) WHERE _fault IS NOT NULL AND _fault <> {literal(BLANK)}
        ),
        placed AS (
            SELECT bad._file, coalesce(_line, {source.first_line} + _place + coalesce(_shift, 0)) AS _line,
                   _fault, _raw, _user
            FROM bad ASOF LEFT JOIN shifts ON bad._file = shifts._file AND bad._place >= shifts._after
            UNION ALL SELECT _file, _line, _fault, _raw, NULL FROM broken
        )
        SELECT _source AS source, CAST(_line AS BIGINT) AS line, _fault AS reason, _raw AS raw,
               {literal(table)} AS for_table, _user
        FROM placed JOIN files USING (_file)
        """
    )
    [(good,)] = engine.rows(f"SELECT count(*) FROM {STAGE} WHERE _fault IS NULL")
    reasons = fault_reasons(engine)
    return Faults(good + sum(reasons.values()), reasons)


def fault_reasons(engine: Engine) -> dict[str, int]:
    """How many rows the temporary table of faults has for each reason, the most frequent first."""
    return dict(engine.rows(f"SELECT reason, count(*) AS n FROM {FAULTS} GROUP BY 1 ORDER BY n DESC, reason"))


def check_share(
    engine: Engine, faults: Faults, *, spec: IngestSpec, source: Source, columns: Mapping[str, Reading]
) -> None:
    """Raise `TooManyRejected` where the spec allows fewer faults."""
    anonymous = faults.reasons.get(NO_USER, 0)
    limits = (
        ("bad", "max_rejected_share", faults.rejected - anonymous, spec.max_rejected_share),
        ("without a user", "max_anonymous_share", anonymous, spec.max_anonymous_share),
    )
    for what, name, count, allowed in limits:
        if count > allowed * faults.read:
            share = count / faults.read
            wrong = _wrong_column(engine, faults, columns) if share > MOST else None
            flag = f"--{name.replace('_', '-')} {min(1.0, share + 0.01):.2f}"
            first = (
                f"{count:,} of {faults.read:,} rows of {source.name} are {what} ({share:.1%}; {name} allows "
                f"{allowed:.1%}); nothing was written."
            )
            mend = f"Mend the source or the mapping, or allow them: {flag}"
            shown, plain = (_examples(engine, faults, with_rows=each) for each in (True, False))
            if share > MOST:
                # A column that is no such thing: to allow its rows would leave an empty table.
                mend = "Mend the source or the mapping." if wrong is None else wrong[1]
                shown = shown if wrong is None else f"{shown} {wrong[0]}"
            raise TooManyRejected(f"{first} {shown} {mend}", plain=f"{first} {plain} {mend}")


def notes_on_guests(engine: Engine, faults: Faults, *, table: str) -> list[str]:
    """One sentence on the events without a user, who are guests as a rule, with the money that is theirs."""
    guests = faults.reasons.get(NO_USER, 0)
    if table != "events" or not guests:
        return []
    [(theirs, others)] = engine.rows(
        f"SELECT sum(amount) FILTER (WHERE _fault = {literal(NO_USER)}), sum(amount) FILTER (WHERE _fault IS NULL) "
        f"FROM {ROWS}"
    )
    money = "" if theirs is None else f", with {theirs:,.2f} in amounts (the others: {others or 0:,.2f})"
    share = f"{guests:,} of {faults.read:,} rows ({guests / faults.read:.1%})"
    told = f"{share} have no user, as sales to guests have none{money}"
    return [f"{told}: they are rejected and count in no figure of users."]


def _wrong_column(engine: Engine, faults: Faults, columns: Mapping[str, Reading]) -> tuple[str, str] | None:
    """The column with the most faults and one of its values, and what to do; None where it is no column's fault."""
    reason = next(iter(faults.reasons))
    name = reason.partition(" ")[0]
    if name not in columns or not columns[name].uses:
        return None
    theirs = columns[name].uses[0]
    path = f'$."{theirs}"'
    [(found,)] = engine.rows(
        f"SELECT json_extract_string(raw, {literal(path)}) FROM {FAULTS} WHERE reason = $reason "
        "ORDER BY source, line LIMIT 1",
        reason=reason,
    )
    mend = f"Map another column, as {name} is made of {theirs!r}: --map {name}='COLUMN'{FORMAT_OF.get(name, '.')}"
    told = f"Column {theirs!r} has {'nothing' if found is None else repr(found)} there."
    return told, f"{READ_OF.get(name, '')} {mend}".strip()


def _examples(engine: Engine, faults: Faults, *, with_rows: bool) -> str:
    parts = []
    for reason in list(faults.reasons)[:2]:
        [(line, raw)] = engine.rows(
            f"SELECT line, raw FROM {FAULTS} WHERE reason = $reason ORDER BY source, line LIMIT 1", reason=reason
        )
        place = f"first in line {line}" if line else "for example"
        row = f": {' '.join((raw or '').split())[:160]}" if with_rows else ""
        parts.append(f"{faults.reasons[reason]:,} times: {reason} ({place}{row}).")
    return " ".join(parts)


def store_faults(warehouse: Warehouse, source: Source) -> int:
    """Add the faults to table `rejected`; those that are there already change nothing. The number of buckets written.

    The table is cut into sixteen buckets by source, so that a replay looks only where its own rows lie.
    """
    written = 0
    with warehouse.writing(TABLE) as writer:
        for bucket, names in _buckets(source.files).items():
            rows = f"SELECT {', '.join(ORDER)} FROM {FAULTS} WHERE source IN ({', '.join(map(literal, names))})"
            [(new,)] = warehouse.engine.rows(f"SELECT count(*) FROM ({rows})")
            partition = {"bucket": bucket}
            if warehouse.fingerprint_of(TABLE, partition) is not None:
                old = f"SELECT {', '.join(ORDER)} FROM {warehouse.relation(TABLE, only=[partition])}"
                [(new,)] = warehouse.engine.rows(f"SELECT count(*) FROM ({rows} EXCEPT {old})")
                rows = f"{rows} UNION {old}"
            if new:
                query = f"SELECT DISTINCT {', '.join(ORDER)} FROM ({rows})"
                writer.put(partition, query, order_by=ORDER, fingerprint=content_fingerprint(warehouse, query, ORDER))
                written += 1
    return written


def _buckets(sources: Sequence[str]) -> dict[str, list[str]]:
    buckets: dict[str, list[str]] = {}
    for name in sources:
        buckets.setdefault(fingerprint(name)[0], []).append(name)
    return dict(sorted(buckets.items()))


_NO_LINES = "SELECT 0 AS _file, 0::BIGINT AS _line, '' AS _fault, '' AS _raw WHERE FALSE"


def _broken_lines(source: Source) -> str:
    assert source.broken is not None
    lines, files = source.broken
    cases = " ".join(f"WHEN {literal(kind)} THEN {literal(reason)}" for kind, reason in BROKEN_REASONS.items())
    names = ", ".join(f"({number}, {literal(name)})" for number, name in enumerate(source.paths))
    return f"""
        SELECT names._file, line AS _line, min(CASE error_type {cases} ELSE lower(error_type) END) AS _fault,
               min(csv_line) AS _raw
        FROM {lines} JOIN {files} USING (scan_id, file_id)
        JOIN (VALUES {names}) names(_file, name) ON names.name = file_path
        GROUP BY names._file, line
    """
