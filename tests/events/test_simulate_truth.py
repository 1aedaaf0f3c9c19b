"""The truth beside the log: pushes do what the truth says, nothing at strength 0, and the bounds bound."""

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from sojourn.core import BadInput, BadSpec
from sojourn.events import PushPlan, WorldSpec, best_activity, truth_activity, truth_days, truth_warehouse
from sojourn.events._world_calendar import mornings
from sojourn.events._world_life import live_day
from sojourn.events._world_people import block_of
from sojourn.events._world_state import active_chance, newborn, push
from tests.events.worlds import digests, simulated

WORLD = WorldSpec(users=3000, days=70, install_days=45, push_holdout=0.5, seed=2)
PLAN = PushPlan(as_of=date(2025, 2, 12), horizon_days=14, otherwise="campaigns")


def lived(spec):
    """Block, and per user the active days with campaigns and without any push."""
    block = block_of(spec, np.arange(spec.users))
    days = []
    for pushing in ("campaigns", "nobody"):
        state, active = newborn(spec.users), np.zeros(spec.users)
        for morning in mornings(spec):
            active[live_day(morning, block, state, pushing=pushing).today.active] += 1
        days.append(active)
    return block, *days


class TestStrengthZero:
    def test_pushes_without_strength_change_nothing(self, tmp_path):
        off = WorldSpec(users=300, days=20, push_strength=0, seed=4)
        warehouse, _ = simulated(tmp_path / "all", off)
        everybody_held, _ = simulated(tmp_path / "none", off.with_changes(push_holdout=1))
        quiet = "push_open"
        logs = [
            each.frame("events").filter(pl.col("event") != quiet).drop("event_id", "order_id", "ts", "arrived_at")
            for each in (warehouse, everybody_held)
        ]
        assert logs[0].height == logs[1].height
        users = truth_warehouse(warehouse).frame("truth_users")
        assert users["pushes"].sum() > 50
        for column in ("active_days", "sessions", "purchases", "spend_usd", "refunds_usd", "gone_on"):
            assert users[column].equals(users[f"{column}_unpushed"])

    def test_no_plan_has_an_effect(self):
        off = WORLD.with_changes(push_strength=0, users=300)
        plans = [PLAN.with_changes(offsets=offsets, otherwise="nobody") for offsets in ((), (0, 1, 2, 5))]
        without, pushed = (truth_activity(off, plan, draws=4) for plan in plans)
        assert without.equals(pushed)

    def test_without_a_programme_the_strength_does_not_matter(self, tmp_path):
        held = WorldSpec(users=200, days=15, push_holdout=1)
        weak, _ = simulated(tmp_path / "weak", held.with_changes(push_strength=0))
        strong, _ = simulated(tmp_path / "strong", held.with_changes(push_strength=3))
        assert digests(weak) == digests(strong)


class TestTheProgramme:
    @pytest.mark.parametrize("strength", [0.0, 1.0, 2.0])
    def test_the_randomised_difference_is_the_true_effect(self, strength):
        spec = WORLD.with_changes(push_strength=strength, users=12_000, days=50)
        block, with_campaigns, without = lived(spec)
        portrait = block.portrait
        treated, held = portrait.opted_in & portrait.programme, portrait.opted_in & ~portrait.programme
        true_effect = (with_campaigns - without)[treated].mean()
        measured = with_campaigns[treated].mean() - with_campaigns[held].mean()
        error = (with_campaigns[treated].var() / treated.sum() + with_campaigns[held].var() / held.sum()) ** 0.5
        assert abs(measured - true_effect) < 3.5 * error
        assert (true_effect == 0) == (strength == 0)
        assert (with_campaigns == without)[~treated].all()

    def test_effects_grow_with_the_strength_and_differ_between_people(self):
        effects = []
        for strength in (0.5, 1.0, 2.0):
            block, with_campaigns, without = lived(WORLD.with_changes(push_strength=strength, users=8000, days=50))
            nature, portrait = block.nature, block.portrait
            reached = portrait.opted_in & portrait.programme & (nature.thin_skin < 0.05)
            gain = with_campaigns - without
            effects.append([gain[reached & group].mean() for group in (nature.response > 0.5, nature.response < -0.3)])
        (small_gain, small_loss), (gain, loss), (large_gain, large_loss) = effects
        assert 0 < small_gain < gain < large_gain
        assert 0 > small_loss > loss > large_loss

    def test_the_portrait_tells_part_of_who_responds(self):
        nature, portrait = (block := block_of(WORLD, np.arange(WORLD.users))).nature, block.portrait
        by_age = [nature.response[portrait.age == age].mean() for age in range(6)]
        assert by_age[0] < -0.5 < 0.5 < by_age[3]

    def test_too_many_pushes_drive_thin_skinned_people_away(self):
        spec = WORLD.with_changes(push_strength=2.0, users=6000, days=40)
        block = block_of(spec, np.arange(spec.users))
        thin = (block.nature.thin_skin > 0.2) & block.portrait.opted_in
        gone = []
        for pushing in ("nobody", "campaigns", "everyone"):
            state = newborn(spec.users)
            left = np.zeros(spec.users, dtype=bool)
            for morning in mornings(spec):
                left[live_day(morning, block, state, pushing=pushing).today.left] = True
            gone.append(left[thin].mean())
        assert gone[0] < gone[1] < gone[2]

    def test_recorded_propensities_make_the_comparison_unbiased(self):
        """Inverse-propensity weights recover the true effect of today's push on today's activity."""
        spec = WORLD.with_changes(push_strength=1.0, users=15_000, days=50)
        block, state = block_of(spec, np.arange(spec.users)), newborn(spec.users)
        scores, naive, truths = [], [], []
        for morning in mornings(spec):
            before = state.take(np.arange(spec.users))
            day = live_day(morning, block, state, pushing="campaigns")
            rows, propensity, sent = day.turn.row, day.turn.propensity.astype(float), day.turn.sent
            truths.append(effect_today(morning, block, before, state, day, spec))
            active = np.isin(rows, day.today.active).astype(float)
            scores.append(active * sent / propensity - active * ~sent / (1 - propensity))
            naive.append(np.stack([active, sent]))
        score, truth = np.concatenate(scores), np.concatenate(truths)
        active, sent = np.concatenate(naive, axis=1)
        error = score.std() / len(score) ** 0.5
        assert truth.mean() > 5e-3
        assert abs(score.mean() - truth.mean()) < 3.5 * error
        crude = active[sent == 1].mean() - active[sent == 0].mean()
        assert abs(crude - truth.mean()) > 3.5 * error  # confounded: campaigns prefer those who have been away


def effect_today(morning, block, before, after, day, spec):
    """For each user whose turn it was, the chance to be active today with the push less the chance without."""
    rows = day.turn.row
    chances = []
    for nudged in (False, True):
        state = after.take(np.arange(spec.users))
        state.mood, state.last_active = before.mood.copy(), before.last_active.copy()
        state.nudge = before.nudge * np.float32(0.72)
        if nudged:
            push(morning, block.nature, state, rows)
        chances.append(active_chance(morning, block.nature, state, rows).astype(float))
    return chances[1] - chances[0]


class TestWhatIf:
    def test_the_oracle_is_calibrated_on_the_days_to_come(self):
        forecast = truth_activity(WORLD, PLAN, draws=24)
        days = forecast.join(truth_days(WORLD).select("user_id", "day", "active"), on=["user_id", "day"])
        by_user = days.group_by("user_id").agg((pl.col("active") - pl.col("active_prob")).sum())["active"].to_numpy()
        assert abs(by_user.mean()) < 4 * by_user.std() / len(by_user) ** 0.5

    def test_one_push_helps_some_and_hurts_others(self):
        plans = [PLAN.with_changes(offsets=offsets, otherwise="nobody") for offsets in ((), (0,))]
        without, pushed = (truth_activity(WORLD, plan, draws=16) for plan in plans)
        gain = pushed.with_columns(gain=pushed["active_prob"] - without["active_prob"])
        by_user = gain.group_by("user_id").agg(pl.col("gain").sum())["gain"].to_numpy()
        assert (by_user > 0.05).mean() > 0.05
        assert (by_user < -0.05).mean() > 0.01

    def test_campaigns_go_on_after_a_quiet_day(self):
        plan = PLAN.with_changes(horizon_days=3)
        campaigns, quiet, pushed, nobody = (
            truth_activity(WORLD, each, draws=32)
            for each in (
                plan,
                plan.with_changes(quiet=(0,)),
                plan.with_changes(offsets=(0,)),
                plan.with_changes(quiet=(0, 1, 2)),
            )
        )
        assert nobody.equals(truth_activity(WORLD, plan.with_changes(otherwise="nobody"), draws=32))
        first = [each.filter(pl.col("day") == plan.as_of)["active_prob"] for each in (quiet, nobody, campaigns, pushed)]
        assert first[0].equals(first[1])
        assert not first[0].equals(first[2])
        last = [each.filter(pl.col("day") == each["day"].max())["active_prob"] for each in (quiet, nobody)]
        assert not last[0].equals(last[1])
        # A campaign reaches some of those whom a push to everybody reaches.
        moved = (first[3] - first[0]).abs() > 1e-9
        assert ((first[2] - first[0]).abs() > 1e-9).filter(~moved).sum() == 0

    def test_the_past_is_the_worlds_own(self):
        # On the first day ahead the oracle's chance needs no luck but the level's: it must match the world's own day.
        plan = PLAN.with_changes(horizon_days=1)
        forecast = truth_activity(WORLD, plan, draws=64)
        own = truth_days(WORLD).filter(pl.col("day") == plan.as_of).select("user_id", own="active_prob", level="level")
        both = forecast.join(own, on="user_id").drop_nulls("level")
        assert both.select(pl.corr("active_prob", "own")).item() > 0.9

    def test_users_can_be_chosen(self):
        whole = truth_activity(WORLD, PLAN, draws=3)
        some = truth_activity(WORLD, PLAN, draws=3, users=["u00000007", "u00000003"])
        assert some.equals(whole.filter(pl.col("user_id").is_in(["u00000003", "u00000007"])))

    def test_what_history_tells_lies_between_the_baseline_and_the_oracle(self):
        users = [f"u{user:08d}" for user in range(1200)]
        seen = truth_days(WORLD, users=users).select("user_id", "day", "active")
        before = pl.col("day").is_between(PLAN.as_of - timedelta(days=14), PLAN.as_of, closed="left")
        habit = seen.filter(before).group_by("user_id").agg(active_prob=pl.col("active").sum() / 14)
        best = best_activity(WORLD, PLAN, particles=192, users=users)
        repeated = best.select("user_id", "day").join(habit, on="user_id")
        oracle = truth_activity(WORLD, PLAN, draws=24, users=users)

        def brier(forecast):
            days = forecast.join(seen, on=["user_id", "day"])
            return ((days["active_prob"] - days["active"]) ** 2).mean()

        assert brier(oracle) < 0.92 * brier(best)
        assert brier(best) < 0.92 * brier(repeated)
        both = best.join(seen, on=["user_id", "day"])
        assert both["active_prob"].mean() == pytest.approx(both["active"].mean(), rel=0.12)


class TestDays:
    def test_days_begin_with_the_install_and_tell_both_worlds(self):
        days = truth_days(WORLD, users=["u00000000", "u00000011"])
        assert days["active"].dtype == pl.Boolean
        assert days.group_by("user_id").agg(pl.col("active").sort_by("day").first())["active"].all()
        assert days.filter(pl.col("level").is_null())["active_prob"].sum() == 0
        unpushed = days.filter(~pl.col("pushed").cum_sum().over("user_id").cast(bool))
        assert (unpushed["active"] == unpushed["active_unpushed"]).all()

    def test_chances_are_those_of_what_happens(self):
        days = truth_days(WORLD)
        gap = (days["active"].cast(float) - days["active_prob"]).to_numpy()
        assert abs(gap.mean()) < 4 * gap.std() / len(gap) ** 0.5


class TestMistakes:
    def test_a_stranger_is_named(self):
        with pytest.raises(BadInput, match=r"User 'u00003000' does not live in this world of 3000 users\."):
            truth_activity(WORLD, PLAN, users=["u00000001", "u00003000"])

    def test_a_plan_needs_a_past(self):
        with pytest.raises(BadInput, match=r"The plan begins on 2025-01-01, before anybody has a history"):
            truth_activity(WORLD, PLAN.with_changes(as_of=date(2025, 1, 1)))

    def test_a_day_is_not_both_quiet_and_for_everybody(self):
        with pytest.raises(BadSpec, match="day 1 is both in offsets and in quiet"):
            PushPlan(as_of=date(2025, 2, 1), offsets=(0, 1), quiet=(1,))

    def test_an_offset_lies_inside_the_horizon(self):
        with pytest.raises(BadSpec, match=r"offset 14 lies outside the horizon \[0, 14\)"):
            PLAN.with_changes(offsets=(0, 14))
