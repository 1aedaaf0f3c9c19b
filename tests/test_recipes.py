"""Recipes run as a reader would run them, on small data, and their figures are there and true."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

RECIPES = Path(__file__).parent.parent / "recipes"


def test_uplift_hillstrom_gives_the_published_rates_and_a_page(tmp_path, real_data):
    if not list((real_data / "hillstrom").glob("hillstrom.csv*")):
        pytest.skip(f"{real_data} has no folder hillstrom (docs/data.md says where from)")
    command = [sys.executable, str(RECIPES / "uplift_hillstrom.py"), "--rows", "3000", "--out", str(tmp_path / "out")]
    done = subprocess.run([*command, "--json", str(tmp_path / "figures.json")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "figures.json").read_text())
    for arm, published in figures["visit_share_published"].items():
        assert abs(figures["visit_share"][arm] - published) < 4 * (published / 1000) ** 0.5
    robust = [
        row for row in figures["effects"] if row["method"] == "doubly_robust" and row["outcome"] == "outcome_visit"
    ]
    assert all(row["low"] > 0 for row in robust)
    assert {row["figure"] for row in figures["uplift"]["spend"]} >= {"qini", "qini_random", "qini_blind"}
    assert "<h1>Two e-mails: did they help, and whom?</h1>" in (tmp_path / "out" / "uplift-hillstrom.html").read_text()


def test_uplift_hillstrom_says_which_folder_it_misses(tmp_path):
    command = [sys.executable, str(RECIPES / "uplift_hillstrom.py")]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "SOJOURN_DATA": str(tmp_path)})
    assert done.returncode == 2
    assert "set SOJOURN_DATA to the folder that holds hillstrom/hillstrom.csv" in done.stderr


def test_ninety_days_writes_equal_tables_every_morning_and_a_page(tmp_path):
    command = [sys.executable, str(RECIPES / "ninety_days.py"), "--users", "150", "--out", str(tmp_path / "out")]
    done = subprocess.run([*command, "--json", str(tmp_path / "figures.json")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["equal"]
    assert len(figures["mornings"]) == 35
    assert f"{figures['events']:,} events" in done.stdout
    assert "<h1>Ninety days, every morning</h1>" in (tmp_path / "out" / "ninety-days.html").read_text()
    again = subprocess.run(command, capture_output=True, text=True)
    assert again.returncode == 2
    assert "is not empty. Give a new folder" in again.stderr


@pytest.mark.slow
def test_cdnow_has_the_published_errors_and_says_which_was_picked(real_data, tmp_path):
    if not (real_data / "cdnow").is_dir():
        pytest.skip("SOJOURN_DATA has no folder cdnow")
    command = [sys.executable, str(RECIPES / "ltv_cdnow.py"), "--out", str(tmp_path / "out")]
    done = subprocess.run([*command, "--json", str(tmp_path / "figures.json")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "figures.json").read_text())
    found = figures["sample"]["pareto_nbd"]
    # Independent fits of the same model give these: MAE .7545, RMSE 1.603, Gini .673.
    assert [found[name]["value"] for name in ("mae", "rmse", "gini")] == pytest.approx([0.7545, 1.603, 0.673], abs=6e-4)
    assert figures["picked"] == min(figures["inside_rmse"], key=figures["inside_rmse"].get)
    assert "<h1>CDNOW: 39 weeks ahead</h1>" in (tmp_path / "out" / "ltv-cdnow.html").read_text()


@pytest.mark.slow
def test_retention_under_push_draws_the_truth_beside_the_estimate(tmp_path):
    command = [
        sys.executable,
        str(RECIPES / "retention_under_push.py"),
        "--users",
        "500",
        "--out",
        str(tmp_path / "out"),
    ]
    done = subprocess.run([*command, "--json", str(tmp_path / "figures.json")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["hidden"] < figures["model"] < figures["recent"]
    assert figures["mean_gain_low"] < figures["mean_gain_days"] < figures["mean_gain_high"]
    assert 0 < figures["pushed"] <= figures["may_be_pushed"] < figures["users"]
    page = (tmp_path / "out" / "retention-under-push.html").read_text()
    assert "Gained days by decile of the predicted gain" in page
    again = subprocess.run(command, capture_output=True, text=True)
    assert again.returncode == 2
    assert "is not empty. Give a new folder" in again.stderr


@pytest.mark.slow
def test_the_mobile_game_has_every_model_and_a_sum_for_each_channel(real_data, tmp_path):
    if not (real_data / "intendo_small").is_dir():
        pytest.skip("SOJOURN_DATA has no folder intendo_small")
    command = [sys.executable, str(RECIPES / "ltv_mobile_game.py"), "--out", str(tmp_path / "out")]
    done = subprocess.run([*command, "--json", str(tmp_path / "figures.json")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "figures.json").read_text())
    picked, repeat = (figures["models"][name]["mae"]["value"] for name in (figures["picked"], "repeat"))
    assert picked < 0.9 * repeat
    assert len(figures["channels"]) == 6
    assert all(row["low"] < row["expected"] < row["high"] for row in figures["channels"])
    assert (tmp_path / "out" / "report.html").exists()


@pytest.mark.slow
def test_the_growth_board_judges_its_forecasts_beside_baselines(tmp_path):
    game = Path(os.environ.get("SOJOURN_DATA", tmp_path)) / "intendo_small"
    command = [sys.executable, str(RECIPES / "growth_board.py"), "--users", "1200", "--data", str(game.parent)]
    command += ["--out", str(tmp_path / "out"), "--json", str(tmp_path / "figures.json")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "figures.json").read_text())
    errors = figures["mean_error_usd"]
    assert errors["forecast"] < errors["nothing_more"]
    assert figures["cells"] >= 15
    assert {row["channel"] for row in figures["channels"]} >= {"organic", "search_ads", "(all)"}
    page = (tmp_path / "out" / "growth-board.html").read_text()
    assert "<h1>Growth board: a simulated app on day 150</h1>" in page
    assert "Payback by month of acquisition" in page
    assert "<h1>Why did cost per acquired user move?</h1>" in (tmp_path / "out" / "why.html").read_text()
    if not game.is_dir():
        assert "has no folder intendo_small" in done.stdout
        return
    channels = figures["game"]
    assert sum(row["acquired"] for row in channels if row["channel"] != "(all)") == channels[-1]["acquired"] > 1_000
    assert all(row["cost"] == 0 and row["ltv_cac"] is None for row in channels)
    assert (tmp_path / "out" / "mobile-game.html").exists()


@pytest.mark.slow
def test_driver_growth_explains_the_planted_shortage(tmp_path):
    command = [sys.executable, str(RECIPES / "driver_growth.py"), "--drivers", "150", "--riders", "1500"]
    command += ["--data", str(tmp_path), "--out", str(tmp_path / "out"), "--json", str(tmp_path / "figures.json")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["explained_city"] == figures["planted_city"]
    assert figures["true_effect"] < -0.01
    assert figures["explained_effect"] == min(figures["effects"].values()) < 0
    assert abs(sum(figures["effects"].values()) - figures["plain_change"]) < 1e-12
    assert "has no folder uber_foil" in done.stdout
    for name in ("driver-growth", "drivers", "riders"):
        assert (tmp_path / "out" / f"{name}.html").exists()
