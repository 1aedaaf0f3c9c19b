"""A day's tables come in; what is wrong with them, check by declared check, comes out."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from statistics import median
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from sojourn.core import BadSpec, EngineError, Spec
from sojourn.operate._held import missed
from sojourn.operate._local import on_duckdb
from sojourn.operate.publishing.batch import user_columns
from sojourn.rollups import RollupSpec, ledger, state_column
from sojourn.warehouse import Warehouse
from sojourn.warehouse.engine import identifier, literal

CheckKind = Literal["rows", "freshness", "null_share", "allowed", "drop", "conservation"]
Severity = Literal["warn", "fail"]
NEEDS: dict[str, tuple[str, ...]] = {
    "freshness": ("max_age_hours",),
    "null_share": ("column",),
    "allowed": ("column", "values"),
    "drop": ("max_drop",),
}
OWN: dict[str, tuple[str, ...]] = {
    "rows": ("min_rows", "where"),
    "freshness": ("max_age_hours", "where"),
    "null_share": ("column", "max_share", "where"),
    "allowed": ("column", "values", "max_share", "where"),
    "drop": ("max_drop", "measure", "where"),
    "conservation": (),
}
WEEKS = 4
LEAST_WEEKS = 2
NAMED = 5


class CheckSpec(Spec):
    """One thing that must hold of a table on every day; the sections `[checks.<name>]` of `sojourn.toml`.

    - `rows`: at least `min_rows` rows.
    - `freshness`: the last event lies at most `max_age_hours` before the day's end: a feed that stopped at noon fails.
    - `null_share`: `column` is null in at most `max_share` of the rows.
    - `allowed`: `column` is one of `values` in all but `max_share` of the rows where it is not null.
    - `drop`: `measure` (a SQL aggregate) is at most a share `max_drop` below the median of the last four same weekdays.
    - `conservation`: no event is there twice, every row read was kept, a duplicate, rejected or forgotten, no day has
      lost rows since a run changed it, and the rollups that count every row have counted them all.

    `where` keeps to some rows. A check of `severity` `fail` that fails holds back what comes after, `warn` only tells.

    >>> CheckSpec(name="amounts", kind="null_share", column="amount", max_share=0.01).table
    'events'
    """

    name: str = "check"
    kind: CheckKind
    table: str = "events"
    severity: Severity = "fail"
    where: str | None = None
    column: str | None = None
    values: tuple[str, ...] | None = None
    measure: str = "count(*)"
    min_rows: int = Field(default=1, ge=1)
    max_share: float = Field(default=0.0, ge=0, le=1)
    max_age_hours: float | None = Field(default=None, gt=0)
    max_drop: float | None = Field(default=None, gt=0, le=1)

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        missing = [name for name in NEEDS.get(self.kind, ()) if getattr(self, name) is None]
        if missing:
            raise ValueError(f"a check of kind {self.kind!r} needs {' and '.join(missing)}; add it")
        shared = {"name", "kind", "table", "severity"}
        fields = type(self).model_fields
        # What a round trip writes out as the default is no setting.
        given = {name for name, field in fields.items() if getattr(self, name) != field.default}
        strange = sorted(given - shared - set(OWN[self.kind]))
        if strange:
            own = ", ".join(OWN[self.kind]) or "nothing more"
            raise ValueError(f"a check of kind {self.kind!r} does not read {strange[0]!r}; it reads {own}")
        return self


@dataclass(frozen=True)
class Found:
    """What a check found: whether it `holds` (None: there was nothing to judge), in words, and the figure it used."""

    holds: bool | None
    told: str
    figure: float | None = None
    limit: float | None = None


def check_day(warehouse: Warehouse, spec: CheckSpec, *, day: date, rollups: Sequence[RollupSpec] = ()) -> Found:
    """What the check finds on a business day. Raises `BadSpec` when its SQL cannot be computed."""
    kinds = {
        "rows": _rows,
        "freshness": _freshness,
        "null_share": _null_share,
        "allowed": _allowed,
        "drop": _drop,
    }
    try:
        if spec.kind == "conservation":
            return _conservation(warehouse, spec, day, rollups)
        return kinds[spec.kind](warehouse, spec, day)
    except EngineError as fault:
        raise BadSpec(f"[checks.{spec.name}] cannot be computed: {fault} Mend its SQL or its column.") from fault


def relation_on(warehouse: Warehouse, table: str, day: date) -> str | None:
    """SQL for the table's rows of a business day; None without any.

    That is partition `day`, or `as_of` = the day after, or the day partial that starts on it, or the rows whose column
    `day` says so; any other table counts whole.
    """
    keys: set[str] = {key for place in warehouse.places(table)[:1] for key in place}
    wanted = (
        {"day": str(day)}
        if "day" in keys
        else {"as_of": str(day + timedelta(days=1))}
        if "as_of" in keys
        else {"start": str(day)} | ({"grain": "day"} if "grain" in keys else {})
        if "start" in keys
        else {}
    )
    only = [place for place in warehouse.places(table) if wanted.items() <= place.items()]
    if not only:
        return None
    relation = warehouse.relation(table, only=only)
    if wanted or "day" not in warehouse.engine.columns(f"SELECT * FROM {relation}"):
        return relation
    return f"(SELECT * FROM {relation} WHERE day = DATE '{day}')"


def _rows(warehouse: Warehouse, spec: CheckSpec, day: date) -> Found:
    found = relation_on(warehouse, spec.table, day)
    rows = 0 if found is None else int(_one(warehouse, f"SELECT count(*) FROM {_kept(found, spec)}"))
    told = f"{rows:,} rows in {spec.table} on {day}; at least {spec.min_rows:,} are expected"
    return Found(rows >= spec.min_rows, told, rows, spec.min_rows)


def _freshness(warehouse: Warehouse, spec: CheckSpec, day: date) -> Found:
    found, limit = relation_on(warehouse, spec.table, day), spec.max_age_hours
    assert limit is not None
    # As a frame: DuckDB makes Python values of instants with a library that need not be installed.
    last = (
        None
        if found is None
        else warehouse.engine.frame(f"SELECT max(ts) AS last FROM {_kept(found, spec)}")["last"][0]
    )
    if last is None:
        return Found(False, f"{spec.table} has no row on {day}", None, limit)
    from sojourn.rollups.windows import day_start

    end = day_start(day + timedelta(days=1), warehouse.spec.zone)
    age = max((end - last).total_seconds() / 3600, 0.0)
    told = f"the last row of {spec.table} is {age:,.1f} h older than the day's end; at most {limit:g} h are allowed"
    return Found(age <= limit, told, age, limit)


def _null_share(warehouse: Warehouse, spec: CheckSpec, day: date) -> Found:
    return _share(warehouse, spec, day, bad=f"{identifier(str(spec.column))} IS NULL", among="TRUE", told="null")


def _allowed(warehouse: Warehouse, spec: CheckSpec, day: date) -> Found:
    name = str(spec.column)
    column = f"CAST({identifier(name)} AS STRING)"
    listed = ", ".join(map(literal, spec.values or ())) or "NULL"
    bad, among = f"{column} NOT IN ({listed})", f"{column} IS NOT NULL"
    found = _share(warehouse, spec, day, bad=bad, among=among, told="something else than the values allowed")
    if found.holds is not False:
        return found
    stored = relation_on(warehouse, spec.table, day)
    assert stored is not None
    # What is told is kept, and ids of users are not to be: those of their columns, and those that strayed elsewhere.
    users = user_columns(warehouse.engine.columns(f"SELECT * FROM {stored}"))
    if name in users:
        return found
    strays = (
        f" AND {column} NOT IN (SELECT {each} FROM {stored} WHERE {each} IS NOT NULL)"
        for each in map(identifier, users)
    )
    rows = warehouse.engine.rows(
        f"SELECT {column} AS found, count(*) FROM {_kept(stored, spec)} WHERE {bad}{''.join(strays)} "
        f"GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT {NAMED}"
    )
    named = ", ".join(f"{value!r} ({count:,})" for value, count in rows)
    return Found(False, f"{found.told}{f': {named}' if named else ''}", found.figure, found.limit)


def _share(warehouse: Warehouse, spec: CheckSpec, day: date, *, bad: str, among: str, told: str) -> Found:
    found = relation_on(warehouse, spec.table, day)
    rows, wrong = (0, 0)
    if found is not None:
        sums = f"coalesce(sum(CASE WHEN {among} THEN 1 ELSE 0 END), 0), coalesce(sum(CASE WHEN {bad} THEN 1 END), 0)"
        [(rows, wrong)] = warehouse.engine.rows(f"SELECT {sums} FROM {_kept(found, spec)}")
    if not rows:
        return Found(None, f"{spec.table} has no row on {day} to judge")
    share = int(wrong) / int(rows)
    words = f"{spec.column} is {told} in {share:.2%} of {int(rows):,} rows; at most {spec.max_share:.2%} is allowed"
    return Found(share <= spec.max_share, words, share, spec.max_share)


def _drop(warehouse: Warehouse, spec: CheckSpec, day: date) -> Found:
    assert spec.max_drop is not None
    before = [_measure(warehouse, spec, day - timedelta(weeks=week)) for week in range(1, WEEKS + 1)]
    known = [each for each in before if each is not None]
    if len(known) < LEAST_WEEKS:
        return Found(None, f"only {len(known)} of the last {WEEKS} same weekdays have rows in {spec.table}")
    usual, now = median(known), _measure(warehouse, spec, day) or 0.0
    if usual <= 0:
        return Found(None, f"{spec.measure} is {usual:,.6g} on the same weekdays before, of which nothing can drop")
    drop = 1 - now / usual
    change = f"{drop:.0%} below" if drop > 0 else f"{-drop:.0%} above" if drop < 0 else "just"
    told = (
        f"{spec.measure} of {spec.table} is {now:,.6g}, {change} the median of the last same weekdays ({usual:,.6g}); "
        f"at most {spec.max_drop:.0%} below is allowed"
    )
    return Found(drop <= spec.max_drop, told, drop, spec.max_drop)


def _measure(warehouse: Warehouse, spec: CheckSpec, day: date) -> float | None:
    found = relation_on(warehouse, spec.table, day)
    if found is None:
        return None
    measured = _one(warehouse, f"SELECT CAST({spec.measure} AS DOUBLE) FROM {_kept(found, spec)}")
    return 0.0 if measured is None else float(measured)


def _conservation(warehouse: Warehouse, spec: CheckSpec, day: date, rollups: Sequence[RollupSpec]) -> Found:
    found = relation_on(warehouse, spec.table, day)
    if spec.table != "events":
        raise BadSpec(f"[checks.{spec.name}] counts events; it cannot count table {spec.table!r}. Leave table out.")
    gone = missed(on_duckdb(warehouse))
    if found is None:
        told = f"{spec.table} has no row on {day} to count"
        return Found(False, "; ".join([told, *gone]), 0) if gone else Found(None, told)
    [(rows, ids)] = warehouse.engine.rows(f"SELECT count(*), count(DISTINCT event_id) FROM {found}")
    faults = [f"{rows - ids:,} events are there twice"] if rows != ids else []
    faults += [*_lost_in_ingest(warehouse), *gone]
    counted = 0
    for rollup in rollups:
        total = _counted(warehouse, rollup, day)
        if total is not None:
            counted += 1
            faults += [f"rollup {rollup.name!r} has counted {total:,} of them"] if total != rows else []
    told = f"{rows:,} events on {day}, each once, counted alike by {counted} of {len(rollups)} rollups"
    return Found(not faults, "; ".join([f"{rows:,} events on {day}", *faults]) if faults else told, rows)


def _lost_in_ingest(warehouse: Warehouse) -> list[str]:
    if not warehouse.has("ingested"):
        return []
    sums = "sum(read), sum(kept), sum(duplicate), sum(rejected), sum(forgotten)"
    parts_of = "source, take, read, kept, duplicate, rejected, forgotten"
    takes = f"SELECT DISTINCT {parts_of} FROM {warehouse.relation('ingested')}"
    [(read, *parts)] = warehouse.engine.rows(f"SELECT {sums} FROM ({takes})")
    lost = (read or 0) - sum(int(each or 0) for each in parts)
    return [f"{lost:,} rows that were read are accounted for nowhere"] if lost else []


def _counted(warehouse: Warehouse, rollup: RollupSpec, day: date) -> int | None:
    """The rows that a rollup has counted on a day; None where it has no partial of the day, or is of another table."""
    cell = {"grain": "day", "start": str(day)}
    if rollup.source != "events" or warehouse.partition(rollup.table, cell) is None:
        return None
    definition = ledger(warehouse, rollup, start=day, end=day + timedelta(days=1)).definition
    [part] = definition.wide[definition.presence].lift
    column = state_column(definition.presence, part)
    stored = warehouse.relation(rollup.table, only=[cell])
    return int(_one(warehouse, f"SELECT coalesce(sum({column}), 0) FROM {stored}"))


def _kept(relation: str, spec: CheckSpec) -> str:
    return relation if spec.where is None else f"(SELECT * FROM {relation} WHERE {spec.where})"


def _one(warehouse: Warehouse, sql: str) -> Any:
    [(found,)] = warehouse.engine.rows(sql)
    return found
