"""An example of every Spec that has required fields, and of every Estimator with a table to learn from.

`tests/test_conformance.py` reads these lists; a new Spec or Estimator fails there until it is added here.
"""

from collections.abc import Callable
from datetime import date
from typing import Any

import numpy as np
import polars as pl

from sojourn.core import Estimator, Spec, Step
from sojourn.effects import Uplift
from sojourn.evaluate import (
    Conformal,
    ConformalSpec,
    Difference,
    Fold,
    Interval,
    Recalibration,
    RecalibrationSpec,
    Scores,
    Split,
    SplitSpec,
    Task,
)
from sojourn.events import IngestSpec, PushPlan
from sojourn.lifetime import (
    ActivityBaseline,
    ApartValue,
    ApartValueSpec,
    Baseline,
    BaselineSpec,
    ChurnBaseline,
    ChurnSpec,
    ChurnTrees,
    DailyNetwork,
    DailyNetworkSpec,
    DailyTrees,
    Extrapolation,
    GammaGamma,
    Lifetime,
    LifetimeSpec,
    ProcessActivity,
    ProcessSpec,
    ProcessValue,
    ProcessValueSpec,
    PurchaseProcess,
    PushEffect,
    RefundForecast,
    SequenceValue,
    SequenceValueSpec,
    SingleStage,
    SingleStageSpec,
    SpendDistribution,
    SpendDistributionSpec,
    SpendInterval,
    SpendIntervalSpec,
    Stack,
    StackSpec,
    TwoStage,
    ValueSpec,
    high_spenders_at_risk,
    likely_high_spenders,
)
from sojourn.metrics import METRICS, FunnelSpec, MetricSpec, StepSpec, SupplyDemandSpec, TouchRule, WhySpec
from sojourn.operate import About, CheckSpec, InForce, PublishSpec, SourceSpec, Watched
from sojourn.rollups import AggregateSpec, RollupSpec
from sojourn.warehouse import InPlace
from tests.effects import logs
from tests.lifetime.retention.worlds import SPEC as DAILY
from tests.lifetime.retention.worlds import activity
from tests.lifetime.retention.worlds import in_order as visits_in_order
from tests.lifetime.worlds import FAST, shop, shop_table, table_of, with_sequences

SPEND = AggregateSpec(function="sum", expression="amount")
STEP = StepSpec(name="view", where="event = 'view'")
INTERVAL = Interval(value=1.0, low=0.5, high=1.5)
FOLD = Fold(horizon_days=30, train=(date(2024, 1, 1),), test=date(2024, 2, 1))

WATCHED = Watched(task="ltv_30", column="ltv_30", aggregate="spend", days=30, kind="value")

SPECS: dict[type[Spec], Spec] = {
    About: About(kind="ltv", version="3f2a", fitted_as_of=date(2024, 5, 1), known_until=date(2024, 5, 1)),
    CheckSpec: CheckSpec(kind="allowed", column="channel", values=("web", "app")),
    InForce: InForce(version="3f2a", as_of=date(2024, 5, 1), how="first"),
    SourceSpec: SourceSpec(spec=IngestSpec(), in_place="lake"),
    Watched: WATCHED,
    AggregateSpec: SPEND,
    ConformalSpec: ConformalSpec(pred="ltv", truth="spend"),
    Difference: Difference(value=1.0, low=0.5, high=1.5, prob_better=0.9),
    Fold: FOLD,
    FunnelSpec: FunnelSpec(steps=(STEP, StepSpec(name="pay", where="amount > 0"))),
    Interval: INTERVAL,
    InPlace: InPlace(folder="/data/events", columns={"user_id": "uid"}),
    PublishSpec: PublishSpec(to="clickhouse", url="http://growth@localhost:8123"),
    MetricSpec: METRICS["lifecycle"],
    PushPlan: PushPlan(as_of=date(2024, 2, 1), offsets=(0, 7)),
    RecalibrationSpec: RecalibrationSpec(score="score", truth="churned"),
    RollupSpec: RollupSpec(aggregates={"spend": SPEND}),
    Scores: Scores(task="ltv_30", kind="value", split="00ff", rows=3, models={"mean": {"mae": INTERVAL}}),
    Split: Split(horizon_days=30, as_ofs=(date(2024, 1, 1), date(2024, 2, 1)), folds=(FOLD,)),
    SplitSpec: SplitSpec(horizon_days=30),
    StepSpec: STEP,
    SupplyDemandSpec: SupplyDemandSpec(supply="event = 'online'", demand="event = 'ask'", served="event = 'trip'"),
    TouchRule: TouchRule(name="ads", where="event = 'ad'", channel="network"),
    WhySpec: WhySpec(name="cpi", start=date(2024, 1, 1), end=date(2024, 1, 8), by=("channel",)),
    Task: Task(name="ltv_30", kind="value", truth="spend", models=("ltv",)),
}


def scores_and_outcomes(seed: int) -> pl.DataFrame:
    """Users with a score, whether they left, a prediction, and what they spent."""
    rng = np.random.default_rng(seed)
    score, ltv = rng.random(400), rng.gamma(2, 10, 400)
    return pl.DataFrame(
        {
            "user_id": [f"u{n:03d}" for n in range(400)],
            "score": score,
            "churned": (rng.random(400) < score**2).astype(int),
            "ltv": ltv,
            "spend": ltv * rng.lognormal(0, 0.5, 400),
        }
    )


def spenders(seed: int) -> pl.DataFrame:
    """A small shop with 30-day labels."""
    return shop_table(seed, users=150)


def returners(seed: int) -> pl.DataFrame:
    """A small shop in which some of what is bought comes back."""
    table = spenders(seed)
    share = (table["user_id"].str.slice(1).cast(pl.Int64) % 5) / 10
    sums = [name for name in table.columns if name.startswith(("spend_", "label_spend_"))]
    parts = [
        (pl.col(name) * each).alias(name.replace("spend_", new))
        for name in sums
        for new, each in (("spend_gross_", 1.0), ("spend_refunded_", share), ("spend_", 1 - share))
    ]
    return table.with_columns(parts)


def spenders_predicted(seed: int) -> pl.DataFrame:
    """The same with a prediction beside it."""
    return spenders(seed).with_columns(ltv_30=pl.col("spend_30d").cast(pl.Float64))


def spenders_twice(seed: int) -> pl.DataFrame:
    """A small shop with labels of 14 and 30 days."""
    return table_of(shop(seed, users=150), horizons_days=(14, 30))


def spenders_in_order(seed: int) -> pl.DataFrame:
    """A small shop with sequences."""
    log = shop(seed, users=150)
    return with_sequences(log, table_of(log, step_days=30))


def buyers(seed: int) -> pl.DataFrame:
    """Customers as purchase processes read them."""
    rng = np.random.default_rng(seed)
    bought, age = rng.negative_binomial(1, 0.3, 300), rng.integers(60, 200, 300)
    return pl.DataFrame(
        {
            "user_id": [f"u{n:03d}" for n in range(300)],
            "frequency": bought,
            "recency_days": np.where(bought > 0, age * rng.random(300), 0.0),
            "age_days": age,
            "monetary_value": np.where(bought > 0, rng.gamma(3, 5, 300), 0.0),
        }
    )


def visitors(seed: int) -> pl.DataFrame:
    """A small app's activity day by day, with pushes, looked at every third day."""
    return activity(seed, looks=tuple(range(60, 106, 3)), users=150)


def visitors_in_order(seed: int) -> pl.DataFrame:
    """The same app with sequences."""
    return visits_in_order(visitors(seed))


MONTH: dict[str, Any] = {"horizon_days": 30, "boost": FAST}
NAMED = {"ltv_14": "two_stage", "ltv_30": "median_scaled", "churn_30": "churn_trees"}

ESTIMATORS: dict[type[Estimator], tuple[Callable[[], Estimator], Callable[..., pl.DataFrame]]] = {
    ActivityBaseline: (ActivityBaseline, lambda seed: activity(seed, looks=(64, 92), ahead=28)),
    ApartValue: (lambda: ApartValue(ApartValueSpec(**MONTH)), returners),
    Baseline: (lambda: Baseline(BaselineSpec(**MONTH, rule="pace")), spenders),
    ChurnBaseline: (ChurnBaseline, spenders),
    ChurnTrees: (lambda: ChurnTrees(ChurnSpec(boost=FAST)), spenders),
    Conformal: (lambda: Conformal(ConformalSpec(pred="ltv", truth="spend")), scores_and_outcomes),
    DailyNetwork: (lambda: DailyNetwork(DailyNetworkSpec(**DAILY.model_dump(), width=4, epochs=1)), visitors_in_order),
    DailyTrees: (lambda: DailyTrees(DAILY), visitors),
    Extrapolation: (Extrapolation, spenders),
    Lifetime: (lambda: Lifetime(LifetimeSpec(horizons_days=(14, 30), boost=FAST, models=NAMED)), spenders_twice),
    GammaGamma: (GammaGamma, buyers),
    ProcessValue: (lambda: ProcessValue(ProcessValueSpec(**MONTH)), spenders),
    PurchaseProcess: (lambda: PurchaseProcess(ProcessSpec(model="bgnbd", horizon_days=30)), buyers),
    ProcessActivity: (lambda: ProcessActivity(DAILY), visitors),
    PushEffect: (lambda: PushEffect(DAILY), visitors),
    RefundForecast: (lambda: RefundForecast(ValueSpec(**MONTH)), returners),
    Recalibration: (lambda: Recalibration(RecalibrationSpec(score="score", truth="churned")), scores_and_outcomes),
    SequenceValue: (lambda: SequenceValue(SequenceValueSpec(**MONTH, width=4, epochs=1)), spenders_in_order),
    SingleStage: (lambda: SingleStage(SingleStageSpec(**MONTH)), spenders),
    SpendDistribution: (lambda: SpendDistribution(SpendDistributionSpec(**MONTH)), spenders),
    SpendInterval: (lambda: SpendInterval(SpendIntervalSpec(**MONTH)), spenders_predicted),
    Stack: (lambda: Stack(StackSpec(**MONTH, models=("mean", "pace", "stack"))), spenders),
    TwoStage: (lambda: TwoStage(ValueSpec(**MONTH)), spenders),
    Uplift: (lambda: Uplift(logs.UPLIFT), logs.decided),
}


def profiled(seed: int) -> pl.DataFrame:
    """Users as target lists read them, no two with the same expectation."""
    rng = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "user_id": [f"u{n:03d}" for n in range(80)],
            "expected_spend": rng.gamma(2, 20, 80),
            "usual_spend": rng.gamma(2, 30, 80),
            "churn_prob": rng.random(80),
        }
    )


STEPS: dict[str, tuple[Step, Callable[..., pl.DataFrame]]] = {
    "likely_high_spenders": (likely_high_spenders, profiled),
    "high_spenders_at_risk": (high_spenders_at_risk, profiled),
}
