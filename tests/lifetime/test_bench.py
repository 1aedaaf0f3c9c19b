"""One model that dies does not end the bench: it drops out and is told; totals that are far off are told too."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sojourn.core import BadInput
from sojourn.evaluate import BootstrapSpec, Difference, Interval
from sojourn.lifetime import (
    Bench,
    ChurnSpec,
    Comparison,
    Evidence,
    LifetimeSpec,
    SingleStage,
    Stack,
    StackSpec,
    TwoStage,
    ValueSpec,
    compare,
    lifetime_report,
    verdict,
)
from sojourn.lifetime._bias import bias_but_one, total_bias
from sojourn.lifetime.verdict import verdict_tone
from tests.lifetime.worlds import FAST

QUICK = BootstrapSpec(replicates=50)
MODELS = ("two_stage", "median", "pace", "zero", "stack")
SPEC = ValueSpec(horizon_days=30, boost=FAST, train_as_ofs=3, folds=2, models=MODELS)


def dying(self: TwoStage, table: pl.DataFrame) -> TwoStage:
    raise ZeroDivisionError("no leaf to stand on\nand a second line")


def saying(answer: float) -> Callable[[TwoStage, pl.DataFrame], pl.DataFrame]:
    """A `predict` that says this of its third user."""
    whole = TwoStage.predict

    def predict(self: TwoStage, table: pl.DataFrame) -> pl.DataFrame:
        name, found = self.spec.name, whole(self, table)
        return found.with_columns(pl.when(pl.int_range(pl.len()) == 2).then(answer).otherwise(name).alias(name))

    return predict


@pytest.fixture
def dies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TwoStage, "fit", dying)


def test_a_model_that_dies_drops_out_and_is_told(table, dies):
    found = compare(table, spec=SPEC, bootstrap=QUICK)
    assert set(found.scores.models) == set(MODELS) - {"two_stage"} == {*found.choice.loss} == {*found.spec.models}
    assert found.chosen in found.scores.models
    assert "two_stage" not in vars(found.final.models["stack"])["members_"]
    assert found.failed["two_stage"].endswith("ZeroDivisionError: no leaf to stand on")
    assert "'two_stage' did not finish: as of " in verdict(found)
    page = lifetime_report(comparisons=[found], spec=LifetimeSpec(horizons_days=(30,))).html()
    assert "Trees, two stages: did not finish" in page
    assert "no leaf to stand on" in page


@pytest.mark.parametrize("answer", [float("nan"), float("inf")])
def test_a_model_that_answers_no_number_drops_out(table, monkeypatch, answer):
    monkeypatch.setattr(TwoStage, "predict", saying(answer))
    found = compare(table, spec=SPEC, bootstrap=QUICK)
    assert set(found.scores.models) == set(MODELS) - {"two_stage"}
    assert "no finite number in 1 of" in found.failed["two_stage"]
    assert found.predictions.select(pl.selectors.float().is_finite().all()).to_numpy().all()


def test_where_the_picked_model_dies_on_the_last_fold_the_best_of_the_others_is_taken(table, monkeypatch):
    spec = SPEC.with_changes(models=("two_stage", "median", "zero"))
    whole = compare(table, spec=spec, bootstrap=QUICK)
    kind = {"two_stage": TwoStage, "median": SingleStage}[whole.chosen]
    fit, last = kind.fit, whole.final.fold.train[-1]

    def dies_late(self: TwoStage, known: pl.DataFrame) -> TwoStage:
        if known["as_of"].max() == last:
            raise FloatingPointError("late")
        return fit(self, known)

    monkeypatch.setattr(kind, "fit", dies_late)
    found = compare(table, spec=spec, bootstrap=QUICK)
    assert found.failed == {whole.chosen: "FloatingPointError: late"}
    left = {name: loss for name, loss in whole.choice.loss.items() if name != whole.chosen}
    assert found.chosen == found.scores.chosen == min(left, key=left.__getitem__)
    assert found.choice.loss == whole.choice.loss
    assert f"{whole.chosen!r} did not finish" in verdict(found)


def test_where_nothing_that_learns_finishes_the_error_is_raised(table, dies):
    with pytest.raises(BadInput, match=r"no model of ltv_30 has finished. two_stage: ZeroDivisionError: no leaf"):
        compare(table, spec=SPEC.with_changes(models=("two_stage", "pace", "zero")), bootstrap=QUICK)


def test_a_stack_of_its_own_goes_on_without_the_member_that_died(train, dies, tmp_path):
    stack = Stack(StackSpec(horizon_days=30, boost=FAST, models=MODELS)).fit(train)
    assert stack.failed_ == {"two_stage": "ZeroDivisionError: no leaf to stand on"}
    stack.save(tmp_path)
    assert Stack.load(tmp_path).failed_ == stack.failed_


def off(table: pl.DataFrame, factor: float) -> pl.DataFrame:
    """The table, with the last date's labels multiplied: no model can know."""
    last = table["as_of"].max()
    label = pl.col("label_spend_30d")
    return table.with_columns(pl.when(pl.col("as_of") == last).then(label * factor).otherwise(label))


@pytest.fixture(scope="module")
def halved(table: pl.DataFrame) -> Comparison:
    return compare(off(table, 0.5), spec=SPEC.with_changes(models=("median", "pace")), bootstrap=QUICK)


def test_a_total_that_is_far_off_is_told(table, halved):
    bias = halved.scores.models[halved.chosen]["bias"]
    assert bias.value > 0.25
    assert bias.low > 0
    told = verdict(halved)
    assert f"Its total there is off by +{100 * bias.value:.0f}" in told
    assert "without the one user who makes most of that" in told
    assert "do not plan with its totals" in lifetime_report(comparisons=[halved], spec=LifetimeSpec()).html()
    right = compare(table, spec=SPEC.with_changes(models=("median", "pace")), bootstrap=QUICK)
    assert "Its total there is off" not in verdict(right)


def test_a_probability_that_is_far_off_is_told_without_single_users(table):
    quiet = table.with_columns(
        pl.when((pl.col("as_of") == table["as_of"].max()) & (pl.col("label_purchases_30d") == 0))
        .then(1)
        .otherwise("label_purchases_30d")
        .alias("label_purchases_30d")
    )
    some = pl.col("user_id").str.slice(1).cast(pl.Int64) % 9 == 0
    quiet = quiet.with_columns(pl.when(some).then(0).otherwise("label_purchases_30d").alias("label_purchases_30d"))
    found = compare(quiet, spec=ChurnSpec(boost=FAST, folds=2), bootstrap=QUICK)
    assert "Its total there is off by +" in verdict(found)
    assert "one user" not in verdict(found)


rows = st.lists(
    st.tuples(st.sampled_from("abcde"), st.floats(0, 1e6), st.floats(0, 1e6)), min_size=1, max_size=30
).filter(lambda drawn: sum(row[1] for row in drawn) > 1)


def gaps(drawn: list[tuple[str, float, float]]) -> Iterator[tuple[str, float]]:
    for user in sorted({row[0] for row in drawn}):
        yield user, sum(row[2] - row[1] for row in drawn if row[0] == user)


@given(rows)
@settings(max_examples=80, deadline=None)
def test_the_bias_but_one_is_that_of_the_rows_without_the_user_furthest_off(drawn):
    """The slow twin: every user is left out in turn, and the one taken whose own gap goes furthest the total's way."""
    table = pl.DataFrame(drawn, schema=["user_id", "truth", "m"], orient="row")
    whole = total_bias(table, said="m")
    if abs(whole) < 2e-9:
        assert abs(bias_but_one(table, said="m")) <= 1e-6 or abs(whole) >= 1e-9
        return
    sign = 1 if whole > 0 else -1
    most = max(sign * gap for _, gap in gaps(drawn))
    candidates = [user for user, gap in gaps(drawn) if sign * gap >= most - 1e-6]
    expected = [total_bias(table.filter(pl.col("user_id") != user), said="m") for user in candidates]
    found = bias_but_one(table, said="m")
    assert any(np.isclose(found, each, rtol=1e-6, atol=1e-9) for each in expected)


@pytest.mark.parametrize("noise", [-1e-13, 0.0, 1e-13])
def test_a_total_that_is_right_but_for_rounding_is_made_by_nobody(noise):
    """A model scaled to its total once had +12 % or -12 % here, as rounding fell."""
    table = pl.DataFrame({"user_id": ["a", "b", "c"], "truth": [10.0, 50.0, 40.0], "m": [30.0, 30.0, 40.0 + noise]})
    assert bias_but_one(table, said="m") == 0.0


def test_a_total_that_is_right_but_for_rounding_is_told_alike_every_time():
    rng = np.random.default_rng(3)
    truth = rng.gamma(0.3, 30.0, 4000)
    said = rng.gamma(0.3, 30.0, 4000)
    said *= truth.sum() / said.sum()
    table = pl.DataFrame({"user_id": [f"u{n % 900}" for n in range(4000)], "truth": truth, "m": said})
    found = {bias_but_one(table.sample(fraction=1.0, shuffle=True, seed=seed), said="m") for seed in range(30)}
    assert len(found) == 1


def test_one_great_spender_does_not_hide_behind_a_bias():
    users = [f"u{n}" for n in range(100)]
    table = pl.DataFrame({"user_id": users, "truth": [10.0] * 99 + [4000.0], "m": [10.0] * 100})
    assert total_bias(table, said="m") < -0.7
    assert bias_but_one(table, said="m") == 0.0


def test_beside_every_held_out_bias_stands_the_one_without_its_greatest_user(halved):
    fold = halved.choice.folds[0]
    held = vars(fold.models["median"])["held_out_"].rename({"ltv_30": "m"})
    assert fold.held_out_bias["median"] == pytest.approx(total_bias(held, said="m"))
    assert fold.held_out_bias_but_one["median"] == pytest.approx(bias_but_one(held, said="m"))


def test_purchase_processes_that_take_no_part_are_told(table):
    few = table.with_columns(purchase_days_all=pl.when(pl.col("user_id").str.ends_with("1")).then(2).otherwise(0))
    found = compare(few, spec=SPEC.with_changes(models=("median", "pareto_nbd", "bgnbd", "zero")), bootstrap=QUICK)
    assert {*found.absent} == {"pareto_nbd", "bgnbd"}
    bought = few.filter(pl.col("purchase_days_all") > 0, pl.col("as_of").is_in(found.choice.folds[0].fold.train))
    count = bought["user_id"].n_unique()
    told = f"{count} users bought, {count} of them again, and 90 and 30 are needed."
    assert f"'pareto_nbd' and 'bgnbd' took no part: {told}" in verdict(found)
    page = lifetime_report(comparisons=[found], spec=LifetimeSpec(horizons_days=(30,))).html()
    assert "Pareto/NBD, gamma-gamma: took no part" in page
    assert Bench((found,), Evidence()).summary().filter(pl.col("chosen") == "took no part").height == 2


def test_a_fold_with_too_few_users_is_told_before_anything_is_learned(table):
    some = table["user_id"].unique().sort().head(18).to_list()
    thin = table.filter((pl.col("as_of") == table["as_of"].max()) | pl.col("user_id").is_in(some))
    with pytest.raises(BadInput, match=r"18 users are known to the fold tested on .*, and 20 are needed to learn from"):
        compare(thin, spec=SPEC, bootstrap=QUICK)


def told_apart(found: Comparison, *, high: float, against: tuple[str, ...]) -> Comparison:
    """The comparison with every judged difference from these models as sure as can be, from the others not told."""
    low, high = sorted((0.1 * high, high))
    sure = Difference(value=(low + high) / 2, low=low, high=high, prob_better=None)
    unsure = Difference(value=0.0, low=-1.0, high=1.0, prob_better=None)
    turned = Difference(value=-(low + high) / 2, low=-high, high=-low, prob_better=None)
    differences = {
        name: {**parts, **({"mae": sure, "gini": turned} if name in against else {"mae": unsure, "gini": unsure})}
        for name, parts in found.differences.items()
    }
    level = {**found.scores.models[found.chosen], "bias": Interval(value=0.0, low=-0.1, high=0.1)}
    scores = found.scores.with_changes(models={**found.scores.models, found.chosen: level})
    return replace(found, differences=differences, final=replace(found.final, scores=scores))


def test_the_box_says_the_verdict_in_the_colour_of_the_verdict(table):
    found = compare(table, spec=SPEC.with_changes(models=("two_stage", "median", "pace", "zero")), bootstrap=QUICK)
    learned = next(name for name in ("two_stage", "median") if name != found.chosen)
    tones = {
        "good": told_apart(found, high=-1.0, against=("pace", "zero")),
        "note": told_apart(found, high=1.0, against=(learned,)),
        "warning": told_apart(found, high=1.0, against=("zero",)),
    }
    for tone, each in tones.items():
        assert verdict_tone(each) == tone
        box = lifetime_report(comparisons=[each], spec=LifetimeSpec(horizons_days=(30,))).html()
        box = box[box.index(f'<aside class="callout {tone}"') :]
        assert "The earlier folds picked" in box[: box.index("</aside>")]
    good = tones["good"]
    far = {**good.scores.models[found.chosen], "bias": Interval(value=0.5, low=0.3, high=0.7)}
    scores = good.scores.with_changes(models={**good.scores.models, found.chosen: far})
    assert verdict_tone(replace(good, final=replace(good.final, scores=scores))) == "warning"
