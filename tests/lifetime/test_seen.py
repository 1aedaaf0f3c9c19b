"""A day that the models have seen is predicted by `evaluate`'s rule: refused, or said to be a replay."""

from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sojourn.cli import app
from sojourn.core import BadInput
from sojourn.lifetime import Lifetime, fit_models, predict_users, score_users
from sojourn.warehouse import Warehouse
from tests.lifetime.test_study import END, SPEC, filled

QUICK = SPEC.with_changes(horizons_days=(14,), models={"ltv_14": "pace", "churn_14": "recency"})
SEEN = END - timedelta(days=20)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> tuple[Warehouse, Path]:
    folder = tmp_path_factory.mktemp("seen")
    warehouse = filled(folder / "warehouse")
    assert fit_models(warehouse, spec=QUICK, out=folder / "models").known_until == END
    return warehouse, folder / "models"


def test_a_day_that_the_models_have_seen_is_refused(place, tmp_path):
    warehouse, models = place
    told = rf"have seen everything before {END}, so what they say of users as of {SEEN} is no forecast.*--replay"
    with pytest.raises(BadInput, match=told):
        predict_users(warehouse, model=Lifetime.load(models), out=tmp_path, as_of=SEEN)
    with pytest.raises(BadInput, match=told):
        score_users(warehouse, model=Lifetime.load(models), as_of=SEEN)
    assert not warehouse.has("predictions")
    assert list(tmp_path.iterdir()) == []


def test_a_replay_is_said_to_be_one(place, tmp_path, capsys):
    warehouse, models = place
    found = predict_users(warehouse, model=Lifetime.load(models), out=tmp_path, as_of=SEEN, seen="warn")
    assert found.predictions["as_of"].unique().to_list() == [SEEN]
    assert f"A replay: the models have seen everything before {END}" in capsys.readouterr().err


def test_days_that_no_model_can_have_seen_are_predicted(place, tmp_path, capsys):
    warehouse, models = place
    model = Lifetime.load(models)
    for day in (None, END):
        predict_users(warehouse, model=model, out=tmp_path, as_of=day)
    early = fit_models(warehouse, spec=QUICK, out=tmp_path / "early", end=SEEN)
    predict_users(warehouse, model=early, out=tmp_path, as_of=SEEN)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("verb", ["predict", "score"])
def test_the_verbs_refuse_and_replay(place, tmp_path, verb):
    warehouse, models = place
    out = ["--out", str(tmp_path)] if verb == "predict" else []
    words = ["ltv", verb, "--warehouse", str(warehouse.root), "--models", str(models), "--as-of", str(SEEN), *out]
    refused = CliRunner().invoke(app, words)
    assert isinstance(refused.exception, BadInput)
    done = CliRunner().invoke(app, [*words, "--replay"], catch_exceptions=False)
    assert done.exit_code == 0
    assert "A replay: the models have seen everything before" in done.stderr
