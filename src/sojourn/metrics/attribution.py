"""The event log and a declared attribution come in; table `metric_acquired`, who came when and from where, goes out."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from sojourn.core import BadInput, fingerprint
from sojourn.metrics._acquired_sql import Attribution, acquired_query, declared, refuse_overlaps
from sojourn.metrics._log import ONE_DAY, Log, open_log
from sojourn.metrics.acquisition_spec import AcquisitionSpec
from sojourn.warehouse import Warehouse

ACQUIRED = "metric_acquired"
# So many days are attributed in one query: their new entities pass through memory.
DAYS_AT_ONCE = 31


@dataclass(frozen=True)
class AcquiredReport:
    """What attribution did: the days it built, those that were current, and the test accounts that it left out."""

    table: str
    built: tuple[date, ...]
    current: int
    test_accounts: int


def write_acquired(warehouse: Warehouse, spec: AcquisitionSpec, *, as_of: date | None = None) -> AcquiredReport:
    """Bring table `metric_acquired` up to the last day before `as_of` (default: of the log).

    One partition per board and `day` of acquisition, with the columns: the entity, `acquired_at`, `acquisition` (1, 2,
    ...; more than 1 only with a reinstall gap), `channel`, `campaign`, `touch_at` (NULL for organic and for first-touch
    columns).

    A day depends on the log up to its end alone. So a new day costs that day and its lookback, and a late row rebuilds
    from its day on. Raises `MissingTable`, `MissingColumn`, and `BadInput` for touch rules that overlap.
    """
    log = open_log(warehouse, as_of=as_of)
    attribution = declared(log, spec.attribution)
    wanted = marks(attribution)
    with warehouse.writing(ACQUIRED) as writer:
        stored = stored_days(warehouse, spec, ACQUIRED)
        stale = [day for day, mark in wanted.items() if stored.get(day) != mark]
        for day in sorted(set(stored) - set(wanted)):
            if as_of is None or day < as_of:
                writer.drop(spec.place(day))
        stale = [day for day in wanted if day >= stale[0]] if stale else []
        for at in range(0, len(stale), DAYS_AT_ONCE):
            part = stale[at : at + DAYS_AT_ONCE]
            refuse_overlaps(attribution, part)
            found = warehouse.engine.frame(_query(attribution, spec, part))
            for day in part:
                rows = found.filter(found["day"] == day).drop("day")
                writer.put(spec.place(day), rows, order_by=[spec.attribution.entity], fingerprint=wanted[day])
    left_out = (
        warehouse.engine.rows(f"SELECT count(*) FROM ({attribution.test_accounts()})") if attribution.flag else []
    )
    return AcquiredReport(
        ACQUIRED, tuple(stale), current=len(wanted) - len(stale), test_accounts=sum(n for (n,) in left_out)
    )


def need_activity(warehouse: Warehouse, spec: AcquisitionSpec, *, as_of: date | None = None) -> None:
    """Raise `BadInput` when no row of the log's days before `as_of` starts an acquisition."""
    log = open_log(warehouse, as_of=as_of)
    attribution = declared(log, spec.attribution)
    rows = attribution.kept(log.rows(list(log.days)))
    if not log.warehouse.engine.rows(f"SELECT 1 AS found FROM {rows} AS r WHERE {attribution.active} LIMIT 1"):
        how = spec.attribution
        told = f"active = {how.active!r}" if how.active else "every row that is no touch is activity"
        raise BadInput(
            f"attribution: no row of table 'events' up to {max(log.days)} makes any {how.entity} active ({told}), so "
            f"nobody is ever acquired. Mend active, touches or entity in [acquisition.boards.{spec.name}.attribution]."
        )


def marks(attribution: Attribution) -> dict[date, str]:
    """The fingerprint of each day's acquisitions: of the definition, and of the log up to that day."""
    mark, found = fingerprint("acquired", attribution.spec.to_json(), attribution.beside()), {}
    for day, of_day in attribution.log.days.items():
        mark = fingerprint(mark, str(day), of_day)
        found[day] = mark
    return found


def stored_days(warehouse: Warehouse, spec: AcquisitionSpec, table: str) -> dict[date, str]:
    """The fingerprints of a board's days in one of its tables."""
    found = warehouse.partitions(table, keep=lambda place: place["board"] == spec.name)
    return {date.fromisoformat(info.partition["day"]): info.fingerprint for info in found}


def rows_before(log: Log, spec: AcquisitionSpec, *, table: str, end: date) -> str | None:
    """The relation of a board's rows in one of its tables of the log's days before `end`; None when there are none."""
    places = [spec.place(day) for day in log.days if day < end]
    return log.warehouse.relation(table, only=places) if places else None


def _query(attribution: Attribution, spec: AcquisitionSpec, days: Sequence[date]) -> str:
    known = rows_before(attribution.log, spec, table=ACQUIRED, end=days[0])
    return acquired_query(attribution, start=days[0], end=days[-1] + ONE_DAY, known=known)
