"""Feature tables of past dates come in; what each user will spend, how sure that is, and who slips away go out."""

from sojourn.lifetime.baselines import Baseline, BaselineSpec
from sojourn.lifetime.churn import ChurnBaseline, ChurnBaselineSpec, ChurnTrees
from sojourn.lifetime.cohorts import cohort_shock, cohort_sums
from sojourn.lifetime.compare import Choice, Comparison, FoldResult, choose, compare
from sojourn.lifetime.distribution import SpendDistribution, SpendDistributionSpec
from sojourn.lifetime.effects import feature_effects
from sojourn.lifetime.evaluation import evaluate_model
from sojourn.lifetime.forecast import Lifetime
from sojourn.lifetime.gamma_gamma import GammaGamma, GammaGammaSpec
from sojourn.lifetime.interval import SpendInterval, SpendIntervalSpec
from sojourn.lifetime.models import make_model, model_label
from sojourn.lifetime.process_charts import alive_chart, tracking_chart
from sojourn.lifetime.process_value import ProcessValue, ProcessValueSpec
from sojourn.lifetime.purchase_process import ProcessSpec, PurchaseProcess
from sojourn.lifetime.report import Outlook, lifetime_report, write_report
from sojourn.lifetime.rfm import rfm_table
from sojourn.lifetime.scoring import score_users
from sojourn.lifetime.sequence_value import SequenceValue, SequenceValueSpec
from sojourn.lifetime.single_stage import SingleStage, SingleStageSpec
from sojourn.lifetime.spec import BoostSpec, ChurnSpec, LifetimeSpec, TaskSpec, ValueSpec
from sojourn.lifetime.study import (
    Predicted,
    Study,
    compare_models,
    evaluate_models,
    fit_models,
    predict_users,
    run_study,
    scores_summary,
)
from sojourn.lifetime.tables import judged_table, log_days, scoring_table, training_table
from sojourn.lifetime.targets import TargetSpec, high_spenders_at_risk, likely_high_spenders, profiles, write_list
from sojourn.lifetime.two_stage import TwoStage

__all__ = [
    "Baseline",
    "BaselineSpec",
    "BoostSpec",
    "Choice",
    "ChurnBaseline",
    "ChurnBaselineSpec",
    "ChurnSpec",
    "ChurnTrees",
    "Comparison",
    "FoldResult",
    "GammaGamma",
    "GammaGammaSpec",
    "Lifetime",
    "LifetimeSpec",
    "Outlook",
    "Predicted",
    "ProcessSpec",
    "ProcessValue",
    "ProcessValueSpec",
    "PurchaseProcess",
    "SequenceValue",
    "SequenceValueSpec",
    "SingleStage",
    "SingleStageSpec",
    "SpendDistribution",
    "SpendDistributionSpec",
    "SpendInterval",
    "SpendIntervalSpec",
    "Study",
    "TargetSpec",
    "TaskSpec",
    "TwoStage",
    "ValueSpec",
    "alive_chart",
    "choose",
    "cohort_shock",
    "cohort_sums",
    "compare",
    "compare_models",
    "evaluate_model",
    "evaluate_models",
    "feature_effects",
    "fit_models",
    "high_spenders_at_risk",
    "judged_table",
    "lifetime_report",
    "likely_high_spenders",
    "log_days",
    "make_model",
    "model_label",
    "predict_users",
    "profiles",
    "rfm_table",
    "run_study",
    "score_users",
    "scores_summary",
    "scoring_table",
    "tracking_chart",
    "training_table",
    "write_list",
    "write_report",
]
