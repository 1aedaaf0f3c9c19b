"""A rollup that cannot mean one thing is refused when it is written down."""

import pytest

from sojourn.core import BadSpec
from sojourn.rollups import AggregateSpec, RollupSpec, rollups_from, user_rollup

COUNT = AggregateSpec(function="count")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"windows_days": (7, 0)}, "a window of 0 days covers nothing; a span is at least 1 day"),
        ({"windows_days": (7, -3)}, "a window of -3 days covers nothing"),
        ({"windows_days": (7, 7)}, "a window is named twice"),
        ({"windows_days": ()}, "no window is given; name at least one, such as windows_days = [30]"),
        ({"aggregates": {}}, "at least 1 item"),
        ({"aggregates": {"Spend": COUNT}}, "'Spend' is no plain name; use small letters, digits and _"),
        ({"aggregates": {"a__b": COUNT}}, "'a__b' has two underscores in a row"),
        ({"keys": ("n_7d",)}, "column 'n_7d' would come out twice; rename a key or an aggregate"),
        ({"keys": ("start",)}, "column 'start' would come out twice"),
        ({"keys": ("user_id", "user_id")}, "column 'user_id' would come out twice"),
        ({"keys": ()}, "at least 1 item"),
        ({"name": "my rollup"}, "'my rollup' is no plain name"),
        ({"windows_days": tuple(range(1, 62))}, "61 different windows; at most 60 fit one rollup"),
        (
            {"window_days": (7,)},
            "it has no field 'window_days' (it has name, source, keys, aggregates, windows_days, windows)",
        ),
    ],
)
def test_a_wrong_rollup_is_refused(changes, message):
    with pytest.raises(BadSpec) as refusal:
        RollupSpec(**{"aggregates": {"n": COUNT}, "windows_days": (7,), **changes})
    assert message in str(refusal.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"function": "sume"}, "there is no aggregate 'sume'; use 'sum'"),
        ({"function": "sum"}, "'sum' needs an expression, such as expression = 'amount'"),
        ({"function": "count", "where": " "}, "an empty text says nothing; leave the field out"),
        ({"function": "count", "windows_days": (0,)}, "a window of 0 days covers nothing"),
    ],
)
def test_a_wrong_aggregate_is_refused(values, message):
    with pytest.raises(BadSpec) as refusal:
        AggregateSpec(**values)
    assert message in str(refusal.value)


def test_the_rollup_of_a_user_survives_toml_and_json():
    spec = user_rollup(active="event <> 'push'")
    assert RollupSpec.from_toml(spec.to_toml()) == spec
    assert RollupSpec.from_json(spec.to_json()) == spec


def test_rollups_are_read_from_the_settings_and_default_to_the_user_s():
    settings = {"rollups": {"item": {"keys": ["item_id"], "aggregates": {"n": {"function": "count"}}}}}
    assert rollups_from(settings) == [RollupSpec(name="item", keys=("item_id",), aggregates={"n": COUNT})]
    assert rollups_from({}) == [user_rollup()]
    with pytest.raises(
        BadSpec, match=r"\[rollups\] has 'keys', which is no table\. Declare a rollup as \[rollups\.keys\]"
    ):
        rollups_from({"rollups": {"keys": ["item_id"]}})
