"""The demo, run once on the real data: its files, its figures, and what they promise."""

import json
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from sojourn.lifetime import Lifetime
from sojourn.operate import Demo, run_demo
from sojourn.warehouse import Warehouse

METRICS = {
    "value": {"mae", "rmse", "r2", "spearman", "gini", "lift_1", "lift_5", "lift_10", "bias"},
    "probability": {"auc", "average_precision", "brier", "log_loss", "ece", "bias"},
}


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    return run_demo(tmp_path_factory.mktemp("demo") / "sojourn-demo")


@pytest.fixture(scope="module")
def tasks(demo: Demo) -> dict[str, Any]:
    tasks: dict[str, Any] = json.loads((demo.out / "metrics.json").read_text())["tasks"]
    return tasks


def test_every_purchase_of_the_package_is_kept(demo):
    events, users, items = demo.ingested
    assert (events.read, events.kept) == (1_469_307 + 2_102, 1_469_307 + 2_102)
    assert (users.kept, items.kept) == (801, 92_331)
    warehouse = Warehouse.open(demo.out / "warehouse")
    total = f"SELECT sum(amount)::VARCHAR, count(DISTINCT user_id) FROM {warehouse.relation('events')}"
    # duckdb -c "SELECT sum(sales_value::DECIMAL(18,4)), count(DISTINCT household_id)" over the package's transactions
    assert warehouse.engine.rows(total) == [("4596039.5800", 2469)]


def test_every_household_has_one_prediction_with_its_interval_and_its_origin(demo):
    predictions = pl.read_parquet(demo.out / "predictions.parquet")
    assert predictions["user_id"].n_unique() == predictions.height == 2469
    for days in (30, 90):
        low, middle, high = (predictions[f"ltv_{days}{end}"] for end in ("_low", "", "_high"))
        assert ((low >= 0) & (low <= high) & (middle >= 0)).all()
    assert predictions["churn_prob_30"].is_between(0, 1).all()
    assert predictions["fingerprint"].unique().to_list() == [Lifetime.load(demo.out / "models").fingerprint_]


def test_metrics_hold_every_model_s_every_figure_with_its_interval(tasks):
    assert set(tasks) == {"ltv_30", "ltv_90", "churn_30"}
    for task in tasks.values():
        assert re.fullmatch(r"[0-9a-f]{16}", task["split"])
        assert task["chosen"] in task["models"]
        for figures in task["models"].values():
            assert set(figures) == METRICS[task["kind"]]
            assert all(set(figure) == {"value", "low", "high"} for figure in figures.values())


@pytest.mark.parametrize(("metric", "sign"), [("mae", -1), ("gini", 1)])
def test_the_picked_model_is_ahead_of_the_last_ninety_days(demo, metric, sign):
    [comparison] = [each for each in demo.study.comparisons if each.spec.name == "ltv_90"]
    ahead = comparison.differences["repeat"][metric]
    assert min(sign * ahead.low, sign * ahead.high) > 0


def test_churn_is_told_better_than_by_recency_alone(demo):
    [comparison] = [each for each in demo.study.comparisons if each.spec.name == "churn_30"]
    against = comparison.differences["recency"]
    assert against["auc"].low > 0
    assert against["brier"].high < 0


def test_intervals_cover_what_they_promise(demo):
    for comparison in demo.study.comparisons:
        if comparison.coverage is not None:
            [overall] = comparison.coverage.filter(pl.col("group") == "all")["coverage"]
            assert 0.75 < overall < 0.85


def test_no_label_window_reaches_into_a_later_fold(demo):
    for comparison in demo.study.comparisons:
        folds = comparison.choice.split.folds
        for fold in folds:
            assert all((fold.test - as_of).days >= comparison.spec.horizon_days for as_of in fold.train)


def test_target_lists_are_of_households_with_what_is_needed_to_act(demo):
    known = set(pl.read_parquet(demo.out / "predictions.parquet")["user_id"])
    for name in ("likely_high_spenders.csv", "high_spenders_at_risk.csv"):
        people = pl.read_csv(demo.out / name, schema_overrides={"user_id": pl.String})
        assert people.height > 0
        assert set(people["user_id"]) <= known
        assert {"expected_spend", "expected_low", "expected_high", "churn_prob", "last_purchase"} <= set(people.columns)


def test_the_report_is_one_file_that_asks_for_nothing(demo):
    page = (demo.out / "report.html").read_text()
    assert not re.search(r"<(script|link|img|iframe)[^>]+(src|href)=[\"'](https?:)?//", page)
    assert "2,469 users" in page


def test_the_closing_table_names_every_model_and_every_file(demo):
    text = demo.text()
    for name in ("Last 90 days again", "Always zero", "Recency alone", "report.html", "metrics.json", "models"):
        assert name in text
    assert max(len(line) for line in text.splitlines() if not line.startswith(("Act", "Reuse", "Open", "Check"))) <= 118


@pytest.mark.slow
def test_a_second_run_over_the_first_changes_nothing(demo, tmp_path):
    def files(folder: Path) -> dict[str, bytes]:
        kept = [path for path in folder.rglob("*") if path.is_file() and "_locks" not in path.parts]
        return {str(path.relative_to(folder)): path.read_bytes() for path in kept}

    before = files(demo.out)
    run_demo(demo.out)
    assert files(demo.out) == before
