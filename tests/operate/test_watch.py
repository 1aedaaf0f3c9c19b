"""Predictions are logged as they were made, judged when their days are over, and what drifts is told."""

import shutil
from datetime import date, timedelta
from math import log

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sojourn.evaluate import BootstrapSpec, Task, bootstrap_metrics
from sojourn.operate import Registry, WatchSpec, backtest, reference_of, stability, take_in, watch_alerts
from tests.operate.shops import AT, LAST, SETTINGS, declared_in, opened, ran, verdicts, write_day, write_orders

START = LAST - timedelta(days=20)
END = LAST + timedelta(days=1)
NUMBERS = st.lists(st.one_of(st.none(), st.floats(-50, 50), st.just(0.0)), min_size=1, max_size=60)


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """Predictions as of the day after START, and as of END."""
    folder = tmp_path_factory.mktemp("shop")
    write_orders(folder / "orders", users=150)
    for day in (START, LAST):
        report = ran(folder / "w", declared_in(folder / "orders"), day)
        assert verdicts(report)["predict ltv"] == "done", report.outcomes
    return folder


@pytest.fixture
def copied(shop, tmp_path):
    shutil.copytree(shop / "w", tmp_path / "w")
    return opened(tmp_path / "w"), declared_in(shop / "orders")


def version_in_force(registry):
    found = registry.in_force(END)
    assert found is not None
    return found.version


def slow_psi(before, now):
    """Tenths of what was known, by hand: each value falls into the first tenth that ends at or above it."""
    ends = (
        sorted({float(np.quantile([x for x in before if x is not None], n / 10)) for n in range(1, 10)})
        if any(x is not None for x in before)
        else []
    )

    def shares(column):
        groups = ["missing" if x is None else sum(x > end for end in ends) for x in column]
        return [groups.count(name) / len(groups) for name in [*range(len(ends) + 1), "missing"]]

    pairs = zip(shares(before), shares(now), strict=True)
    return sum((max(b, 1e-4) - max(a, 1e-4)) * log(max(b, 1e-4) / max(a, 1e-4)) for a, b in pairs)


@settings(max_examples=60, deadline=None)
@given(before=NUMBERS, now=NUMBERS)
def test_the_stability_index_is_that_of_a_slow_count(before, now):
    tables = [pl.DataFrame({"x": pl.Series(each, dtype=pl.Float64)}) for each in (before, now)]
    found = stability(reference_of(tables[0], additive=()), tables[1])
    assert found["psi"][0] == pytest.approx(slow_psi(before, now), abs=1e-9)


def test_the_same_rows_do_not_drift_and_words_do_when_they_change():
    rows = pl.DataFrame({"x": [1.0, 2.0, None, 4.0], "country": ["de", "de", "fr", None]})
    reference = reference_of(rows, additive=())
    assert stability(reference, rows)["psi"].to_list() == [0.0, 0.0]
    moved = rows.with_columns(country=pl.Series(["it", "it", "fr", None]))
    assert stability(reference, moved).filter(pl.col("feature") == "country")["psi"][0] > 1
    assert stability(reference, rows.drop("x")).filter(pl.col("feature") == "x")["missing"][0] == 1.0


def test_the_log_holds_what_was_predicted_and_by_what(copied):
    store, _ = copied
    said = store.frame("predictions", only=[{"as_of": str(END)}])
    logged = store.frame("prediction_log").filter(pl.col("as_of") == END)
    both = logged.filter(pl.col("task") == "ltv_14").join(said, on="user_id")
    assert both.height == said.height
    assert both["prediction"].equals(both["ltv_14"].alias("prediction"))
    assert logged["fingerprint"].unique().to_list() == [version_in_force(Registry(store, "ltv"))]
    assert logged["features"].unique().to_list() == [store.fingerprint_of("features", {"as_of": str(END)})]


def test_predictions_made_again_from_other_features_are_added_and_none_is_lost(copied, tmp_path):
    store, declared = copied
    first = store.frame("prediction_log").sort("as_of", "made", "task", "user_id")
    write_day(tmp_path / "late", LAST, ["c001,2024-11-30,500.00"])
    late = declared.sources[0].with_changes(spec=declared.sources[0].spec.with_changes(files=[str(tmp_path / "late")]))
    take_in(store, late, as_of=AT)
    ran(store.root, declared)
    after = store.frame("prediction_log")
    assert after["made"].n_unique() == first["made"].n_unique() + 1
    kept = after.filter(pl.col("made").is_in(first["made"].unique().to_list()))
    assert kept.sort("as_of", "made", "task", "user_id").equals(first)


def test_a_backtest_is_what_the_log_and_the_events_say(copied):
    store, _ = copied
    as_of = START + timedelta(days=1)
    came = (
        store.frame("events")
        .filter((pl.col("day") >= as_of) & (pl.col("day") < as_of + timedelta(days=14)))
        .group_by("user_id")
        .agg(pl.col("amount").sum().cast(pl.Float64).alias("spend"))
    )
    logged = store.frame("prediction_log").filter(pl.col("as_of") == as_of)
    for task, kind in (("ltv_14", "value"), ("churn_14", "probability")):
        both = logged.filter(pl.col("task") == task).join(came, on="user_id", how="left")
        spend = pl.col("spend").fill_null(0.0)
        truth = spend if kind == "value" else (spend == 0).cast(pl.Float64)
        both = both.select("user_id", pl.col("prediction").alias("said"), truth.alias("truth"))
        asked = Task(name=task, kind=kind, truth="truth", models=("said",))
        expected = bootstrap_metrics(both, task=asked, bootstrap=BootstrapSpec(replicates=20))["said"]
        stored = store.frame("backtests").filter((pl.col("as_of") == as_of) & (pl.col("task") == task))
        assert stored["users"].unique().to_list() == [both.height]
        for metric, figure in expected.items():
            found = stored.filter(pl.col("metric") == metric).select("value", "low", "high").rows()
            assert found == [pytest.approx((figure.value, figure.low, figure.high), nan_ok=True)], metric


def test_days_that_are_not_over_are_not_judged_and_judged_ones_are_judged_once(copied):
    store, declared = copied
    assert store.frame("backtests")["as_of"].unique().to_list() == [START + timedelta(days=1)]
    again = backtest(
        store, Registry(store, "ltv"), end=END, features=declared.features, watch=WatchSpec(replicates=20, max_psi=5.0)
    )
    assert (again.judged, again.current) == ((), 1)


def test_what_came_late_is_judged_again(copied, tmp_path):
    store, declared = copied
    day = START + timedelta(days=3)
    write_day(tmp_path / "late", day, [f"c001,{day},900.00"])
    late = declared.sources[0].with_changes(spec=declared.sources[0].spec.with_changes(files=[str(tmp_path / "late")]))
    before = store.frame("backtests").filter(pl.col("metric") == "mae")["value"][0]
    take_in(store, late, as_of=AT)
    ran(store.root, declared)
    assert store.frame("backtests").filter(pl.col("metric") == "mae")["value"][0] > before


def backtests_of(store, figures):
    """Table backtests with these figures: (as_of, task, metric, value, low, high)."""
    for as_of in {row[0] for row in figures}:
        rows = [("m", "v", task, 14, 100, *rest) for day, task, *rest in figures if day == as_of]
        schema = ["made", "version", "task", "days", "users", "metric", "value", "low", "high"]
        frame = pl.DataFrame(rows, schema=schema, orient="row")
        with store.writing("backtests") as writer:
            writer.put({"model": "ltv", "as_of": str(as_of)}, frame, order_by=["task", "metric"], fingerprint="x")


@pytest.mark.parametrize(
    ("bias", "mae", "sources"),
    [
        ((0.1, 0.05, 0.15), (10.0, 9.0, 11.0), []),
        ((0.6, 0.3, 0.8), (10.0, 9.0, 11.0), ["calibration"]),
        ((0.6, -0.1, 1.8), (10.0, 9.0, 11.0), []),
        ((0.1, 0.05, 0.15), (14.0, 13.0, 15.0), ["error"]),
        ((0.1, 0.05, 0.15), (14.0, 9.5, 19.0), []),
        ((-0.6, -0.8, -0.3), (14.0, 13.0, 15.0), ["calibration", "error"]),
    ],
)
def test_bias_and_error_are_told_where_chance_does_not_explain_them(copied, bias, mae, sources):
    store, _ = copied
    with store.writing("backtests") as writer:
        for place in store.places("backtests"):
            writer.drop(place)
    early, late = date(2024, 10, 1), date(2024, 10, 20)
    calm = [(early, "ltv_14", "bias", 0.0, -0.1, 0.1), (early, "ltv_14", "mae", 10.0, 9.0, 11.0)]
    backtests_of(store, [*calm, (late, "ltv_14", "bias", *bias), (late, "ltv_14", "mae", *mae)])
    registry = Registry(store, "ltv")
    found = watch_alerts(store, registry, version_in_force(registry), as_of=END, watch=WatchSpec(max_psi=None))
    assert [each.source for each in found] == sources
    unknown = watch_alerts(
        store, registry, version_in_force(registry), as_of=date(2024, 10, 30), watch=WatchSpec(max_psi=None)
    )
    assert unknown == [], "what came after a day is not known on it"


def test_age_and_drift_are_told_with_what_to_do(copied):
    store, _ = copied
    registry = Registry(store, "ltv")
    version = version_in_force(registry)
    watch = WatchSpec(max_age_days=5, max_psi=0.001, max_bias=None, max_worse=None)
    found = {each.source: each for each in watch_alerts(store, registry, version, as_of=END, watch=watch)}
    assert set(found) == {"age", "drift"}
    assert "knows nothing from 2024-11-11 on, which is 20 days ago; at most 5 are allowed" in found["age"].told
    assert found["drift"].told.endswith("fit a candidate: sojourn model fit ltv")
    assert "tenure_days" not in found["drift"].told


def test_a_run_with_alerts_has_exit_status_one(copied, shop):
    store, _ = copied
    report = ran(store.root, declared_in(shop / "orders", SETTINGS.replace("max_psi = 5.0", "max_psi = 0.001")))
    assert verdicts(report)["watch ltv"] == "warned"
    assert report.exit_status == 1
    assert store.frame("alerts", only=[{"day": str(LAST)}])["source"].unique().to_list() == ["drift"]
