"""Feature tables of past dates come in; what each user will spend, how sure that is, and who slips away go out."""

from sojourn.lifetime._design import steady_features
from sojourn.lifetime.baselines import Baseline, BaselineSpec
from sojourn.lifetime.churn import ChurnBaseline, ChurnBaselineSpec, ChurnTrees
from sojourn.lifetime.cohorts import cohort_shock, cohort_sums
from sojourn.lifetime.compare import Choice, Comparison, FoldResult, choose, compare
from sojourn.lifetime.distribution import SpendDistribution, SpendDistributionSpec
from sojourn.lifetime.distribution_proof import DistributionProof, judge_distribution
from sojourn.lifetime.effects import feature_effects
from sojourn.lifetime.evaluation import evaluate_model
from sojourn.lifetime.evidence import Evidence
from sojourn.lifetime.extrapolation import Extrapolation, ExtrapolationSpec
from sojourn.lifetime.forecast import Lifetime
from sojourn.lifetime.gamma_gamma import GammaGamma, GammaGammaSpec
from sojourn.lifetime.interval import SpendInterval, SpendIntervalSpec
from sojourn.lifetime.log_end import log_days
from sojourn.lifetime.models import make_model, model_label
from sojourn.lifetime.money import read_rates, valued, write_rates
from sojourn.lifetime.newcomers import Newcomers, compare_newcomers
from sojourn.lifetime.process_charts import alive_chart, tracking_chart
from sojourn.lifetime.process_value import ProcessValue, ProcessValueSpec
from sojourn.lifetime.purchase_process import ProcessSpec, PurchaseProcess
from sojourn.lifetime.reasons import explain_users, user_reasons
from sojourn.lifetime.refunds import ApartValue, ApartValueSpec, RefundForecast
from sojourn.lifetime.report import Outlook, lifetime_report, write_report
from sojourn.lifetime.retention.activity import activity_table, decision_table
from sojourn.lifetime.retention.baselines import ActivityBaseline, ActivityBaselineSpec
from sojourn.lifetime.retention.compare import RetentionComparison, RetentionFold, compare_activity
from sojourn.lifetime.retention.judge import Judged, judge
from sojourn.lifetime.retention.lifespans import hazard_by_day, lifespans
from sojourn.lifetime.retention.models import load_retention_model, retention_model
from sojourn.lifetime.retention.network import DailyNetwork, DailyNetworkSpec
from sojourn.lifetime.retention.plan import NudgePlan, mean_gain, planned_days
from sojourn.lifetime.retention.process import ProcessActivity
from sojourn.lifetime.retention.push_effect import PushEffect
from sojourn.lifetime.retention.report import RetentionViews, retention_report
from sojourn.lifetime.retention.scoring import score_retention
from sojourn.lifetime.retention.spec import ActivitySpec, RetentionSpec, activity_rollup
from sojourn.lifetime.retention.study import (
    FittedRetention,
    compare_retention,
    fit_retention,
    predict_retention,
    retention_summary,
    retention_table,
)
from sojourn.lifetime.retention.trees import DailyTrees
from sojourn.lifetime.retention.triangle import cohort_triangle
from sojourn.lifetime.rfm import rfm_table
from sojourn.lifetime.scoring import score_users
from sojourn.lifetime.segments import segment_scores
from sojourn.lifetime.sequence_value import SequenceValue, SequenceValueSpec
from sojourn.lifetime.single_stage import SingleStage, SingleStageSpec
from sojourn.lifetime.spec import BoostSpec, ChurnSpec, LifetimeSpec, NetworkSpec, NewcomerSpec, TaskSpec, ValueSpec
from sojourn.lifetime.stack import Stack, StackSpec
from sojourn.lifetime.study import (
    Bench,
    Predicted,
    Study,
    compare_models,
    evaluate_models,
    fit_models,
    predict_users,
    run_study,
    scores_summary,
)
from sojourn.lifetime.tables import comparison_table, judged_table, scoring_table, training_table
from sojourn.lifetime.targets import TargetSpec, high_spenders_at_risk, likely_high_spenders, profiles, write_list
from sojourn.lifetime.two_stage import TwoStage
from sojourn.lifetime.value_cohorts import value_cohorts
from sojourn.lifetime.verdict import verdict

__all__ = [
    "ActivityBaseline",
    "ActivityBaselineSpec",
    "ActivitySpec",
    "ApartValue",
    "ApartValueSpec",
    "Baseline",
    "BaselineSpec",
    "Bench",
    "BoostSpec",
    "Choice",
    "ChurnBaseline",
    "ChurnBaselineSpec",
    "ChurnSpec",
    "ChurnTrees",
    "Comparison",
    "DailyNetwork",
    "DailyNetworkSpec",
    "DailyTrees",
    "DistributionProof",
    "Evidence",
    "Extrapolation",
    "ExtrapolationSpec",
    "FittedRetention",
    "FoldResult",
    "GammaGamma",
    "GammaGammaSpec",
    "Judged",
    "Lifetime",
    "LifetimeSpec",
    "NetworkSpec",
    "NewcomerSpec",
    "Newcomers",
    "NudgePlan",
    "Outlook",
    "Predicted",
    "ProcessActivity",
    "ProcessSpec",
    "ProcessValue",
    "ProcessValueSpec",
    "PurchaseProcess",
    "PushEffect",
    "RefundForecast",
    "RetentionComparison",
    "RetentionFold",
    "RetentionSpec",
    "RetentionViews",
    "SequenceValue",
    "SequenceValueSpec",
    "SingleStage",
    "SingleStageSpec",
    "SpendDistribution",
    "SpendDistributionSpec",
    "SpendInterval",
    "SpendIntervalSpec",
    "Stack",
    "StackSpec",
    "Study",
    "TargetSpec",
    "TaskSpec",
    "TwoStage",
    "ValueSpec",
    "activity_rollup",
    "activity_table",
    "alive_chart",
    "choose",
    "cohort_shock",
    "cohort_sums",
    "cohort_triangle",
    "compare",
    "compare_activity",
    "compare_models",
    "compare_newcomers",
    "compare_retention",
    "comparison_table",
    "decision_table",
    "evaluate_model",
    "evaluate_models",
    "explain_users",
    "feature_effects",
    "fit_models",
    "fit_retention",
    "hazard_by_day",
    "high_spenders_at_risk",
    "judge",
    "judge_distribution",
    "judged_table",
    "lifespans",
    "lifetime_report",
    "likely_high_spenders",
    "load_retention_model",
    "log_days",
    "make_model",
    "mean_gain",
    "model_label",
    "planned_days",
    "predict_retention",
    "predict_users",
    "profiles",
    "read_rates",
    "retention_model",
    "retention_report",
    "retention_summary",
    "retention_table",
    "rfm_table",
    "run_study",
    "score_retention",
    "score_users",
    "scores_summary",
    "scoring_table",
    "segment_scores",
    "steady_features",
    "tracking_chart",
    "training_table",
    "user_reasons",
    "value_cohorts",
    "valued",
    "verdict",
    "write_list",
    "write_rates",
    "write_report",
]
