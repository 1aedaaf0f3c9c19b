"""Campaign logs come in; whether treating helped, whom, and whom to treat next go out, each with its interval."""

from sojourn.effects.average import average_effects, doubly_robust_scores
from sojourn.effects.campaign import CampaignSpec, campaign_table, decision_features
from sojourn.effects.spec import EffectSpec, PolicySpec, RankingSpec, TreesSpec, UpliftSpec
from sojourn.effects.uplift import Uplift

__all__ = [
    "CampaignSpec",
    "EffectSpec",
    "PolicySpec",
    "RankingSpec",
    "TreesSpec",
    "Uplift",
    "UpliftSpec",
    "average_effects",
    "campaign_table",
    "decision_features",
    "doubly_robust_scores",
]
