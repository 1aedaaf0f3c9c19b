"""Table `features` in, what is wrong with it out: each day's rows are held against its users and against its rollup."""

from collections.abc import Collection
from datetime import date

import numpy as np

from sojourn.features.portrait import USERS, portrait_query, portraits
from sojourn.features.query import KEYS, Question, feature_query
from sojourn.features.spec import FeatureSpec
from sojourn.features.table import TABLE, features_fingerprint
from sojourn.rollups import Cell, Check, Ledger, VerifySpec, known_at, ledger
from sojourn.rollups.findings import some, told
from sojourn.rollups.rederived import differences, drawn
from sojourn.rollups.verify import missing_between
from sojourn.warehouse import Warehouse


def verify_features(
    warehouse: Warehouse, features: FeatureSpec, *, spec: VerifySpec, unreliable: Collection[str] = ()
) -> list[Check]:
    """Every check of table `features`, but for its files; none where there is no such table. Nothing is written.

    Tables that are `unreliable` are not read: the table is then skipped.
    """
    if not warehouse.has(TABLE):
        return []
    broken = sorted({TABLE, USERS, features.rollup.source, features.rollup.table} & set(unreliable))
    if broken:
        why = f"files of {', '.join(broken)} are damaged: restore them, or remove their partitions, and verify again"
        return [Check("all else", TABLE, 0, "days looked from", skipped=why)]
    found = ledger(warehouse, features.rollup)
    asked = {date.fromisoformat(each.partition["as_of"]): each.fingerprint for each in warehouse.partitions(TABLE)}
    questions = {as_of: _question(warehouse, features, found, as_of) for as_of in asked}
    current = [as_of for as_of, mark in asked.items() if mark == features_fingerprint(questions[as_of])]
    whole = [as_of for as_of in current if _has_partials(questions[as_of], as_of)]
    sample = [questions[as_of] for as_of in drawn(whole, spec.partitions, np.random.default_rng(spec.seed))]
    # What was known on a day is no plain cut of the raw rows: those features are made anew as a whole, below.
    users = [fault for question in sample if question.known is None for fault in _users(question)]
    anew = [fault for question in sample for fault in _anew(question)]
    return [
        _fingerprints(asked, current, days=found.every_day),
        Check("keys", TABLE, len(sample), "days looked from", told(users)),
        Check("made anew", TABLE, len(sample), "days looked from", told(anew)),
    ]


def _question(warehouse: Warehouse, features: FeatureSpec, found: Ledger, as_of: date) -> Question:
    """What was asked for a day. Not `ask`, which builds partials."""
    hours = features.known_after_hours
    known = None if hours is None else known_at(warehouse, found, [as_of], after_hours=hours)
    return Question(warehouse, features, (as_of,), found, portraits(warehouse, features), known)


def _has_partials(question: Question, as_of: date) -> bool:
    found = question.found
    days = found.days(date.min, as_of)
    return bool(days) and all(found.is_current(Cell("day", day)) for day in days)


def _fingerprints(asked: Collection[date], current: Collection[date], *, days: Collection[date]) -> Check:
    wrong = [
        f"as_of={as_of} is missing between its neighbours. Write it: sojourn features --as-of {as_of}"
        for as_of in missing_between(asked, days=days)
    ]
    stale = sorted(set(asked) - set(current))
    notes = [f"{len(stale)} were written from other rows, users or settings than there are now: as_of {some(stale)}"]
    return Check("fingerprints", TABLE, len(asked), "days looked from", told(wrong), tuple(notes if stale else ()))


def _users(question: Question) -> list[str]:
    """Whoever was seen before the day has a row, test accounts excepted."""
    warehouse, [as_of] = question.warehouse, question.as_ofs
    source = warehouse.relation(question.spec.rollup.source)
    seen = f"SELECT DISTINCT CAST(user_id AS STRING) AS user_id FROM {source} WHERE day < DATE '{as_of}'"
    left_out = "SELECT CAST(NULL AS STRING) WHERE false"
    if question.portraits is not None:
        portrait = portrait_query(warehouse, question.portraits, as_ofs=[as_of])
        left_out = f"SELECT CAST(user_id AS STRING) FROM ({portrait}) WHERE is_left_out AND user_id IS NOT NULL"
    wanted = f"SELECT user_id FROM ({seen}) WHERE user_id IS NOT NULL AND user_id NOT IN ({left_out})"
    faults = differences(warehouse, _stored(question), derived=wanted, keys=["user_id"], columns=())
    return [f"as_of={as_of}, users alone: {fault}" for fault in faults]


def _anew(question: Question) -> list[str]:
    query, quote = feature_query(question), question.found.definition.sql.quote
    columns = [quote(name) for name in question.warehouse.engine.columns(query) if name not in KEYS]
    faults = differences(question.warehouse, _stored(question), derived=query, keys=["user_id"], columns=columns)
    return [f"as_of={question.as_ofs[0]} {fault}" for fault in faults]


def _stored(question: Question) -> str:
    return question.warehouse.relation(TABLE, only=[{"as_of": str(question.as_ofs[0])}])
