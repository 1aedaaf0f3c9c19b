"""Predictions and truth come in; figures one can trust go out: splits, intervals, calibration, and report parts."""

from sojourn.evaluate.bootstrap import BootstrapSpec, Difference, Interval, Task, bootstrap_metrics, paired_bootstrap
from sojourn.evaluate.conformal import Conformal, ConformalSpec, coverage_table
from sojourn.evaluate.curves import calibration_table, decile_table, gain_curve
from sojourn.evaluate.metrics import METRICS, Kind, Metric, classification_metrics, metric_names, value_metrics
from sojourn.evaluate.recalibration import Recalibration, RecalibrationSpec
from sojourn.evaluate.scores import Scores, read_metrics, score_models, write_metrics
from sojourn.evaluate.splits import Fold, Split, SplitSpec, as_of_grid, split_fingerprint, time_split

__all__ = [
    "METRICS",
    "BootstrapSpec",
    "Conformal",
    "ConformalSpec",
    "Difference",
    "Fold",
    "Interval",
    "Kind",
    "Metric",
    "Recalibration",
    "RecalibrationSpec",
    "Scores",
    "Split",
    "SplitSpec",
    "Task",
    "as_of_grid",
    "bootstrap_metrics",
    "calibration_table",
    "classification_metrics",
    "coverage_table",
    "decile_table",
    "gain_curve",
    "metric_names",
    "paired_bootstrap",
    "read_metrics",
    "score_models",
    "split_fingerprint",
    "time_split",
    "value_metrics",
    "write_metrics",
]
