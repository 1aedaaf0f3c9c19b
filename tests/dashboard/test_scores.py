"""Value, risk and what moved figures, each against a slow way of its own."""

from datetime import timedelta

import polars as pl
import pytest

from sojourn.core import MissingTable
from sojourn.dashboard import DashboardSpec, Filters
from sojourn.dashboard.boards import dimension_values, metric
from sojourn.dashboard.movers import biggest, moved
from sojourn.dashboard.pages.acquisition import payback_curves
from sojourn.dashboard.pages.retention import by_age, cohort_table
from sojourn.dashboard.pages.users import apart
from sojourn.dashboard.pages.value import VALUE
from sojourn.dashboard.reader import Reader
from sojourn.dashboard.scores import at_risk, latest_scores, user_scores, value_cube
from tests.dashboard.worlds import DAYS, SPEC, START


def predicted(app):
    """The latest predictions with each user's dimensions, in memory."""
    scores = app.frame("predictions", only=[{"as_of": str(START + timedelta(days=DAYS))}])
    state = app.frame("metric_state_users", only=app.places("metric_state_users")[-1:])
    dims = state.select("user_id", "channel", "country")
    return scores.join(dims, on="user_id", how="left").with_columns(pl.col("channel", "country").fill_null("unknown"))


def slow_deciles(table):
    """Tenths as one would count them: how many of the nine cuts a value lies below."""
    values = sorted(table["ltv_30"].to_list())
    cuts = [values[max(0, -(-len(values) * (10 - at) // 10) - 1)] for at in range(1, 10)]
    return [1 + sum(value < cut for cut in cuts) for value in table["ltv_30"]], cuts[1]


@pytest.mark.parametrize("filters", [Filters(), Filters(channel="organic"), Filters(segment="country=US")])
def test_tenths_and_risk_are_those_of_the_users_themselves(app, reader, filters):
    every = predicted(app)
    deciles, cut = slow_deciles(every)
    every = every.with_columns(decile=pl.Series(deciles))
    for dim, value in filters.conditions(channel="channel").items():
        every = every.filter(pl.col(dim) == value)
    risky = every.filter(pl.col("churn_prob_30") >= SPEC.risk_prob, pl.col("ltv_30") >= cut, pl.col("ltv_30") > 0)
    scores, cube = value_cube(reader, filters)
    assert scores.horizon_days == 30
    wanted = every.group_by("decile").agg(users=pl.len(), value=pl.col("ltv_30").sum()).sort("decile")
    assert cube["users"].to_list() == wanted["users"].to_list()
    assert cube["value"].to_list() == pytest.approx(wanted["value"].to_list())
    assert cube["risk_users"].sum() == risky.height
    assert cube["risk_value"].sum() == pytest.approx(risky["ltv_30"].sum())
    listed = at_risk(reader, filters)[1]
    assert listed["user_id"].to_list() == risky.sort("ltv_30", "user_id", descending=[True, False])["user_id"].to_list()


def test_a_target_list_is_as_long_as_declared(app):
    few = Reader(app, SPEC.with_changes(list_users=3))
    assert at_risk(few, Filters())[1].height == 3


def test_one_users_scores_are_their_row(app, reader):
    row = predicted(app).row(7, named=True)
    assert user_scores(reader, row["user_id"])["ltv_30"].to_list() == [row["ltv_30"]]
    assert user_scores(reader, "nobody").is_empty()


def test_forecast_against_observed_adds_up_the_log(app, reader):
    begins = START + timedelta(days=DAYS - 30)
    table = VALUE.part("observed").make(reader, Filters()).table
    spent = app.engine.rows(
        f"SELECT sum(amount)::DOUBLE FROM {app.relation('events')} WHERE day >= DATE '{begins}' AND user_id IN "
        f"(SELECT user_id FROM {app.relation('predictions', only=[{'as_of': str(begins)}])})"
    )
    assert table["observed"].sum() == pytest.approx(spent[0][0] or 0.0)
    assert table["users"].sum() == app.frame("predictions", only=[{"as_of": str(begins)}]).height


@pytest.mark.parametrize("name", ["active_users", "revenue", "arpu", "sessions_per_user", "paying_share"])
@pytest.mark.parametrize("by", ["channel", "country"])
def test_effects_add_up_to_the_change(reader, name, by):
    why = moved(reader, name, Filters(), by=by)
    assert why.parts["effect"].sum() == pytest.approx(why.change, abs=1e-9)
    whole = metric(reader, name, Filters())
    found = dict(whole.select("start", "value").iter_rows())
    assert (why.before, why.after) == pytest.approx((found[why.start], found[why.end]))


def test_the_biggest_movers_come_first(reader):
    table = biggest(reader, ["revenue", "arpu"], Filters(), by=["channel", "country"], most=6)
    sizes = table["relative"].abs().to_list()
    assert sizes == sorted(sizes, reverse=True)
    assert set(table["dimension"]) <= {"channel", "country"}


def test_retention_by_age_is_all_users_over_all_cohorts(reader):
    cohorts = cohort_table(reader, Filters(grain="day", start=START), "retention")
    table = by_age(cohorts)
    for age, value, low, high in table.select("age", "value", "low", "high").iter_rows():
        mature = [row for row in cohorts.iter_rows(named=True) if row["age"] == age and row["mature"]]
        share = sum(row["numerator"] for row in mature) / sum(row["denominator"] for row in mature)
        assert value == pytest.approx(share)
        assert 0 <= low <= value <= high <= 1


def test_payback_is_margin_over_cost_of_channels_that_cost_something(app, reader):
    table = payback_curves(reader, Filters(grain="week"))
    values = app.frame("metric_acquired_value").filter(pl.col("acquired_on").is_not_null())
    costs = app.frame("costs").with_columns(
        cohort=pl.col("day").dt.truncate("1w"), amount=pl.col("amount").cast(pl.Float64)
    )
    row = table.filter(pl.col("value").is_not_null()).row(-1, named=True)
    paid = costs.filter(pl.col("cohort") == row["cohort"]).group_by("channel").agg(pl.col("amount").sum())
    paid = paid.filter(pl.col("amount") > 0)
    ours = values.filter(
        pl.col("acquired_on").dt.truncate("1w") == row["cohort"], pl.col("age") <= row["age"],
        pl.col("channel").is_in(paid["channel"].implode()),
    )  # fmt: skip
    assert row["value"] == pytest.approx(float(ours["margin"].sum()) / paid["amount"].sum())


def test_what_sets_a_user_apart_comes_first():
    others = pl.DataFrame({"a": [1.0, 2.0, 3.0, 4.0], "b": [1.0, 1.0, 1.0, 2.0], "same": [5.0] * 4})
    table = apart(pl.DataFrame({"a": [9.0], "b": [1.0], "same": [5.0]}), others)
    assert table.rows() == [("A", 9.0, 2.5, 1.0), ("B", 1.0, 1.0, 0.375)]


def test_nobody_scored_says_what_to_run(warehouse):
    with pytest.raises(MissingTable, match="sojourn ltv score"):
        latest_scores(Reader(warehouse, DashboardSpec()), Filters())


def test_channels_are_ordered_by_their_users(reader):
    channels = dimension_values(reader)["channel"]
    users = metric(reader, "new_users", Filters(), by=["channel"], ever=True)
    sizes = dict(users.group_by("channel").agg(pl.col("numerator").sum()).iter_rows())
    assert [sizes[channel] for channel in channels] == sorted(sizes.values(), reverse=True)
