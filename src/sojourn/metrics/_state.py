"""One row for each entity ever counted: yesterday's state and the day that closed come in, today's goes out."""

from collections.abc import Sequence
from datetime import date

from sojourn.metrics._counted import MONEY_SUM, UNKNOWN, Counted, portrait_key
from sojourn.metrics._definition import portrait_columns
from sojourn.metrics.spec import REMEMBERED_DAYS
from sojourn.rollups.grains import ONE_DAY
from sojourn.warehouse.engine import identifier, literal

STATE, NEXT, DAY, DAYS, FRESH = "_metric_state", "_metric_next", "_metric_day", "_metric_days", "_metric_fresh"
# All remembered days but the oldest, which leaves the bitmap as a new day comes in.
STAYING = (1 << (REMEMBERED_DAYS - 1)) - 1
TODAY = ("_events", "_sessions", "_purchases", "_gross", "_refunds", "_margin")


def kept_columns(counted: Counted) -> list[str]:
    """The columns of a state as it is stored."""
    names = ["first_day", "last_day", "first_paid_day", "active", "paid", "last_at", "revenue", "left_out"]
    return [counted.entity, *counted.dims, *names]


def stored_state(counted: Counted, as_of: date) -> str | None:
    """SQL to stand after FROM: the state as of a day, if it is stored and was made from what is counted now."""
    place = {"as_of": str(as_of)}
    mark = counted.marks.get(as_of - ONE_DAY)
    if mark is None or counted.warehouse.fingerprint_of(counted.board.state_table, place) != state_mark(mark):
        return None
    return counted.warehouse.relation(counted.board.state_table, only=[place])


def state_mark(mark: str) -> str:
    """The fingerprint of a state whose last day has this mark."""
    return f"state.{mark}"


def load(counted: Counted, relation: str) -> None:
    """Make a stored state the one that the next step starts from."""
    names = ", ".join(kept_columns(counted))
    counted.warehouse.engine.run(f"CREATE OR REPLACE TEMP TABLE {STATE} AS SELECT {names} FROM {relation}")


def leap(counted: Counted, day: date) -> None:
    """Make the state after `day` from the partials of all days at once, without the states of the days between."""
    engine, dims = counted.warehouse.engine, counted.board.dims
    days = [each for each in counted.found.every_day if each <= day]
    # A view: the partials of all days need not be in memory at once.
    engine.run(f"CREATE OR REPLACE TEMP VIEW {DAYS} AS {counted.day_query(days)}")
    seen = f"SELECT {counted.entity}, min(day) AS first_day FROM {DAYS} WHERE events > 0 GROUP BY ALL"
    _find_dims(counted, seen, rows=DAYS, days=days)
    dim_values = "".join(f", {_or_unknown(f'n.{identifier(name)}')} AS {identifier(name)}" for name in dims)
    back = f"(DATE '{day}' - day)"
    bit = f"CASE WHEN {{}} > 0 AND {back} < {REMEMBERED_DAYS} THEN CAST(1 AS BIGINT) << {back} ELSE 0 END"
    engine.run(
        f"CREATE OR REPLACE TEMP TABLE {STATE} AS SELECT s.{counted.entity}{dim_values}, s.* EXCLUDE "
        f"({counted.entity}), coalesce(n.left_out, false) AS left_out FROM (SELECT {counted.entity}, "
        f"min(day) FILTER (WHERE events > 0) AS first_day, max(day) FILTER (WHERE events > 0) AS last_day, "
        f"min(day) FILTER (WHERE purchases > 0) AS first_paid_day, bit_or({bit.format('events')}) AS active, "
        f"bit_or({bit.format('purchases')}) AS paid, max(last_at) AS last_at, "
        f"CAST(sum(gross - refunds) AS {MONEY_SUM}) AS revenue FROM {DAYS} GROUP BY {counted.entity}) AS s "
        f"LEFT JOIN {FRESH} AS n ON n.{counted.entity} = s.{counted.entity}"
    )


def step(counted: Counted, day: date) -> None:
    """Move the state on by a day, with what each entity did on it in columns `TODAY`."""
    engine = counted.warehouse.engine
    breaks = counted.breaks_query(day)
    broken = "" if breaks is None else f" LEFT JOIN ({breaks}) AS b ON b.{counted.entity} = c.{counted.entity}"
    ends = "CAST(0 AS BIGINT)" if breaks is None else "coalesce(b.breaks, 0)"
    engine.run(
        f"CREATE OR REPLACE TEMP TABLE {DAY} AS SELECT c.*, {ends} AS breaks FROM ({counted.day_query([day])}) AS c"
        f"{broken}"
    )
    known = f"SELECT 1 FROM {STATE} AS s WHERE s.{counted.entity} = d.{counted.entity} AND s.first_day IS NOT NULL"
    begun = f"SELECT d.{counted.entity}, d.day AS first_day FROM {DAY} AS d WHERE d.events > 0 AND NOT EXISTS ({known})"
    _find_dims(counted, begun, rows=DAY, days=[day])
    engine.run(f"CREATE OR REPLACE TEMP TABLE {NEXT} AS {_moved(counted, day)}")
    engine.run(f"DROP TABLE {STATE}")
    engine.run(f"ALTER TABLE {NEXT} RENAME TO {STATE}")


def _moved(counted: Counted, day: date) -> str:
    entity, today = counted.entity, f"DATE '{day}'"
    begins = "d.events > 0 AND s.first_day IS NULL"
    dims = "".join(
        f", CASE WHEN {begins} THEN {_or_unknown(f'n.{dim}')} ELSE coalesce(s.{dim}, '{UNKNOWN}') END AS {dim}"
        for dim in counted.dims
    )
    gap = counted.board.session_gap_minutes
    starts = (
        "0"
        if gap is None
        else f"CASE WHEN d.events > 0 THEN d.breaks + CASE WHEN d.first_at - s.last_at <= INTERVAL {gap} MINUTE "
        f"THEN 0 ELSE 1 END ELSE 0 END"
    )
    shifted = "((coalesce(s.{0}, 0) & {1}) << 1) | CASE WHEN d.{2} > 0 THEN 1 ELSE 0 END AS {0}"
    return (
        f"SELECT coalesce(s.{entity}, d.{entity}) AS {entity}{dims}, "
        f"coalesce(s.first_day, CASE WHEN d.events > 0 THEN {today} END) AS first_day, "
        f"CASE WHEN d.events > 0 THEN {today} ELSE s.last_day END AS last_day, "
        f"coalesce(s.first_paid_day, CASE WHEN d.purchases > 0 THEN {today} END) AS first_paid_day, "
        f"{shifted.format('active', STAYING, 'events')}, {shifted.format('paid', STAYING, 'purchases')}, "
        f"greatest(s.last_at, d.last_at) AS last_at, CAST(coalesce(s.revenue, 0) + coalesce(d.gross - d.refunds, 0) "
        f"AS {MONEY_SUM}) AS revenue, CASE WHEN {begins} THEN coalesce(n.left_out, false) "
        f"ELSE coalesce(s.left_out, false) END AS left_out, d.events AS _events, "
        f"CAST({starts} AS BIGINT) AS _sessions, d.purchases AS _purchases, d.gross AS _gross, "
        f"d.refunds AS _refunds, d.margin AS _margin "
        f"FROM {STATE} AS s FULL JOIN {DAY} AS d ON s.{entity} = d.{entity} "
        f"LEFT JOIN {FRESH} AS n ON n.{entity} = d.{entity}"
    )


def _find_dims(counted: Counted, fresh: str, *, rows: str, days: Sequence[date]) -> None:
    """Table `FRESH`: the dimensions of the entities that a query gives with their first active day, one of `days`.

    `rows` is the table of what was counted on these days.
    """
    board, entity = counted.board, counted.entity
    of_event = [f"d.{identifier(f'dim_{name}')} AS {identifier(name)}" for name in board.event_dims]
    of_portrait = [f"p.{identifier(name)}" for name in board.portrait_dims]
    marked = "false" if counted.flag is None else "p.left_out"
    found = ", ".join([f"f.{entity}", *of_portrait, *of_event, f"{marked} AS left_out"])
    first = f" LEFT JOIN {rows} AS d ON d.{entity} = f.{entity} AND d.day = f.first_day" if of_event else ""
    chosen = ""
    if of_portrait or counted.flag is not None:
        chosen = f" LEFT JOIN ({portraits_query(counted, 'fresh', days=days)}) AS p ON p.{entity} = f.{entity}"
    counted.warehouse.engine.run(
        f"CREATE OR REPLACE TEMP TABLE {FRESH} AS WITH fresh AS MATERIALIZED ({fresh}) "
        f"SELECT {found} FROM fresh AS f{first}{chosen}"
    )


def portraits_query(counted: Counted, fresh: str, *, days: Sequence[date]) -> str:
    """SQL for the portrait that stood at the end of `first_day` for each entity of `fresh` that has one.

    Of versions that overlap then the one that began last counts, and of those the first in the order of their values.
    """
    board, warehouse = counted.board, counted.warehouse
    columns = portrait_columns(warehouse, board.portraits)
    key = identifier(portrait_key(board, list(columns)))
    values = {identifier(name): f"CAST(u.{identifier(name)} AS VARCHAR)" for name in board.portrait_dims}
    mark = counted.flag
    left_out = "false" if mark is None else f"coalesce(CAST(u.{identifier(mark)} AS BOOLEAN), false)"
    ends = ", ".join(
        f"(DATE '{day}', TIMESTAMPTZ '{counted.instant_after(day).isoformat()}')" for day in days or [counted.first]
    )
    valid = ["u.valid_from < ends.until"] if "valid_from" in columns else []
    valid += ["(u.valid_to IS NULL OR u.valid_to >= ends.until)"] if "valid_to" in columns else []
    began = ["u.valid_from DESC NULLS LAST"] if "valid_from" in columns else []
    order = ", ".join([*began, *values.values(), left_out])
    # An entity of another type than the portraits' key is told by its text, which no id of theirs may be.
    same = f"CAST(u.{key} AS VARCHAR) = CAST(f.{counted.entity} AS VARCHAR)"
    taken = "".join(f", {value} AS {name}" for name, value in values.items())
    return (
        f"SELECT f.{counted.entity}{taken}, {left_out} AS left_out FROM {fresh} AS f "
        f"JOIN (VALUES {ends}) AS ends(day, until) ON ends.day = f.first_day "
        f"JOIN {warehouse.relation(board.portraits)} AS u ON {same} AND "
        f"{' AND '.join(valid) or 'true'} "
        f"QUALIFY row_number() OVER (PARTITION BY f.{counted.entity} ORDER BY {order}) = 1"
    )


def _or_unknown(value: str) -> str:
    return f"coalesce({value}, {literal(UNKNOWN)})"
