"""Day partials in, habits of a user out: for how long, how often, how regularly, how much at a time, how lately."""

from collections.abc import Iterator, Sequence
from datetime import date
from decimal import Decimal

from sojourn.features.spec import FeatureSpec
from sojourn.rollups import state_column
from sojourn.rollups.dialect import Dialect

HALF_LIVES_DAYS = (14, 60)
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
Columns = dict[str, str]


def habit_query(spec: FeatureSpec, relation: str, *, as_ofs: Sequence[date], history_days: int, sql: Dialect) -> str:
    """SQL for the habits of every user seen before each `as_of`: `user_id`, `as_of`, the columns of `habits`.

    Reads all day partials in `relation`, whose days reach at most `history_days` back from the last `as_of`. Sums are
    over whole numbers and decimals, so that the order of rows changes nothing.
    """
    looks = sql.values([f"(DATE '{as_of}')" for as_of in sorted(set(as_ofs))])
    seen = f"gaps JOIN ({looks}) AS looks(as_of) ON start < as_of"
    return _query(spec, relation, keys=("user_id",), seen=seen, history_days=history_days, sql=sql)


def known_habit_query(spec: FeatureSpec, relation: str, *, history_days: int, sql: Dialect) -> str:
    """The same from a relation that has the days as they were known from each `as_of`, in a column `as_of`."""
    return _query(spec, relation, keys=("user_id", "as_of"), seen="gaps", history_days=history_days, sql=sql)


def _query(spec: FeatureSpec, relation: str, *, keys: Sequence[str], seen: str, history_days: int, sql: Dialect) -> str:
    weights = ", ".join(f"_weight_{days}" for days in HALF_LIVES_DAYS)
    columns = ", ".join(f"{expression} AS {name}" for name, expression in habits(spec).items())
    return (
        f"WITH ages(_age, {weights}) AS ({sql.values(list(_ages(history_days)))}), "
        f"days AS (SELECT {', '.join([*keys, *_day_columns(spec, sql)])} FROM {relation} WHERE user_id IS NOT NULL), "
        f"gaps AS (SELECT {', '.join(_gap_columns(spec, sql))} FROM days WINDOW earlier AS "
        f"(PARTITION BY {', '.join(keys)} ORDER BY start ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)), "
        f"seen AS (SELECT * FROM {seen} JOIN ages ON _age = {sql.days_between('start', 'as_of')}) "
        f"SELECT user_id, as_of, {columns} FROM seen GROUP BY user_id, as_of"
    )


def habits(spec: FeatureSpec) -> Columns:
    """The habits as SQL over a user's days: names and expressions.

    - for each count, sum and number of active days: all there is, and that per day of tenure.
    - `tenure_days`: since the first row of any kind.
    - for each rhythm: days since the first and the last active day, mean, spread, longest and last gap between active
      days, and the present gap as a multiple of the mean one; for the first rhythm the share of each weekday.
    - for each sum: per day with any, the mean, the spread, the largest and the last; and the sum with a weight that
      halves every 14 or 60 days.
    """
    totals = {f"{name}_all": _total(spec, name) for name in spec.additive()}
    rates = {f"{name}_per_day": f"CAST({_total(spec, name)} AS DOUBLE) / max(_age)" for name in spec.additive()}
    found = totals | rates | {"tenure_days": "max(_age)"}
    for at, (name, prefix) in enumerate(spec.rhythms().items()):
        found |= _rhythm(name, prefix) | (_weekdays(name, prefix) if at == 0 else {})
    for name in spec.sums():
        found |= _day_values(name)
    return found


def _total(spec: FeatureSpec, name: str) -> str:
    return f"count(*) FILTER (WHERE {name})" if name in spec.rhythms() else f"CAST(sum({name}) AS DOUBLE)"


def _rhythm(name: str, prefix: str) -> Columns:
    gap, count = f"_gap_{name}", f"count(_gap_{name})"
    total, squares = f"sum({gap})", f"sum({gap} * {gap})"
    mean = f"CAST({total} AS DOUBLE) / nullif({count}, 0)"
    recency = f"min(_age) FILTER (WHERE {name})"
    tenure = {} if prefix == "" else {f"{prefix}tenure_days": f"max(_age) FILTER (WHERE {name})"}
    return tenure | {
        f"{prefix}recency_days": recency,
        f"{prefix}gap_mean_days": mean,
        f"{prefix}gap_std_days": _spread(count, total, squares),
        f"{prefix}gap_longest_days": f"max({gap})",
        f"{prefix}gap_last_days": f"max_by({gap}, start) FILTER (WHERE {gap} IS NOT NULL)",
        f"{prefix}overdue": f"{recency} / nullif({mean}, 0)",
    }


def _weekdays(name: str, prefix: str) -> Columns:
    days = f"count(*) FILTER (WHERE {name})"
    return {
        f"{prefix}{weekday}_share": f"count(*) FILTER (WHERE {name} AND _weekday = {number}) / nullif({days}, 0)"
        for number, weekday in enumerate(WEEKDAYS, start=1)
    }


def _day_values(name: str) -> Columns:
    some = f"FILTER (WHERE {name} <> 0)"
    # DuckDB multiplies decimals of 18 digits within 18 digits: the square of a day's 100,000 would not fit.
    wide = f"CAST({name} AS DECIMAL(19,4))"
    count, total, squares = f"count(*) {some}", f"sum({name})", f"sum({wide} * {name})"
    decayed = {f"{name}_decayed_{days}d": f"CAST(sum({wide} * _weight_{days}) AS DOUBLE)" for days in HALF_LIVES_DAYS}
    return {
        f"{name}_day_mean": f"CAST({total} AS DOUBLE) / nullif({count}, 0)",
        f"{name}_day_std": _spread(count, total, squares),
        f"{name}_day_largest": f"max({name}) {some}",
        f"{name}_day_last": f"max_by({name}, start) {some}",
    } | decayed


def _spread(count: str, total: str, squares: str) -> str:
    # The population's standard deviation; of fewer than two it is unknown, not 0.
    mean = f"CAST({total} AS DOUBLE) / {count}"
    variance = f"CAST({squares} AS DOUBLE) / {count} - ({mean}) * ({mean})"
    return f"CASE WHEN {count} >= 2 THEN sqrt(greatest({variance}, 0)) END"


def _day_columns(spec: FeatureSpec, sql: Dialect) -> Iterator[str]:
    # Aggregates keep their names; what is ours begins with _, which no aggregate may. 1970-01-05 was a Monday.
    since = sql.days_between("DATE '1970-01-05'", "start")
    yield from ("start", f"(({since} % 7) + 7) % 7 + 1 AS _weekday")
    sums = spec.sums()
    for name in spec.additive():
        if name in spec.rhythms():
            yield f"{state_column(name, 'days')} IS NOT NULL AS {name}"
        elif name in sums:
            yield f"coalesce(CAST({state_column(name, 'sum')} AS DECIMAL(18,4)), 0) AS {name}"
        else:
            yield f"{state_column(name, 'n')} AS {name}"


def _gap_columns(spec: FeatureSpec, sql: Dialect) -> Iterator[str]:
    yield "*"
    for name in spec.rhythms():
        last = f"max(CASE WHEN {name} THEN start END) OVER earlier"
        yield f"CASE WHEN {name} THEN {sql.days_between(last, 'start')} END AS _gap_{name}"


def _ages(history_days: int) -> Iterator[str]:
    # Weights are decimals made here, not pow() in the engine, whose last bit differs between machines.
    for age in range(1, history_days + 1):
        weights = (Decimal(0.5 ** (age / days)).quantize(Decimal("1e-9")) for days in HALF_LIVES_DAYS)
        yield f"({age}, {', '.join(f'CAST({weight:f} AS DECIMAL(10,9))' for weight in weights)})"
