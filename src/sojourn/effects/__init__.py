"""Campaign logs come in; whether treating helped, whom, and whom to treat next go out, each with its interval."""

from sojourn.effects.average import average_effects, doubly_robust_scores
from sojourn.effects.campaign import CampaignSpec, campaign_table, decision_days, decision_features
from sojourn.effects.charts import forest_chart, qini_chart, retention_effect_chart, uplift_decile_chart
from sojourn.effects.checks import balance_table, doubts, overlap, propensity_table, sample_ratio_test
from sojourn.effects.policy import policy_values, whom_to_treat
from sojourn.effects.ranking import Ranking, qini, uplift_deciles
from sojourn.effects.report import Shown, effects_report, uplift_report
from sojourn.effects.retention import RetentionEffect, retention_effects
from sojourn.effects.spec import EffectSpec, PolicySpec, RankingSpec, TreesSpec, UpliftSpec
from sojourn.effects.study import (
    EffectStudy,
    UpliftStudy,
    as_asked,
    read_campaign,
    study_effects,
    study_uplift,
    write_effects,
    write_uplift,
)
from sojourn.effects.uplift import Uplift

__all__ = [
    "CampaignSpec",
    "EffectSpec",
    "EffectStudy",
    "PolicySpec",
    "Ranking",
    "RankingSpec",
    "RetentionEffect",
    "Shown",
    "TreesSpec",
    "Uplift",
    "UpliftSpec",
    "UpliftStudy",
    "as_asked",
    "average_effects",
    "balance_table",
    "campaign_table",
    "decision_days",
    "decision_features",
    "doubly_robust_scores",
    "doubts",
    "effects_report",
    "forest_chart",
    "overlap",
    "policy_values",
    "propensity_table",
    "qini",
    "qini_chart",
    "read_campaign",
    "retention_effect_chart",
    "retention_effects",
    "sample_ratio_test",
    "study_effects",
    "study_uplift",
    "uplift_decile_chart",
    "uplift_deciles",
    "uplift_report",
    "whom_to_treat",
    "write_effects",
    "write_uplift",
]
