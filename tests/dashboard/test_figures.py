"""What charts and figures in words show, by the values that they are given."""

from datetime import date, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sojourn.dashboard.figures import as_json, effects_chart, time_chart
from sojourn.dashboard.numbers import figure_text, money_digits

START = date(2025, 1, 6)


def weekly(mature):
    starts = [START + timedelta(days=7 * at) for at in range(len(mature))]
    values = [float(at + 1) for at in range(len(mature))]
    return pl.DataFrame({"start": starts, "value": values, "mature": mature})


@settings(deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=30))
def test_every_figure_is_seen_once_firm_or_open(mature):
    figure = time_chart(weekly(mature), grain="week", name="x")
    traces = [trace for trace in figure.data if trace.hoverinfo != "skip"]
    seen = sorted(value for trace in traces for value in trace.y if value is not None)
    assert seen == [float(at + 1) for at in range(len(mature))]
    firm, *rest = traces
    assert [value is not None for value in firm.y] == mature
    assert all(trace.marker.symbol == "circle-open" for trace in rest)


@settings(deadline=None)
@given(st.lists(st.booleans(), min_size=2, max_size=30))
def test_the_dotted_line_touches_every_figure_that_is_not_over_and_its_neighbours(mature):
    figure = time_chart(weekly(mature), grain="week", name="x")
    dotted = [trace for trace in figure.data if trace.hoverinfo == "skip"]
    wanted = [
        not over or (at > 0 and not mature[at - 1]) or (at + 1 < len(mature) and not mature[at + 1])
        for at, over in enumerate(mature)
    ]
    assert [value is not None for value in dotted[0].y] == wanted if dotted else all(mature)


@pytest.mark.parametrize("grain", ["day", "week", "month"])
@settings(deadline=None)
@given(weeks=st.integers(1, 120))
def test_ticks_stand_below_beginnings_and_the_newest_has_one(grain, weeks):
    table = weekly([True] * weeks)
    ticks = list(time_chart(table, grain=grain, name="x", bars=True).layout.xaxis.tickvals)
    assert set(ticks) <= set(table["start"])
    assert max(ticks) == max(table["start"])
    assert len(ticks) <= 6


def test_effects_begin_at_zero_and_end_in_their_sum():
    rows = [("Ads", -3.0, "part"), ("Mail", 1.0, "part"), ("All together", -2.0, "sum")]
    table = pl.DataFrame(rows, schema=["label", "change", "kind"], orient="row")
    figure = effects_chart(table, style="number", unit="$")
    [bars] = figure.data
    assert bars.base is None
    assert list(bars.text) == ["−$3.00", "+$1.00", "−$2.00"]
    low, high = figure.layout.xaxis.range
    assert low < -3
    assert high > 1


@settings(deadline=None)
@given(st.floats(min_value=1e-6, max_value=1e9))
def test_money_has_cents_and_what_is_tiny_is_not_nothing(value):
    text = figure_text(value, unit="$")
    assert text.startswith("$")
    assert any(digit in "123456789" for digit in text)
    if 0.01 <= value < 9_999:
        assert len(text.rpartition(".")[2]) == 2
    assert abs(float(text[1:].replace(",", "")) - value) <= 0.5 * 10.0 ** -money_digits([value]) * (1 + 1e-9)


def test_json_of_a_chart_knows_days_and_no_infinite_number():
    assert as_json({"x": [date(2025, 1, 6)], "y": (float("nan"), 1.5)}) == '{"x":["2025-01-06"],"y":[null,1.5]}'
