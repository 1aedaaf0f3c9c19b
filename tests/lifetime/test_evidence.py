"""What stands beside comparisons: spreads against what needs no model, cohorts by hand, and who is alive."""

from dataclasses import replace
from datetime import date, timedelta
from sys import modules

import numpy as np
import polars as pl
import pytest

from sojourn.core import BadInput
from sojourn.evaluate import BootstrapSpec, crps
from sojourn.lifetime import (
    BoostSpec,
    ChurnSpec,
    Comparison,
    Evidence,
    LifetimeSpec,
    ValueSpec,
    compare,
    judge_distribution,
    lifetime_report,
    log_days,
    training_table,
    value_cohorts,
)
from sojourn.lifetime._evidence_charts import cohorts_chart, places_chart
from sojourn.lifetime.distribution_proof import LEVELS, like_pace
from sojourn.lifetime.forecast import only_task
from sojourn.warehouse import Warehouse
from tests.lifetime.test_study import filled
from tests.lifetime.worlds import FAST

QUICK = BootstrapSpec(replicates=20)
TASK = ValueSpec(horizon_days=30, boost=FAST, folds=2, train_as_ofs=3, models=("median", "pareto_nbd", "pace"))
SMALL = LifetimeSpec(
    horizons_days=(14,), churn_days=14, step_days=7, train_as_ofs=2, folds=2, boost=BoostSpec(rounds=10, groups=2)
)


@pytest.fixture(scope="module")
def comparison(table: pl.DataFrame) -> Comparison:
    return compare(table, spec=TASK, bootstrap=QUICK)


@pytest.fixture(scope="module")
def proof(table: pl.DataFrame, comparison: Comparison) -> dict[str, dict[str, float]]:
    return {row["spread"]: row for row in judge_distribution(table, comparison=comparison).table.to_dicts()}


def test_spreads_are_judged_on_the_last_fold_s_users_alone(table, comparison, proof):
    found = judge_distribution(table, comparison=comparison)
    assert list(proof) == ["distribution", "users of like pace", "interval"]
    assert {row["users"] for row in proof.values()} == {comparison.predictions.height}
    assert {name: len(places) for name, places in found.pit.items()} == dict.fromkeys(
        ("distribution", "users of like pace"), comparison.predictions.height
    )
    later = table.with_columns(
        pl.when(pl.col("as_of") > comparison.final.fold.train[-1])
        .then(pl.when(pl.col("as_of") < comparison.final.fold.test).then(1e6).otherwise("label_spend_30d"))
        .otherwise("label_spend_30d")
        .alias("label_spend_30d")
    )
    # Windows that had not ended when the test began change nothing.
    assert judge_distribution(later, comparison=comparison).table.equals(found.table)


def test_the_distribution_beats_what_needs_no_model_and_holds(proof):
    ours, plain = proof["distribution"], proof["users of like pace"]
    assert ours["crps"] < 1.02 * plain["crps"]
    assert ours["pit_distance"] < 0.12
    assert 0.7 < ours["inside"] < 0.92


def test_the_interval_s_figures_are_those_of_the_predictions(comparison, proof):
    rows = comparison.predictions
    inside = rows.select((pl.col("ltv_30_low") <= pl.col("truth")) & (pl.col("truth") <= pl.col("ltv_30_high")))
    assert proof["interval"]["inside"] == pytest.approx(inside.to_series().mean())
    width = (rows["ltv_30_high"] - rows["ltv_30_low"]).mean()
    assert proof["interval"]["width"] == pytest.approx(width)
    assert proof["interval"]["crps"] is None


def test_users_of_like_pace_are_told_what_their_group_spent(table, comparison):
    """The slow twin: one user at a time, the quantiles of the training rows whose pace lies in the same bin."""
    fold = comparison.final.fold
    train = table.filter(pl.col("as_of").is_in(fold.train[-3:]))
    test = table.filter(pl.col("as_of") == fold.test).head(12)
    quantiles, _ = like_pace(train, test, task=TASK)
    before = compare_pace(train)
    edges = np.unique(np.quantile(before, np.arange(1, 20) / 20))
    for row, pace in enumerate(compare_pace(test)):
        near = [
            spent
            for spent, other in zip(train["label_spend_30d"], before, strict=True)
            if (edges < pace).sum() == (edges < other).sum()
        ]
        assert quantiles[row].tolist() == pytest.approx(np.quantile(near, LEVELS).tolist())
    assert crps(test["label_spend_30d"], quantiles).mean() > 0


def compare_pace(rows: pl.DataFrame) -> np.ndarray:
    """The mean of past rates, times the horizon, as the baseline `pace` has it."""
    days = {"spend_30d": 30, "spend_90d": 90, "spend_all": 36_500}
    rates = [
        rows[name].to_numpy() / np.clip(rows["tenure_days"].to_numpy(), 1, window) for name, window in days.items()
    ]
    return np.asarray(30 * np.mean(rates, axis=0))


def test_a_probability_has_neither(table):
    found = compare(table, spec=ChurnSpec(boost=FAST, folds=2, models=("recency", "base_rate")), bootstrap=QUICK)
    with pytest.raises(BadInput, match="churn_30 is a probability"):
        judge_distribution(table, comparison=found)


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    return filled(tmp_path_factory.mktemp("cohorts") / "w", users=120, days=90)


@pytest.fixture(scope="module")
def short(app: Warehouse) -> Comparison:
    task = SMALL.value_tasks()[0].with_changes(models=("median", "pace"))
    return compare(only_task(training_table(app, spec=SMALL), task), spec=task, bootstrap=QUICK)


def test_cohorts_are_what_the_log_says_user_by_user(app, short):
    cells = value_cohorts(app, comparison=short, spec=SMALL)
    as_of = short.final.fold.test
    log = app.frame("events").with_columns(pl.col("amount").cast(pl.Float64))
    firsts: dict[str, date] = dict(log.group_by("user_id").agg(pl.col("day").min()).iter_rows())
    spent: dict[tuple[int, int], float] = {}
    ahead: dict[int, float] = {}
    for row in log.iter_rows(named=True):
        born = (as_of - firsts[row["user_id"]]).days
        if born < 1:
            continue
        age, back = (born - 1) // 14, (as_of - timedelta(days=1) - row["day"]).days // 14
        if row["day"] < as_of:
            spent[age, age - back] = spent.get((age, age - back), 0.0) + row["amount"]
        elif row["day"] < as_of + timedelta(days=14):
            ahead[age] = ahead.get(age, 0.0) + row["amount"]
    assert set(cells["state"]) == {"observed", "ahead"}
    assert cells["cohort"].min() == log_days(app)[0]
    for cell in cells.iter_rows(named=True):
        age = -(-(as_of - cell["cohort"]).days // 14) - 1  # the oldest begins with the log
        users = sum((as_of - first).days >= 1 and ((as_of - first).days - 1) // 14 == age for first in firsts.values())
        assert cell["users"] == users
        if cell["state"] == "observed":
            assert cell["observed"] * users == pytest.approx(spent.get((age, cell["period"]), 0.0))
        else:
            assert cell["period"] == age + 1
            assert cell["came"] * users == pytest.approx(ahead.get(age, 0.0))
    told = cells.filter(pl.col("state") == "ahead")
    assert (told["forecast"] * told["users"]).sum() == pytest.approx(short.predictions[short.chosen].sum())


def test_cohorts_of_long_ago_are_shown_where_nobody_came_since(app, short, monkeypatch):
    """As where all customers came in one season: with two cohorts at most, the latest two that there are."""
    monkeypatch.setattr(modules["sojourn.lifetime.value_cohorts"], "MOST_COHORTS", 2)
    old = short.features.filter(pl.col("tenure_days") > 28)
    cells = value_cohorts(app, comparison=replace(short, features=old), spec=SMALL)
    assert cells["cohort"].n_unique() == 2
    assert cells.filter(pl.col("state") == "observed").group_by("cohort").len()["len"].to_list() == [2, 2]
    assert cells["period"].min() == 1


def test_the_report_shows_spreads_cohorts_and_who_is_alive(table, comparison, app, short):
    evidence = Evidence(
        left_out={"ltv_90": "the log is too short"},
        distributions={"ltv_30": judge_distribution(table, comparison=comparison)},
        cohorts={"ltv_30": value_cohorts(app, comparison=short, spec=SMALL)},
    )
    page = lifetime_report(comparisons=[comparison], spec=LifetimeSpec(horizons_days=(30,)), evidence=evidence).html()
    for told in (
        "<strong>ltv_90</strong> is left out: the log is too short.",
        "Where users came to lie in what was predicted of them",
        "What users of like pace spent",
        "What each cohort spent, and what was foretold of its next period",
        "still alive, by how often and how recently they bought",
    ):
        assert told in page, told


def test_the_charts_hold_every_cell_and_share(short, app):
    cells = value_cohorts(app, comparison=short, spec=SMALL)
    figure = cohorts_chart(cells.with_columns(users=pl.lit(50)), unit="$", days=14)
    assert sum(cell is not None for line in figure.data[0].z for cell in line) == cells.height
    ahead = cells.filter(pl.col("state") == "ahead")
    assert sorted((shape.x0 + shape.x1) / 2 for shape in figure.layout.shapes) == sorted(ahead["period"])
    late = cells.filter(pl.col("period") >= 2).with_columns(users=pl.lit(50))
    framed = cohorts_chart(late, unit="$", days=14).layout.shapes
    assert sorted((shape.x0 + shape.x1) / 2 for shape in framed) == sorted(
        late.filter(pl.col("state") == "ahead")["period"]
    )
    places = places_chart({"ours": np.linspace(0, 1, 101), "theirs": np.full(10, 0.05)})
    assert sum(places.data[0].y) == pytest.approx(1)
    assert places.data[1].y[0] == 1
