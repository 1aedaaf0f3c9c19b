"""What pushed a user's prediction: the trees' own contributions, row by row."""

import numpy as np
import polars as pl
import pytest

from sojourn.core import BadInput
from sojourn.events import WorldSpec, simulate
from sojourn.lifetime import Lifetime, explain_users, fit_models, score_users, user_reasons
from sojourn.warehouse import Warehouse
from tests.lifetime.worlds import SCORED as SPEC


@pytest.fixture(scope="module")
def users(app: Warehouse, model: Lifetime) -> pl.DataFrame:
    place = score_users(app, model=model).partition
    return app.frame("features", only=[place]).sort("user_id")


def test_pushes_are_the_contributions_of_the_trees(model, users):
    """Against LightGBM's own contributions, booster by booster and user by user."""
    churn = model.models_["churn_14"]
    matrix = churn.design_.matrix(users, where="test")
    parts = [
        booster.predict(matrix, pred_contrib=True, num_iteration=churn.trees_.rounds)
        for booster in churn.trees_.boosters
    ]
    table = user_reasons(model, table=users, most=3).filter(pl.col("prediction") == "churn_prob_14")
    for at, user in enumerate(users["user_id"]):
        added = np.mean([part[at, :-1] for part in parts], axis=0)
        whole = np.abs(added).sum()
        wanted = {name: value / whole for name, value in zip(churn.design_.names, added, strict=True) if value}
        mine = table.filter(pl.col("user_id") == user)
        assert mine.height == min(3, len(wanted))
        for feature, push in mine.select("feature", "push").iter_rows():
            assert push == pytest.approx(wanted[feature])
        sizes = sorted(map(abs, wanted.values()), reverse=True)[:3]
        assert mine.sort("place")["push"].abs().to_list() == pytest.approx(sizes)


def test_all_pushes_of_a_user_have_sizes_of_one(model, users):
    table = user_reasons(model, table=users, most=10_000)
    churn = table.filter(pl.col("prediction") == "churn_prob_14").group_by("user_id").agg(pl.col("push").abs().sum())
    assert churn["push"].to_list() == pytest.approx([1.0] * churn.height)
    spend = table.filter(pl.col("prediction") == "ltv_14").group_by("user_id").agg(pl.col("push").abs().sum())
    assert (spend["push"] <= 1 + 1e-9).all()  # two stages may pull apart


def test_a_users_reasons_do_not_depend_on_the_others(model, users):
    alone = user_reasons(model, table=users.head(1))
    together = user_reasons(model, table=users)
    mine = together.filter(pl.col("user_id") == users["user_id"][0])
    assert mine.drop("push").equals(alone.drop("push"))
    assert mine["push"].to_list() == pytest.approx(alone["push"].to_list())


def test_the_table_tells_of_those_of_whom_most_is_expected(app, model, users):
    info = explain_users(app, model=model, users=5)
    told = app.frame("prediction_reasons", only=[info.partition])["user_id"].unique()
    scored = app.frame("predictions", only=[info.partition]).sort(["ltv_14", "user_id"], descending=[True, False])
    assert set(told) == set(scored["user_id"].head(5))
    assert explain_users(app, model=model, users=5) == info


def test_models_without_trees_have_no_reasons(app, tmp_path):
    spec = SPEC.with_changes(models={"ltv_14": "pace", "churn_14": "base_rate"})
    fit_models(app, spec=spec, out=tmp_path)
    plain = Lifetime.load(tmp_path)
    table = app.frame("features", only=app.places("features")[-1:])
    assert user_reasons(plain, table=table).is_empty()


def test_nobody_scored_is_told(warehouse, model):
    simulate(warehouse, WorldSpec(users=20, days=10, seed=1))
    with pytest.raises(BadInput, match="Score first: sojourn ltv score"):
        explain_users(warehouse, model=model)
