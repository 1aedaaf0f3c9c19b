"""Where each metric lies: its table held in memory by grain, and the SQL that makes of it rows of one shape."""

from dataclasses import dataclass

from sojourn.core import MissingTable
from sojourn.dashboard.reader import Reader
from sojourn.dashboard.spec import Grain
from sojourn.metrics import ACQUISITION_METRICS, METRICS, MetricSpec
from sojourn.warehouse.engine import literal

CATALOGUE: dict[str, MetricSpec] = {**METRICS, **ACQUISITION_METRICS}
FUNNEL = "funnel_"
PARTS = ("cohort", "age", "state", "bracket", "step", "step_name")
# What is no dimension among the columns of any table of metrics.
OTHERS = {*PARTS, "board", "grain", "start", "metric", "funnel", "value", "numerator", "denominator", "mature"}
AGES = {
    "day": "start - cohort",
    "week": "(start - cohort) // 7",
    "month": "(year(start) - year(cohort)) * 12 + month(start) - month(cohort)",
}


@dataclass(frozen=True)
class Home:
    """Where a metric lies: its table, whether that holds several boards, and the rows that are the metric's."""

    table: str
    has_boards: bool
    where: str | None = None
    numerator: str = "numerator"
    denominator: str = "denominator"

    @property
    def is_cohorts(self) -> bool:
        """Whether the table holds cohorts with a column for each sum, and no ages."""
        return self.numerator != "numerator"


def home_of(name: str, *, board: str) -> Home:
    """The home of a metric of a board, by its name."""
    if name in ACQUISITION_METRICS:
        return Home(f"metric_{name}", has_boards=True)
    if name.startswith(FUNNEL):
        told = f"funnel = {literal(name.removeprefix(FUNNEL))}"
        return Home(f"metric_funnels_{board}", has_boards=False, where=told)
    spec = METRICS[name]
    if spec.shape == "cohort":
        table, below = f"metric_cohorts_{board}", spec.denominator or "NULL"
        return Home(table, has_boards=False, where="cohort IS NOT NULL", numerator=spec.numerator, denominator=below)
    if spec.shape == "unbounded":
        return Home(f"metric_unbounded_{board}", has_boards=False)
    return Home(f"metric_values_{board}", has_boards=False, where=f"metric = {literal(name)}")


def is_ratio(name: str) -> bool:
    """Whether a metric's value is its numerator over its denominator; every funnel is a ratio."""
    return name.startswith(FUNNEL) or CATALOGUE[name].kind == "ratio"


def places_of(reader: Reader, name: str, *, grain: Grain | None = None) -> list[dict[str, str]]:
    """The partitions that hold a metric of the dashboard's board, in order."""
    home, board = home_of(name, board=reader.spec.board), reader.spec.board
    every = reader.kept(f"places/{home.table}", tables=[home.table], make=lambda: reader.warehouse.places(home.table))
    return [
        place
        for place in every
        if (not home.has_boards or place["board"] == board) and (grain is None or place["grain"] == grain)
    ]


def held_of(reader: Reader, name: str, *, grain: Grain) -> str:
    """The table in memory that holds the metric by this grain. Raises `MissingTable`."""
    home = home_of(name, board=reader.spec.board)
    places = places_of(reader, name, grain=grain)
    if not places:
        verb = "acquisition" if home.has_boards else "backfill"
        raise MissingTable(
            f"Board {reader.spec.board!r} has no metric {name!r} by {grain} yet. Make it: sojourn metrics {verb}"
        )
    drop = "grain, board" if home.has_boards else "grain"

    def query() -> str:
        return f"SELECT * EXCLUDE ({drop}) FROM {reader.warehouse.relation(home.table, only=places)}"

    return reader.held(f"{home.table}/{grain}", tables=[home.table], query=query)


def dims_of_metric(reader: Reader, name: str, *, grain: Grain) -> list[str]:
    """The dimensions by which a metric is told."""
    columns = reader.columns(held_of(reader, name, grain=grain))
    return [column for column, kind in columns.items() if kind == "VARCHAR" and column not in OTHERS]


def rows_of(reader: Reader, name: str, *, grain: Grain) -> str:
    """SQL in brackets for a metric's finest rows: `start`, dimensions, parts, `numerator`, `denominator`, `mature`."""
    home = home_of(name, board=reader.spec.board)
    held = held_of(reader, name, grain=grain)
    where = f" WHERE {home.where}" if home.where else ""
    if not home.is_cohorts:
        return f"(SELECT * FROM {held}{where})"
    dims = "".join(f', "{dim}"' for dim in dims_of_metric(reader, name, grain=grain))
    return (
        f"(SELECT start{dims}, cohort, ({AGES[grain]})::INTEGER AS age, {home.numerator} AS numerator, "
        f"{home.denominator} AS denominator, mature FROM {held}{where})"
    )
