"""A short log with default horizons is judged as far ahead as it reaches; what was asked for is not changed."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from sojourn.cli import app
from sojourn.core import BadInput
from sojourn.lifetime import (
    LifetimeSpec,
    RetentionSpec,
    compare_models,
    compare_retention,
    fit_models,
    predict_users,
    training_table,
)
from sojourn.lifetime.history import short_tasks, within_log
from sojourn.lifetime.learnable import Learnable, without_unlearnable
from sojourn.warehouse import Warehouse
from tests.lifetime.test_study import filled

QUICK = {"train_as_ofs": 2, "folds": 2, "replicates": 20, "boost": {"rounds": 10, "groups": 2}}
CUT = "20 days ahead for spend and churn: the log is too short for 30. It has 92 days, and 120 are needed."
TOML = """[lifetime]
train_as_ofs = 2
folds = 2
replicates = 20
[lifetime.boost]
rounds = 10
groups = 2
"""


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    return filled(tmp_path_factory.mktemp("short") / "warehouse", users=120, days=92)


@given(days=st.integers(0, 400), step=st.integers(1, 40), history=st.integers(1, 60))
@settings(max_examples=80, deadline=None)
def test_what_is_cut_is_the_longest_that_can_be_judged(days, step, history):
    spec, said = within_log(LifetimeSpec(step_days=step, history_days=history), log_days=days)
    short = short_tasks(spec, log_days=days)
    first = spec.value_tasks()[0]
    if said:
        assert first.name not in short
        assert spec.churn_task().name not in short
        longer = spec.with_changes(horizons_days=(first.horizon_days + 1,), churn_days=spec.churn_days + 1)
        assert {*short_tasks(longer, log_days=days)} == {task.name for task in longer.tasks()}
    else:
        assert spec.horizons_days == (30, 90)
        assert spec.churn_days == 30


def test_only_what_was_not_asked_for_is_cut():
    asked = LifetimeSpec(horizons_days=(30,))
    spec, said = within_log(asked, log_days=90)
    assert (spec.horizons_days, spec.churn_days) == ((30,), 20)
    assert said.startswith("20 days ahead for churn: the log is too short for 30.")
    named = LifetimeSpec(models={"ltv_30": "two_stage", "churn_30": "recency"})
    assert within_log(named, log_days=90) == (named, "")


def test_a_short_log_is_compared_fitted_and_predicted_with_default_horizons(short, tmp_path, capsys):
    spec = LifetimeSpec(**QUICK)
    found = compare_models(short, spec=spec, out=tmp_path / "ltv")
    assert [each.spec.name for each in found.comparisons] == ["ltv_20", "churn_20"]
    assert found.evidence.cut == CUT
    assert CUT in (tmp_path / "ltv" / "report.html").read_text()
    model = fit_models(short, spec=spec, out=tmp_path / "models")
    assert CUT in capsys.readouterr().err
    assert {*model.chosen_} == {"ltv_20", "ltv_90", "churn_20"}
    assert model.chosen_["ltv_90"] == "extrapolated"
    said = predict_users(short, model=model, out=tmp_path / "said").predictions
    assert said["ltv_90_extrapolated"].all()
    assert (said["ltv_90"] >= said["ltv_20"]).all()
    assert said["churn_prob_20"].is_between(0, 1).all()


def test_what_was_asked_for_is_refused_before_anything_is_learned(short, tmp_path, monkeypatch):
    spec = LifetimeSpec(**QUICK, horizons_days=(10, 20), churn_days=30)
    monkeypatch.setattr("sojourn.lifetime.study.training_table", None)
    with pytest.raises(BadInput, match=r"churn_30 cannot be learned: the log is too short.*churn_days = 20"):
        fit_models(short, spec=spec, out=tmp_path)
    with pytest.raises(BadInput, match=r"no horizon can be learned. ltv_30: the log is too short.*--horizon 20"):
        fit_models(short, spec=LifetimeSpec(**QUICK, horizons_days=(30,)), out=tmp_path)


def test_the_verbs_go_on_from_compare_to_fit(short, tmp_path):
    """Two horizons asked for, one far beyond the log: compared, fitted and extrapolated, churn as far as it goes."""
    (tmp_path / "sojourn.toml").write_text(TOML)
    flags = ["--warehouse", str(short.root), "--config", str(tmp_path / "sojourn.toml")]
    far = ["--horizon", "10", "--horizon", "20", "--horizon", "365"]
    compared = CliRunner().invoke(app, ["ltv", "compare", "--horizon", "20", *flags, "--out", str(tmp_path / "ltv")])
    assert compared.exit_code == 0, compared.exception
    assert "churn_20: the earlier folds picked" in compared.stdout
    fitted = CliRunner().invoke(app, ["ltv", "fit", *far, *flags, "--out", str(tmp_path / "models")])
    assert fitted.exit_code == 0, fitted.exception
    assert "ltv_365: extrapolated" in fitted.stdout
    assert "churn_20: " in fitted.stdout
    assert "20 days ahead for churn: the log is too short for 30." in fitted.stderr
    told = ["ltv", "predict", "--models", str(tmp_path / "models"), *flags, "--out", str(tmp_path / "said")]
    assert CliRunner().invoke(app, told).exit_code == 0
    said = pl.read_parquet(tmp_path / "said" / "predictions.parquet")
    assert said["ltv_365_extrapolated"].all()
    assert said.filter(pl.col("ltv_365") > pl.col("ltv_20")).height > 0


def test_a_horizon_with_too_few_users_or_buyers_is_left_out_of_the_fit(short):
    spec = LifetimeSpec(**QUICK, horizons_days=(10, 20, 365), churn_days=10)
    table = training_table(short, spec=spec)
    whole = without_unlearnable(Learnable(spec), table=table)
    assert (whole.spec, whole.out) == (spec, {})
    few = table["user_id"].unique().sort().head(18).to_list()
    thin = table.with_columns(pl.when(pl.col("user_id").is_in(few)).then("label_spend_20d").alias("label_spend_20d"))
    left = without_unlearnable(Learnable(spec), table=thin)
    assert left.spec.horizons_days == (10, 365)
    assert "needs at least 20 users" in left.out["ltv_20"]
    assert left.labels(thin) == ["label_spend_20d"]
    nobody = table.with_columns(purchase_days_all=0)
    left = without_unlearnable(Learnable(spec), table=nobody)
    assert left.spec.horizons_days == (10, 20)
    assert left.out["ltv_365"].startswith("too few users bought, or bought again, to extrapolate it")


def test_retention_is_cut_too_and_names_the_setting(short, tmp_path, capsys):
    quick = {"train_as_ofs": 2, "folds": 2, "replicates": 20, "boost": {"rounds": 10, "groups": 2}}
    models = ("cohort", "recent")
    found = compare_retention(short, spec=RetentionSpec(**quick, models=models), out=tmp_path)
    assert found.spec.horizon_days < 28
    assert f"{found.spec.horizon_days} days ahead: the log is too short for 28." in capsys.readouterr().err
    asked = RetentionSpec(**quick, models=models, horizon_days=28)
    most = found.spec.horizon_days
    with pytest.raises(BadInput, match=rf"look less far ahead: horizon_days = {most} in \[retention\] of sojourn.toml"):
        compare_retention(short, spec=asked, out=tmp_path)
