"""A morning tells newcomers' spend as `sojourn ltv newcomers` does, once, and an erasure reaches it."""

from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from sojourn.events import WorldSpec, simulate
from sojourn.lifetime import NewcomerSpec, compare_newcomers
from sojourn.operate import declared_from, forget, run_day
from tests.operate.shops import AT, content, opened, told, verdicts

DAYS = 220
WORLD = WorldSpec(users=1_500, days=DAYS, start=date(2025, 1, 1), seed=4)
SECTION = {
    "ages_days": [1, 7],
    "by_days": 45,
    "folds": 2,
    "train_as_ofs": 6,
    "replicates": 20,
    "models": ["mean", "zero"],
    "boost": {"rounds": 5, "groups": 2},
}
DECLARED = declared_from({"newcomers": SECTION})
LAST = WORLD.start + timedelta(days=DAYS - 1)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("newcomers")
    simulate(opened(folder / "w"), WORLD)
    return folder


def run(root, day=LAST):
    return run_day(opened(root / "w"), DECLARED, day=day, at=AT)


def test_the_morning_s_tables_are_what_the_comparison_finds(root, tmp_path):
    first = run(root)
    assert (verdicts(first)["newcomers"], first.exit_status) == ("done", 0)
    once = content(root / "w")
    assert verdicts(run(root)) == {"newcomers": "current"}
    assert content(root / "w") == once
    end = LAST + timedelta(days=1)
    expected = compare_newcomers(
        opened(root / "w"), spec=NewcomerSpec(**SECTION), out=tmp_path, features=DECLARED.features, end=end
    )
    stored = opened(root / "w").frame("newcomer_predictions", only=[{"as_of": str(end)}])
    for each in expected:
        task = each.comparison.spec.name
        plain = each.predictions.rename(
            {"as_of": "seen_on", task: "prediction", f"{task}_low": "low", f"{task}_high": "high"}
        )
        ours = stored.filter(task=task).select(plain.columns)
        assert_frame_equal(ours.sort("user_id"), plain.sort("user_id"), check_dtypes=False)
    cohorts = opened(root / "w").frame("newcomer_cohorts")
    assert cohorts.height == sum(each.cohorts.height for each in expected)
    user = stored["user_id"][0]
    assert forget(opened(root / "w"), [user], as_of=datetime(2026, 1, 1, tzinfo=UTC)).is_complete
    assert opened(root / "w").frame("newcomer_predictions").filter(pl.col("user_id") == user).is_empty()


def test_a_log_too_short_is_no_mistake(root):
    report = run(root, WORLD.start + timedelta(days=20))
    assert (verdicts(report), report.exit_status) == ({"newcomers": "skipped"}, 0)
    assert told(report, "newcomers").startswith("newcomers cannot be told yet: ")
