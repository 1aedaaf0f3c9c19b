"""The predictions table as the pages read it: one pass over all users, then small tables that any filter cuts."""

import re
from dataclasses import dataclass
from datetime import date

import polars as pl

from sojourn.core import BadInput, EmptyInput, MissingTable
from sojourn.dashboard.filters import Filters
from sojourn.dashboard.homes import OTHERS
from sojourn.dashboard.reader import Reader

PREDICTIONS = "predictions"
REASONS = "prediction_reasons"
VALUE = re.compile(r"ltv_(\d+)")
GROUPS = 10
# So many of the most valuable users at risk are kept in memory with their dimensions, so that a filter costs nothing.
RANKED = 200_000
NOT_DIMS = {"first_day", "last_day", "first_paid_day", "active", "paid", "last_at", "revenue", "left_out", "as_of"}


@dataclass(frozen=True)
class Scores:
    """The latest predictions: their day, the horizon that is shown, and the columns that hold value and risk."""

    as_of: date
    horizon_days: int
    churn_days: int

    @property
    def value(self) -> str:
        """The column of the value."""
        return f"ltv_{self.horizon_days}"

    @property
    def risk(self) -> str:
        """The column of the chance to slip away."""
        return f"churn_prob_{self.churn_days}"


def latest_scores(reader: Reader, filters: Filters) -> Scores:
    """The newest predictions whose day the filters let through, and the longest horizon that they have.

    Raises `MissingTable` when nobody was scored, `EmptyInput` when nobody was between these days, `BadInput`.
    """
    return scores_of(reader, days_between(reader, filters)[-1])


def days_between(reader: Reader, filters: Filters) -> list[date]:
    """The days of scoring from the filters' first day to their last, in order. Raises `MissingTable`, `EmptyInput`."""
    days = score_days(reader)
    begin, end = filters.start or days[0], filters.end or days[-1]
    found = [day for day in days if begin <= day <= end]
    if not found:
        raise EmptyInput(
            f"Nobody was scored between {begin} and {end}; users were scored as of {', '.join(map(str, days[-5:]))}. "
            "Choose dates around one of these days, or clear them."
        )
    return found


def score_days(reader: Reader) -> list[date]:
    """The days as of which all users were scored, in order. Raises `MissingTable` when there is none."""
    days = sorted(date.fromisoformat(place["as_of"]) for place in reader.warehouse.places(PREDICTIONS))
    if not days:
        raise MissingTable(
            "No user has been scored yet. Score them: sojourn ltv fit --out ./models, then sojourn ltv score --models "
            "./models"
        )
    return days


def scores_of(reader: Reader, as_of: date) -> Scores:
    """The predictions of one day. Raises `BadInput` for a table that holds no value."""
    columns = reader.warehouse.engine.columns(f"SELECT * FROM {_relation(reader, as_of)}")
    horizons = sorted(int(found[1]) for name in columns if (found := VALUE.fullmatch(name)))
    churns = sorted(int(name.removeprefix("churn_prob_")) for name in columns if name.startswith("churn_prob_"))
    if not horizons or not churns:
        raise BadInput(
            f"Table 'predictions' of {as_of} has no column ltv_<days> or no churn_prob_<days>; it has {list(columns)}. "
            "Score again: sojourn ltv score --models ./models"
        )
    return Scores(as_of, horizons[-1], churns[-1])


def value_cube(reader: Reader, filters: Filters) -> tuple[Scores, pl.DataFrame]:
    """By `decile` of predicted value (1 is highest, over all users): `users`, `value` and `risk_value`, `risk_users`.

    `risk_users` are those of the two highest tenths whose chance to slip away is at least the declared one,
    `risk_value` is what they are predicted to spend. Filters need the board's state table, which knows each user's
    dimensions.
    """
    scores = latest_scores(reader, filters)
    where, params = _filtered(reader, filters)
    sql = (
        "SELECT decile, sum(users)::BIGINT AS users, sum(value) AS value, sum(low) AS low, sum(high) AS high, "
        "sum(risk_users)::BIGINT AS risk_users, sum(risk_value) AS risk_value FROM {held}"
        f"{where} GROUP BY 1 ORDER BY 1"
    )
    tables = [PREDICTIONS, *_dim_tables(reader)]
    name = f"value_cube/{scores.as_of}"
    found = reader.read(name, tables=tables, query=lambda: _cube_query(reader, scores), sql=sql, params=params)
    return scores, found


def at_risk(reader: Reader, filters: Filters) -> tuple[Scores, pl.DataFrame]:
    """The most valuable users at risk, highest first: `user_id`, dimensions, `value`, `low`, `high`, `risk`."""
    scores = latest_scores(reader, filters)
    where, params = _filtered(reader, filters)
    sql = f"SELECT * FROM {{held}}{where} ORDER BY value DESC, user_id LIMIT {reader.spec.list_users}"
    tables = [PREDICTIONS, *_dim_tables(reader)]
    name = f"at_risk/{scores.as_of}"
    found = reader.read(name, tables=tables, query=lambda: _risk_query(reader, scores), sql=sql, params=params)
    return scores, found


def user_scores(reader: Reader, user_id: str) -> pl.DataFrame:
    """One user's row of the latest predictions; without a row for who was not scored."""
    scores = latest_scores(reader, Filters())
    sql = f"SELECT * FROM {_relation(reader, scores.as_of)} WHERE user_id = $user_id"
    return reader.asked(sql, stamps=[reader.stamp(PREDICTIONS)], params={"user_id": user_id})


def user_reasons(reader: Reader, user_id: str) -> pl.DataFrame:
    """What pushed one user's latest predictions, largest first: `prediction`, `words`, `value`, `push`.

    Without a row for whom `sojourn ltv score --reasons` did not tell of. Raises `MissingTable`.
    """
    as_of = str(latest_scores(reader, Filters()).as_of)
    if not reader.has(REASONS) or {"as_of": as_of} not in reader.warehouse.places(REASONS):
        raise MissingTable(
            "No reasons have been worked out for the latest predictions. Do so: sojourn ltv score --models ./models "
            "--reasons 10000"
        )
    sql = (
        f"SELECT prediction, words, value, push FROM {reader.warehouse.relation(REASONS, only=[{'as_of': as_of}])} "
        "WHERE user_id = $user_id ORDER BY prediction DESC, place"
    )
    return reader.asked(sql, stamps=[reader.stamp(REASONS)], params={"user_id": user_id})


def dims_of(reader: Reader) -> list[str]:
    """The dimensions that the board's newest state table knows of each user; none without one."""
    relation = _state_relation(reader)
    if relation is None:
        return []
    entity = "user_id"
    columns = reader.warehouse.engine.columns(f"SELECT * FROM {relation}")
    if entity not in columns:
        return []
    return [name for name, kind in columns.items() if kind == "VARCHAR" and name not in {entity, *OTHERS, *NOT_DIMS}]


def _state_relation(reader: Reader) -> str | None:
    table = f"metric_state_{reader.spec.board}"
    places = reader.kept(f"places/{table}", tables=[table], make=lambda: reader.warehouse.places(table))
    return reader.warehouse.relation(table, only=places[-1:]) if places else None


def _dim_tables(reader: Reader) -> list[str]:
    return [f"metric_state_{reader.spec.board}"] if _state_relation(reader) else []


def _relation(reader: Reader, as_of: date) -> str:
    return reader.warehouse.relation(PREDICTIONS, only=[{"as_of": str(as_of)}])


def _with_dims(reader: Reader, scores: Scores) -> str:
    """SQL for every scored user with value, interval, risk and dimensions ('unknown' for who was never active)."""
    dims = dims_of(reader)
    value, risk = scores.value, scores.risk
    rows = (
        f"SELECT user_id, {value} AS value, {value}_low AS low, {value}_high AS high, {risk} AS risk "
        f"FROM {_relation(reader, scores.as_of)}"
    )
    if not dims:
        return rows
    named = ", ".join(f'coalesce(s."{dim}", \'unknown\') AS "{dim}"' for dim in dims)
    return f"SELECT p.*, {named} FROM ({rows}) AS p LEFT JOIN {_state_relation(reader)} AS s USING (user_id)"


def cuts_of(reader: Reader, scores: Scores) -> list[float]:
    """The nine values that part all scored users into tenths, the highest first."""
    shares = ", ".join(f"{1 - at / GROUPS:.1f}" for at in range(1, GROUPS))
    sql = f"SELECT quantile_disc({scores.value}, [{shares}]) FROM {_relation(reader, scores.as_of)}"

    def cuts() -> list[float]:
        [(found,)] = reader.warehouse.engine.rows(sql)
        return [float(each) for each in found or []]

    return reader.kept(f"value_cuts/{scores.as_of}", tables=[PREDICTIONS], make=cuts)


def _cube_query(reader: Reader, scores: Scores) -> str:
    # Cuts first, then sums: ranking ten million users would sort them all.
    dims = "".join(f', "{dim}"' for dim in dims_of(reader))
    decile = " + ".join(["1", *(f"(value < {cut!r})::INTEGER" for cut in cuts_of(reader, scores))])
    return (
        f"SELECT {decile} AS decile{dims}, count(*) AS users, sum(value) AS value, sum(low) AS low, sum(high) AS high, "
        f"count(*) FILTER ({_is_at_risk(reader, scores)}) AS risk_users, "
        f"coalesce(sum(value) FILTER ({_is_at_risk(reader, scores)}), 0) AS risk_value "
        f"FROM ({_with_dims(reader, scores)}) GROUP BY ALL"
    )


def _is_at_risk(reader: Reader, scores: Scores) -> str:
    """Among the fifth of users of whom most is expected, and more likely to slip away than declared."""
    cuts = cuts_of(reader, scores)
    return f"risk >= {reader.spec.risk_prob} AND value >= {cuts[1] if cuts else 0.0!r} AND value > 0"


def _risk_query(reader: Reader, scores: Scores) -> str:
    ranked = f"SELECT * FROM ({_with_dims(reader, scores)}) WHERE {_is_at_risk(reader, scores)}"
    return f"{ranked} ORDER BY value DESC, user_id LIMIT {RANKED}"


def _filtered(reader: Reader, filters: Filters) -> tuple[str, dict[str, object]]:
    wanted = filters.conditions(channel=reader.spec.channel)
    dims = dims_of(reader) if wanted else []
    missing = [dim for dim in wanted if dim not in dims]
    if missing:
        raise BadInput(
            f"Scored users are not told by {missing[0]!r}; the state of board "
            f"{reader.spec.board!r} knows {dims or 'none'}. "
            "Clear that filter, or run: sojourn metrics backfill"
        )
    conditions = [f'"{dim}" = $dim{at}' for at, dim in enumerate(wanted)]
    params: dict[str, object] = {f"dim{at}": value for at, value in enumerate(wanted.values())}
    return (f" WHERE {' AND '.join(conditions)}" if conditions else ""), params
