"""The verbs on a small app: what they write, that a fit can be kept, and what the command line says."""

import json
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from typer.testing import CliRunner

from sojourn.cli.app import app as program
from sojourn.core import BadInput, UnreadableSource
from sojourn.lifetime import (
    FittedRetention,
    NudgePlan,
    activity_table,
    compare_retention,
    fit_retention,
    hazard_by_day,
    lifespans,
    predict_retention,
    retention_summary,
)
from sojourn.warehouse import Warehouse
from tests.lifetime.retention.conftest import SMALL, WORLD

END = WORLD.last_day + timedelta(days=1)


@pytest.fixture(scope="module")
def fitted(app, tmp_path_factory):
    return fit_retention(app, spec=SMALL.with_changes(model="daily_trees"), out=tmp_path_factory.mktemp("fit") / "m")


@pytest.fixture(scope="module")
def compared(app, tmp_path_factory):
    out = tmp_path_factory.mktemp("compared")
    return compare_retention(app, spec=SMALL.with_changes(segment="channel"), out=out), out


def test_a_comparison_writes_figures_days_and_a_page_with_every_view(compared):
    found, out = compared
    figures = json.loads((out / "metrics.json").read_text())["tasks"]["active_14"]
    assert figures["chosen"] == found.chosen
    assert set(figures["models"]) == set(SMALL.compared())
    by_day = pl.read_csv(out / "by_day.csv")
    assert by_day.height == 2 * len(SMALL.compared()) * 14
    page = (out / "report.html").read_text()
    for title in (
        "Retention ahead: forecast and what came",
        "Share of days active, by cohort and week",
        "Calibration by how far ahead",
        "Chance to be lost, day by day",
        "How long users stay, by channel",
        "What moves a prediction",
        "One push, and the days after it",
    ):
        assert title in page


def test_trees_beat_the_dumb_forecasts_on_the_simulated_app(compared):
    found, _ = compared
    assert found.chosen == "daily_trees"
    assert found.differences["recent_raw"]["brier"].high < 0
    assert found.differences["cohort"]["auc"].low > 0
    assert retention_summary(found).filter(pl.col("chosen") == "*")["model"].to_list() == ["daily_trees"]


def test_predictions_carry_the_fingerprint_and_are_the_same_after_saving(app, fitted, tmp_path):
    fitted.save(tmp_path / "kept")
    again = FittedRetention.load(tmp_path / "kept")
    assert again.mark == fitted.mark
    plan = NudgePlan(offsets=(0, 3), cost_per_push=0.5, budget=20.0)
    one = predict_retention(app, fitted=fitted, out=tmp_path / "one", plan=plan)
    two = predict_retention(app, fitted=again, out=tmp_path / "two", plan=plan)
    assert_frame_equal(one, two, check_exact=True)
    assert_frame_equal(pl.read_parquet(tmp_path / "one" / "retention.parquet"), one)
    assert one["fingerprint"].unique().to_list() == [fitted.mark]
    assert one["as_of"].unique().to_list() == [END]
    whom = pl.read_csv(tmp_path / "one" / "whom_to_push.csv")
    assert whom.height == one["push"].sum()
    assert 0 < whom["cost"].sum() <= 20.0


def test_a_prediction_reads_nothing_from_the_day_itself_on(app, fitted, tmp_path):
    day = date(2025, 3, 25)
    said = predict_retention(app, fitted=fitted, out=tmp_path / "said", as_of=day)
    table = activity_table(app, [day], spec=SMALL, end=day)
    assert_frame_equal(fitted.model.predict(table), said.select("user_id", "as_of", "active_prob", "expected_days"))


def test_a_plan_without_a_known_effect_is_refused(app, fitted, tmp_path):
    blind = FittedRetention(fitted.spec, fitted.name, fitted.model, None, fitted.trained_on)
    with pytest.raises(BadInput, match="no effect of pushes was learned"):
        predict_retention(app, fitted=blind, out=tmp_path, plan=NudgePlan())


def test_a_folder_without_a_fit_is_told(tmp_path):
    with pytest.raises(UnreadableSource, match="Fit it first: sojourn retention fit"):
        FittedRetention.load(tmp_path)


def test_hazards_and_kaplan_meier_of_lifelines_agree(app):
    from lifelines import KaplanMeierFitter

    lives = lifespans(activity_table(app, [END], spec=SMALL), lost_after_days=21)
    hazard = hazard_by_day(lives)
    survival = (1 - hazard["hazard"]).cum_prod()
    fitter = KaplanMeierFitter().fit(lives["duration_days"].to_numpy(), lives["lost"].to_numpy())
    assert np.allclose(fitter.predict(hazard["day"].to_numpy()), survival)


def test_who_came_too_lately_is_left_out_and_the_others_are_censored():
    table = pl.DataFrame({"user_id": list("abcd"), "tenure_days": [10, 60, 60, 50], "recency_days": [1, 2, 59, None]})
    lives = lifespans(table, lost_after_days=28)
    assert lives["user_id"].to_list() == ["b", "c", "d"]
    assert lives["lost"].to_list() == [False, True, True]
    assert lives["duration_days"].to_list() == [32, 2, 1]


def test_the_command_line_compares_fits_and_predicts(app: Warehouse, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = SMALL.with_changes(models=("daily_trees", "recent")).model_dump(exclude_none=True)
    boost = settings.pop("boost")
    lines = [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
    trees = [f"{name} = {json.dumps(value)}" for name, value in boost.items()]
    plan = ["[retention.plan]", "cost_per_push = 0.5", "budget = 5.0"]
    (tmp_path / "sojourn.toml").write_text(
        "\n".join(["[retention]", *lines, "[retention.boost]", *trees, *plan]) + "\n"
    )
    run = CliRunner()
    done = run.invoke(program, ["retention", "compare", "--warehouse", str(app.root), "--out", "out"])
    assert done.exit_code == 0, done.output
    assert "daily_trees" in done.stdout
    assert (tmp_path / "out" / "report.html").exists()
    done = run.invoke(program, ["retention", "fit", "--warehouse", str(app.root), "--out", "model"])
    assert done.exit_code == 0, done.output
    assert "decisions" in done.stdout
    done = run.invoke(
        program, ["retention", "predict", "--warehouse", str(app.root), "--model", "model", "--push-day", "1"]
    )
    assert done.exit_code == 0, done.output
    assert "users to push" in done.stdout
    assert pl.read_csv(tmp_path / "retention" / "whom_to_push.csv")["cost"].sum() <= 5.0
