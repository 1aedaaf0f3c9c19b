"""Table `users` in, one portrait per user and day out: the version valid when that business day began."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

from sojourn.core import BadInput, MissingTable, missing_columns
from sojourn.features.spec import TEST_ACCOUNTS, FeatureSpec
from sojourn.features.types import is_feature
from sojourn.rollups.dialect import Dialect, dialect_of
from sojourn.warehouse import Warehouse
from sojourn.warehouse.engine import identifier

USERS = "users"
SUPERSEDED = "superseded_users"
ARRIVED = "arrived_at"
VALIDITY = ("valid_from", "valid_to")
BESIDE = frozenset({"user_id", "arrived_at", *VALIDITY})


@dataclass(frozen=True)
class Portraits:
    """Which columns of table `users` are taken, and the one that marks test accounts, where there is such a table."""

    columns: tuple[str, ...]
    test_accounts: str | None
    versioned: tuple[str, ...]


def portraits(warehouse: Warehouse, spec: FeatureSpec) -> Portraits | None:
    """What is taken of table `users`; None when that is nothing, as there is no such table or nothing was asked for.

    Raises `MissingTable` and `MissingColumn` for columns that were named and are not there, and `BadInput` for one that
    cannot be a feature.
    """
    named = [*(spec.portrait or ()), *(() if spec.test_accounts in (None, TEST_ACCOUNTS) else (spec.test_accounts,))]
    if not warehouse.has(USERS):
        if named:
            raise MissingTable(
                f"features: {', '.join(map(repr, named))} would come from table 'users', which the warehouse "
                f"{warehouse.root} does not have. Ingest it: sojourn ingest --table users FILE"
            )
        return None
    found = warehouse.engine.columns(f"SELECT * FROM {warehouse.relation(USERS)}")
    missing = [name for name in ("user_id", *named) if name not in found]
    if missing:
        raise missing_columns("features: table 'users'", missing=missing, found=list(found))
    unreadable = [f"{name!r} ({found[name]})" for name in spec.portrait or () if not is_feature(found[name])]
    if unreadable:
        raise BadInput(
            f"features: no model can read {', '.join(unreadable)} of table 'users'. Leave it out of portrait."
        )
    free = [
        name for name, kind in found.items() if name not in BESIDE and name != spec.test_accounts and is_feature(kind)
    ]
    columns = tuple(free if spec.portrait is None else spec.portrait)
    test_accounts = spec.test_accounts if spec.test_accounts in found else None
    if not columns and test_accounts is None:
        return None
    return Portraits(columns, test_accounts, versioned=tuple(name for name in VALIDITY if name in found))


def portrait_query(warehouse: Warehouse, found: Portraits, *, as_ofs: Sequence[date]) -> str:
    """SQL for `user_id`, `as_of`, `is_left_out` and the portrait's columns, from the version valid at each day's start.

    Where versions overlap, the one that began last counts.
    """
    sql, zone = dialect_of(warehouse.engine), warehouse.spec.zone
    looks = sql.values([f"(DATE '{day}', {sql.instant(day_start(day, zone))})" for day in sorted(set(as_ofs))])
    return _chosen(
        found, relation=warehouse.relation(USERS), looks=f"({looks}) AS looks(as_of, begins)", versions=(), sql=sql
    )


def known_portrait_query(warehouse: Warehouse, found: Portraits, *, instants: Mapping[date, datetime]) -> str:
    """The same of the versions as they stood at an instant for each day, which is when one looks from it.

    A version lasts until the next one that had arrived begins. A portrait that doesn't say when it arrived counts as
    always known. Raises `BadInput` when none of them can.
    """
    sql, zone = dialect_of(warehouse.engine), warehouse.spec.zone
    users = warehouse.engine.columns(f"SELECT * FROM {warehouse.relation(USERS)}")
    if ARRIVED not in users:
        raise BadInput(
            "features: table 'users' doesn't say when a portrait arrived, so what was known of it cannot be told. Give "
            "it a column arrived_at, leave known_after_hours (--known-after) out, or take no portrait: "
            "FeatureSpec(portrait=[], test_accounts=None)"
        )
    looks = sql.values(
        [f"(DATE '{day}', {sql.instant(day_start(day, zone))}, {sql.instant(at)})" for day, at in instants.items()]
    )
    # Of versions that arrived together the one stands that ingest lets stand.
    rest = sorted(set(users) - BESIDE)
    return _chosen(
        found,
        relation=_versions(warehouse, found, users),
        looks=f"({looks}) AS looks(as_of, begins, known_by)",
        versions=[f"{name} DESC NULLS LAST" for name in (ARRIVED, *map(identifier, rest))],
        sql=sql,
    )


def _versions(warehouse: Warehouse, found: Portraits, users: Mapping[str, str]) -> str:
    """Every version there ever was. An end that is only where the next version begins came with that version."""
    follows = "lead(valid_from) OVER (PARTITION BY user_id ORDER BY valid_from)"
    own_end = f"CASE WHEN valid_to IS DISTINCT FROM {follows} THEN valid_to END AS valid_to"
    names = {name: identifier(name) for name in users}
    own = names | ({"valid_to": own_end} if found.versioned == VALIDITY else {})
    stands = f"SELECT {', '.join(own.values())} FROM {warehouse.relation(USERS)}"
    if not warehouse.has(SUPERSEDED):
        return f"({stands})"
    former = dialect_of(warehouse.engine).with_columns(
        warehouse.relation(SUPERSEDED), users, columns_of=warehouse.engine.columns
    )
    return f"({stands} UNION ALL SELECT {', '.join(names.values())} FROM {former} AS former)"


def _chosen(found: Portraits, *, relation: str, looks: str, versions: Sequence[str], sql: Dialect) -> str:
    """One version per user and day of those that are valid then: the last that began, then the first of `versions`."""
    columns = "".join(f", {sql.quote(name)}" for name in found.columns)
    left_out = f"coalesce({sql.quote(found.test_accounts)}, false)" if found.test_accounts else "false"
    began = "valid_from" if "valid_from" in found.versioned else "NULL"
    valid = ["valid_from <= begins"] if "valid_from" in found.versioned else []
    valid += ["(valid_to IS NULL OR begins < valid_to)"] if "valid_to" in found.versioned else []
    valid += [f"coalesce({ARRIVED} <= known_by, true)"] if versions else []
    order = ", ".join([f"{began} DESC NULLS LAST", *versions])
    place = f"row_number() OVER (PARTITION BY user_id, as_of ORDER BY {order}) AS _place"
    placed = f"SELECT *, {place} FROM {relation} JOIN {looks} ON {' AND '.join(valid) or 'true'}"
    return f"SELECT user_id, as_of, {left_out} AS is_left_out{columns} FROM ({placed}) WHERE _place = 1"


def day_start(day: date, zone: str) -> datetime:
    """The instant at which a business day begins in a zone, in UTC; where the clock skips midnight, when it skips.

    >>> day_start(date(2011, 12, 30), "Pacific/Apia") == day_start(date(2011, 12, 31), "Pacific/Apia")
    True
    """
    return datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone)).astimezone(UTC)
