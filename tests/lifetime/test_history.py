"""How long a log must be is said as the folds have it; one task that is too long does not end the others."""

from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from sojourn.cli import app
from sojourn.core import BadInput
from sojourn.evaluate import as_of_grid, read_metrics
from sojourn.lifetime import BoostSpec, LifetimeSpec, ValueSpec, compare_models, run_study
from sojourn.lifetime.compare import split_of
from sojourn.lifetime.history import days_needed, longest_horizon, short_tasks
from sojourn.warehouse import Warehouse
from tests.lifetime.test_study import filled

FIRST = date(2024, 1, 1)
QUICK = BoostSpec(rounds=10, groups=2, min_leaf_rows=20)
SPEC = LifetimeSpec(
    horizons_days=(7, 14, 40), churn_days=14, step_days=7, train_as_ofs=2, folds=2, replicates=20, boost=QUICK
)
SETTINGS = """[lifetime]
horizons_days = [7, 40]
churn_days = {churn}
step_days = 7
train_as_ofs = 2
folds = 2
replicates = 20
long_horizons = "{long}"
[lifetime.boost]
rounds = 10
groups = 2
"""


def has_folds(days: int, *, horizon: int, step: int, history: int) -> bool:
    """The slow twin: make the grid, and cut it."""
    try:
        grid = as_of_grid(
            FIRST, end_day=FIRST + timedelta(days=days), horizon_days=horizon, step_days=step, history_days=history
        )
        split_of(grid, spec=ValueSpec(horizon_days=horizon, folds=2))
    except BadInput:
        return False
    return True


@given(horizon=st.integers(1, 60), step=st.integers(1, 40), history=st.integers(1, 40), more=st.integers(-3, 3))
@settings(max_examples=150, deadline=None)
def test_the_days_needed_are_those_that_have_two_folds(horizon, step, history, more):
    days = history + days_needed(horizon, step_days=step) + more
    assert has_folds(days, horizon=horizon, step=step, history=history) == (more >= 0)


@given(days=st.integers(0, 200), step=st.integers(1, 40))
@settings(max_examples=60, deadline=None)
def test_the_longest_horizon_is_the_last_that_has_folds(days, step):
    most = longest_horizon(days, step_days=step)
    assert [h for h in range(most + 1, most + 40) if has_folds(days + 5, horizon=h, step=step, history=5)] == []
    assert most == 0 or has_folds(days + 5, horizon=most, step=step, history=5)


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    return filled(tmp_path_factory.mktemp("short") / "warehouse", users=80, days=90)


def test_a_task_that_the_log_is_too_short_for_is_left_out_and_told(short, tmp_path):
    found = compare_models(short, spec=SPEC.with_changes(horizons_days=(14, 40), long_horizons="refuse"), out=tmp_path)
    assert [each.spec.name for each in found.comparisons] == ["ltv_14", "churn_14"]
    assert found.evidence.left_out == {
        "ltv_40": "the log is too short to judge it: it has 90 days, and 154 are needed, 30 of history (history_days) "
        "and windows of 40 days to learn from, to choose on and to test on. Bring a longer log, or look less far "
        "ahead: --horizon 18 (horizons_days)"
    }
    assert set(read_metrics(tmp_path / "metrics.json")) == {"ltv_14", "churn_14"}
    page = (tmp_path / "report.html").read_text()
    assert "<strong>ltv_40</strong> is left out: the log is too short to judge it" in page


def test_a_named_task_without_folds_is_left_out_of_the_bench_and_fitted_all_the_same(short, tmp_path):
    named = SPEC.with_changes(horizons_days=(7, 40), models={"ltv_40": "two_stage"})
    study = run_study(short, spec=named, out=tmp_path)
    assert [each.spec.name for each in study.comparisons] == ["ltv_7", "churn_14"]
    assert study.model.chosen_["ltv_40"] == "two_stage"
    assert "<strong>ltv_40</strong> is left out" in (tmp_path / "report.html").read_text()


def test_a_study_refuses_a_task_that_it_would_have_no_model_for(short, tmp_path):
    spec = SPEC.with_changes(horizons_days=(7,), churn_days=30)
    with pytest.raises(BadInput, match=r"churn_30 has no model: the log is too short.*churn_days = 18"):
        run_study(short, spec=spec, out=tmp_path)


def test_where_no_task_can_be_judged_each_is_told(short, tmp_path):
    assert set(short_tasks(SPEC, log_days=45)) == {"ltv_7", "ltv_14", "ltv_40", "churn_14"}
    with pytest.raises(BadInput, match=r"no task can be judged. ltv_40: .* churn_30: .*churn_days = 18"):
        compare_models(short, spec=SPEC.with_changes(horizons_days=(40,), churn_days=30), out=tmp_path)


def run(short: Warehouse, folder: Path, settings: str, *words: str) -> tuple[int, str, str]:
    (folder / "sojourn.toml").write_text(settings)
    flags = ["--warehouse", str(short.root), "--config", str(folder / "sojourn.toml"), "--out", str(folder / "out")]
    done = CliRunner().invoke(app, ["ltv", "compare", *words, *flags])
    return done.exit_code, done.stdout, str(done.exception)


def test_the_verb_says_which_tasks_are_left_out(short, tmp_path):
    code, shown, _ = run(short, tmp_path, SETTINGS.format(churn=30, long="extrapolate"))
    assert code == 0
    assert "ltv_40 is left out: the log is too short to judge it: it has 90 days, and 154 are needed" in shown
    assert "`sojourn ltv fit` will extrapolate it from ltv_7, and mark it" in shown
    assert "churn_30 is left out: " in shown
    assert "churn_days = 18" in shown
    assert "ltv_7: the earlier folds picked" in shown


def test_the_verb_refuses_where_nothing_is_left(short, tmp_path):
    code, _, fault = run(short, tmp_path, SETTINGS.format(churn=30, long="refuse"), "--horizon", "40")
    assert code != 0
    assert fault.startswith("lifetime.compare: no task can be judged. ltv_40: the log is too short")
