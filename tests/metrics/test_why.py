"""The parts of a change sum to it exactly, whatever comes and goes; the planted cause comes first."""

from datetime import date
from fractions import Fraction
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sojourn.core import BadInput, BadSpec, MissingColumn, MissingTable
from sojourn.events import WorldSpec, simulate
from sojourn.metrics import (
    BoardSpec,
    WhySpec,
    backfill_board,
    metric_table,
    ratio_parts,
    sum_parts,
    why_chart,
    why_moved,
    write_acquisition,
)
from tests.metrics.growth import board as acquisition
from tests.metrics.growth import event, numbered, put_costs, put_log

Segments = dict[tuple[str, ...], tuple[Fraction, Fraction]]
A, B = date(2025, 1, 6), date(2025, 1, 13)
ANY_SPEED = settings(deadline=None)
NAMES = st.tuples(st.sampled_from("abcde"))
NUMBERS = st.integers(-10_000_000, 10_000_000).map(lambda n: Fraction(n, 10_000))
SIDES = st.tuples(NUMBERS, st.integers(0, 1_000_000).map(lambda n: Fraction(n, 10_000)))
SEGMENTS = st.dictionaries(NAMES, SIDES, min_size=1, max_size=5).filter(
    lambda each: sum(s[1] for s in each.values()) > 0
)


def ratio(segments):
    return sum(top for top, _ in segments.values()) / sum(bottom for _, bottom in segments.values())


@ANY_SPEED
@given(before=SEGMENTS, after=SEGMENTS)
def test_rate_and_mix_effects_sum_to_the_change_exactly(before, after):
    parts = ratio_parts(before, after)
    assert sum(part.rate + part.mix for part in parts) == ratio(after) - ratio(before)
    assert {part.segment for part in parts} == {*before, *after}
    effects = [abs(part.effect) for part in parts]
    assert effects == sorted(effects, reverse=True)


@ANY_SPEED
@given(before=SEGMENTS, after=SEGMENTS)
def test_the_changes_of_a_sum_s_segments_sum_to_its_change_exactly(before, after):
    parts = sum_parts(before, after)
    change = sum(top for top, _ in after.values()) - sum(top for top, _ in before.values())
    assert sum(part.effect for part in parts) == change


@ANY_SPEED
@given(before=SEGMENTS, after=SEGMENTS)
def test_going_back_moves_every_segment_back(before, after):
    there = {part.segment: (part.rate, part.mix) for part in ratio_parts(before, after)}
    back = {part.segment: (-part.rate, -part.mix) for part in ratio_parts(after, before)}
    assert there == back


@ANY_SPEED
@given(segments=SEGMENTS, times=st.integers(2, 9))
def test_growing_alike_everywhere_moves_nothing(segments, times):
    grown = {name: (times * top, times * bottom) for name, (top, bottom) in segments.items()}
    assert all(part.rate == part.mix == 0 for part in ratio_parts(segments, grown))


def test_by_hand_one_rate_fell_and_one_segment_grew():
    """a: 5/10 → 3/10 of weight ½ → ¼ ; b: 2/10 → 6/30 of weight ½ → ¾; the whole 7/20 → 9/40."""
    before: Segments = {("a",): (Fraction(5), Fraction(10)), ("b",): (Fraction(2), Fraction(10))}
    after: Segments = {("a",): (Fraction(3), Fraction(10)), ("b",): (Fraction(6), Fraction(30))}
    a, b = ratio_parts(before, after)
    level = (Fraction(7, 20) + Fraction(9, 40)) / 2
    assert (a.segment, a.rate, a.mix) == (
        ("a",),
        Fraction(3, 8) * Fraction(-1, 5),
        Fraction(-1, 4) * (Fraction(2, 5) - level),
    )
    assert (b.segment, b.rate, b.mix) == (("b",), Fraction(0), Fraction(1, 4) * (Fraction(1, 5) - level))
    assert a.effect + b.effect == Fraction(9, 40) - Fraction(7, 20)


def test_a_new_segment_is_mix_alone_and_a_cost_without_users_counts_as_it_is():
    before: Segments = {("a",): (Fraction(1), Fraction(2))}
    after: Segments = {
        ("a",): (Fraction(1), Fraction(2)),
        ("new",): (Fraction(2), Fraction(2)),
        ("paid",): (Fraction(4), Fraction(0)),
    }
    found = {part.segment[0]: part for part in ratio_parts(before, after)}
    assert (found["new"].rate, found["new"].mix) == (Fraction(0), Fraction(1, 2) * (1 - Fraction(9, 8)))
    assert (found["paid"].rate, found["paid"].mix) == (Fraction(1), Fraction(0))
    assert sum(part.effect for part in found.values()) == Fraction(7, 4) - Fraction(1, 2)


def put_metric(warehouse, name, rows, *, start, grain="week", mature=True):
    """rows: (channel, country, numerator, denominator)"""
    money = pl.Decimal(38, 4)
    schema: dict[str, Any] = {"channel": pl.String, "country": pl.String, "numerator": money, "denominator": money}
    frame = pl.DataFrame(rows, schema=schema, orient="row").with_columns(
        value=pl.col("numerator").cast(pl.Float64), mature=pl.lit(mature)
    )
    place = {"board": "users", "grain": grain, "start": str(start)}
    with warehouse.writing(f"metric_{name}") as writer:
        writer.put(place, frame, order_by=["channel", "country"], fingerprint=repr(rows))


def test_a_metric_table_is_explained_by_any_of_its_dimensions(warehouse):
    put_metric(
        warehouse, "paying_share", [("ads", "DE", 10, 100), ("ads", "FR", 10, 100), ("seo", "DE", 20, 100)], start=A
    )
    put_metric(
        warehouse,
        "paying_share",
        [("ads", "DE", 2, 100), ("ads", "FR", 10, 100), ("seo", "DE", 20, 100)],
        start=B,
        mature=False,
    )
    why = why_moved(warehouse, WhySpec(name="paying_share", start=A, end=B, by=("channel", "country")))
    assert (why.before, why.after) == (Fraction(40, 300), Fraction(32, 300))
    assert [part.segment for part in why.parts if part.effect] == [("ads", "DE")]
    assert why.immature == (B,)
    assert "Careful: the week of 2025-01-13 is not mature" in why.told()
    assert why.table().select("mature_before", "mature_after").unique().rows() == [(True, False)]
    table = why.table()
    assert table["effect"].sum() == pytest.approx(float(why.change), abs=1e-15)
    assert table["share"][0] == 1.0
    assert "paying_share, week of 2025-01-06 → week of 2025-01-13: 0.1333 → 0.1067 (-0.02667). ads · DE" in why.told()
    by_country = why_moved(warehouse, WhySpec(name="paying_share", start=A, end=B, by=("country",)))
    assert {part.segment[0]: part.effect for part in by_country.parts} == {"DE": why.change, "FR": 0}
    assert [*why_chart(why).data[0].measure] == ["absolute", "relative", "total"]


def test_a_sum_has_no_rate_and_its_chart_gathers_the_small_ones(warehouse):
    many = [(f"c{n:02d}", "DE", 100, None) for n in range(20)]
    put_metric(warehouse, "revenue", many, start=A)
    put_metric(
        warehouse, "revenue", [(name, place, top + n, None) for n, (name, place, top, _) in enumerate(many)], start=B
    )
    why = why_moved(warehouse, WhySpec(name="revenue", start=A, end=B, by=("channel",)))
    assert not why.is_ratio
    assert why.change == 190
    assert why.parts[0].segment == ("c19",)
    bars = why_chart(why, most=8).data[0]
    assert bars.x[-2] == "11 others"
    assert sum(bars.y[1:-1]) == 190


def test_metrics_of_a_board_are_explained_wherever_they_lie(warehouse):
    simulate(warehouse, WorldSpec(users=250, days=28, start=date(2025, 1, 6), seed=5))
    board = BoardSpec(active="event = 'launch'", portrait_dims=("channel", "os"))
    backfill_board(warehouse, board)
    asked: dict[str, Any] = {"start": A, "end": B, "by": ("channel", "os")}
    cases: list[tuple[str, dict[str, Any]]] = [
        ("arpu", {}),
        ("active_users", {}),
        ("retention", {"age": 1}),
        ("lifecycle", {"where": {"state": "new"}}),
    ]
    for name, more in cases:
        why = why_moved(warehouse, WhySpec(name=name, **asked, **more), board=board)
        whole = metric_table(warehouse, board, name, grain="week")
        if "age" in more:
            whole = whole.filter(pl.col("age") == 1).with_columns(start="cohort")
        if "where" in more:
            whole = whole.filter(pl.col("state") == "new")
        ends = [whole.filter(pl.col("start") == day)["value"].item() for day in (A, B)]
        assert [float(why.before), float(why.after)] == pytest.approx(ends)
        assert why.before + sum(part.effect for part in why.parts) == why.after
    with pytest.raises(BadInput, match=r"retention is told by cohort and age\. Say which age: --age 7"):
        why_moved(warehouse, WhySpec(name="retention", **asked), board=board)


def test_series_that_do_not_add_up_are_never_summed(warehouse):
    simulate(warehouse, WorldSpec(users=80, days=28, start=date(2025, 1, 6), seed=5))
    steps = [{"name": "open", "where": "event = 'launch'"}, {"name": "again", "where": "event = 'launch'"}]
    board = BoardSpec(portrait_dims=("channel",), brackets=((1, 2), (1, 3)), funnels={"use": {"steps": steps}})
    backfill_board(warehouse, board)
    asked: dict[str, Any] = {"start": A, "end": B, "by": ("channel",)}
    cases: list[tuple[str, dict[str, Any], str]] = [
        ("lifecycle", {}, r"told by state \(dormant, new, resurrected, returning\), .*: --where state=dormant; or"),
        ("bracket_retention", {"age": 1, "grain": "day"}, r"told by bracket \(1-2, 1-3\).*--by channel,bracket"),
        ("funnel_use", {"grain": "day"}, r"told by step \(1, 2\)"),
    ]
    for name, more, told in cases:
        with pytest.raises(BadInput, match=told):
            why_moved(warehouse, WhySpec(name=name, **{**asked, **more}), board=board)
    asked = {**asked, "by": ("channel", "state")}
    assert len(why_moved(warehouse, WhySpec(name="lifecycle", **asked), board=board).parts) > 4
    one = WhySpec(name="funnel_use", start=A, end=B, by=("channel",), grain="day", where={"step_name": "again"})
    assert why_moved(warehouse, one, board=board).is_ratio


def test_tables_that_hold_no_metric_are_refused_in_a_sentence(warehouse):
    put_log(warehouse, numbered([event("ann", "launch", 0), event("ann", "pay", 1, amount=3)]))
    backfill_board(warehouse, BoardSpec())
    write_acquisition(warehouse, acquisition().with_changes(name="users"))
    asked: dict[str, Any] = {"start": date(2025, 3, 1), "end": B, "by": ("channel",), "grain": "month"}
    for name in ("state_users", "acquired", "customers", "acquired_value"):
        with pytest.raises(BadInput, match=f"table 'metric_{name}' holds no metric: .* Tables of their own have acq"):
            why_moved(warehouse, WhySpec(name=name, **asked))
    put_costs(warehouse, [(date(2025, 3, 1), "organic", None, "3", None)])
    write_acquisition(warehouse, acquisition().with_changes(name="users"))
    with pytest.raises(BadInput, match="payback does not add up over segments: table 'metric_payback' has no column"):
        why_moved(warehouse, WhySpec(name="payback", **asked))
    with pytest.raises(BadInput, match=r"arpu is asked of board 'drivers', and the board at hand is 'users'"):
        why_moved(warehouse, WhySpec(name="arpu", board="drivers", **asked))


def test_a_table_that_another_declaration_made_is_refused(warehouse):
    put_log(warehouse, numbered([event(who, "launch", 24 * 7 * n) for n, who in enumerate("abc")]))
    spec = acquisition().with_changes(name="users")
    write_acquisition(warehouse, spec)
    asked = WhySpec(name="acquired_users", start="2025-03-03", end="2025-03-10", by=("channel",))
    assert why_moved(warehouse, asked, declared=spec.with_changes(allow=())).change == 0
    other = spec.with_changes(horizon_days=5)
    with pytest.raises(BadInput, match=r"built with another definition .*: sojourn metrics acquisition$"):
        why_moved(warehouse, asked, declared=other)
    write_acquisition(warehouse, other)
    assert why_moved(warehouse, asked, declared=other).change == 0


def test_what_cannot_be_explained_is_refused_in_a_sentence(warehouse):
    asked = {"name": "revenue", "start": A, "end": B, "by": ("channel",)}
    put_log(warehouse, numbered([event("ann", "launch", 0)]))
    with pytest.raises(MissingTable, match="there is no metric 'revenues' on board 'users', nor a table of it"):
        why_moved(warehouse, WhySpec(**{**asked, "name": "revenues"}))
    put_metric(warehouse, "revenue", [("ads", "DE", 1, None)], start=A)
    with pytest.raises(
        BadInput, match=r"no week that starts on 2025-01-13; it has 1 of them, 2025-01-06 to 2025-01-06"
    ):
        why_moved(warehouse, WhySpec(**asked))
    put_metric(warehouse, "revenue", [("ads", "DE", 1, None)], start=B)
    with pytest.raises(MissingColumn, match=r"'chanel'.*'channel': 'chanel'"):
        why_moved(warehouse, WhySpec(**{**asked, "by": ("chanel",)}))
    with pytest.raises(BadInput, match="has no month that starts on 2025-01-06; it has none"):
        why_moved(warehouse, WhySpec(**asked, grain="month"))
    put_metric(warehouse, "cpi", [("ads", "DE", 1, 0)], start=A)
    put_metric(warehouse, "cpi", [("ads", "DE", 1, 1)], start=B)
    with pytest.raises(BadInput, match="cpi is undefined on 2025-01-06: its denominator is zero"):
        why_moved(warehouse, WhySpec(**{**asked, "name": "cpi"}))
    with pytest.raises(BadSpec, match="both periods start on 2025-01-06"):
        WhySpec(**{**asked, "end": A})
    with pytest.raises(BadSpec, match="name each dimension"):
        WhySpec(**{**asked, "by": ()})
