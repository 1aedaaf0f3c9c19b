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
        ({"keys": ("start",)}, "column 'start' would come out twice; rename a key or an aggregate"),
        ({"keys": ("As_Of",)}, "column 'as_of' would come out twice"),
        *(({"keys": (key,)}, f"column {key!r} would come out twice") for key in ("grain", "day", "bands", "element")),
        ({"keys": ("item",)}, "column 'item' would come out twice"),
        ({"keys": ("_value",)}, "key '_value' looks like a column of the rollup's own; rename it in the source"),
        ({"keys": ("n__sum",)}, "key 'n__sum' looks like a column of the rollup's own"),
        ({"keys": ("in_7d",)}, "key 'in_7d' looks like a column of the rollup's own"),
        ({"windows": ("yesterday",)}, "there is no window 'yesterday'; use week_to_date, month_to_date, last_week"),
        ({"windows": ("all", "all")}, "a window is named twice"),
        ({"windows": ("0h",)}, "there is no window '0h'"),
        ({"windows": ("first_0d",)}, "there is no window 'first_0d'"),
        ({"windows": ("200h",)}, "a window of 200 hours is read from raw rows; use one of 9 days"),
        ({"aggregates": {"n": AggregateSpec(function="count", windows=())}}, "no window is given; name at least one"),
        ({"name": "a__b"}, "'a__b' has two underscores in a row"),
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
        ({"function": "count", "windows_days": ()}, "no window is given; name at least one, such as [30]"),
        ({"function": "count", "windows": ("7d",)}, "there is no window '7d'"),
        ({"function": "sum", "expression": "amount", "k": 3}, "'sum' gives one value; leave out k"),
        ({"function": "top_k", "expression": "word", "k": 0}, "greater than or equal to 1"),
        ({"function": "last_n", "expression": "word", "k": 1001}, "less than or equal to 1000"),
        ({"function": "quantile", "expression": "amount"}, "'quantile' needs a quantile, such as q = 0.5"),
        ({"function": "quantile", "expression": "amount", "q": 1.5}, "less than or equal to 1"),
        ({"function": "quantile", "expression": "amount", "q": float("nan")}, "q"),
        ({"function": "mean", "expression": "amount", "q": 0.5}, "'mean' has no quantile; leave out q"),
        ({"function": "count_by"}, "'count_by' needs a category, such as by = 'channel'"),
        ({"function": "sum_by", "by": "channel"}, "'sum_by' needs an expression, such as expression = 'amount'"),
        ({"function": "count", "by": "channel"}, "'count' has no categories; leave out by"),
    ],
)
def test_a_wrong_aggregate_is_refused(values, message):
    with pytest.raises(BadSpec) as refusal:
        AggregateSpec(**values)
    assert message in str(refusal.value)


@pytest.mark.parametrize("windows", [{"windows_days": (63,)}, {"windows": ("last_quarter",)}, {"windows": ("all",)}])
def test_a_bitmap_of_more_days_than_it_has_bits_is_refused(windows):
    bitmap = AggregateSpec(function="active_bitmap", **windows)
    with pytest.raises(
        BadSpec, match=r"'bits': 'active_bitmap' holds at most 62 days, and '\w+' may have more; give it"
    ):
        RollupSpec(aggregates={"bits": bitmap})
    RollupSpec(
        aggregates={"bits": AggregateSpec(function="active_bitmap", windows_days=(62,), windows=("last_month",))}
    )


def test_windows_by_the_calendar_need_none_of_days():
    assert RollupSpec(aggregates={"n": COUNT}, windows_days=(), windows=("all",)).columns() == ["n_all"]


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
