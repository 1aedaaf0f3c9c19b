"""Specs refuse, repeat and travel; fingerprints tell different things apart."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from sojourn.core import BadSpec, Spec, fingerprint


class Inner(Spec):
    label: str = "a"
    limit: int | None = None


class Example(Spec):
    days: int = Field(default=30, gt=0)
    share: float = 0.5
    names: tuple[str, ...] = ()
    inner: Inner = Inner()
    table: dict[str, Inner] = Field(default_factory=dict)


texts = st.text(st.characters(codec="utf-8"), max_size=8)
inners = st.builds(Inner, label=texts, limit=st.none() | st.integers(-5, 5))
examples = st.builds(
    Example,
    days=st.integers(1, 400),
    share=st.floats(allow_nan=False, allow_infinity=False),
    names=st.lists(texts, max_size=3).map(tuple),
    inner=inners,
    table=st.dictionaries(texts, inners, max_size=3),
)


@given(examples)
def test_json_and_toml_round_trips_are_the_identity(spec):
    assert Example.from_json(spec.to_json()) == spec
    assert Example.from_toml(spec.to_toml()) == spec


@given(examples, examples)
def test_equal_specs_and_only_they_share_a_fingerprint(one, other):
    assert (one.fingerprint == other.fingerprint) == (one.to_json() == other.to_json())


def test_a_wrong_value_is_refused_with_field_value_and_reason():
    with pytest.raises(BadSpec, match=r"Example is wrong: field 'days' = 0: input should be greater than 0\."):
        Example(days=0)


def test_an_unknown_field_is_refused_with_the_known_ones():
    with pytest.raises(BadSpec, match=r"it has no field 'day' \(it has days, share, names, inner, table\)"):
        Example.from_dict({"day": 3})


def test_every_fault_is_told_at_once():
    with pytest.raises(BadSpec, match=r"field 'days' = -1.*; field 'share' = 'much'"):
        Example.from_dict({"days": -1, "share": "much"})


def test_a_change_is_checked_and_leaves_the_original_alone():
    spec = Example()
    assert spec.with_changes(days=7).days == 7
    assert spec.days == 30
    with pytest.raises(BadSpec):
        spec.with_changes(days=-7)


def test_text_that_is_no_json_or_toml_is_refused():
    with pytest.raises(BadSpec, match="not JSON"):
        Example.from_json("{days")
    with pytest.raises(BadSpec, match="not TOML"):
        Example.from_toml("days =")


def test_a_fingerprint_knows_where_its_parts_end():
    assert fingerprint("ab", "c") != fingerprint("a", "bc")
