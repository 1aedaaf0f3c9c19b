"""Lists of users to act on."""

from datetime import date

import polars as pl
import pytest

from sojourn.core import BadSpec, EmptyInput, MissingColumn
from sojourn.lifetime import (
    LifetimeSpec,
    TargetSpec,
    high_spenders_at_risk,
    likely_high_spenders,
    profiles,
    write_list,
)

USERS = pl.DataFrame(
    {
        "user_id": ["a", "b", "c", "d", "e", "f"],
        "expected_spend": [90.0, 100.0, 20.0, 5.0, 100.0, 0.0],
        "churn_prob": [0.01, 0.02, 0.3, 0.9, 0.5, 0.99],
        "usual_spend": [95.0, 100.0, 80.0, 10.0, 60.0, 0.0],
    }
)


def test_the_highest_expectations_come_first_and_ties_in_the_order_of_users():
    assert likely_high_spenders(USERS, spec=TargetSpec(top_share=0.5))["user_id"].to_list() == ["b", "e", "a"]
    assert likely_high_spenders(USERS, spec=TargetSpec(top_share=0.01)).height == 1


def test_at_risk_is_who_spent_much_and_stops_or_falls():
    risk = high_spenders_at_risk(USERS, spec=TargetSpec(high_share=0.8, least_churn_prob=0.4, fall_share=0.5))
    assert risk.select("user_id", "money_at_risk", "reason").rows() == [
        ("c", 60.0, "spends less"),
        ("e", 0.0, "likely to stop"),
    ]
    both = high_spenders_at_risk(USERS, spec=TargetSpec(high_share=1.0))
    assert both.filter(pl.col("user_id") == "d")["reason"].to_list() == ["likely to stop, spends less"]
    assert "f" not in both["user_id"]  # never spent anything, so there is nothing to lose


def test_nobody_at_risk_is_an_empty_list_with_its_columns():
    safe = USERS.with_columns(churn_prob=0.0, expected_spend=pl.col("usual_spend"))
    assert high_spenders_at_risk(safe).is_empty()
    assert "money_at_risk" in high_spenders_at_risk(safe).columns
    assert high_spenders_at_risk(USERS.with_columns(usual_spend=0.0)).is_empty()


def test_profiles_take_the_longest_horizon_and_say_the_last_purchase():
    day = date(2024, 5, 31)
    features = pl.DataFrame(
        {
            "user_id": ["a", "b"],
            "as_of": [day, day],
            "spend_30d": [10.0, 0.0],
            "spend_90d": [30.0, 0.0],
            "spend_all": [100.0, 0.0],
            "tenure_days": [200, 5],
            "purchase_recency_days": [3, None],
        }
    )
    columns = {f"ltv_{days}{end}": [1.0 * days, 0.0] for days in (30, 90) for end in ("", "_low", "_high")}
    predictions = features.select("user_id", "as_of").with_columns(
        *(pl.Series(name, values) for name, values in columns.items()), churn_prob_30=pl.Series([0.1, 0.9])
    )
    found = profiles(features, predictions=predictions, spec=LifetimeSpec())
    assert found.rows(named=True)[0] == {
        "user_id": "a",
        "as_of": day,
        "horizon_days": 90,
        "expected_spend": 90.0,
        "expected_low": 90.0,
        "expected_high": 90.0,
        "churn_prob": 0.1,
        "usual_spend": 45.0,
        "last_purchase": date(2024, 5, 28),
        "spend_last_90d": 30.0,
    }
    assert found["last_purchase"][1] is None
    with pytest.raises(MissingColumn, match=r"lifetime.profiles needs column 'spend_90d'"):
        profiles(features.drop("spend_30d", "spend_90d", "spend_all"), predictions=predictions, spec=LifetimeSpec())


def test_a_list_is_written_rounded(tmp_path):
    write_list(USERS.head(1).with_columns(expected_spend=1 / 3, churn_prob=1 / 3), path=tmp_path / "list.csv")
    assert (tmp_path / "list.csv").read_text() == "user_id,expected_spend,churn_prob,usual_spend\na,0.33,0.3333,95.0\n"


def test_bad_tables_and_settings_are_refused():
    with pytest.raises(
        EmptyInput, match=r"lifetime.likely_high_spenders got a table without rows. Predict for some users"
    ):
        likely_high_spenders(USERS.clear())
    with pytest.raises(MissingColumn, match=r"lifetime.high_spenders_at_risk needs column 'churn_prob'"):
        high_spenders_at_risk(USERS.drop("churn_prob"))
    with pytest.raises(BadSpec, match=r"field 'top_share' = 0"):
        TargetSpec(top_share=0)
