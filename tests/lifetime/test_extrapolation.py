"""Horizons longer than the log: grown by a purchase process, marked, close to a future that is known, or refused."""

from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from sojourn.core import BadInput
from sojourn.evaluate import read_metrics
from sojourn.lifetime import (
    Extrapolation,
    ExtrapolationSpec,
    Lifetime,
    LifetimeSpec,
    PurchaseProcess,
    evaluate_model,
    profiles,
    run_study,
    training_table,
)
from sojourn.lifetime.extrapolation import bases_of
from tests.lifetime.test_study import filled
from tests.lifetime.worlds import FAST, FIRST, Log, table_of

SEEN_DAYS, LONG_DAYS = 200, 365
SPEC = LifetimeSpec(
    horizons_days=(30, LONG_DAYS),
    boost=FAST,
    train_as_ofs=3,
    folds=2,
    replicates=20,
    models={"ltv_30": "two_stage", "churn_30": "churn_trees"},
)


def leaving(seed: int, *, users: int) -> Log:
    """Pareto/NBD users over 565 days: rates gamma(1.2) / 15 days, lifetimes exponential at gamma(1.5) / 200 days."""
    rng, days = np.random.default_rng(seed), SEEN_DAYS + LONG_DAYS
    rate = rng.gamma(1.2, 1 / 15, users)
    leaves = rng.exponential(1 / rng.gamma(1.5, 1 / 200, users))
    arrival = rng.integers(0, SEEN_DAYS // 2, users)
    day = np.arange(days)
    alive = (day >= arrival[:, None]) & (day < (arrival + leaves)[:, None])
    purchases = rng.poisson(rate[:, None], (users, days)) * alive
    # The first purchase is what makes a customer.
    purchases[np.arange(users), arrival] = np.maximum(purchases[np.arange(users), arrival], 1)
    size = rng.lognormal(2, 0.4, users)[:, None] * rng.lognormal(0, 0.3, (users, days))
    return Log(np.round(purchases * size, 2), purchases, arrival)


@pytest.fixture(scope="module")
def world() -> Log:
    return leaving(2, users=4000)


@pytest.fixture(scope="module")
def known(world: Log) -> pl.DataFrame:
    """What the first 200 days tell."""
    cut = Log(world.spend[:, :SEEN_DAYS], world.purchases[:, :SEEN_DAYS], world.arrival)
    return table_of(cut, horizons_days=(30, LONG_DAYS))


@pytest.fixture(scope="module")
def today(world: Log) -> pl.DataFrame:
    """Users as seen from the 200th day, with the true year after it."""
    return table_of(world, horizons_days=(LONG_DAYS,), step_days=1000)


@pytest.fixture(scope="module")
def model(known: pl.DataFrame) -> Lifetime:
    return Lifetime(SPEC).fit(known)


def test_a_year_is_foretold_from_two_hundred_days(model, today):
    found, truth = model.predict(today), today[f"label_spend_{LONG_DAYS}d"].to_numpy()
    grown, straight = found["ltv_365"].to_numpy(), found["ltv_30"].to_numpy() * LONG_DAYS / 30
    assert grown.sum() == pytest.approx(truth.sum(), rel=0.12)
    # Going on as in the first month for a year forgets that users leave.
    assert abs(grown.sum() - truth.sum()) < 0.2 * abs(straight.sum() - truth.sum())
    assert np.abs(grown - truth).mean() < 0.85 * np.abs(straight - truth).mean()


def test_the_growth_is_what_the_true_process_expects(world, known):
    growth = Extrapolation(ExtrapolationSpec(base_days=30, horizon_days=LONG_DAYS)).fit(known)
    latest = known.filter(pl.col("as_of") == known["as_of"].max())
    found = growth.predict(latest)["growth"].to_numpy()
    look = (latest["as_of"][0] - FIRST).days
    rows = latest["user_id"].str.slice(1).cast(pl.Int64).to_numpy()
    bought = world.purchases[rows] > 0
    month, year = (bought[:, look : look + days].sum(axis=1) for days in (30, LONG_DAYS))
    # The mean growth, weighted by what was bought in the first month, is the ratio of totals.
    assert (found >= 1).all()
    assert (found <= LONG_DAYS / 30).all()
    assert np.average(found, weights=month) == pytest.approx(year.sum() / month.sum(), rel=0.15)


def test_extrapolated_horizons_are_marked_and_rise(model, today):
    found = model.predict(today)
    assert found.columns == model.columns()
    assert found.columns[2:9] == [
        *("ltv_30", "ltv_30_low", "ltv_30_high", "ltv_365", "ltv_365_low", "ltv_365_high", "ltv_365_extrapolated")
    ]
    assert found["ltv_365_extrapolated"].all()
    assert (found["ltv_365"] >= found["ltv_30"]).all()
    assert (found["ltv_365_low"] <= found["ltv_365_high"]).all()
    assert model.chosen_["ltv_365"] == "extrapolated"
    assert model.known_until == today["as_of"][0]
    users = profiles(today.drop("label_spend_365d", "label_purchases_365d"), predictions=found, spec=SPEC)
    assert users["horizon_days"].unique().to_list() == [LONG_DAYS]


def test_saved_extrapolations_say_the_same(model, today, tmp_path):
    model.save(tmp_path)
    again = Lifetime.load(tmp_path)
    assert_frame_equal(again.predict(today), model.predict(today), check_exact=True)
    assert again.columns() == model.columns()
    assert again.extrapolations_.keys() == {"ltv_365"}


def test_once_the_year_is_over_it_can_be_judged(model, today):
    scores = evaluate_model(model, table=today)["ltv_365"]
    assert set(scores.models) == {"extrapolated"}
    assert abs(scores.models["extrapolated"]["bias"].value or 1) < 0.12


def test_a_task_that_can_be_learned_or_that_has_a_model_named_is_not_extrapolated(known):
    assert set(bases_of(known, spec=SPEC)) == {"ltv_365"}
    assert bases_of(known, spec=SPEC.with_changes(long_horizons="refuse")) == {}
    assert bases_of(known, spec=SPEC.with_changes(models={"ltv_365": "two_stage"})) == {}
    both = known.with_columns(label_spend_365d=pl.col("label_spend_30d"))
    assert bases_of(both, spec=SPEC.with_changes(horizons_days=(30,), models={})) == {}


def test_growth_without_drop_out_is_the_ratio_of_horizons(known):
    growth = Extrapolation(ExtrapolationSpec(base_days=30, horizon_days=60)).fit(known)
    growth.process_.parameters_ = {"r": 1.0, "alpha": 10.0, "s": 1e-9, "beta": 10.0}
    growth.process_.spec = growth.process_.spec.with_changes(model="pareto_nbd")
    bought = known.filter(pl.col("purchase_days_all") > 0)
    assert growth.predict(bought)["growth"].to_numpy() == pytest.approx(2.0, rel=1e-5)


class TestRefused:
    def test_where_it_is_asked_for(self, known):
        with pytest.raises(BadInput, match=r"no label window of 365 days had ended.*Use a shorter horizon"):
            Lifetime(SPEC.with_changes(long_horizons="refuse", models={**SPEC.models, "ltv_365": "two_stage"})).fit(
                known
            )

    def test_where_too_few_users_bought(self, known):
        few = known.filter(pl.col("user_id") < "u00060")
        with pytest.raises(BadInput, match=r"too few users bought, or bought again, to extrapolate 30 days to 365"):
            Extrapolation(ExtrapolationSpec(base_days=30, horizon_days=LONG_DAYS)).fit(few)

    def test_by_the_warehouse_where_not_even_the_shortest_fits(self, tmp_path):
        short = filled(tmp_path / "short", days=40)
        with pytest.raises(BadInput, match=r"a horizon of 14 days after 30 of history needs 44"):
            training_table(short, spec=SPEC.with_changes(horizons_days=(14, 365), models={}, churn_days=7))


def test_a_study_on_a_short_log_compares_what_it_can_and_says_what_it_extrapolates(tmp_path):
    warehouse = filled(tmp_path / "w", users=150, days=90)
    spec = SPEC.with_changes(horizons_days=(14, 180), churn_days=14, step_days=7, models={})
    study = run_study(warehouse, spec=spec, out=tmp_path / "out")
    assert set(read_metrics(tmp_path / "out" / "metrics.json")) == {"ltv_14", "churn_14"}
    found = study.predicted.predictions
    assert found["ltv_180_extrapolated"].all()
    assert (found["ltv_180"] >= found["ltv_14"]).all()
    page = (tmp_path / "out" / "report.html").read_text()
    assert "too short to learn and to test 180 days ahead" in page
    assert "How well it holds so far ahead has not been measured" in page
    assert study.model.known_until == FIRST + timedelta(days=90)


def test_a_process_without_a_finite_forecast_is_told_and_not_hidden(known, monkeypatch):
    fitted = Extrapolation(ExtrapolationSpec(base_days=30, horizon_days=LONG_DAYS)).fit(known)
    users = known.filter(pl.col("as_of") == known["as_of"].max())
    whole = PurchaseProcess.expect

    def broken(self: PurchaseProcess, table: pl.DataFrame, *, horizon_days: int) -> pl.DataFrame:
        found = whole(self, table, horizon_days=horizon_days)
        name = f"purchases_{horizon_days}"
        return found.with_columns(pl.when(pl.int_range(pl.len()) == 3).then(float("nan")).otherwise(name).alias(name))

    monkeypatch.setattr(PurchaseProcess, "expect", broken)
    with pytest.raises(BadInput, match=r"no finite forecast for 1 of \d[\d,]* users, 'u\d+' the first"):
        fitted.predict(users)
