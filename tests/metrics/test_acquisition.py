"""Cost, value and payback by acquired cohort are the slow twin's; immature cells are told, never low."""

from collections import defaultdict
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sojourn.core import BadInput
from sojourn.metrics import check_acquisition, payback_chart, payback_lines, payback_table, write_acquisition
from sojourn.warehouse import EngineSpec, Warehouse
from tests.metrics.growth import START, acquired, board, event, numbered, put_costs, put_log, rows, value_rows

DAY = timedelta(days=1)
FEW = settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
COST = st.tuples(
    st.integers(0, 8).map(lambda n: START + n * DAY),
    st.sampled_from(["north", "south"]),
    st.sampled_from(["cat", None]),
    st.integers(1, 900).map(lambda n: str(Decimal(n) / 100)),
    st.none(),
)


def monday(day: date) -> date:
    return day - timedelta(days=day.weekday())


def period(day: date, grain: str) -> tuple[date, date]:
    """The first day of the period that a day lies in, and the day after its last."""
    if grain == "day":
        return day, day + DAY
    if grain == "week":
        return monday(day), monday(day) + 7 * DAY
    first = day.replace(day=1)
    return first, (first + 31 * DAY).replace(day=1)


def figures(table: pl.DataFrame, *keys: str) -> dict[tuple[Any, ...], Any]:
    assert table.select(keys).is_duplicated().sum() == 0
    columns = ("numerator", "denominator", "mature")
    return {tuple(row[key] for key in keys): tuple(row[each] for each in columns) for row in table.to_dicts()}


def twin_cohorts(events, costs, spec, grain, numerator, denominator):
    """numerator, denominator and mature of every cohort, channel, campaign and age, cell by cell."""
    starts, cells = acquired(events, spec.attribution), value_rows(events, spec)
    first = min(each["ts"].date() for each in events)
    as_of = max(each["ts"].date() for each in events) + DAY
    size: dict[tuple[Any, ...], int] = defaultdict(int)
    cost: dict[tuple[Any, ...], Decimal] = defaultdict(Decimal)
    for each in starts:
        size[each.day, each.channel, each.campaign] += 1
    for day, channel, campaign, amount, _ in costs:
        if first <= day < as_of:
            cost[day, channel, campaign or "(none)"] += Decimal(amount)
    found: dict[tuple[Any, ...], Any] = {}
    for day, channel, campaign in {*size, *cost}:
        cohort, end = period(day, grain)
        for age in range(spec.horizon_days + 1):
            if day + age * DAY >= as_of:
                continue
            own = {d: c for (d, *key), c in cells.items() if key == [day, channel, campaign]}
            so_far = [c for d, c in own.items() if (d - day).days <= age]
            sides = {
                "acquired": size[day, channel, campaign],
                "cost": cost[day, channel, campaign],
                "active": own.get(day + age * DAY, {}).get("active", 0),
                "revenue": sum((c["revenue"] for c in so_far), Decimal(0)),
                "margin": sum((c["margin"] for c in so_far), Decimal(0)),
            }
            old = found.get((cohort, channel, campaign, age), (0, 0, None))
            mature = end + age * DAY <= as_of and cohort >= first
            key = (cohort, channel, campaign, age)
            found[key] = (old[0] + sides[numerator], old[1] + sides[denominator], mature)
    return found


@FEW
@given(events=rows(size=30), costs=st.lists(COST, max_size=5), gap=st.sampled_from([None, 3]))
def test_cohort_metrics_are_the_slow_twin_s(tmp_path_factory, events, costs, gap):
    warehouse = Warehouse.create(tmp_path_factory.mktemp("w") / "w", engine=EngineSpec(threads=1))
    spec = board(reinstall_gap_days=gap)
    put_log(warehouse, events)
    put_costs(warehouse, costs)
    if not acquired(events, spec.attribution):
        with pytest.raises(BadInput, match="makes any user_id active"):
            write_acquisition(warehouse, spec)
        return
    write_acquisition(warehouse, spec)
    for name, top, bottom in (
        ("acquired_retention", "active", "acquired"),
        ("acquired_margin", "margin", "acquired"),
        ("roas", "revenue", "cost"),
        ("ltv_cac", "margin", "cost"),
    ):
        table = warehouse.frame(f"metric_{name}")
        for grain in ("week", "month"):
            found = figures(table.filter(pl.col("grain") == grain), "cohort", "channel", "campaign", "age")
            assert found == twin_cohorts(events, costs, spec, grain, top, bottom)
        defined = table.filter(pl.col("denominator") != 0)
        quotient = defined["numerator"].cast(pl.Float64) / defined["denominator"].cast(pl.Float64)
        assert defined["value"].to_list() == quotient.to_list()
        assert table.filter(pl.col("denominator") == 0)["value"].null_count() == table.height - defined.height


def test_cost_per_user_and_per_customer_by_hand(warehouse):
    """Three come by north for 12; two of them pay within three days, one on the fourth."""
    launches = [event(who, "launch", 2) for who in ("ann", "bob", "cem")]
    ads = [event(who, "ad", 1, network="north") for who in ("ann", "bob", "cem")]
    pays = [
        event("ann", "pay", 3, amount=5),
        event("bob", "pay", 24 * 3, amount=5),
        event("cem", "pay", 24 * 4, amount=5),
    ]
    put_log(warehouse, numbered([*launches, *ads, *pays, event("ann", "ad", 24 * 3)]))
    put_costs(warehouse, [(START, "north", "tv", "8", None), (START, "north", None, "4", None)])
    write_acquisition(warehouse, board())
    day = pl.col("grain") == "day", pl.col("start") == START

    def sums(name):
        return warehouse.frame(f"metric_{name}").filter(*day).select(pl.col("numerator", "denominator").sum()).row(0)

    assert sums("cpi") == (12, 3)
    assert sums("cac") == (12, 2)
    # The week of Saturday, 1 March, and the three days after it were over on the 6th, but the log begins within it; the
    # month was not over.
    table = warehouse.frame("metric_cac").filter(pl.col("start") <= START)
    assert {row["grain"]: row["mature"] for row in table.to_dicts()} == {"day": True, "week": False, "month": False}


def test_a_period_is_whole_only_where_the_log_holds_all_of_it(warehouse):
    weekly = [event(who, "launch", 24 * 7 * n) for n, who in enumerate(("ann", "bob", "cem"))]
    put_log(warehouse, numbered([*weekly, event("cem", "launch", 24 * 20)]))
    write_acquisition(warehouse, board())
    mature = {}
    for name in ("acquired_users", "acquired_retention"):
        table = warehouse.frame(f"metric_{name}").filter(pl.col("grain") == "week").sort("start")
        table = table.filter(pl.col("age") == 0) if "age" in table.columns else table
        mature[name] = [(row["start"].day, row["mature"]) for row in table.to_dicts()]
    # The log runs from Saturday, 1 March, to Friday, 21 March.
    assert mature["acquired_users"] == mature["acquired_retention"] == [(24, False), (3, True), (10, True)]


def test_young_cohorts_are_told_by_their_older_part_and_marked(warehouse):
    """Everybody pays 10 on day one of age; who came yesterday could not yet."""
    events = []
    for n, who in enumerate(["ann", "bob", "cem"]):
        events += [event(who, "launch", 24 * (n + 2)), event(who, "pay", 24 * (n + 3), amount=10)]
    put_log(warehouse, numbered(events[:-1]))
    write_acquisition(warehouse, board())
    table = warehouse.frame("metric_acquired_revenue").filter(pl.col("grain") == "week", pl.col("age") == 1)
    assert table["value"].to_list() == [10.0]
    assert table["mature"].to_list() == [False]


def test_writing_again_changes_nothing_and_a_board_of_its_own_leaves_the_first_alone(warehouse):
    put_log(warehouse, numbered([event("ann", "ad", 0, network="north"), event("ann", "launch", 1)]))
    put_costs(warehouse, [(START, "north", None, "3", None)])
    done = write_acquisition(warehouse, board())
    assert done.written > 0
    again = write_acquisition(warehouse, board())
    assert (again.written, again.current) == (0, done.written)
    write_acquisition(warehouse, board().with_changes(name="others"))
    assert write_acquisition(warehouse, board()).written == 0
    assert warehouse.frame("metric_cpi")["board"].unique().sort().to_list() == ["others", "users"]


def put_predictions(warehouse, as_of: date, rows: dict[str, tuple[float, float, float]]) -> None:
    frame = pl.DataFrame(
        {
            "user_id": list(rows),
            "ltv_10": [row[1] for row in rows.values()],
            "ltv_10_low": [row[0] for row in rows.values()],
            "ltv_10_high": [row[2] for row in rows.values()],
        }
    )
    with warehouse.writing("predictions") as writer:
        writer.put({"as_of": str(as_of)}, frame, order_by=["user_id"], fingerprint=repr(rows))


def test_forecasts_begin_where_the_predictions_did_and_say_when_it_pays_back(warehouse):
    """Two users for 30; 10 of revenue on the first day; 40 more expected over ten days, 70 % of it margin."""
    events = [event("ann", "launch", 1), event("bob", "launch", 2), event("ann", "pay", 3, amount=10)]
    put_log(warehouse, numbered([*events, event("ann", "launch", 25)]))
    put_costs(warehouse, [(START, "organic", None, "30", None)])
    as_of = START + 2 * DAY
    put_predictions(warehouse, as_of, {"ann": (10.0, 30.0, 70.0), "bob": (10.0, 10.0, 40.0)})
    spec = board()
    write_acquisition(warehouse, spec)
    table = warehouse.frame("metric_acquired_revenue").filter(pl.col("grain") == "week").sort("age")
    ahead = table.drop_nulls("forecast")
    # Ages 0 and 1 were known on the morning of day 2; age 1 + n is n days ahead.
    assert ahead["age"].to_list() == list(range(2, 11))
    assert ahead["forecast"].to_list() == pytest.approx([(10 + 40 * n / 10) / 2 for n in range(1, 10)])
    last = ahead.row(-1, named=True)
    # In the last days one user spent 10: 100 / 10 of variance for each unit of the 36 expected by then.
    assert last["forecast_low"] == pytest.approx((46 - 1.28155 * 360**0.5) / 2, abs=1e-4)
    assert last["forecast_high"] == pytest.approx((46 + 1.28155 * 360**0.5) / 2, abs=1e-4)
    assert table.filter(pl.col("age") > 1)["value"].null_count() == 9
    paid = warehouse.frame("metric_payback").filter(pl.col("grain") == "week", pl.col("channel") == "organic")
    # Margin 0.7 (10 + 4 n) reaches 30 at n = 8.2, so at age 1 + 9.
    assert paid.select("status", "payback_days").row(0) == ("forecast", 10)
    assert paid["low"].item() < 10


def test_payback_sums_channels_that_cost_something_even_where_costs_name_other_campaigns(warehouse):
    """North's costs are of campaigns that its users do not carry; organic users bring money and cost nothing."""
    arrive = [
        event("ann", "ad", 0, network="north", creative="cat"),
        event("ann", "launch", 1),
        event("bob", "launch", 2),
    ]
    put_log(warehouse, numbered([*arrive, event("ann", "pay", 3, amount=10), event("bob", "pay", 4, amount=90)]))
    put_costs(warehouse, [(START, "north", "tv", "9", None), (START, "north", None, "5", None)])
    put_predictions(warehouse, START + DAY, {"ann": (0.0, 20.0, 30.0), "bob": (0.0, 500.0, 900.0)})
    write_acquisition(warehouse, board())
    paid = warehouse.frame("metric_payback").filter(pl.col("grain") == "week")
    told = {row["channel"]: (row["status"], row["payback_days"], row["cost"]) for row in paid.to_dicts()}
    # Margin 7 so far, 0.7 x 2 a day ahead: 14 is reached five days ahead, which is age 5.
    assert told == {"(paid)": ("forecast", 5, 14), "north": ("forecast", 5, 14), "organic": ("free", None, 0)}
    tables = [
        warehouse.frame(f"metric_{name}").filter(pl.col("grain") == "week") for name in ("acquired_margin", "ltv_cac")
    ]
    lines = payback_lines(*tables, by="cohort")
    ahead = lines.drop_nulls("forecast").sort("age")
    assert ahead["forecast"].to_list() == pytest.approx([(7 + 1.4 * n) / 14 for n in range(1, 11)])
    dashes = [trace for trace in payback_chart(*tables).data if trace.line.dash == "dash"]
    assert len(dashes) == 1
    assert dashes[0].y[-1] == ahead["forecast"][-1]


def test_there_is_no_forecast_where_somebody_has_no_prediction(warehouse):
    put_log(warehouse, numbered([event("ann", "launch", 1), event("bob", "launch", 2), event("ann", "launch", 25)]))
    put_predictions(warehouse, START + 2 * DAY, {"ann": (0.0, 1.0, 2.0)})
    write_acquisition(warehouse, board())
    assert warehouse.frame("metric_acquired_revenue")["forecast"].null_count() > 0
    assert warehouse.frame("metric_acquired_revenue")["forecast"].drop_nulls().is_empty()


def test_payback_is_the_first_age_that_made_up_for_the_cost_of_each_channel_and_of_all():
    money = pl.Decimal(38, 4)
    margins = {"north": [0, 4, 9, 12], "south": [6, 6, 6, 6], "organic": [0, 1, 1, 1]}
    costs = {"north": 9, "south": 7, "organic": 0}
    rows = [
        (START, name, age, 2, costs[name], margin, age < 3)
        for name, each in margins.items()
        for age, margin in enumerate(each)
    ]
    schema: dict[str, Any] = {
        "cohort": pl.Date, "channel": pl.String, "age": pl.Int32, "acquired": pl.Int64, "cost": money, "margin": money,
        "reached": pl.Boolean,
    }  # fmt: skip
    found = payback_table(pl.DataFrame(rows, schema=schema, orient="row"), forecast=None)
    told = {row["channel"]: (row["status"], row["payback_days"], row["age"]) for row in found.to_dicts()}
    assert told == {
        "(paid)": ("not in sight", None, 2),
        "north": ("observed", 2, 2),
        "south": ("not in sight", None, 2),
        "organic": ("free", None, 2),
    }


def curve(cohort: date, channel: str, margins: list[int], *, cost: int) -> pl.DataFrame:
    money = pl.Decimal(38, 4)
    schema: dict[str, Any] = {
        "cohort": pl.Date, "channel": pl.String, "age": pl.Int32, "acquired": pl.Int64, "cost": money, "margin": money,
        "reached": pl.Boolean,
    }  # fmt: skip
    rows = [(cohort, channel, age, 2, cost, margin, True) for age, margin in enumerate(margins)]
    return pl.DataFrame(rows, schema=schema, orient="row")


def test_a_cohort_younger_than_others_were_when_they_paid_back_is_too_young_to_tell():
    def day(number):
        return START + number * DAY

    table = pl.concat(
        [
            curve(day(0), "north", [0, 1, 2, 9, 9], cost=9),
            curve(day(1), "north", [0, 1, 2, 2], cost=9),
            curve(day(2), "north", [0, 1, 2], cost=9),
            curve(day(0), "south", [0, 0, 0, 0, 0], cost=1),
            curve(day(3), "south", [0], cost=1),
            curve(day(4), "organic", [0], cost=0),
        ]
    )
    found = payback_table(table, forecast=None).filter(pl.col("channel") != "(paid)")
    told = {(row["channel"], (row["cohort"] - START).days): row["status"] for row in found.to_dicts()}
    assert told == {
        ("north", 0): "observed", ("north", 1): "not in sight", ("north", 2): "too young", ("south", 0): "not in sight",
        ("south", 3): "too young", ("organic", 4): "free",
    }  # fmt: skip
    none_paid = payback_table(curve(day(0), "south", [0, 0], cost=1), forecast=None)
    assert none_paid["status"].unique().to_list() == ["not in sight"]
    none_old = curve(day(0), "south", [0, 0], cost=1).with_columns(reached=False)
    assert payback_table(none_old, forecast=None)["status"].unique().to_list() == ["too young"]


def test_a_forecast_that_looks_far_enough_says_that_payback_is_not_in_sight():
    table = pl.concat([curve(START, "north", [0, 1, 9], cost=9), curve(START + DAY, "north", [0], cost=9)])
    ahead = curve(START + DAY, "north", [0, 0, 0], cost=9).filter(pl.col("age") > 0)
    ends = ahead.drop("reached", "cost").with_columns(margin_low=pl.col("margin"), margin_high=pl.col("margin"))
    found = payback_table(table, forecast=ends)
    assert found.filter(pl.col("cohort") > START)["status"].unique().to_list() == ["not in sight"]
    short = payback_table(table, forecast=ends.filter(pl.col("age") < 2))
    assert short.filter(pl.col("cohort") > START)["status"].unique().to_list() == ["too young"]


def test_checks_pass_on_what_was_written_and_find_what_was_changed_behind_the_back(warehouse):
    launches = [event(who, kind, 20 * n) for n, who in enumerate(("ann", "bob", "cem")) for kind in ("launch", "pay")]
    events = numbered([{**each, "amount": 3} if each["event"] == "pay" else each for each in launches])
    put_log(warehouse, events)
    put_costs(warehouse, [(START, "organic", None, "30", None)])
    plain = board().with_changes(name="users")
    without_currency(warehouse)
    write_acquisition(warehouse, plain)
    checks = {each.check: each for each in check_acquisition(warehouse, plain)}
    assert [each.verdict for each in checks.values()] == ["ok"] * 5
    put_costs(warehouse, [(START, "organic", None, "31", None)])
    lost = warehouse.frame("metric_acquired_value", only=[plain.place(START)]).drop("board", "day").head(0)
    with warehouse.writing("metric_acquired_value") as writer:
        writer.put(plain.place(START), lost, order_by=["acquired_on"], fingerprint="lost")
    with warehouse.writing("metric_acquired") as writer:
        writer.drop(plain.place(START + DAY))
    found = {each.check: each.wrong for each in check_acquisition(warehouse, plain) if each.wrong}
    assert set(found) == {"attributed", "conserved", "acquired", "costs", "parts"}
    assert "2025-03-01: cohorts have None, the log has 6" in found["conserved"][0]
    assert "by day there are 30.0000, not 31.0000" in found["costs"][0]


def without_currency(warehouse) -> None:
    """The log without its column of currencies: what most logs are."""
    for place in warehouse.places("events"):
        frame = warehouse.frame("events", only=[place]).drop("currency", "day")
        with warehouse.writing("events") as writer:
            writer.put(place, frame, order_by=["event_id"], fingerprint=f"plain-{place['day']}")


def test_checking_before_the_first_run_is_refused(warehouse):
    with pytest.raises(BadInput, match=r"board 'users' has no tables yet\. Make them: sojourn metrics acquisition"):
        check_acquisition(warehouse, board())
