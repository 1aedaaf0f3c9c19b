"""The query that finds who was acquired on some days, and by which touch."""

from dataclasses import dataclass
from datetime import date, timedelta
from itertools import combinations

from sojourn.core import BadInput, MissingTable, fingerprint, missing_columns
from sojourn.metrics._log import Log
from sojourn.metrics.acquisition_spec import NO_CAMPAIGN, TEST_ACCOUNTS, AttributionSpec

USERS = "users"
INSTANT = "TIMESTAMP WITH TIME ZONE"
COLUMNS = ("acquired_at", "acquisition", "channel", "campaign", "touch_at")


@dataclass(frozen=True)
class Attribution:
    """A declared attribution over a log, whose words have been checked against the log's columns."""

    log: Log
    spec: AttributionSpec
    active: str
    flag: str | None

    @property
    def entity(self) -> str:
        """The entity's column as an identifier."""
        return self.log.sql.quote(self.spec.entity)

    @property
    def reach_days(self) -> int | None:
        """How many days before a day its acquisitions depend on, beyond who was acquired then; None: all of them."""
        if self.spec.touches and self.spec.lookback_days is None:
            return None
        touches = self.spec.lookback_days + 1 if self.spec.lookback_days is not None else 0
        return max(touches, self.spec.reinstall_gap_days or 0)

    def kept(self, relation: str) -> str:
        """The relation without rows of nobody and of test accounts."""
        condition = f"{self.entity} IS NOT NULL"
        if self.flag is not None:
            condition += f" AND NOT EXISTS (SELECT 1 FROM ({self.test_accounts()}) AS t WHERE t.id = r.{self.entity})"
        return f"(SELECT * FROM {relation} AS r WHERE {condition})"

    def test_accounts(self) -> str:
        """SQL for the ids of test accounts."""
        users = self.log.warehouse.relation(USERS)
        return (
            f"SELECT DISTINCT user_id AS id FROM {users} WHERE coalesce({self.log.sql.quote(self.flag or '')}, false)"
        )

    def beside(self) -> str:
        """A fingerprint of what is read beside the log."""
        warehouse = self.log.warehouse
        if not self.spec.touches:
            return fingerprint(*(info.fingerprint for info in warehouse.partitions(USERS)))
        flagged = sorted(row[0] for row in warehouse.engine.rows(self.test_accounts())) if self.flag else []
        return fingerprint("flagged", *flagged)


def declared(log: Log, spec: AttributionSpec) -> Attribution:
    """The attribution, once its columns and conditions are there; else `MissingColumn`, `MissingTable`, `BadInput`."""
    log.need(spec.entity, where="attribution: entity")
    conditions = [log.usable(rule.where, where=f"touch rule {rule.name!r}") for rule in spec.touches]
    for rule in spec.touches:
        for name, text in (("channel", rule.channel), ("campaign", rule.campaign)):
            if text is not None:
                log.usable(f"CAST({text} AS STRING)", where=f"{name} of touch rule {rule.name!r}")
    if spec.active is not None:
        active = log.usable(spec.active, where="attribution: active")
    else:
        active = f"NOT coalesce({' OR '.join(conditions)}, false)" if conditions else "true"
    return Attribution(log, spec, active, _flag(log, spec))


def _flag(log: Log, spec: AttributionSpec) -> str | None:
    """The column of table users that marks test accounts, where there is one; what was named must be there."""
    named = [] if spec.touches else [spec.channel_column, *([spec.campaign_column] if spec.campaign_column else [])]
    if spec.test_accounts not in (None, TEST_ACCOUNTS):
        named.append(str(spec.test_accounts))
    if not log.warehouse.has(USERS):
        if named:
            raise MissingTable(
                f"attribution reads {', '.join(map(repr, named))} of table 'users', which the warehouse does not have. "
                "Ingest it: sojourn ingest --table users FILE; or declare touches among the events."
            )
        return None
    found = log.warehouse.engine.columns(f"SELECT * FROM {log.warehouse.relation(USERS)}")
    missing = [name for name in named if name not in found]
    if missing:
        raise missing_columns("attribution: table 'users'", missing=missing, found=list(found))
    return spec.test_accounts if spec.test_accounts in found else None


def refuse_overlaps(attribution: Attribution, days: list[date]) -> None:
    """Raise `BadInput` when one row matches two touch rules that say different things: a touch counts once."""
    for one, other in combinations(attribution.spec.touches, 2):
        said = [f"CAST({each or 'NULL'} AS STRING)" for rule in (one, other) for each in (rule.channel, rule.campaign)]
        differ = f"({said[0]} IS DISTINCT FROM {said[2]} OR {said[1]} IS DISTINCT FROM {said[3]})"
        both = f"({one.where}) AND ({other.where}) AND {differ}"
        query = f"SELECT count(*), min(event_id) FROM {attribution.log.rows(days)} AS r WHERE {both}"
        [(rows, event_id)] = attribution.log.warehouse.engine.rows(query)
        if rows:
            raise BadInput(
                f"attribution: touch rules {one.name!r} and {other.name!r} overlap: {rows:,} rows match both and would "
                f"have two channels or campaigns (the first is event {event_id!r}). Add to one of them: "
                f"AND NOT ({other.where})"
            )


def acquired_query(attribution: Attribution, *, start: date, end: date, known: str | None) -> str:
    """SQL for the acquisitions of the days in [start, end), with the column `day`.

    `known` is the relation of the acquisitions before `start`, None when there are none.
    """
    log, spec, entity = attribution.log, attribution.spec, attribution.entity
    back = attribution.reach_days
    first = min(log.days) if back is None else start - timedelta(days=back)
    rows = attribution.kept(log.rows(log.between(first, end)))
    parts = {
        "log": f"SELECT {entity} AS entity, ts, event_id, day, coalesce({attribution.active}, false) AS is_active, "
        f"{_said(spec, 'channel')} AS channel, {_said(spec, 'campaign')} AS campaign FROM {rows} AS r",
        "known": _known(entity, known, instant=log.sql.kind(INSTANT)),
        "starts": _starts(attribution, start),
        "numbered": "SELECT entity, day, acquired_at, coalesce(number, 0) + row_number() OVER each AS acquisition, "
        "coalesce(lag(acquired_at) OVER each, last_at) AS previous_at FROM starts "
        "WINDOW each AS (PARTITION BY entity ORDER BY day)",
        "owed": _touched(spec) if spec.touches else _portrayed(attribution),
    }
    said = f"coalesce(channel, '{_escaped(spec.organic)}') AS channel, coalesce(campaign, '{NO_CAMPAIGN}') AS campaign"
    return (
        f"WITH {', '.join(f'{name} AS ({query})' for name, query in parts.items())} "
        f"SELECT entity AS {entity}, day, acquired_at, CAST(acquisition AS INTEGER) AS acquisition, {said}, touch_at "
        "FROM owed WHERE place = 1"
    )


def _said(spec: AttributionSpec, what: str) -> str:
    """What the touch rules say of a row; NULL where none matches. Rules that both match say the same."""
    cases = []
    for rule in spec.touches:
        text = rule.channel if what == "channel" else rule.campaign
        cases.append(f"WHEN ({rule.where}) THEN CAST({text or 'NULL'} AS STRING)")
    return f"CASE {' '.join(cases)} END" if cases else "CAST(NULL AS STRING)"


def _known(entity: str, known: str | None, *, instant: str) -> str:
    if known is None:
        nobody = f"CAST(NULL AS STRING) AS entity, 0 AS number, CAST(NULL AS {instant}) AS last_at"
        return f"SELECT * FROM (SELECT {nobody}) AS nobody WHERE entity IS NOT NULL"
    return f"SELECT {entity} AS entity, max(acquisition) AS number, max(acquired_at) AS last_at FROM {known} GROUP BY 1"


def _starts(attribution: Attribution, start: date) -> str:
    """The active days that begin an acquisition: the first ever, or the first after a gap of the declared days."""
    gap, sql = attribution.spec.reinstall_gap_days, attribution.log.sql
    first = start if gap is None else start - timedelta(days=gap)
    days = (
        f"SELECT entity, day, min(ts) AS acquired_at, lag(day) OVER (PARTITION BY entity ORDER BY day) AS before "
        f"FROM log WHERE is_active AND day >= DATE '{first}' GROUP BY entity, day"
    )
    begins = "before IS NULL AND known.entity IS NULL"
    if gap is not None:
        # A known entity without an active day in the gap before `start` has been away for that long.
        begins += f" OR before IS NULL OR {sql.days_between('before', 'day')} >= {gap}"
    return (
        f"SELECT days.entity, day, acquired_at, number, last_at FROM ({days}) AS days "
        f"LEFT JOIN known ON known.entity = days.entity WHERE day >= DATE '{start}' AND ({begins})"
    )


def _touched(spec: AttributionSpec) -> str:
    """Each acquisition with its first or last touch since the one before, within the lookback."""
    order = "DESC NULLS LAST" if spec.model == "last" else "ASC NULLS LAST"
    near = ["t.entity = n.entity", "t.channel IS NOT NULL", "t.ts <= n.acquired_at"]
    near.append("(n.previous_at IS NULL OR t.ts > n.previous_at)")
    if spec.lookback_days is not None:
        near.append(f"t.ts >= n.acquired_at - INTERVAL '{24 * spec.lookback_days}' HOUR")
    place = f"row_number() OVER (PARTITION BY n.entity, acquisition ORDER BY t.ts {order}, t.event_id {order}) AS place"
    return (
        f"SELECT n.entity, n.day, acquired_at, acquisition, channel, campaign, t.ts AS touch_at, {place} "
        f"FROM numbered AS n LEFT JOIN log AS t ON {' AND '.join(near)}"
    )


def _portrayed(attribution: Attribution) -> str:
    """Each acquisition with what the portrait valid at its moment says, or the first one that ever was."""
    spec, log = attribution.spec, attribution.log
    users = log.warehouse.relation(USERS)
    versioned = "valid_from" in log.warehouse.engine.columns(f"SELECT * FROM {users}")
    instant = log.sql.kind(INSTANT)
    from_ = "valid_from" if versioned else f"CAST(NULL AS {instant})"
    campaign = log.sql.quote(spec.campaign_column) if spec.campaign_column else "NULL"
    portraits = (
        f"SELECT user_id, CAST({log.sql.quote(spec.channel_column)} AS STRING) AS channel, "
        f"CAST({campaign} AS STRING) AS campaign, {from_} AS valid_from FROM {users}"
    )
    was = "CASE WHEN valid_from <= acquired_at THEN valid_from END DESC NULLS LAST, valid_from ASC NULLS FIRST"
    order = f"{was}, channel ASC NULLS LAST, campaign ASC NULLS LAST"
    place = f"row_number() OVER (PARTITION BY n.entity, acquisition ORDER BY {order}) AS place"
    return (
        f"SELECT n.entity, n.day, acquired_at, acquisition, p.channel, p.campaign, "
        f"CAST(NULL AS {instant}) AS touch_at, {place} "
        f"FROM numbered AS n LEFT JOIN ({portraits}) AS p ON p.user_id = n.entity"
    )


def _escaped(text: str) -> str:
    return text.replace("'", "''")
