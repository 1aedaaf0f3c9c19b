"""Bootstrap intervals: equal to resampling rows by hand, honest on simulated data, the same for any row order."""

import time

import numpy as np
import polars as pl
import pytest

from sojourn.core import BadInput, BadSpec, EmptyInput, MissingColumn
from sojourn.evaluate import (
    BootstrapSpec,
    Interval,
    Task,
    bootstrap_all,
    bootstrap_metrics,
    classification_metrics,
    metric_names,
    paired_bootstrap,
    value_metrics,
)
from sojourn.evaluate.bootstrap import _draws
from sojourn.evaluate.metrics import figures

TASK = Task(name="ltv_90", kind="value", truth="spend", models=("good", "poor"))


def ends(interval: Interval) -> tuple[float, float, float]:
    """Low, value, high of an interval that is defined."""
    assert interval.low is not None
    assert interval.value is not None
    assert interval.high is not None
    return interval.low, interval.value, interval.high


def users(n: int, seed: int = 0, repeats: int = 1) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    spend = np.where(rng.random(n) < 0.4, 0.0, rng.lognormal(3, 1, n))
    return pl.DataFrame(
        {
            "user_id": [f"u{i // repeats}" for i in range(n)],
            "spend": spend,
            "good": np.round(spend * rng.lognormal(0, 0.4, n) + rng.random(n), 0),
            "poor": rng.lognormal(3, 1, n),
            "bought": (spend > 0).astype(float),
            "prob": np.round(np.clip(0.5 * (spend > 0) + 0.5 * rng.random(n), 0, 1), 1),
        }
    )


@pytest.mark.parametrize("kind", ["value", "probability"])
def test_weights_give_what_metrics_of_repeated_rows_give(kind):
    table = users(300)
    truth, pred = ("spend", "good") if kind == "value" else ("bought", "prob")
    y, p = table[truth].to_numpy(), table[pred].to_numpy()
    weights = np.concatenate(list(_draws(np.arange(300), BootstrapSpec(replicates=25, seed=4))))
    fast = figures(y, p, kind=kind)(weights)
    slow = value_metrics if kind == "value" else classification_metrics
    for at, counts in enumerate(weights.astype(int)):
        expected = slow(np.repeat(y, counts), np.repeat(p, counts))
        for name in metric_names(kind):
            assert fast[name][at] == pytest.approx(expected[name], rel=1e-9, nan_ok=True), name


@pytest.mark.parametrize("repeats", [1, 3], ids=["once each", "three rows per user"])
def test_row_order_never_changes_an_interval(repeats):
    table = users(200, repeats=repeats)
    shuffled = table.sample(fraction=1, shuffle=True, seed=1)
    assert bootstrap_metrics(table, task=TASK) == bootstrap_metrics(shuffled, task=TASK)


def test_the_same_seed_gives_the_same_interval_and_another_does_not():
    table, again = users(200), BootstrapSpec(seed=1)
    assert bootstrap_metrics(table, task=TASK) == bootstrap_metrics(table, task=TASK)
    assert bootstrap_metrics(table, task=TASK) != bootstrap_metrics(table, task=TASK, bootstrap=again)


def test_values_are_those_of_the_plain_metrics_and_lie_inside_their_intervals():
    table = users(500)
    found = bootstrap_metrics(table, task=TASK)["good"]
    plain = value_metrics(table["spend"], table["good"])
    for name, interval in found.items():
        assert interval.value == pytest.approx(plain[name])
        low, value, high = ends(interval)
        assert low <= value <= high, name


def test_intervals_of_mae_and_brier_cover_the_truth_in_about_95_of_100_worlds():
    # The truth: an absolute normal error has mean sqrt(2 / pi); a fair coin called at 0.5 with noise u in ±0.2 has
    # Brier 1/4 + 0.2^2 / 3.
    value = Task(name="v", kind="value", truth="y", models=("p",))
    chance = Task(name="c", kind="probability", truth="hit", models=("prob",))
    hits = {"mae": 0, "brier": 0}
    for seed in range(200):
        rng = np.random.default_rng(seed)
        noise = rng.uniform(-0.2, 0.2, 250)
        coin = (rng.random(250) < 0.5).astype(float)
        table = pl.DataFrame({"user_id": np.arange(250), "y": rng.normal(size=250), "hit": coin, "prob": 0.5 + noise})
        quick = BootstrapSpec(replicates=200, seed=seed)
        zero = table.with_columns(p=pl.lit(0.0))
        low, _, high = ends(bootstrap_metrics(zero, task=value, bootstrap=quick)["p"]["mae"])
        hits["mae"] += low <= np.sqrt(2 / np.pi) <= high
        low, _, high = ends(bootstrap_metrics(table, task=chance, bootstrap=quick)["prob"]["brier"])
        hits["brier"] += low <= 0.25 + 0.04 / 3 <= high
    assert 178 <= hits["mae"] <= 200
    assert 178 <= hits["brier"] <= 200


def test_users_with_several_rows_are_drawn_together():
    once = users(300)
    thrice = pl.concat([once, once, once])
    width = {}
    for name, table in {"once": once, "thrice": thrice}.items():
        low, _, high = ends(bootstrap_metrics(table, task=TASK)["good"]["mae"])
        width[name] = high - low
    assert width["thrice"] == pytest.approx(width["once"], rel=0.01)


def test_paired_differences_are_narrower_than_their_parts_suggest():
    table = users(400).with_columns(better=pl.col("good") * 0.7 + pl.col("spend") * 0.3)
    task = TASK.with_changes(models=("good", "better"))
    low, _, high = ends(bootstrap_metrics(table, task=task)["good"]["mae"])
    paired = paired_bootstrap(table, task=task, first="better", second="good")["mae"]
    paired_low, _, paired_high = ends(paired)
    assert paired_high < 0
    assert paired.prob_better == 1
    assert paired_high - paired_low < high - low


def test_swapping_the_models_of_a_pair_turns_the_difference_around():
    table = users(300)
    one = paired_bootstrap(table, task=TASK, first="good", second="poor")
    other = paired_bootstrap(table, task=TASK, first="poor", second="good")
    for name, difference in one.items():
        assert ends(difference) == pytest.approx([-end for end in reversed(ends(other[name]))])
        assert difference.prob_better == pytest.approx(1 - (other[name].prob_better or 0))


def test_a_model_is_neither_better_nor_worse_than_itself():
    found = paired_bootstrap(users(100), task=TASK, first="good", second="good")
    assert {(d.value, d.low, d.high, d.prob_better) for d in found.values()} == {(0, 0, 0, 0.5)}


def test_undefined_figures_are_none_and_not_zero():
    table = users(50).with_columns(spend=pl.lit(0.0))
    found = bootstrap_metrics(table, task=TASK)["good"]
    assert found["gini"] == Interval(value=None, low=None, high=None)
    assert found["mae"].value is not None
    paired = paired_bootstrap(table, task=TASK, first="good", second="poor")["gini"]
    assert (paired.value, paired.low, paired.prob_better) == (None, None, None)


def test_one_user_is_no_reason_to_fail():
    found = bootstrap_metrics(users(1), task=TASK)["good"]
    assert found["mae"].low == found["mae"].value == found["mae"].high
    assert found["spearman"].value is None


def test_calibration_error_keeps_its_value_inside_its_interval():
    table = users(400)
    ece = bootstrap_metrics(table, task=Task(name="c", kind="probability", truth="bought", models=("prob",)))["prob"][
        "ece"
    ]
    low, value, high = ends(ece)
    assert 0 <= low <= value <= high


def test_two_and_a_half_thousand_users_and_500_replicates_take_seconds():
    table, start = users(2500), time.perf_counter()
    bootstrap_metrics(table, task=TASK)
    assert time.perf_counter() - start < 5  # measured: 0.4 s on 2 cores, left wide for busy machines


def test_faults_name_the_task_the_model_and_the_mend():
    table = users(10)
    with pytest.raises(MissingColumn, match="evaluate, task 'ltv_90', needs column 'poor'"):
        bootstrap_metrics(table.drop("poor"), task=TASK)
    with pytest.raises(EmptyInput, match=r"table without rows\. Is there any user in the test fold\?"):
        bootstrap_metrics(table[:0], task=TASK)
    holes = table.with_columns(good=pl.lit(None, dtype=pl.Float64))
    with pytest.raises(BadInput, match="model 'good', found 10 of 10 values of the prediction missing"):
        bootstrap_metrics(holes, task=TASK)
    nobody = table.with_columns(user_id=pl.lit(None, dtype=pl.String))
    with pytest.raises(BadInput, match=r"found 10 rows without 'user_id'\. Drop them first"):
        bootstrap_metrics(nobody, task=TASK)
    with pytest.raises(BadInput, match=r"\['best'\] are no models of ltv_90: \['good', 'poor'\]"):
        paired_bootstrap(table, task=TASK, first="best", second="poor")
    with pytest.raises(BadSpec, match="user, truth and models must be different columns"):
        Task(name="x", kind="value", truth="spend", models=("spend",))


@pytest.mark.parametrize("kind", ["value", "probability"])
def test_all_at_once_is_the_metrics_and_every_pair(kind):
    rng = np.random.default_rng(5)
    truth = rng.integers(0, 2, 300).astype(float)
    said = {name: np.clip(truth * 0.3 + rng.random(300) * 0.6, 0.01, 0.99) for name in ("a", "b", "c")}
    table = pl.DataFrame({"user_id": [f"u{n % 200}" for n in range(300)], "truth": truth, **said})
    task = Task(name="t", kind=kind, truth="truth", models=("a", "b", "c"))
    some = BootstrapSpec(replicates=40)
    figures, differences = bootstrap_all(table, task=task, against="b", bootstrap=some)
    assert figures == bootstrap_metrics(table, task=task, bootstrap=some)
    pairs = {n: paired_bootstrap(table, task=task, first="b", second=n, bootstrap=some) for n in ("a", "c")}
    assert {*differences} == {*pairs}
    for name, pair in pairs.items():
        for metric, found in pair.items():
            assert differences[name][metric].value == pytest.approx(found.value, abs=1e-12)
            assert differences[name][metric].low == pytest.approx(found.low, abs=1e-9)
    assert bootstrap_all(table, task=task, bootstrap=some) == (figures, {})
