"""Conformal intervals: they hold as often as promised on data with known laws, and say how often they held."""

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from sojourn.core import BadInput, BadSpec, EmptyInput, MissingColumn, NotFitted, UnreadableSource
from sojourn.evaluate import Conformal, ConformalSpec, coverage_table

SPEC = ConformalSpec(pred="ltv", truth="spend")


def world(n: int, seed: int = 0, never: float = 0.0) -> pl.DataFrame:
    """Users with gamma rates, log-normal noise that grows with the rate, and a share who never pay."""
    rng = np.random.default_rng(seed)
    rate = rng.gamma(1.2, 1.0, n)
    idle = (rng.random(n) < np.exp(-2 * rate)) | (rng.random(n) < never)
    spend = np.where(idle, 0.0, rate * rng.lognormal(5, 0.6, n))
    ltv = rate * 175 * rng.lognormal(0, 0.15, n)
    return pl.DataFrame({"user_id": np.arange(n), "ltv": ltv, "spend": spend, "q10": ltv * 0.5, "q90": ltv * 1.2})


def measured(spec: ConformalSpec, n: int = 2400, worlds: int = 8) -> pl.DataFrame:
    """Mean coverage by group over worlds, each fitted on `n` users and measured on twenty thousand others."""
    parts = []
    for seed in range(worlds):
        test = world(20_000, seed=1000 + seed)
        model = Conformal(spec).fit(world(n, seed=seed))
        parts.append(coverage_table(test.join(model.predict(test), on="user_id"), spec=spec))
    return pl.concat(parts).group_by("group", maintain_order=True).agg(pl.col("coverage").mean())


@pytest.mark.parametrize("quantiles", [{}, {"low": "q10", "high": "q90"}], ids=["learned band", "model's quantiles"])
def test_coverage_holds_overall_and_for_the_highest_deciles(quantiles):
    found = dict(measured(SPEC.with_changes(**quantiles)).iter_rows())
    # Overall a little above the level: an interval around users who mostly spend exactly nothing covers all of these.
    assert 0.78 < found["all"] < 0.87
    for decile in ("1", "2", "3", "4", "5"):
        assert 0.75 < found[decile] < 0.85, decile


@pytest.mark.parametrize("level", [0.5, 0.9])
def test_coverage_follows_the_level(level):
    top_half = measured(SPEC.with_changes(level=level), worlds=4).filter(pl.col("group").is_in(list("12345")))
    assert top_half["coverage"].mean() == pytest.approx(level, abs=0.03)


def test_no_interval_goes_below_the_floor_or_leaves_out_its_prediction():
    test = world(3000, seed=9, never=0.9)
    found = test.join(Conformal(SPEC).fit(world(3000, never=0.9)).predict(test), on="user_id")
    assert (found["ltv_low"] >= 0).all()
    assert (found["ltv_low"] <= found["ltv"]).all()
    assert (found["ltv"] <= found["ltv_high"]).all()


def test_without_a_floor_intervals_may_reach_below_zero():
    rng = np.random.default_rng(0)
    table = pl.DataFrame({"user_id": range(2000), "ltv": rng.normal(size=2000)})
    table = table.with_columns(spend=pl.col("ltv") + rng.normal(size=2000))
    spec = SPEC.with_changes(floor=None)
    found = table.join(Conformal(spec).fit(table).predict(table), on="user_id")
    assert (found["ltv_low"] < 0).any()
    assert found.select(pl.col("spend").is_between("ltv_low", "ltv_high").mean()).item() == pytest.approx(0.8, abs=0.04)


def test_a_users_several_rows_stay_on_one_side_of_the_cut():
    table = pl.concat([world(500), world(500)])
    model = Conformal(SPEC.with_changes(groups=1)).fit(table)
    half = Conformal(SPEC.with_changes(groups=1)).fit(world(500))
    assert model.stretch_ == pytest.approx(half.stretch_, rel=0.2)


def test_row_order_never_matters_and_a_second_fit_forgets_the_first():
    model = Conformal(SPEC).fit(world(1000))
    first = vars(model).copy()
    model.fit(world(1000, seed=1))
    assert vars(model) != first
    model.fit(world(1000).sample(fraction=1, shuffle=True, seed=2))
    assert vars(model) == first


@pytest.mark.parametrize("quantiles", [{}, {"low": "q10", "high": "q90"}], ids=["learned band", "model's quantiles"])
def test_saving_and_loading_is_the_identity(quantiles, tmp_path):
    model = Conformal(SPEC.with_changes(**quantiles)).fit(world(600))
    model.save(tmp_path / "model")
    loaded = Conformal.load(tmp_path / "model")
    assert loaded.spec == model.spec
    assert_frame_equal(loaded.predict(world(50, seed=3)), model.predict(world(50, seed=3)), check_exact=True)


def test_nobody_ever_paying_gives_empty_but_valid_intervals():
    table = world(300).with_columns(spend=pl.lit(0.0), ltv=pl.lit(0.0))
    found = Conformal(SPEC).fit(table).predict(table)
    assert (found["ltv_low"] == 0).all()
    assert (found["ltv_high"] >= 0).all()


def test_predictions_carry_their_keys():
    table = world(200).with_columns(as_of=pl.date(2024, 1, 1))
    assert Conformal(SPEC).fit(table).predict(table).columns == ["user_id", "as_of", "ltv_low", "ltv_high"]
    assert Conformal(SPEC).fit(table).predict(table[:0]).columns == ["user_id", "as_of", "ltv_low", "ltv_high"]


def test_the_coverage_table_counts_what_a_loop_counts():
    table = pl.DataFrame(
        {
            "spend": [0.0, 5.0, 9.0, 9.0],
            "ltv": [1.0, 2.0, 3.0, 4.0],
            "ltv_low": [0.0, 6.0, 9.0, 1.0],
            "ltv_high": [0.0, 7.0, 9.0, 2.0],
        }
    )
    found = coverage_table(table, spec=SPEC)
    assert found["group"].to_list() == ["all", "2", "4", "7", "9"]
    assert found["coverage"].to_list() == [0.5, 0.0, 1.0, 0.0, 1.0]
    assert found["mean_width"].to_list() == [0.5, 1.0, 0.0, 1.0, 0.0]
    assert_frame_equal(coverage_table(table[[3, 1, 0, 2]], spec=SPEC), found)


def test_faults_say_what_where_and_how_to_mend(tmp_path):
    with pytest.raises(NotFitted, match="Conformal is not fitted yet"):
        Conformal(SPEC).predict(world(3))
    with pytest.raises(BadInput, match=r"has 3 rows to correct intervals of level 0\.8 with, and needs at least 4"):
        Conformal(SPEC).fit(world(6))
    with pytest.raises(EmptyInput, match=r"table without rows\. Pass users with predictions and their truth"):
        Conformal(SPEC).fit(world(6)[:0])
    with pytest.raises(MissingColumn, match=r"evaluate\.Conformal\.fit needs column 'spend'"):
        Conformal(SPEC).fit(world(6).drop("spend"))
    with pytest.raises(BadInput, match="values of the column 'ltv' missing or not finite"):
        Conformal(SPEC).fit(world(40).with_columns(ltv=pl.lit(float("nan"))))
    with pytest.raises(UnreadableSource, match=r"cannot read .*conformal\.json"):
        Conformal.load(tmp_path)
    with pytest.raises(BadSpec, match="name both quantile columns, low and high, or neither"):
        ConformalSpec(pred="ltv", truth="spend", low="q10")
