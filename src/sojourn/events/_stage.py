"""Raw rows become rows of ours in a temporary table, each with its fault, if it has one."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from sojourn.core import BadSpec, EngineError
from sojourn.events._mapping import ColumnMap
from sojourn.events._names import QUANTITY, snake
from sojourn.events._reading import Reading
from sojourn.events._sources import LINE, Look, Source, is_object, reason_of
from sojourn.events._times import time_of
from sojourn.events._types import EXACT_NUMBER, cast, infer_types, stored_type
from sojourn.events.spec import NEEDED, IngestSpec
from sojourn.warehouse.engine import identifier, literal

STAGE = "_stage"
ROWS = "_rows"
SAMPLE = "_sample"
MONEY = "DECIMAL(18,4)"
INSTANTS = ("ts", "arrived_at", "valid_from")
BLANK = "blank line"
NO_USER = "user_id is missing"

# The columns of ours that every row has, and their types; extras follow in alphabetical order.
CANONICAL: dict[str, dict[str, str]] = {
    "events": {
        "event_id": "VARCHAR",
        "user_id": "VARCHAR",
        "ts": "TIMESTAMP WITH TIME ZONE",
        "arrived_at": "TIMESTAMP WITH TIME ZONE",
        "event": "VARCHAR",
        "item_id": "VARCHAR",
        "amount": MONEY,
    },
    "users": {"user_id": "VARCHAR", "valid_from": "TIMESTAMP WITH TIME ZONE", "arrived_at": "TIMESTAMP WITH TIME ZONE"},
    "items": {"item_id": "VARCHAR", "arrived_at": "TIMESTAMP WITH TIME ZONE"},
    "costs": {
        "day": "DATE",
        "channel": "VARCHAR",
        "campaign": "VARCHAR",
        "amount": MONEY,
        "currency": "VARCHAR",
        "arrived_at": "TIMESTAMP WITH TIME ZONE",
    },
}


@dataclass(frozen=True)
class Plan:
    """How the stage is filled and seen, the columns that it has of ours, and what to say of it.

    `table` is the query that fills the stage, `view` the one by which it is read: values that all rows share are added
    there, since the stage of a big source outgrows memory. `inferred` maps the reason of a fault to the column whose
    inferred type made it one.
    """

    table: str
    view: str
    columns: dict[str, str]
    notes: tuple[str, ...]
    inferred: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Column:
    """A column of ours in the making: its value, when its value is a fault, and whether all rows share the value."""

    sql: str
    kind: str
    faults: tuple[tuple[str, str], ...] = ()
    note: str | None = None
    shared: bool = False


@dataclass(frozen=True)
class _Scope:
    """What expressions compute with: the raw columns' types, and the relation that has them so typed.

    Beside each raw column stands what came, as `text:NAME`.
    """

    types: dict[str, str]
    relation: str


@dataclass(frozen=True)
class Staging:
    """All that decides how a source is staged: settings, map, clock, business zone, and the types already stored."""

    spec: IngestSpec
    source: Source
    columns: ColumnMap
    look: Look
    as_of: datetime
    day_zone: str
    stored: Mapping[str, str]
    as_text: frozenset[str] = frozenset()

    def plan(self) -> Plan:
        """The plan. Raises `BadSpec` for an expression that DuckDB refuses, `BadInput` for a time it can't read."""
        scope = self._scope()
        ours = {name: self._ours(name, reading, scope) for name, reading in self.columns.ours.items()}
        extras = {name: self._extra(name, reading, scope) for name, reading in sorted(self.columns.extras.items())}
        made = {**self._defaults(), **ours, **extras}
        fixed = {*self.stored, *self.spec.types, *self.spec.texts}
        computed = self.columns.in_expressions()
        inferred = {
            reason: use
            for name, column in extras.items()
            for _, reason in column.faults
            for use in self.columns.extras[name].uses
            if self.source.text and name not in fixed and use not in computed
        }
        kinds = {name: column.kind for name, column in made.items()}
        notes = tuple(dict.fromkeys(column.note for column in made.values() if column.note))
        return Plan(self._layers(made, scope), self._view(made), kinds, notes, inferred)

    def _scope(self) -> "_Scope":
        types = dict(self.source.columns)
        if self.source.text:
            plain = {reading.uses[0] for reading in self.columns.ours.values() if reading.plain}
            rest = [name for name in types if name not in plain and name not in self.as_text]
            computed = self.columns.in_expressions()
            types |= infer_types(self.look.engine, self.look.sample, rest, tolerant=computed)
        types |= self._numbers(types)
        money = self.columns.ours.get("amount")
        if money is not None and not money.plain:
            types |= {name: EXACT_NUMBER for name in money.uses if types[name] in {"DOUBLE", "FLOAT"}}
        values = [
            f"{self._typed(name, source=kind, to=types[name])} AS {identifier(name)}"
            for name, kind in self.source.columns.items()
        ]
        texts = [f"{identifier(name)} AS {_text(name)}" for name in self.source.columns]
        chosen = ", ".join([*values, *texts, "_file", *self.source.places])
        return _Scope(types, f"(SELECT {chosen} FROM {self.source.relation})")

    def _numbers(self, types: Mapping[str, str]) -> dict[str, str]:
        """The types of text columns that amounts are made of; whole quantities stay whole."""
        amount = self.columns.ours.get("amount")
        return {
            name: MONEY if amount is not None and amount.plain and name in amount.uses else EXACT_NUMBER
            for name, reading in self.columns.numbers.items()
            if not (types[name] == "BIGINT" and reading.plain and snake(name) in QUANTITY)
        }

    def _typed(self, name: str, *, source: str, to: str) -> str:
        """A raw column as this type."""
        number = self.columns.numbers.get(name)
        if number is not None and to in (MONEY, EXACT_NUMBER):
            return number.sql(to)
        return cast(identifier(name), source=source, to=to)

    def _ours(self, name: str, reading: Reading, scope: "_Scope") -> _Column:
        kind = self._kind(name, reading, scope)
        needed = name in (*NEEDED[self.spec.table], "event_id", "zone")
        missing = [(f"{_value(reading)} IS NULL", f"{name} is missing")] if needed else []
        if name in INSTANTS or name == "day":
            return self._time(name, reading, kind=kind, missing=missing)
        target = MONEY if name == "amount" else "VARCHAR"
        sql = cast(reading.sql, source=kind, to=target)
        if name == "amount":
            missing.append((f"{_inputs(reading)} AND {_our(name)} IS NULL", "amount is no number of at most 14 digits"))
        if name == "zone":
            missing.append((f"{_our(name)} NOT IN (SELECT name FROM pg_timezone_names())", "zone is unknown"))
        # Users are looked up and renamed in the stage, so theirs must lie there.
        shared = name != "user_id" and re.fullmatch(r"'[^']*'", reading.sql) is not None
        return _Column(sql, target, tuple(missing), shared=shared)

    def _time(self, name: str, reading: Reading, *, kind: str, missing: list[tuple[str, str]]) -> _Column:
        zone = "UTC" if name == "day" else self.spec.time_zone or "UTC"
        time = time_of(self.look, reading, kind=kind, declared=self.spec.time_format, zone=zone)
        faults = [*missing, (f"{_value(reading)} IS NOT NULL AND {_our(name)} IS NULL", f"{name} is not a time")]
        if name == "day":
            return _Column(_utc_day(time.sql), "DATE", tuple(faults), time.note)
        sql = time.sql
        if name == "arrived_at":
            sql = f"CASE WHEN {_value(reading)} IS NULL THEN {_at(self.as_of)} ELSE {sql} END"
        note = f"{time.note or ''} {self._zone_note(name) if time.naive else ''}".strip()
        return _Column(sql, "TIMESTAMP WITH TIME ZONE", (*faults, *self._clock_faults(name)), note or None)

    def _zone_note(self, name: str) -> str:
        if self.spec.time_zone is not None:
            return f"Times in {name} without a zone are read in {self.spec.time_zone}, as declared."
        return f"Times in {name} without a zone are read in UTC, since no zone is declared (--time-zone)."

    def _clock_faults(self, name: str) -> Iterator[tuple[str, str]]:
        if name == "arrived_at":
            late = f"{_our(name)} > {_at(self.as_of)} + INTERVAL {self.spec.max_clock_skew_s} SECOND"
            yield late, "arrived_at is later than now"
        if name == "ts":
            late = f"{_our(name)} > {_our('arrived_at')} + INTERVAL {self.spec.max_clock_skew_s} SECOND"
            yield late, "ts is later than its arrival"
        if name != "arrived_at":
            yield (
                f"{_our(name)} < TIMESTAMPTZ '{self.spec.earliest} 00:00:00+00'",
                f"{name} is before {self.spec.earliest}",
            )

    def _kind(self, name: str, reading: Reading, scope: "_Scope") -> str:
        if reading.plain:
            return scope.types[reading.uses[0]]
        try:
            return self.look.engine.columns(f"SELECT ({reading.sql}) AS x FROM {scope.relation}")["x"]
        except EngineError as fault:
            uses = {each: scope.types[each] for each in reading.uses}
            raise BadSpec(
                f"columns.{name} = {reading.sql!r} cannot be computed: {reason_of(fault)}. The types are {uses}."
            ) from fault

    def _extra(self, name: str, reading: Reading, scope: "_Scope") -> _Column:
        declared = self.stored.get(name) or self.spec.types.get(name)
        if declared is None and name in self.spec.texts and self.source.text:
            declared = "VARCHAR"
        if declared == "VARCHAR" and self.source.text and reading.plain:
            # What came, untouched: cast through an inferred number, 1.50 would become 1.5 and a late word NULL.
            return _Column(_text(reading.uses[0]), "VARCHAR")
        kind = self._kind(name, reading, scope)
        natural = "DOUBLE" if kind == EXACT_NUMBER and self.source.text else stored_type(kind)
        target = declared or natural
        fault = (f"{_inputs(reading)} AND {_our(name)} IS NULL", f"{name} is not {target}")
        faults = () if target in {"VARCHAR", kind} and not self.source.text else (fault,)
        return _Column(cast(reading.sql, source=kind, to=target), target, () if target == "VARCHAR" else faults)

    def _defaults(self) -> dict[str, _Column]:
        canonical = CANONICAL[self.spec.table]
        made = {name: _Column(f"CAST(NULL AS {kind})", kind, shared=True) for name, kind in canonical.items()}
        now = _Column(_at(self.as_of), "TIMESTAMP WITH TIME ZONE", shared=True)
        if "valid_from" in made:
            since = (
                f"Portraits hold from {self.as_of.astimezone(UTC):%Y-%m-%d %H:%M} UTC on, as no column tells since when"
            )
            made["valid_from"] = replace(now, note=f"{since} (--map valid_from=...).")
        return made | {"arrived_at": now}

    def _layers(self, made: Mapping[str, _Column], scope: "_Scope") -> str:
        """One projection over the other: typed raw columns, ours, the fault, the day and the identity."""
        values = ", ".join(f"{column.sql} AS {_our(name)}" for name, column in made.items())
        faults = [*self._line_faults(), *(fault for column in made.values() for fault in column.faults)]
        cases = " ".join(f"WHEN {condition} THEN {literal(reason)}" for condition, reason in faults)
        fault = f"CASE {cases} END" if cases else "CAST(NULL AS VARCHAR)"
        chosen = [
            f"{_our(name)} AS {identifier(name)}" for name in made if not made[name].shared and name != "event_id"
        ]
        if self.spec.table == "events":
            chosen = [f"{self._identity(made)} AS event_id", *chosen, f"{self._day(made)} AS _day"]
        chosen += [*self._stored_places(), "_fault", f"CASE WHEN _fault IS NOT NULL THEN {self._raw()} END AS _raw"]
        inner = f"SELECT *, {fault} AS _fault FROM (SELECT *, {values} FROM {scope.relation})"
        return f"SELECT {', '.join(chosen)} FROM ({inner})"

    def _view(self, made: Mapping[str, _Column]) -> str:
        shared = {name: column.sql for name, column in made.items() if column.shared and name != "event_id"}
        shared |= {"_file": "0", "_line": "CAST(NULL AS BIGINT)"}
        added = [f"{sql} AS {identifier(name)}" for name, sql in shared.items() if name not in self._stored_places()]
        return f"SELECT *, rowid AS _row, {', '.join(added)} FROM {STAGE}"

    def _stored_places(self) -> list[str]:
        several = ["_file"] if len(self.source.files) > 1 else []
        return [*several, *(place for place in self.source.places if place == "_line")]

    def _line_faults(self) -> Iterator[tuple[str, str]]:
        if LINE in self.source.places:
            yield f"{LINE} IS NULL OR trim({LINE}) = ''", BLANK
            yield f"NOT {is_object(LINE)}", "the line is no JSON object"

    def _raw(self) -> str:
        if LINE in self.source.places:
            return LINE
        fields = ", ".join(f"{identifier(name)} := {_text(name)}" for name in self.source.columns)
        return f"CAST(to_json(struct_pack({fields})) AS VARCHAR)"

    def _identity(self, made: Mapping[str, _Column]) -> str:
        if "event_id" in self.columns.ours:
            return _our("event_id")
        content = sorted(name for name in made if name not in {"event_id", "arrived_at"})
        # Absent columns are left out, so a column that is added empty leaves the identity as it was.
        parts = ", ".join(f"{literal(name + '=')} || {_as_text(name, made[name].kind)}" for name in content)
        return f"CASE WHEN _fault IS NULL THEN md5(concat_ws(chr(31), {parts})) END"

    def _day(self, made: Mapping[str, _Column]) -> str:
        if "zone" in made:
            return f"CASE WHEN _fault IS NULL THEN CAST(timezone({_our('zone')}, {_our('ts')}) AS DATE) END"
        if self.day_zone == "UTC":
            return f"CASE WHEN _fault IS NULL THEN {_utc_day(_our('ts'))} END"
        return f"CASE WHEN _fault IS NULL THEN CAST(timezone({literal(self.day_zone)}, {_our('ts')}) AS DATE) END"


def _utc_day(instant_sql: str) -> str:
    # Integer arithmetic: a cast of TIMESTAMPTZ to DATE asks the calendar library for each row.
    return f"(DATE '1970-01-01' + CAST(epoch_us({instant_sql}) // 86400000000 AS INTEGER))"


def _as_text(name: str, kind: str) -> str:
    if kind == "TIMESTAMP WITH TIME ZONE":
        return f"epoch_us({_our(name)})"
    return f"CAST({_our(name)} AS VARCHAR)"


def _value(reading: Reading) -> str:
    """What came, before any cast of ours: NULL when nothing did."""
    return _text(reading.uses[0]) if reading.plain else f"({reading.sql})"


def _inputs(reading: Reading) -> str:
    """Whether everything that the value is made of came."""
    return " AND ".join(f"{_text(name)} IS NOT NULL" for name in reading.needed) or "TRUE"


def _our(name: str) -> str:
    return identifier(f"our:{name}")


def _text(name: str) -> str:
    return identifier(f"text:{name}")


def _at(when: datetime) -> str:
    return f"TIMESTAMPTZ '{when.astimezone(UTC).strftime('%Y-%m-%d %H:%M:%S.%f')}+00'"
