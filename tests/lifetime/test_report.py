"""The report says what the figures say, whatever they say."""

from dataclasses import replace

import polars as pl
import pytest

from sojourn.core import BadInput
from sojourn.evaluate import BootstrapSpec, Difference
from sojourn.lifetime import (
    ChurnSpec,
    Comparison,
    LifetimeSpec,
    Outlook,
    ValueSpec,
    compare,
    high_spenders_at_risk,
    lifetime_report,
    likely_high_spenders,
    write_report,
)
from sojourn.lifetime.verdict import standing, verdict_sentence
from tests.lifetime.test_targets import USERS
from tests.lifetime.worlds import FAST

SPEC = LifetimeSpec(horizons_days=(30,), unit="$", boost=FAST)


@pytest.fixture(scope="module")
def comparisons(table: pl.DataFrame) -> list[Comparison]:
    models = ("median", "repeat", "zero")
    tasks = (ValueSpec(horizon_days=30, boost=FAST, models=models, folds=2), ChurnSpec(boost=FAST, folds=2))
    return [compare(table, spec=task, bootstrap=BootstrapSpec(replicates=50)) for task in tasks]


@pytest.fixture(scope="module")
def outlook() -> Outlook:
    users = USERS.with_columns(
        as_of=pl.date(2024, 8, 28),
        horizon_days=30,
        expected_low=0.0,
        expected_high=200.0,
        last_purchase=pl.date(2024, 8, 1),
        spend_last_90d=12.0,
    )
    return Outlook(users, likely_high_spenders(users), high_spenders_at_risk(users), fingerprint="00ff00ff00ff00ff")


def test_it_tells_the_whole_story(comparisons, outlook):
    page = lifetime_report(comparisons=comparisons, spec=SPEC, outlook=outlook).html()
    for told in (
        "What each user will spend",
        "Who is slipping away",
        "Can it be believed: spend in 30 days",
        "Can it be believed: churn",
        "Every model that was tried",
        "Last 30 days again",
        "The intervals held for",
        "What moves a prediction",
        "What to do next",
        "likely_high_spenders.csv",
        "00ff00ff00ff00ff",
        SPEC.fingerprint,
        comparisons[0].choice.fingerprint,
        "6 users as of 28 August 2024",
        "$315",
    ):
        assert told in page, told


def test_without_users_it_holds_the_proof_alone(comparisons):
    page = lifetime_report(comparisons=comparisons, spec=SPEC).html()
    assert "Can it be believed" in page
    assert "What to do next" not in page


def test_it_is_the_same_bytes_every_time(comparisons, outlook, tmp_path):
    write_report(tmp_path / "a.html", comparisons=comparisons, spec=SPEC, outlook=outlook)
    write_report(tmp_path / "b.html", comparisons=comparisons, spec=SPEC, outlook=outlook)
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_nobody_at_risk_is_said(comparisons, outlook):
    page = lifetime_report(
        comparisons=comparisons, spec=SPEC, outlook=replace(outlook, at_risk=outlook.at_risk.clear())
    )
    assert "No high spender is at risk by the limits set." in page.html()


@pytest.mark.parametrize(
    ("metric", "low", "high", "verdict"),
    [
        ("mae", -3.0, -1.0, "better"),
        ("mae", 1.0, 3.0, "worse"),
        ("mae", -1.0, 1.0, "not told apart"),
        ("gini", 0.1, 0.2, "better"),
        ("gini", -0.2, -0.1, "worse"),
        ("gini", None, None, "not told apart"),
    ],
)
def test_a_difference_is_better_only_when_its_interval_says_so(metric, low, high, verdict):
    assert standing(metric, Difference(value=0.0, low=low, high=high, prob_better=None)) == verdict


def test_the_verdict_names_both_models_and_every_figure(comparisons):
    sentence = verdict_sentence(comparisons[0], rival="repeat", unit="$")
    mae = comparisons[0].scores.models["repeat"]["mae"].value
    assert sentence.startswith("**Trees, median** against **Last 30 days again**")
    assert f"against ${mae:.2f}" in sentence
    assert sentence.count("**better**") == 2


def test_a_baseline_that_won_is_said_to_have_won(table):
    task = ValueSpec(horizon_days=30, boost=FAST, models=("repeat", "zero"), folds=2)
    found = compare(table, spec=task, bootstrap=BootstrapSpec(replicates=20))
    page = lifetime_report(comparisons=[found], spec=SPEC).html()
    assert "The earlier folds picked" in page
    assert "there are no feature effects to show" in page


def test_a_report_of_nothing_is_refused():
    with pytest.raises(BadInput, match=r"lifetime.write_report needs at least one comparison"):
        lifetime_report(comparisons=[], spec=SPEC)
