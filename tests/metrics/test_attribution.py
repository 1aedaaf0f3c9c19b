"""Who was acquired, when and from where: the tables are the slow twin's, however the days came."""

from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sojourn.core import BadInput, BadSpec, MissingColumn, MissingTable
from sojourn.metrics import AcquisitionSpec, AttributionSpec, TouchRule, write_acquired, write_acquired_value
from sojourn.warehouse import EngineSpec, Warehouse
from tests.metrics.growth import ADS, START, acquired, board, event, numbered, put_log, put_users, rows, value_rows

RULES = st.fixed_dictionaries(
    {
        "model": st.sampled_from(["first", "last"]),
        "lookback_days": st.sampled_from([None, 0, 1, 4]),
        "reinstall_gap_days": st.sampled_from([None, 1, 3, 6]),
    }
)
FEW = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def fresh(tmp_path_factory):
    """Makes empty warehouses."""

    def make() -> Warehouse:
        return Warehouse.create(tmp_path_factory.mktemp("w") / "w", engine=EngineSpec(threads=1))

    return make


def told(warehouse):
    """Table metric_acquired as the twin tells it."""
    names = "user_id, day, acquired_at, acquisition, channel, campaign, touch_at"
    query = f"SELECT {names} FROM {warehouse.relation('metric_acquired')} ORDER BY user_id, acquisition"
    return warehouse.engine.frame(query).rows()


def twin(events, spec):
    found = acquired(events, spec.attribution)
    return [(a.user, a.day, a.at, a.number, a.channel, a.campaign, a.touch_at) for a in found]


def told_value(warehouse):
    names = ["day", "acquired_on", "channel", "campaign"]
    figures = ["gross", "refunds", "revenue", "margin", "active", "paying", "new_customers"]
    query = f"SELECT {', '.join(names + figures)} FROM {warehouse.relation('metric_acquired_value')}"
    return {row[:4]: dict(zip(figures, row[4:], strict=True)) for row in warehouse.engine.rows(query)}


@FEW
@given(events=rows(), rules=RULES)
def test_the_tables_are_the_slow_twin_s(fresh, events, rules):
    warehouse, spec = fresh(), board(**rules)
    put_log(warehouse, events)
    write_acquired(warehouse, spec)
    write_acquired_value(warehouse, spec)
    assert told(warehouse) == twin(events, spec)
    assert told_value(warehouse) == value_rows(events, spec)


@FEW
@given(events=rows(), rules=RULES, late=st.integers(0, 5), cut=st.integers(2, 8))
def test_days_one_by_one_and_late_rows_make_the_tables_of_one_backfill(fresh, events, rules, late, cut):
    warehouse, spec = fresh(), board(**rules)
    on_time = events[late:]
    if not on_time:
        return
    put_log(warehouse, on_time)
    for end in (START + timedelta(days=cut), None):
        if end is None or any(each["ts"].date() < end for each in on_time):
            write_acquired(warehouse, spec, as_of=end)
            write_acquired_value(warehouse, spec, as_of=end)
    put_log(warehouse, events)  # the late rows have arrived
    write_acquired(warehouse, spec)
    write_acquired_value(warehouse, spec)
    assert told(warehouse) == twin(events, spec)
    assert told_value(warehouse) == value_rows(events, spec)


def test_a_day_is_built_once_and_a_late_row_rebuilds_from_its_day(fresh):
    warehouse, spec = fresh(), board()
    events = numbered([event("ann", "launch", 24 * day) for day in range(5)])
    put_log(warehouse, events)
    assert len(write_acquired(warehouse, spec).built) == 5
    assert write_acquired(warehouse, spec).built == ()
    put_log(warehouse, numbered([*events, event("bob", "launch", 24 * 3 + 2)]))
    assert write_acquired(warehouse, spec).built == (START + timedelta(days=3), START + timedelta(days=4))


def test_money_of_nobody_s_cohort_is_kept_apart_and_everything_sums_to_the_log(fresh):
    warehouse, spec = fresh(), board()
    events = numbered([event("ann", "pay", 1, amount=5), event("ann", "launch", 30), event("ann", "pay", 31, amount=2)])
    put_log(warehouse, events)
    write_acquired(warehouse, spec)
    write_acquired_value(warehouse, spec)
    found = told_value(warehouse)
    assert {key[1]: cell["revenue"] for key, cell in found.items()} == {None: 5, START + timedelta(days=1): 2}


def test_the_first_touch_column_of_users_is_read_as_of_the_acquisition(fresh):
    warehouse = fresh()
    begins = event("ann", "launch", 0)["ts"]
    put_users(
        warehouse,
        [
            {"user_id": "ann", "valid_from": begins, "channel": "search", "campaign": "brand"},
            {"user_id": "ann", "valid_from": begins + timedelta(days=4), "channel": "social", "campaign": None},
            {"user_id": "bob", "valid_from": begins + timedelta(days=9), "channel": None},
            {"user_id": "qa", "valid_from": begins, "channel": "search", "is_test": True},
        ],
    )
    put_log(
        warehouse, numbered([event(who, "launch", at) for who, at in [("ann", 1), ("bob", 2), ("qa", 3), ("ann", 240)]])
    )
    spec = AcquisitionSpec(attribution=AttributionSpec(campaign_column="campaign", reinstall_gap_days=7))
    assert write_acquired(warehouse, spec).test_accounts == 1
    assert [(user, channel, campaign) for user, _, _, _, channel, campaign, _ in told(warehouse)] == [
        ("ann", "search", "brand"),
        ("ann", "social", "(none)"),
        ("bob", "organic", "(none)"),
    ]


def test_rows_that_match_two_rules_are_refused_unless_both_say_the_same(fresh):
    warehouse = fresh()
    put_log(warehouse, numbered([event("ann", "ad", 0, network="north"), event("ann", "launch", 1)]))
    other = TouchRule(name="north", where="network = 'north'", channel="'partner'")
    with pytest.raises(BadInput, match=r"rules 'ads' and 'north' overlap: 1 rows match both .*'e000'.*AND NOT"):
        write_acquired(warehouse, board(touches=(ADS, other)))
    same = other.with_changes(channel="'north'", campaign="creative")
    write_acquired(warehouse, board(touches=(ADS, same)))
    assert told(warehouse)[0][4] == "north"


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"model": "last"}, "choose among touches with times, and table 'users' has none"),
        ({"lookback_days": 7}, "choose among touches with times"),
        ({"touches": (ADS,)}, "say which counts: model = 'first' or 'last'"),
        ({"touches": (ADS, ADS.with_changes(name="b")), "model": "last"}, "'ads' and 'b' overlap: .* drop one"),
        ({"touches": (ADS, ADS), "model": "last"}, "two touch rules are called 'ads'"),
        ({"touches": (ADS,), "model": "last", "campaign_column": "campaign"}, "give each rule a campaign"),
    ],
)
def test_rules_that_contradict_each_other_are_refused(said, words):
    with pytest.raises(BadSpec, match=words):
        AttributionSpec(**said)


def test_what_the_log_does_not_have_is_named(fresh):
    warehouse = fresh()
    with pytest.raises(MissingTable, match="metrics need the table 'events'"):
        write_acquired(warehouse, board())
    put_log(warehouse, numbered([event("ann", "launch", 0)]))
    with pytest.raises(MissingColumn, match="'driver_id'"):
        write_acquired(warehouse, board(entity="driver_id"))
    with pytest.raises(MissingColumn, match=r"touch rule 'ads'.*'evnt'.*'event': 'evnt'"):
        write_acquired(warehouse, board(touches=(ADS.with_changes(where="evnt = 'ad'"),)))
    with pytest.raises(MissingTable, match="'channel' of table 'users'"):
        write_acquired(warehouse, AcquisitionSpec())
    with pytest.raises(BadInput, match="no day before 2025-03-01"):
        write_acquired(warehouse, board(), as_of=START)
