"""Acquisitions and the log come in; what each acquired cohort did and brought goes out, a partition a day."""

from collections.abc import Callable, Sequence
from datetime import date

from sojourn.core import BadInput, EngineError, fingerprint
from sojourn.metrics._acquired_sql import Attribution, declared
from sojourn.metrics._log import ONE_DAY, Log, open_log
from sojourn.metrics.acquisition_spec import AcquisitionSpec
from sojourn.metrics.attribution import ACQUIRED, DAYS_AT_ONCE, marks, rows_before, stored_days
from sojourn.metrics.rates import rate_marks, rated
from sojourn.warehouse import Warehouse

CUSTOMERS, VALUE = "metric_customers", "metric_acquired_value"
MONEY = "DECIMAL(18,4)"
SUMS = ("gross", "refunds", "revenue", "margin")
COUNTS = ("active", "paying", "new_customers")
KEYS = ("acquired_on", "channel", "campaign")


def write_acquired_value(warehouse: Warehouse, spec: AcquisitionSpec, *, as_of: date | None = None) -> list[date]:
    """Bring tables `metric_customers` and `metric_acquired_value` up to where `metric_acquired` is; the days built.

    `metric_customers` has a row for each acquisition on the `day` of its first row for which `spec.customer` holds:
    the entity and `acquired_on`. `metric_acquired_value` has one for each `acquired_on, channel, campaign` on each
    `day`, with `age` (days since acquisition), the entities that were `active` and `paying` on that day, its
    `new_customers`, and `gross`, `refunds`, `revenue` (the two together) and `margin` in the declared currency. What
    belongs to the latest acquisition by that day's end; rows of entities never acquired have NULL keys, so that the sum
    over all rows is the log's.
    """
    log = open_log(warehouse, as_of=as_of)
    attribution = declared(log, spec.attribution)
    log.need("amount", where="acquisition")
    log.usable(spec.customer, where="acquisition: customer")
    log.usable(f"CAST({spec.margin_sql} AS {MONEY})", where="acquisition: margin")
    wanted = marks(attribution)
    value = _Value(log, attribution, spec)
    customers = {day: fingerprint("customers", spec.customer, mark) for day, mark in wanted.items()}
    rates = rate_marks(warehouse) if value.is_rated else {}
    words = [spec.currency, spec.margin_sql, spec.customer]
    values = {day: fingerprint("value", *words, mark, rates.get(day, "")) for day, mark in wanted.items()}
    entity = spec.attribution.entity
    _put_stale(warehouse, spec, CUSTOMERS, wanted=customers, query=value.customers_query, order_by=[entity])
    return _put_stale(warehouse, spec, VALUE, wanted=values, query=value.query, order_by=KEYS)


def _put_stale(
    warehouse: Warehouse,
    spec: AcquisitionSpec,
    table: str,
    *,
    wanted: dict[date, str],
    query: Callable[[Sequence[date]], str],
    order_by: Sequence[str],
) -> list[date]:
    """Write the partitions whose fingerprint is not the wanted one, in order, some days a query; the days written."""
    with warehouse.writing(table) as writer:
        stored = stored_days(warehouse, spec, table)
        for day in sorted(set(stored) - set(wanted)):
            if day < max(wanted):
                writer.drop(spec.place(day))
        stale = [day for day, mark in wanted.items() if stored.get(day) != mark]
        for at in range(0, len(stale), DAYS_AT_ONCE):
            part = stale[at : at + DAYS_AT_ONCE]
            try:
                found = warehouse.engine.frame(query(part))
            except EngineError as fault:
                raise BadInput(f"acquisition: {table} cannot be made for {part[0]} to {part[-1]}: {fault}") from fault
            for day in part:
                rows = found.filter(found["day"] == day).drop("day")
                writer.put(spec.place(day), rows, order_by=order_by, fingerprint=wanted[day])
    return stale


class _Value:
    """The queries of some days, over a log and what has been attributed."""

    def __init__(self, log: Log, attribution: Attribution, spec: AcquisitionSpec) -> None:
        self.log, self.attribution, self.spec = log, attribution, spec
        self.is_rated = "currency" in log.columns

    def customers_query(self, days: Sequence[date]) -> str:
        """The acquisitions whose first row of a customer is on one of these days, with that `day`."""
        entity = self.attribution.entity
        rows = self.attribution.kept(self.log.rows(days))
        bought = f"SELECT {entity} AS entity, day FROM {rows} AS r WHERE {self.spec.customer} GROUP BY 1, 2"
        first = (
            f"SELECT entity AS {entity}, acquired_on, min(day) AS day FROM ({self._owned(bought, days)}) AS o "
            "WHERE acquired_on IS NOT NULL GROUP BY entity, acquired_on"
        )
        before = rows_before(self.log, self.spec, table=CUSTOMERS, end=days[0])
        if before is None:
            return first
        known = f"SELECT 1 FROM {before} AS k WHERE k.{entity} = f.{entity} AND k.acquired_on = f.acquired_on"
        return f"SELECT * FROM ({first}) AS f WHERE NOT EXISTS ({known})"

    def query(self, days: Sequence[date]) -> str:
        """What each cohort did on each of these days."""
        entity = self.attribution.entity
        new = self.log.warehouse.relation(CUSTOMERS, only=[self.spec.place(day) for day in days])
        sums = {
            "gross": f"sum(CASE WHEN amount > 0 THEN {self._money('amount')} END)",
            "refunds": f"sum(CASE WHEN amount < 0 THEN {self._money('amount')} END)",
            "revenue": f"sum({self._money('amount')})",
            "margin": f"sum({self._money(self.spec.margin_sql)})",
        }
        each = (
            f"SELECT {entity} AS entity, day, max(CASE WHEN {self.attribution.active} THEN 1 ELSE 0 END) AS active, "
            "max(CASE WHEN amount > 0 THEN 1 ELSE 0 END) AS paying, "
            f"{', '.join(f'coalesce({text}, 0) AS {name}' for name, text in sums.items())} "
            f"FROM {self._rated(days)} AS r GROUP BY 1, 2"
        )
        keys = ", ".join(f"o.{key}" for key in ("day", *KEYS))
        totals = [f"CAST(sum(o.{name}) AS DECIMAL(38,4)) AS {name}" for name in SUMS]
        return (
            f"SELECT {keys}, CAST({self.log.sql.days_between('o.acquired_on', 'o.day')} AS INTEGER) AS age, "
            "CAST(sum(active) AS BIGINT) AS active, CAST(sum(paying) AS BIGINT) AS paying, "
            f"count(n.{entity}) AS new_customers, {', '.join(totals)} FROM ({self._owned(each, days)}) AS o "
            f"LEFT JOIN {new} AS n ON n.{entity} = o.entity AND n.day = o.day GROUP BY {keys}"
        )

    def _rated(self, days: Sequence[date]) -> str:
        rows = self.attribution.kept(self.log.rows(days))
        if not self.is_rated:
            return rows
        return rated(self.log.warehouse, rows, currency=self.spec.currency, what="events")

    def _money(self, amount: str) -> str:
        return f"CAST(CAST({amount} AS {MONEY}) * rate AS {MONEY})" if self.is_rated else f"CAST({amount} AS {MONEY})"

    def _owned(self, each: str, days: Sequence[date]) -> str:
        """Rows of entities and days with the latest acquisition by that day's end: its `acquired_on` and from where."""
        relation = rows_before(self.log, self.spec, table=ACQUIRED, end=days[-1] + ONE_DAY)
        columns = f"{self.attribution.entity} AS who, day AS acquired_on, channel, campaign, acquisition"
        acquired = f"SELECT {columns} FROM {relation}"
        joined = (
            f"SELECT e.*, a.* FROM ({each}) AS e LEFT JOIN ({acquired}) AS a ON who = entity AND acquired_on <= day"
        )
        if self.spec.attribution.reinstall_gap_days is None:
            return joined
        latest = "row_number() OVER (PARTITION BY entity, day ORDER BY acquisition DESC NULLS LAST) AS place"
        return f"SELECT * FROM (SELECT *, {latest} FROM ({joined}) AS j) AS placed WHERE place = 1"
