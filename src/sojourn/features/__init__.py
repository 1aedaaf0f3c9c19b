"""Rollups and portraits come in; out come tables of what was known of each user on a day, and what came after."""

from sojourn.features.newcomers import newcomer_table
from sojourn.features.sequences import SequenceSpec, sequence_table
from sojourn.features.spec import FeatureSpec, LabelSpec, features_from
from sojourn.features.table import (
    export_features,
    export_training_set,
    feature_table,
    population,
    training_set,
    write_features,
)
from sojourn.features.verify import verify_features

__all__ = [
    "FeatureSpec",
    "LabelSpec",
    "SequenceSpec",
    "export_features",
    "export_training_set",
    "feature_table",
    "features_from",
    "newcomer_table",
    "population",
    "sequence_table",
    "training_set",
    "verify_features",
    "write_features",
]
