"""Acquisitions and the log come in; what each acquired cohort did and brought goes out, a partition a day."""

from collections.abc import Callable, Sequence
from datetime import date

from sojourn.core import BadInput, EngineError, fingerprint
from sojourn.metrics._acquired_sql import Attribution, declared
from sojourn.metrics._log import ONE_DAY, Log, open_log
from sojourn.metrics.acquisition_spec import AcquisitionSpec
from sojourn.metrics.attribution import ACQUIRED, marks, rows_before, stored_days
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
    query: Callable[[date], str],
    order_by: Sequence[str],
) -> list[date]:
    """Write the partitions whose fingerprint is not the wanted one, in order; the days written."""
    with warehouse.writing(table) as writer:
        stored = stored_days(warehouse, spec, table)
        for day in sorted(set(stored) - set(wanted)):
            if day < max(wanted):
                writer.drop(spec.place(day))
        stale = [day for day, mark in wanted.items() if stored.get(day) != mark]
        for day in stale:
            try:
                writer.put(spec.place(day), query(day), order_by=order_by, fingerprint=wanted[day])
            except EngineError as fault:
                raise BadInput(f"acquisition: table {table!r} cannot be made for day {day}: {fault}") from fault
    return stale


class _Value:
    """The queries of one day, over a log and what has been attributed."""

    def __init__(self, log: Log, attribution: Attribution, spec: AcquisitionSpec) -> None:
        self.log, self.attribution, self.spec = log, attribution, spec
        self.is_rated = "currency" in log.columns

    def customers_query(self, day: date) -> str:
        """The acquisitions whose first row of a customer is on this day."""
        entity = self.attribution.entity
        bought = f"SELECT {entity} AS entity FROM {self._rows(day)} AS r WHERE {self.spec.customer} GROUP BY 1"
        found = (
            f"SELECT b.entity AS {entity}, o.acquired_on FROM ({bought}) AS b "
            f"JOIN ({self._owners(day)}) AS o ON o.entity = b.entity"
        )
        before = rows_before(self.log, self.spec, table=CUSTOMERS, end=day)
        if before is None:
            return found
        known = f"SELECT 1 FROM {before} AS k WHERE k.{entity} = f.{entity} AND k.acquired_on = f.acquired_on"
        return f"SELECT * FROM ({found}) AS f WHERE NOT EXISTS ({known})"

    def query(self, day: date) -> str:
        """What each cohort did on this day."""
        entity = self.attribution.entity
        new = self.log.warehouse.relation(CUSTOMERS, only=[self.spec.place(day)])
        sums = {
            "gross": f"sum(CASE WHEN amount > 0 THEN {self._money('amount')} END)",
            "refunds": f"sum(CASE WHEN amount < 0 THEN {self._money('amount')} END)",
            "revenue": f"sum({self._money('amount')})",
            "margin": f"sum({self._money(self.spec.margin_sql)})",
        }
        each = (
            f"SELECT {entity} AS entity, max(CASE WHEN {self.attribution.active} THEN 1 ELSE 0 END) AS active, "
            "max(CASE WHEN amount > 0 THEN 1 ELSE 0 END) AS paying, "
            f"{', '.join(f'coalesce({text}, 0) AS {name}' for name, text in sums.items())} "
            f"FROM {self._rated(day)} AS r GROUP BY 1"
        )
        age = self.log.sql.days_between("o.acquired_on", f"DATE '{day}'")
        totals = [f"CAST(sum(e.{name}) AS DECIMAL(38,4)) AS {name}" for name in SUMS]
        return (
            f"SELECT {', '.join(f'o.{key}' for key in KEYS)}, CAST({age} AS INTEGER) AS age, "
            "CAST(sum(active) AS BIGINT) AS active, CAST(sum(paying) AS BIGINT) AS paying, "
            f"count(n.{entity}) AS new_customers, {', '.join(totals)} FROM ({each}) AS e "
            f"LEFT JOIN ({self._owners(day)}) AS o ON o.entity = e.entity "
            f"LEFT JOIN {new} AS n ON n.{entity} = e.entity "
            f"GROUP BY {', '.join(f'o.{key}' for key in KEYS)}"
        )

    def _rows(self, day: date) -> str:
        return self.attribution.kept(self.log.rows([day]))

    def _rated(self, day: date) -> str:
        if not self.is_rated:
            return self._rows(day)
        return rated(self.log.warehouse, self._rows(day), currency=self.spec.currency, what="events")

    def _money(self, amount: str) -> str:
        return f"CAST(CAST({amount} AS {MONEY}) * rate AS {MONEY})" if self.is_rated else f"CAST({amount} AS {MONEY})"

    def _owners(self, day: date) -> str:
        """The latest acquisition of each entity by the end of this day."""
        relation = rows_before(self.log, self.spec, table=ACQUIRED, end=day + ONE_DAY)
        entity = self.attribution.entity
        columns = f"{entity} AS entity, day AS acquired_on, channel, campaign"
        if self.spec.attribution.reinstall_gap_days is None:
            return f"SELECT {columns} FROM {relation}"
        latest = f"row_number() OVER (PARTITION BY {entity} ORDER BY acquisition DESC) AS place"
        return f"SELECT * FROM (SELECT {columns}, {latest} FROM {relation}) AS placed WHERE place = 1"
