"""Users at the same age: what their first days tell, and what their first months were worth."""

from datetime import date, timedelta

import polars as pl

from sojourn.core import BadInput
from sojourn.features.habits import WEEKDAYS
from sojourn.features.portrait import portrait_query
from sojourn.features.query import Question, ask, or_nothing, past_days, typed
from sojourn.features.spec import FeatureSpec
from sojourn.rollups import Window, named, window_query
from sojourn.warehouse import Warehouse
from sojourn.warehouse.engine import identifier, literal

FIRST_DAYS = (1, 2, 3, 5, 7, 14, 30)
Columns = dict[str, str]


def newcomer_table(
    warehouse: Warehouse,
    spec: FeatureSpec,
    *,
    age_days: int,
    by_days: int,
    step_days: int = 14,
    end: date | None = None,
) -> pl.DataFrame:
    """Every user once, as seen when their first `age_days` days were over, and what they came to in their first
    `by_days` days: sorted by `as_of, user_id`.

    `as_of` is the first day of a grid, `step_days` apart and counted back from `end`, by which the user had reached
    that age. Columns: `first_day`; `tenure_days`, which is `age_days`; of each aggregate that adds up `<name>_<age>d`
    and its first days, `<name>_first_<N>d`; of others the age alone; `first_weekday`; the portrait as of `as_of`. And
    per aggregate of `spec.labels` `label_<name>_<by_days>d`, over the first `by_days` days: null where these were not
    over by `end` (default: the day after the last in the log) for all users of the same `as_of`.

    Users seen in the first `spec.history_days` of the log are left out: they may have been there before it began. Test
    accounts are too. Raises `BadInput` where nobody is left, or `by_days` is not beyond `age_days`, and as `ask` does.
    """
    where = "features.newcomer_table"
    if not 0 < age_days < by_days:
        raise BadInput(f"{where}: day {by_days} is not beyond an age of {age_days} days. Look further ahead than that.")
    if spec.known_after_hours is not None:
        raise BadInput(f"{where} reads what is known now. Leave known_after_hours out.")
    question = ask(warehouse, spec, [end or _day_after(warehouse, spec)], horizons_days=())
    found = warehouse.engine.frame(_query(question, age_days=age_days, by_days=by_days, step_days=step_days))
    if found.is_empty():
        raise BadInput(
            f"{where}: nobody who came after the log's first {spec.history_days} days had been there for {age_days} "
            f"days by {question.as_ofs[0]}. Bring a longer log, or set a shorter history_days."
        )
    weekday = pl.col("first_day").dt.weekday().replace_strict(range(1, 8), WEEKDAYS, return_dtype=pl.String)
    return found.with_columns(first_weekday=weekday).sort("as_of", "user_id")


def _day_after(warehouse: Warehouse, spec: FeatureSpec) -> date:
    days = [date.fromisoformat(part.partition["day"]) for part in warehouse.partitions(spec.rollup.source)]
    if not days:
        raise BadInput(f"features.newcomer_table: the log {spec.rollup.source!r} has no day. Ingest it: sojourn ingest")
    return max(days) + timedelta(days=1)


def _query(question: Question, *, age_days: int, by_days: int, step_days: int) -> str:
    spec, sql, [end] = question.spec, question.sql, question.as_ofs
    grid = _grid(question, age_days=age_days, step_days=step_days)
    reading = {name: list(map(_life, _first_days(spec, name, age_days))) for name in spec.rollup.aggregates}
    for name in spec.labels.aggregates:
        reading[name].append(_life(by_days))
    counted = [f"{name}_{window.name}" for name, windows in reading.items() for window in windows]
    parts = {
        "firsts": f"SELECT user_id, min(start) AS first_day FROM {past_days(question)} "
        f"WHERE user_id IS NOT NULL GROUP BY user_id",
        "looks(as_of)": sql.values([f"(DATE '{day}')" for day in grid]),
        "windows": window_query(question.warehouse, question.found, as_ofs=[end], reading=reading),
        "counted": f"SELECT user_id, {', '.join(counted)} FROM windows",
    }
    if question.portraits is not None:
        parts["portrait"] = portrait_query(question.warehouse, question.portraits, as_ofs=grid)
    columns = _columns(question, age_days=age_days, by_days=by_days)
    taken = ", ".join(f"{expression} AS {identifier(name)}" for name, expression in columns.items())
    lately = f"{sql.days_between('first_day', 'as_of')} BETWEEN {age_days} AND {age_days + step_days - 1}"
    known = f"first_day >= DATE '{question.first + timedelta(days=spec.history_days)}'"
    portrait, kept = "", ""
    if "portrait" in parts:
        portrait, kept = "LEFT JOIN portrait USING (user_id, as_of)", "AND NOT coalesce(portrait.is_left_out, false)"
    joined = (
        f"WITH {', '.join(f'{name} AS ({query})' for name, query in parts.items())} "
        f"SELECT user_id, as_of, first_day, {taken} FROM firsts JOIN looks ON {lately} "
        f"LEFT JOIN counted USING (user_id) {portrait} WHERE {known} {kept}"
    )
    return typed(question, joined, columns=list(columns), keys=("user_id", "as_of", "first_day"))


def _grid(question: Question, *, age_days: int, step_days: int) -> list[date]:
    [end] = question.as_ofs
    steps = max((end - question.first).days - question.spec.history_days - age_days, 0) // step_days
    return [end - timedelta(days=step_days * back) for back in range(steps, -1, -1)]


def _life(days: int) -> Window:
    return named(f"first_{days}d")


def _first_days(spec: FeatureSpec, name: str, age_days: int) -> list[int]:
    """The spans of first days that an aggregate is read over: growing ones where it adds up, the age."""
    growing = [days for days in FIRST_DAYS if days < age_days] if name in spec.additive() else []
    return [*growing, age_days]


def _columns(question: Question, *, age_days: int, by_days: int) -> Columns:
    spec = question.spec
    columns = {"tenure_days": f"CAST({age_days} AS BIGINT)"}
    for name in spec.rollup.aggregates:
        for days in _first_days(spec, name, age_days):
            # Up to that age, a user's first days are also the last ones.
            shown = f"{name}_{days}d" if days == age_days else f"{name}_first_{days}d"
            columns[shown] = or_nothing(spec, name, f"counted.{name}_first_{days}d")
    columns |= {
        name: f"portrait.{identifier(name)}" for name in (question.portraits.columns if question.portraits else ())
    }
    [end] = question.as_ofs
    # A cohort's outcome is known once it is of all its users.
    over = f"{question.sql.days_between('as_of', f'DATE {literal(str(end))}')} >= {by_days - age_days}"
    for name in spec.labels.aggregates:
        found = or_nothing(spec, name, f"counted.{name}_first_{by_days}d")
        columns[f"label_{name}_{by_days}d"] = f"CASE WHEN {over} THEN {found} END"
    return columns
