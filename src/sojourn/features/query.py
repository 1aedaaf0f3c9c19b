"""One SQL query for features and labels: habits say who there is, everything else is joined to them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date

from sojourn.core import BadInput
from sojourn.features.habits import habit_query, habits, known_habit_query
from sojourn.features.portrait import Portraits, known_portrait_query, portrait_query, portraits
from sojourn.features.spec import FeatureSpec
from sojourn.features.types import as_feature, feature_name
from sojourn.rollups import Known, Ledger, ahead, known_at, need_history, past, refreshed, window_query
from sojourn.rollups.dialect import Dialect
from sojourn.warehouse import Warehouse
from sojourn.warehouse.engine import identifier

TRENDS_DAYS = ((7, 30), (30, 90))
KEYS = ("user_id", "as_of")
Columns = dict[str, str]


@dataclass(frozen=True)
class Question:
    """What is asked of a warehouse: these features, seen from these days, with partials that are current.

    `known` is what had arrived when one looked from each day, where that counts.
    """

    warehouse: Warehouse
    spec: FeatureSpec
    as_ofs: tuple[date, ...]
    found: Ledger
    portraits: Portraits | None
    known: Known | None = None

    @property
    def first(self) -> date:
        """The first day of history."""
        return self.found.first if self.known is None else self.known.first

    @property
    def sql(self) -> Dialect:
        """The spellings of the warehouse's engine."""
        return self.found.definition.sql


def ask(warehouse: Warehouse, spec: FeatureSpec, as_ofs: Sequence[date], *, horizons_days: Sequence[int]) -> Question:
    """The question, once partials are built and history is known to reach far enough back and ahead.

    Raises `MissingTable` without events, and `BadInput` when history is too short (with the days there are and the
    days needed), when an `as_of` lies beyond its end, and when partials of another definition are in the way; with
    `known_after_hours` as `known_at` does, and when history as known then was too short.
    """
    found = refreshed(warehouse, spec.rollup)
    back, forth = [past(spec.history_days)], [ahead(days) for days in horizons_days]
    known = None
    if spec.known_after_hours is None:
        need_history(found, as_ofs, [*back, *forth])
    else:
        known = known_at(warehouse, found, as_ofs, after_hours=spec.known_after_hours)
        known.need_history(back)
        # Labels are of all that is known today; what came before them may have been corrected away since.
        need_history(replace(found, every_day=sorted({known.first, *found.every_day})), as_ofs, forth)
    asked = tuple(sorted(set(as_ofs)))
    return Question(warehouse, spec, asked, found, portraits(warehouse, spec), known)


def feature_query(question: Question) -> str:
    """SQL for `user_id`, `as_of` and the features."""
    columns = _feature_columns(question)
    return typed(question, _joined(_parts(question), columns), columns=list(columns))


def training_query(question: Question) -> str:
    """SQL for `user_id`, `as_of`, the features and the labels."""
    columns = _feature_columns(question) | _label_columns(question)
    return typed(question, _joined(_parts(question) | _label_part(question), columns), columns=list(columns))


def _parts(question: Question) -> Columns:
    warehouse, as_ofs = question.warehouse, question.as_ofs
    reading = question.found.definition.reading
    parts = {
        "habits": _habit_part(question),
        "windows": window_query(warehouse, question.found, as_ofs=as_ofs, reading=reading, known=question.known),
    }
    if question.portraits is not None:
        parts["portrait"] = _portrait_part(question, question.portraits)
    return parts


def _habit_part(question: Question) -> str:
    spec, sql, history_days = question.spec, question.sql, (max(question.as_ofs) - question.first).days
    if question.known is None:
        return habit_query(spec, past_days(question), as_ofs=question.as_ofs, history_days=history_days, sql=sql)
    return known_habit_query(spec, question.known.day_states(spec.rollup.table), history_days=history_days, sql=sql)


def _portrait_part(question: Question, found: Portraits) -> str:
    if question.known is None:
        return portrait_query(question.warehouse, found, as_ofs=question.as_ofs)
    instants = {as_of: look.at for as_of, look in question.known.looks.items()}
    return known_portrait_query(question.warehouse, found, instants=instants)


def _label_part(question: Question) -> Columns:
    labels = question.spec.labels
    reading = {name: [ahead(days) for days in labels.horizons_days] for name in labels.aggregates}
    return {"labels": window_query(question.warehouse, question.found, as_ofs=question.as_ofs, reading=reading)}


def _feature_columns(question: Question) -> Columns:
    spec = question.spec
    groups = (
        _windows(spec),
        _trends(spec),
        {name: f"habits.{name}" for name in habits(spec)},
        {name: f"portrait.{identifier(name)}" for name in (question.portraits.columns if question.portraits else ())},
    )
    names = [*KEYS, *(name for group in groups for name in group)]
    clash = sorted({name for name in names if names.count(name) > 1})
    if clash:
        raise BadInput(
            f"features: column {clash[0]!r} comes both from a user's portrait and from what was counted. "
            f"Name the columns to take, without it: FeatureSpec(portrait=[...])"
        )
    return {name: expression for group in groups for name, expression in group.items()}


def _windows(spec: FeatureSpec) -> Columns:
    return {
        f"{name}_{days}d": or_nothing(spec, name, f"windows.{name}_{days}d")
        for name in spec.rollup.aggregates
        for days in spec.rollup.windows_of(name)
    }


def _trends(spec: FeatureSpec) -> Columns:
    return {
        f"{name}_{short}d_of_{long}d": f"CASE WHEN windows.{name}_{long}d > 0 "
        f"THEN CAST(windows.{name}_{short}d AS DOUBLE) / CAST(windows.{name}_{long}d AS DOUBLE) END"
        for name in spec.additive()
        for short, long in TRENDS_DAYS
        if {short, long} <= set(spec.rollup.windows_of(name))
    }


def _label_columns(question: Question) -> Columns:
    return {
        f"label_{name}_{days}d": or_nothing(question.spec, name, f"labels.{name}_{days}d")
        for name in question.spec.labels.aggregates
        for days in question.spec.labels.horizons_days
    }


def or_nothing(spec: FeatureSpec, aggregate: str, value: str) -> str:
    """A value of this aggregate where nothing may have been counted: 0 where it adds up."""
    return f"coalesce({value}, 0)" if aggregate in spec.additive() else value


def typed(question: Question, joined: str, *, columns: Sequence[str], keys: Sequence[str] = KEYS) -> str:
    """SQL for the keys as they are, the user's as text, and for these columns of a query as features."""
    kinds, sql = question.warehouse.engine.columns(joined), question.sql
    zone = question.warehouse.spec.zone
    found = [f"CAST(user_id AS {sql.kind('VARCHAR')}) AS user_id", *(key for key in keys if key != "user_id")]
    for name in columns:
        feature = as_feature(identifier(name), kinds[name], zone=zone, sql=sql)
        found.append(f"{feature} AS {identifier(feature_name(name, kinds[name]))}")
    return f"SELECT {', '.join(found)} FROM ({joined})"


def _joined(parts: Columns, columns: Columns) -> str:
    named = ", ".join(f"{name} AS ({query})" for name, query in parts.items())
    taken = ", ".join(f"{expression} AS {identifier(name)}" for name, expression in columns.items())
    joins = " ".join(f"LEFT JOIN {name} USING (user_id, as_of)" for name in parts if name != "habits")
    kept = "WHERE NOT coalesce(portrait.is_left_out, false)" if "portrait" in parts else ""
    return f"WITH {named} SELECT user_id, as_of, {taken} FROM habits {joins} {kept}"


def population_query(question: Question) -> str:
    """SQL for `as_of`, how many users were seen before it and are kept, and how many test accounts are left out."""
    parts = {"seen": _seen(question)}
    joined, left_out = "seen", "false"
    if question.portraits is not None:
        parts["portrait"] = _portrait_part(question, question.portraits)
        joined, left_out = "seen LEFT JOIN portrait USING (user_id, as_of)", "coalesce(is_left_out, false)"
    named = ", ".join(f"{name} AS ({query})" for name, query in parts.items())
    return (
        f"WITH {named} SELECT as_of, count(*) FILTER (WHERE NOT {left_out}) AS users, "
        f"count(*) FILTER (WHERE {left_out}) AS test_accounts FROM {joined} GROUP BY as_of ORDER BY as_of"
    )


def _seen(question: Question) -> str:
    """SQL for `user_id` and `as_of` of every user seen before it."""
    if question.known is not None:
        states = question.known.day_states(question.spec.rollup.table)
        return f"SELECT DISTINCT user_id, as_of FROM {states} WHERE user_id IS NOT NULL"
    looks = question.sql.values([f"(DATE '{as_of}')" for as_of in question.as_ofs])
    firsts = (
        f"SELECT user_id, min(start) AS _first FROM {past_days(question)} WHERE user_id IS NOT NULL GROUP BY user_id"
    )
    return f"SELECT user_id, as_of FROM ({firsts}) JOIN ({looks}) AS looks(as_of) ON _first < as_of"


def past_days(question: Question) -> str:
    """All partials before the last day looked from."""
    days = question.found.days(date.min, max(question.as_ofs))
    cells = [{"grain": "day", "start": str(day)} for day in days]
    return question.warehouse.relation(question.spec.rollup.table, only=cells)
