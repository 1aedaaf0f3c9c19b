"""A board's acquisition tables come in; what must hold of them, and whether it does, goes out."""

from decimal import Decimal
from typing import Any

from sojourn.core import BadInput
from sojourn.metrics._acquired_sql import declared
from sojourn.metrics._log import ONE_DAY, open_log
from sojourn.metrics.acquired_value import CUSTOMERS, VALUE
from sojourn.metrics.acquisition import COHORTS, PERIODS
from sojourn.metrics.acquisition_spec import AcquisitionSpec
from sojourn.metrics.attribution import ACQUIRED, marks, stored_days
from sojourn.metrics.costs import daily_costs
from sojourn.rollups import Check
from sojourn.rollups.findings import told
from sojourn.warehouse import Warehouse

MEND = "Make it anew: sojourn metrics acquisition"


def check_acquisition(warehouse: Warehouse, spec: AcquisitionSpec) -> list[Check]:
    """Every check of one board. Nothing is written.

    - *attributed*: every day was attributed from what the log holds now;
    - *conserved*: revenue and refunds of all cohorts and of nobody's are the log's (where the log has one currency);
    - *acquired*: acquisitions add up to the days', weeks' and months' acquired users;
    - *costs*: the costs of each grain are those that were spent since the log began;
    - *parts*: no more active or customers than there were acquired.

    Raises `BadInput` before the first run.
    """
    days = stored_days(warehouse, spec, VALUE)
    if not days:
        raise BadInput(f"acquisition: board {spec.name!r} has no tables yet. Make them: sojourn metrics acquisition")
    found = _Found(warehouse, spec)
    return [found.attributed(), found.conserved(), found.acquired(), found.costs(), found.parts()]


class _Found:
    """A board as it stands."""

    def __init__(self, warehouse: Warehouse, spec: AcquisitionSpec) -> None:
        self.warehouse, self.spec = warehouse, spec
        days = stored_days(warehouse, spec, VALUE)
        self.first, self.end = min(days), max(days) + ONE_DAY
        self.log = open_log(warehouse, as_of=self.end)
        self.attribution = declared(self.log, spec.attribution)

    def attributed(self) -> Check:
        """Every day's fingerprint is that of the log up to it."""
        wanted, stored = marks(self.attribution), stored_days(self.warehouse, self.spec, ACQUIRED)
        stale = [day for day in sorted({*wanted, *stored}) if day < self.end and wanted.get(day) != stored.get(day)]
        wrong = [
            f"{day} was attributed from other rows or another definition than there are now. {MEND}" for day in stale
        ]
        return Check("attributed", ACQUIRED, len(wanted), "days", told(wrong))

    def conserved(self) -> Check:
        """Money of the value table and of the log, day by day."""
        if "currency" in self.log.columns:
            return Check("conserved", VALUE, 0, "days", skipped="the log has a column of currencies")
        rows = self.attribution.kept(self.log.rows(list(self.log.days)))
        ours = f"SELECT day, sum(revenue) AS revenue, sum(refunds) AS refunds FROM {self._relation(VALUE)} GROUP BY 1"
        theirs = (
            "SELECT day, coalesce(sum(CAST(amount AS DECIMAL(18,4))), 0) AS revenue, "
            "coalesce(sum(CASE WHEN amount < 0 THEN CAST(amount AS DECIMAL(18,4)) END), 0) AS refunds "
            f"FROM {rows} AS r GROUP BY 1"
        )
        differ = self.warehouse.engine.rows(
            f"SELECT l.day, l.revenue, v.revenue FROM ({theirs}) AS l LEFT JOIN ({ours}) AS v ON v.day = l.day "
            "WHERE v.day IS NULL OR l.revenue <> v.revenue OR l.refunds <> v.refunds ORDER BY 1"
        )
        wrong = [f"{day}: cohorts have {mine}, the log has {log}. {MEND}" for day, log, mine in differ]
        return Check("conserved", VALUE, len(self.log.days), "days", told(wrong))

    def acquired(self) -> Check:
        """The sums of each grain beside the rows of the table of acquisitions."""
        [(rows,)] = self.warehouse.engine.rows(f"SELECT count(*) FROM {self._relation(ACQUIRED)}")
        return self._sums("acquired", "metric_acquired_users", Decimal(rows))

    def costs(self) -> Check:
        """The sums of each grain beside the costs."""
        if not self.warehouse.has(self.spec.costs):
            return Check(
                "costs", "metric_acquisition_cost", 0, "grains", skipped=f"there is no table {self.spec.costs!r}"
            )
        spent = daily_costs(self.warehouse, self.spec, as_of=self.end)
        total = spent.filter(spent["day"] >= self.first)["cost"].sum()
        return self._sums("costs", "metric_acquisition_cost", Decimal(total or 0))

    def parts(self) -> Check:
        """Shares do not exceed one."""
        wrong, looked = [], 0
        for name, what in (("acquired_retention", "active"), ("cac", "customers")):
            table = f"metric_{name}"
            if not self.warehouse.has(table):
                continue
            looked += 1
            if name == "cac":
                over = (
                    f"SELECT count(*) FROM {self._relation(CUSTOMERS)} AS c LEFT JOIN {self._relation(ACQUIRED)} AS a "
                    f"ON a.{self.attribution.entity} = c.{self.attribution.entity} AND a.day = c.acquired_on "
                    f"WHERE a.day IS NULL OR c.day < a.day"
                )
            else:
                over = f"SELECT count(*) FROM {self._relation(table)} WHERE numerator > denominator"
            [(rows,)] = self.warehouse.engine.rows(over)
            if rows:
                wrong.append(f"{table} has {rows:,} cells with more {what} than acquired. {MEND}")
        return Check(
            "parts", " and ".join(each.name for each in (PERIODS[3], COHORTS[0])), looked, "metrics", told(wrong)
        )

    def _sums(self, check: str, table: str, wanted: Decimal) -> Check:
        sums: list[tuple[Any, ...]] = self.warehouse.engine.rows(
            f"SELECT grain, sum(numerator) FROM {self._relation(table)} GROUP BY grain ORDER BY grain"
        )
        wrong = [
            f"by {grain} there are {mine}, not {wanted}. {MEND}" for grain, mine in sums if Decimal(mine) != wanted
        ]
        return Check(check, table, len(sums), "grains", told(wrong))

    def _relation(self, table: str) -> str:
        places = [place for place in self.warehouse.places(table) if place["board"] == self.spec.name]
        return self.warehouse.relation(table, only=places)
