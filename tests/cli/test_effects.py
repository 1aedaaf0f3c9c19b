"""`sojourn effects` as a person runs it: from a warehouse's pushes, from a file, and what it says of mistakes."""

import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

from sojourn.events import WorldSpec, simulate
from sojourn.warehouse import Warehouse
from tests.effects.logs import campaign, three_arms

PROGRAM = Path(sys.executable).parent / "sojourn"


def sojourn(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(PROGRAM), "effects", *words], cwd=cwd, capture_output=True, text=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("effects")
    world = WorldSpec(users=500, days=30, install_days=20, start=date(2025, 1, 1), seed=2)
    simulate(Warehouse.create(folder / "app"), world)
    campaign(1, users=200, spread=0.5).write_csv(folder / "log.csv")
    three_arms(1).write_csv(folder / "arms.csv")
    return folder


def test_a_warehouse_becomes_a_table_and_the_table_an_estimate(folder):
    done = sojourn("table", "--warehouse", "app", "--horizon", "5", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("users: campaign.parquet")
    done = sojourn("estimate", "campaign.parquet", "--cost", "0.02", "--out", "out", cwd=folder)
    assert done.returncode == 0, done.stderr
    for word in ("difference", "cuped", "weighted", "doubly_robust", "lifetime_days", "cost_per_day"):
        assert word in done.stdout
    assert (folder / "out" / "report.html").exists()


def test_uplift_of_a_csv_names_the_learner_and_the_figures(folder):
    done = sojourn("uplift", "log.csv", "--outcome", "outcome_days", "--cost", "0.1", "--budget", "5", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "qini_random" in done.stdout
    assert "all_treated" in done.stdout
    assert (folder / "uplift" / "model" / "model.json").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["estimate", "nothing.csv"], "nothing.csv cannot be read as a table"),
        (["estimate", "log.csv"], "needs column 'outcome_active_days'"),
        (["estimate", "arms.csv", "--outcome", "outcome_days", "--control", "none"], "is 'none'; it has"),
        (["estimate", "log.csv", "--horizon", "3"], "--horizon is for a warehouse's pushes"),
        (["estimate", "--warehouse", "nowhere"], "nowhere"),
        (["uplift", "log.csv", "--outcome", "outcome_days", "--value", "0"], "field 'value' = 0.0"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_status_2(folder, words, said):
    done = sojourn(*words, cwd=folder)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
