"""Saved models are judged on days they have not seen, or not at all."""

from datetime import date

import polars as pl
import pytest

from sojourn.core import BadInput
from sojourn.lifetime import Lifetime, evaluate_model
from tests.lifetime.test_forecast import SPEC
from tests.lifetime.worlds import first_and_last, value_of


@pytest.fixture(scope="module")
def day(both: pl.DataFrame) -> date:
    """The last date whose 30-day labels are complete."""
    return first_and_last(both.filter(pl.col("label_spend_30d").is_not_null()))[1]


@pytest.fixture(scope="module")
def early(both: pl.DataFrame, day: date) -> Lifetime:
    """Fitted on what was known on that day."""
    known = [
        pl.when(pl.col("as_of") + pl.duration(days=days) <= day)
        .then(f"label_{name}_{days}d")
        .alias(f"label_{name}_{days}d")
        for name in ("spend", "purchases")
        for days in (14, 30)
    ]
    return Lifetime(SPEC).fit(both.with_columns(known))


def test_the_model_stands_beside_the_baselines(early, both, day):
    scores = evaluate_model(early, table=both.filter(pl.col("as_of") == day))
    assert set(scores) == {"ltv_14", "ltv_30", "churn_30"}
    assert list(scores["ltv_30"].models) == ["pace", "repeat", "always_mean", "zero", "median"]
    assert scores["ltv_30"].chosen == "median"
    assert value_of(scores["ltv_30"], "median", "mae") < value_of(scores["ltv_30"], "repeat", "mae")
    assert value_of(scores["churn_30"], "churn_trees", "auc") > 0.6


def test_tasks_whose_window_had_not_ended_are_left_out(early, both):
    latest = both["as_of"].max()
    assert set(evaluate_model(early, table=both.filter(pl.col("as_of") == latest))) == {"ltv_14"}


def test_days_that_the_model_has_seen_are_refused(early, both):
    first = both["as_of"].min()
    with pytest.raises(BadInput, match=rf"have seen everything before {early.known_until}, so figures as of {first}"):
        evaluate_model(early, table=both.filter(pl.col("as_of") == first))


def test_several_days_and_no_labels_are_refused(early, both):
    with pytest.raises(BadInput, match=f"judges one as-of date and got {both['as_of'].n_unique()}"):
        evaluate_model(early, table=both)
    unlabelled = both.filter(pl.col("as_of") == both["as_of"].max()).drop(pl.selectors.starts_with("label_"))
    with pytest.raises(BadInput, match=r"no label window that begins on .* had ended when the log ends"):
        evaluate_model(early, table=unlabelled)
