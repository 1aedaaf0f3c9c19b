"""The board of a simulated app equals SQL that an analyst would write over the raw log; and survives being cut off."""

from datetime import date

import pytest

from sojourn.core import DiskFull
from sojourn.events import IngestSpec, WorldSpec, register_events, simulate
from sojourn.metrics import BoardSpec, backfill_board, metric_relation, metric_table
from sojourn.warehouse import Warehouse, Writer
from tests.metrics.naive import put_events
from tests.metrics.shop import BOARD as SMALL
from tests.metrics.shop import LOG
from tests.metrics.test_board import bytes_of

BOARD = BoardSpec(active="event = 'launch'", portrait_dims=("channel",))
CHANNELS = """
    SELECT user_id, channel FROM {users} QUALIFY row_number() OVER (PARTITION BY user_id ORDER BY valid_from) = 1
"""
BY_HAND = {
    "active_users": """
        SELECT day AS start, channel, count(DISTINCT user_id) AS n FROM {events} JOIN channels USING (user_id)
        WHERE event = 'launch' GROUP BY ALL
    """,
    "new_users": """
        SELECT start, channel, count(*) AS n FROM (
            SELECT user_id, min(day) AS start FROM {events} WHERE event = 'launch' GROUP BY user_id
        ) JOIN channels USING (user_id) GROUP BY ALL
    """,
    "active_7d": """
        SELECT days.day AS start, channel, count(DISTINCT user_id) AS n
        FROM (SELECT DISTINCT day FROM {events}) AS days
        JOIN {events} AS log ON log.day > days.day - 7 AND log.day <= days.day JOIN channels USING (user_id)
        WHERE event = 'launch' GROUP BY ALL
    """,
    "revenue": """
        SELECT day AS start, channel, sum(amount) AS n FROM {events} JOIN channels USING (user_id)
        WHERE amount IS NOT NULL GROUP BY ALL
    """,
    "cohort_users": """
        WITH active AS (SELECT DISTINCT user_id, day FROM {events} WHERE event = 'launch'),
             firsts AS (SELECT user_id, min(day) AS cohort FROM active GROUP BY user_id)
        SELECT day AS start, channel, cohort, day - cohort AS age, count(*) AS n
        FROM active JOIN firsts USING (user_id) JOIN channels USING (user_id) GROUP BY ALL
    """,
}


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    warehouse = Warehouse.create(tmp_path_factory.mktemp("app") / "app")
    simulate(warehouse, WorldSpec(users=150, days=24, start=date(2025, 1, 1), seed=3))
    backfill_board(warehouse, BOARD)
    return warehouse


@pytest.mark.parametrize("name", BY_HAND)
def test_a_metric_is_what_plain_sql_over_the_raw_log_gives(app, name):
    tables = {table: app.relation(table) for table in ("events", "users")}
    query = BY_HAND[name].format(**tables)
    ours = f"SELECT start, channel, {'cohort, age, ' if 'cohort' in name else ''}numerator AS n"
    ours = f"{ours} FROM {metric_relation(app, BOARD, name)} WHERE numerator <> 0"
    channels = CHANNELS.format(**tables)
    theirs = f"SELECT * FROM (WITH channels AS ({channels}) SELECT * FROM ({query})) WHERE n <> 0"
    [(rows,)] = app.engine.rows(f"SELECT count(*) FROM ({theirs})")
    assert rows > 10
    assert app.engine.rows(f"({ours} EXCEPT ALL {theirs}) UNION ALL ({theirs} EXCEPT ALL {ours})") == []


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What a run that nothing cuts off leaves."""
    warehouse = Warehouse.create(tmp_path_factory.mktemp("whole") / "w")
    put_events(warehouse, LOG)
    backfill_board(warehouse, SMALL)
    return bytes_of(warehouse)


@pytest.mark.parametrize("cut", [1, 4, 9, 16, 23])
def test_a_run_that_is_cut_off_anywhere_is_completed_by_the_next(whole, tmp_path, monkeypatch, cut):
    warehouse = Warehouse.create(tmp_path / "cut")
    put_events(warehouse, LOG)
    put, calls = Writer.put, []

    def put_or_stop(*given, **named):
        calls.append(given)
        if len(calls) > cut:
            raise DiskFull("stopped here")
        return put(*given, **named)

    monkeypatch.setattr(Writer, "put", put_or_stop)
    with pytest.raises(DiskFull, match="stopped here"):
        backfill_board(warehouse, SMALL)
    monkeypatch.undo()
    backfill_board(warehouse, SMALL)
    assert bytes_of(warehouse) == whole


def test_a_log_that_lies_elsewhere_serves_as_well(app, tmp_path):
    elsewhere = Warehouse.create(tmp_path / "w")
    register_events(elsewhere, IngestSpec(), folder=str(app.root / "events"))
    board = BOARD.with_changes(portrait_dims=())
    backfill_board(elsewhere, board)
    backfill_board(app, board.with_changes(name="plain"))
    for name in ("active_users", "sessions", "retention"):
        theirs = metric_table(app, board.with_changes(name="plain"), name, grain="week")
        assert metric_table(elsewhere, board, name, grain="week").equals(theirs)
