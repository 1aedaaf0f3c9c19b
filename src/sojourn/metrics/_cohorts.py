"""The state of a day comes in; what each cohort did on it, and in its week and month so far, goes out."""

from datetime import date

from sojourn.metrics._counted import MONEY_SUM, UNKNOWN, Counted
from sojourn.metrics._periods import Period, start_sql
from sojourn.metrics._state import STATE
from sojourn.metrics.catalogue import Grain, served
from sojourn.warehouse.engine import identifier

DISTINCT = ("size", "active", "new", "returning", "resurrected", "dormant", "paying", "paying_active")
ROLLING = ("active_7d", "active_28d")
WHOLE = ("active_days", "active_28d_days", "events", "sessions", "purchases", "excluded_rule", "excluded_test")
MONEY = ("gross", "refunds", "revenue", "margin")
ADDED = (*WHOLE, *MONEY)
COLUMNS = (*DISTINCT, *ROLLING, *ADDED)


def cohorts_name(grain: Grain) -> str:
    """The name under which the cohorts of this grain are seen while a day is made."""
    return f"_metric_cohorts_{grain}"


def make_day(counted: Counted, period: Period) -> None:
    """The cohorts of a day, from the state after it with what was done on it."""
    entities = _entities(counted, period)
    today = {
        "events": "coalesce(CAST(sum(_events) AS BIGINT), 0)",
        "sessions": "coalesce(CAST(sum(_sessions) AS BIGINT), 0)",
        "purchases": "coalesce(CAST(sum(_purchases) AS BIGINT), 0)",
        "gross": f"CAST(coalesce(sum(_gross), 0) AS {MONEY_SUM})",
        "refunds": f"CAST(coalesce(sum(_refunds), 0) AS {MONEY_SUM})",
        "margin": f"CAST(coalesce(sum(_margin), 0) AS {MONEY_SUM})",
    }
    summed = ", ".join(f"{sql} AS {name}" for name, sql in today.items())
    more = f"active AS active_days, active_28d AS active_28d_days, CAST(gross - refunds AS {MONEY_SUM}) AS revenue"
    counts = entities.format(more=f", {summed}")
    rows = f"SELECT *, {more}, 0 AS excluded_rule, 0 AS excluded_test FROM ({counts})"
    _keep(counted, period, _with_excluded(counted, period.last, rows))


def make_longer(counted: Counted, period: Period) -> None:
    """The cohorts of a week or month so far: distinct entities from the state, sums from the days' cohorts."""
    zeros = ", ".join(f"0 AS {identifier(name)}" for name in ADDED)
    distinct = f"SELECT *, {zeros} FROM ({_entities(counted, period).format(more='')})"
    none = ", ".join(f"0 AS {identifier(name)}" for name in (*DISTINCT, *ROLLING))
    cohort = start_sql("cohort", period.grain, week_start=counted.found.definition.first_weekday)
    keys = ", ".join([f"{cohort} AS cohort", *counted.dims])
    sums = f"SELECT {keys}, {none}, {', '.join(ADDED)} FROM ({_days_of(counted, period)})"
    _keep(counted, period, f"SELECT * FROM ({distinct}) UNION ALL BY NAME SELECT * FROM ({sums})")


def _entities(counted: Counted, period: Period) -> str:
    """Distinct entities by cohort and dimensions, who are not left out; `{more}` are further sums over them."""
    closed, before = period.closed_mask, period.before_mask
    here, there = f"(active & {closed}) <> 0", f"(active & {before}) <> 0"
    cohort = start_sql("first_day", period.grain, week_start=counted.found.definition.first_weekday)
    found = {
        "size": "count(first_day)",
        "active": f"count(*) FILTER ({here})",
        "returning": f"count(*) FILTER ({here} AND {there})",
        "dormant": f"count(*) FILTER (NOT ({here}) AND {there})",
        "paying": f"count(*) FILTER ((paid & {closed}) <> 0)",
        "paying_active": f"count(*) FILTER ((paid & {closed}) <> 0 AND {here})",
        "active_7d": f"count(*) FILTER ((active & {(1 << 7) - 1}) <> 0)",
        "active_28d": f"count(*) FILTER ((active & {(1 << 28) - 1}) <> 0)",
    }
    counts = ", ".join(f"{sql} AS {identifier(name)}" for name, sql in found.items())
    keys = ", ".join([f"{cohort} AS cohort", *counted.dims])
    new = f"CASE WHEN cohort = DATE '{period.start}' THEN active ELSE 0 END"
    grouped = f"SELECT {keys}, {counts}{{more}} FROM {STATE} WHERE NOT left_out GROUP BY ALL"
    back = identifier("returning")
    return f"SELECT *, {new} AS new, active - {back} - {new} AS resurrected FROM ({grouped})"


def _with_excluded(counted: Counted, day: date, rows: str) -> str:
    board = counted.board
    if "exclusions" not in served(board):
        return rows
    dims = "".join(f", '{UNKNOWN}' AS {name}" for name in counted.dims)
    zeros = ", ".join(f"0 AS {identifier(name)}" for name in COLUMNS if not name.startswith("excluded_"))
    tests = f"SELECT coalesce(CAST(sum(_events) AS BIGINT), 0) FROM {STATE} WHERE left_out"
    left_out = (
        f"SELECT CAST(NULL AS DATE) AS cohort{dims}, {zeros}, ({counted.excluded_query(day)}) AS excluded_rule, "
        f"({tests}) AS excluded_test"
    )
    return f"SELECT * FROM ({rows}) UNION ALL BY NAME SELECT * FROM ({left_out})"


def _days_of(counted: Counted, period: Period) -> str:
    """The cohorts of each closed day of a period: those stored, and today's."""
    names = ", ".join(["cohort", *counted.dims, *ADDED])
    today = f"SELECT {names} FROM {cohorts_name('day')}"
    table = counted.board.cohorts_table
    stored = [
        place
        for place in counted.warehouse.places(table)
        if place["grain"] == "day" and str(max(period.start, counted.first)) <= place["start"] < str(period.last)
    ]
    if not stored:
        return today
    return f"{today} UNION ALL SELECT {names} FROM {counted.warehouse.relation(table, only=stored)}"


def _keep(counted: Counted, period: Period, rows: str) -> None:
    """Sum rows of equal cohort and dimensions, in the types and the order of the stored table."""
    kinds = dict.fromkeys(COLUMNS, "BIGINT") | dict.fromkeys(MONEY, MONEY_SUM)
    sums = ", ".join(f"CAST(sum({identifier(name)}) AS {kinds[name]}) AS {identifier(name)}" for name in COLUMNS)
    keys = ", ".join(["cohort", *counted.dims])
    counted.warehouse.engine.run(
        f"CREATE OR REPLACE TEMP TABLE {cohorts_name(period.grain)} AS SELECT {keys}, {sums} FROM ({rows}) "
        f"GROUP BY ALL HAVING {' OR '.join(f'sum({name}) <> 0' for name in ('size', *ADDED))}"
    )


def unbounded_query(counted: Counted, period: Period) -> str:
    """SQL for `cohort`, dimensions, `age`, how many came back at that age or later, the size, and whether it is mature.

    Of the state after `period.last`; of ages that all entities of the cohort have reached.
    """
    board = counted.board
    cohort = start_sql("first_day", period.grain, week_start=counted.found.definition.first_weekday)
    keys = ", ".join(["cohort", *counted.dims])
    counts = ", ".join(f'count(*) FILTER (stayed >= {age}) AS "{age}"' for age in board.unbounded_ages)
    stayed = f"SELECT {', '.join([f'{cohort} AS cohort', *counted.dims])}, last_day - first_day AS stayed FROM {STATE}"
    wide = f"SELECT {keys}, count(*) AS size, {counts} FROM ({stayed} WHERE NOT left_out AND first_day IS NOT NULL)"
    ages = ", ".join(f'"{age}"' for age in board.unbounded_ages)
    long = f"UNPIVOT ({wide} GROUP BY ALL) ON {ages} INTO NAME age VALUE numerator"
    reached = f"(DATE '{period.last}' - {_last_of('cohort', period.grain)})"
    return (
        f"SELECT {keys}, CAST(age AS INTEGER) AS age, numerator, size AS denominator, "
        f"{reached} >= CAST(age AS INTEGER) + {board.unbounded_wait_days} AS mature FROM ({long}) "
        f"WHERE {reached} >= CAST(age AS INTEGER)"
    )


def bracket_query(counted: Counted, day: date) -> str | None:
    """SQL for `cohort`, dimensions, `age`, `bracket` and how many were active within it, of brackets that end that day.

    None where no cohort can be so old yet.
    """
    parts = []
    for first, last in counted.board.brackets:
        if (day - counted.first).days < last:
            continue
        mask = (1 << (last - first + 1)) - 1
        names = "".join(f", {name}" for name in counted.dims)
        parts.append(
            f"SELECT first_day AS cohort{names}, {first} AS age, '{first}-{last}' AS bracket, "
            f"count(*) FILTER ((active & {mask}) <> 0) AS numerator, count(*) AS denominator, true AS mature "
            f"FROM {STATE} WHERE NOT left_out AND first_day = DATE '{day}' - {last} GROUP BY ALL"
        )
    return " UNION ALL ".join(parts) or None


def _last_of(cohort: str, grain: Grain) -> str:
    if grain == "month":
        return f"last_day({cohort})"
    return f"({cohort} + 6)" if grain == "week" else cohort
