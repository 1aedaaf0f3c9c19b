"""Metrics against independent implementations, their laws, and what happens where they have no meaning."""

from math import isnan

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from sklearn import metrics as sk

from sojourn.core import BadInput, EmptyInput
from sojourn.evaluate import METRICS, classification_metrics, metric_names, value_metrics
from sojourn.evaluate.metrics import PROBABILITY_METRICS, VALUE_METRICS

sizes = st.integers(2, 60)
spends = st.sampled_from([0.0, 0.0, 1.0, 2.5, 10.0, 99.0])


@st.composite
def value_rows(draw):
    n = draw(sizes)
    return draw(arrays(float, n, elements=spends)), draw(arrays(float, n, elements=spends))


@st.composite
def probability_rows(draw):
    n = draw(sizes)
    truth = draw(arrays(float, n, elements=st.sampled_from([0.0, 1.0])))
    return truth, draw(arrays(float, n, elements=st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9, 1.0])))


def same(found: dict[str, float], expected: dict[str, float]) -> None:
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-9, abs=1e-9, nan_ok=True), name


def obvious_gain(truth, pred, share: float) -> float:
    """Truth held by the top share of rows, walking over groups of equal predictions from the highest down."""
    left, held = share * len(truth), 0.0
    for level in sorted(set(pred), reverse=True):
        group = [t for t, p in zip(truth, pred, strict=True) if p == level]
        taken = min(left, len(group))
        held += taken * sum(group) / len(group)
        left -= taken
    return held


def obvious_area_gini(truth, pred) -> float:
    """Twice the area between gain curve and diagonal, trapezoid by trapezoid over groups of equal predictions."""
    x, y = [0.0], [0.0]
    for level in sorted(set(pred), reverse=True):
        group = [t for t, p in zip(truth, pred, strict=True) if p == level]
        x.append(x[-1] + len(group) / len(truth))
        y.append(y[-1] + sum(group) / sum(truth))
    return 2 * float(np.trapezoid(y, x)) - 1


@given(value_rows())
def test_value_metrics_equal_scikit_learn_scipy_and_plain_loops(rows):
    truth, pred = rows
    found = value_metrics(truth, pred)
    varied, total = np.ptp(truth) > 0, truth.sum()
    same(
        found,
        {
            "mae": sk.mean_absolute_error(truth, pred),
            "rmse": sk.root_mean_squared_error(truth, pred),
            "r2": sk.r2_score(truth, pred) if varied else np.nan,
            "spearman": stats.spearmanr(truth, pred).statistic if varied and np.ptp(pred) > 0 else np.nan,
            "gini": obvious_area_gini(truth, pred) / obvious_area_gini(truth, truth) if varied else np.nan,
            "bias": pred.sum() / total - 1 if total else np.nan,
            **{
                f"lift_{k}": obvious_gain(truth, pred, k / 100) / (k / 100 * total) if total else np.nan
                for k in (1, 5, 10)
            },
        },
    )


def obvious_ece(truth, prob) -> float:
    """Ten groups by where the middle of each run of equal probabilities lies; gaps weighted by group size."""
    groups: dict[int, list[tuple[float, float]]] = {}
    for t, p in zip(truth, prob, strict=True):
        middle = np.sum(prob < p) + np.sum(prob == p) / 2
        groups.setdefault(min(9, int(middle * 10 / len(prob))), []).append((t, p))
    gaps = [abs(sum(t for t, _ in group) - sum(p for _, p in group)) for group in groups.values()]
    return sum(gaps) / len(truth)


@given(probability_rows())
def test_probability_metrics_equal_scikit_learn_and_plain_loops(rows):
    truth, prob = rows
    found = classification_metrics(truth, prob)
    both, some = 0 < truth.sum() < len(truth), truth.sum() > 0
    same(
        found,
        {
            "auc": sk.roc_auc_score(truth, prob) if both else np.nan,
            "average_precision": sk.average_precision_score(truth, prob) if some else np.nan,
            "brier": np.mean((truth - prob) ** 2),
            "log_loss": sk.log_loss(truth, prob, labels=[0, 1]),
            "ece": obvious_ece(truth, prob),
            "bias": prob.sum() / truth.sum() - 1 if some else np.nan,
        },
    )


@given(value_rows(), st.randoms())
def test_row_order_never_changes_a_bit(rows, random):
    order = list(range(len(rows[0])))
    random.shuffle(order)
    found, shuffled = value_metrics(*rows), value_metrics(rows[0][order], rows[1][order])
    assert str(found) == str(shuffled)  # as text, so that NaN equals NaN


@given(arrays(float, sizes, elements=st.just(0.0) | st.floats(0.01, 1e6)))
def test_a_perfect_model_has_gini_and_rank_correlation_one_and_no_error(truth):
    found = value_metrics(truth, truth)
    assert found["mae"] == found["rmse"] == 0
    if np.ptp(truth) > 0:
        assert found["gini"] == pytest.approx(1)
        assert found["spearman"] == pytest.approx(1)


@given(value_rows())
def test_a_reversed_order_has_the_opposite_gini(rows):
    truth, pred = rows
    forward, backward = value_metrics(truth, pred)["gini"], value_metrics(truth, -pred)["gini"]
    assert forward == pytest.approx(-backward, abs=1e-9, nan_ok=True)


@given(value_rows(), st.floats(0.01, 100))
def test_money_may_be_counted_in_any_unit(rows, factor):
    truth, pred = rows
    one, other = value_metrics(truth, pred), value_metrics(truth * factor, pred * factor)
    for name in ("r2", "spearman", "gini", "lift_1", "lift_5", "lift_10", "bias"):
        assert one[name] == pytest.approx(other[name], rel=1e-6, abs=1e-9, nan_ok=True), name


def test_golden_gini_without_ties():
    # By hand: gains of (3, 1, 2) ordered by prediction against (3, 2, 1): the area under 0, 3/6, 4/6, 1 is 5/9, under
    # 0, 3/6, 5/6, 1 it is 11/18; (5/9 - 1/2) / (11/18 - 1/2) = 1/2.
    assert value_metrics([3, 1, 2], [30, 20, 10])["gini"] == pytest.approx(0.5)


def test_golden_auc_and_average_precision():
    # Values printed in the scikit-learn 1.5 documentation of roc_auc_score and average_precision_score.
    found = classification_metrics([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    assert found["auc"] == 0.75
    assert found["average_precision"] == pytest.approx(0.83, abs=0.005)


@pytest.mark.parametrize("truth", [[0, 0, 0], [5.0]], ids=["all zero", "one user"])
def test_what_has_no_meaning_is_nan_and_never_zero(truth):
    found = value_metrics(truth, [1.0, 2.0, 3.0][: len(truth)])
    assert isnan(found["r2"])
    assert isnan(found["spearman"])
    assert isnan(found["gini"])
    assert found["mae"] > 0
    assert isnan(found["lift_10"]) == isnan(found["bias"]) == (sum(truth) == 0)


def test_a_constant_prediction_ranks_nobody():
    found = value_metrics([0, 1, 5, 30], [9, 9, 9, 9])
    assert found["gini"] == 0
    assert found["lift_1"] == pytest.approx(1)
    assert isnan(found["spearman"])


@pytest.mark.parametrize("constant", [0.1, 1 / 3, 1e9 / 7])
def test_rounding_of_a_constant_truth_is_not_taken_for_variance(constant):
    found = value_metrics([constant] * 7, [1, 2, 3, 4, 5, 6, 7])
    assert isnan(found["r2"])
    assert isnan(found["gini"])


def test_refunds_may_make_a_truth_negative():
    found = value_metrics([-5, 0, 10], [0, 1, 2])
    assert found["gini"] == pytest.approx(1)
    assert found["bias"] == pytest.approx(-0.4)
    assert isnan(value_metrics([-5, 0], [0, 1])["bias"])


def test_one_class_alone_has_no_auc():
    never, always = classification_metrics([0, 0], [0.1, 0.2]), classification_metrics([1, 1], [0.1, 0.2])
    assert isnan(never["auc"])
    assert isnan(always["auc"])
    assert isnan(never["average_precision"])
    assert always["average_precision"] == pytest.approx(1)


def test_booleans_series_and_decimals_are_understood():
    assert classification_metrics(pl.Series([True, False]), pl.Series([0.9, 0.2]))["auc"] == 1
    assert value_metrics(pl.Series(["1.50", "2.50"]).cast(pl.Decimal(18, 4)), [1.5, 2.5])["mae"] == 0


def test_every_metric_is_described():
    assert {*VALUE_METRICS, *PROBABILITY_METRICS} == set(METRICS)
    assert metric_names("value") == tuple(value_metrics([1, 2], [1, 2]))
    assert metric_names("probability") == tuple(classification_metrics([0, 1], [0, 1]))
    assert all(metric.meaning.endswith(".") for metric in METRICS.values())


@pytest.mark.parametrize("bad", [[1.0, None], [1.0, float("nan")], [1.0, float("inf")]], ids=["null", "nan", "inf"])
def test_missing_predictions_are_refused(bad):
    with pytest.raises(
        BadInput, match=r"found 1 of 2 values of the prediction missing or not finite\. Fill them or drop"
    ):
        value_metrics([1, 2], pl.Series(bad, strict=False))


def test_other_faults_of_the_input_each_get_a_sentence():
    with pytest.raises(EmptyInput, match=r"got no truth\. Is there any user in the test fold\?"):
        value_metrics([], [])
    with pytest.raises(BadInput, match=r"got 2 truths but 3 predictions\. Join them by key first"):
        value_metrics([1, 2], [1, 2, 3])
    with pytest.raises(BadInput, match="needs numbers as truth"):
        value_metrics(["much"], [1])
    with pytest.raises(BadInput, match=r"needs one truth per row; it got an array of shape \(1, 2\)"):
        value_metrics([[1, 2]], [1])
    with pytest.raises(BadInput, match=r"needs a truth of 0 and 1; it found \[2\.0\]\. Compare it first: truth > 0"):
        classification_metrics([0, 2], [0.1, 0.2])
    with pytest.raises(BadInput, match=r"probabilities between 0 and 1; they reach from -1 to 0\.5"):
        classification_metrics([0, 1], [-1, 0.5])
