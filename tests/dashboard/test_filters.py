"""Filters and the address are one: what was chosen comes back from the address as it was."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sojourn.core import BadSpec
from sojourn.dashboard import Filters

TEXT = st.text(min_size=1, max_size=12).filter(
    lambda word: word.strip() and not any(0xD800 <= ord(c) <= 0xDFFF for c in word)
)
DAYS = st.none() | st.dates(min_value=date(1999, 1, 1), max_value=date(2099, 1, 1))


@given(
    start=DAYS,
    end=DAYS,
    grain=st.sampled_from((None, "day", "week", "month")),
    channel=st.none() | TEXT,
    segment=st.none() | st.builds(lambda dim, value: f"{dim}={value}", st.sampled_from(("country", "device")), TEXT),
    user=st.none() | TEXT,
)
def test_the_address_gives_back_what_was_chosen(start, end, grain, channel, segment, user):
    if start and end and start > end:
        start, end = end, start
    filters = Filters(start=start, end=end, grain=grain, channel=channel, segment=segment, user=user)
    assert Filters.from_query(f"?{filters.query()}") == filters


def test_what_a_page_has_no_control_for_is_left_alone():
    filters = Filters(start=date(2025, 1, 1), channel="ads", segment="country=DE")
    assert filters.only(("from", "to", "channel")) == Filters(start=date(2025, 1, 1), channel="ads")


def test_other_names_in_the_address_are_nobodys_filter():
    assert Filters.from_query("utm_source=mail&from=") == Filters()


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("from=yesterday", "holds a filter that cannot be read.*'start'"),
        ("from=2025-02-01&to=2025-01-01", "comes after the last"),
        ("grain=hour", "'grain'"),
        ("segment=DE", "write it as dimension=value"),
    ],
)
def test_an_address_that_cannot_be_read_is_one_sentence(query, said):
    with pytest.raises(BadSpec, match=said):
        Filters.from_query(query)


def test_conditions_name_the_dimensions():
    filters = Filters(channel="ads", segment="plan=a=b")
    assert filters.conditions(channel="source") == {"source": "ads", "plan": "a=b"}
