"""Predictions and truth come in; figures one can trust go out: splits, intervals, calibration, and report parts."""

from sojourn.evaluate.bootstrap import BootstrapSpec, Difference, Interval, Task, bootstrap_metrics, paired_bootstrap
from sojourn.evaluate.charts import (
    coverage_chart,
    decile_chart,
    ecdf_chart,
    gain_chart,
    histogram_chart,
    interval_chart,
    reliability_chart,
)
from sojourn.evaluate.conformal import Conformal, ConformalSpec, coverage_table
from sojourn.evaluate.curves import calibration_table, decile_table, gain_curve
from sojourn.evaluate.distributions import coverage_by_decile, crps, level_grid, pit_distance, randomised_pit
from sojourn.evaluate.formats import number_text, range_text
from sojourn.evaluate.metrics import METRICS, Kind, Metric, classification_metrics, metric_names, value_metrics
from sojourn.evaluate.parts import (
    Callout,
    Card,
    Cards,
    Chart,
    Column,
    Folded,
    Heading,
    Part,
    Prose,
    SideBySide,
    Table,
    interval_note,
    scores_part,
    settings_part,
)
from sojourn.evaluate.recalibration import Recalibration, RecalibrationSpec
from sojourn.evaluate.report import Report
from sojourn.evaluate.scores import Scores, read_metrics, score_models, write_metrics
from sojourn.evaluate.splits import Fold, Split, SplitSpec, as_of_grid, split_fingerprint, time_split

__all__ = [
    "METRICS",
    "BootstrapSpec",
    "Callout",
    "Card",
    "Cards",
    "Chart",
    "Column",
    "Conformal",
    "ConformalSpec",
    "Difference",
    "Fold",
    "Folded",
    "Heading",
    "Interval",
    "Kind",
    "Metric",
    "Part",
    "Prose",
    "Recalibration",
    "RecalibrationSpec",
    "Report",
    "Scores",
    "SideBySide",
    "Split",
    "SplitSpec",
    "Table",
    "Task",
    "as_of_grid",
    "bootstrap_metrics",
    "calibration_table",
    "classification_metrics",
    "coverage_by_decile",
    "coverage_chart",
    "coverage_table",
    "crps",
    "decile_chart",
    "decile_table",
    "ecdf_chart",
    "gain_chart",
    "gain_curve",
    "histogram_chart",
    "interval_chart",
    "interval_note",
    "level_grid",
    "metric_names",
    "number_text",
    "paired_bootstrap",
    "pit_distance",
    "randomised_pit",
    "range_text",
    "read_metrics",
    "reliability_chart",
    "score_models",
    "scores_part",
    "settings_part",
    "split_fingerprint",
    "time_split",
    "value_metrics",
    "write_metrics",
]
