"""Day partials of the event log come in; metrics of growth go out as tables, charts and checks, each defined once."""

from sojourn.metrics._counted import board_rollup, boards_of, default_board
from sojourn.metrics.board import BoardReport, advance_board, backfill_board, rebuild_board
from sojourn.metrics.catalogue import GRAINS, METRICS, MetricSpec, metrics_of
from sojourn.metrics.charts import metric_chart
from sojourn.metrics.check import check_board
from sojourn.metrics.pages import metric_page, told_rows, write_table
from sojourn.metrics.spec import BoardSpec, FunnelSpec, MetricsSpec, StepSpec, metrics_from
from sojourn.metrics.tables import day_after_last, metric_relation, metric_table, triangle

__all__ = [
    "GRAINS",
    "METRICS",
    "BoardReport",
    "BoardSpec",
    "FunnelSpec",
    "MetricSpec",
    "MetricsSpec",
    "StepSpec",
    "advance_board",
    "backfill_board",
    "board_rollup",
    "boards_of",
    "check_board",
    "day_after_last",
    "default_board",
    "metric_chart",
    "metric_page",
    "metric_relation",
    "metric_table",
    "metrics_from",
    "metrics_of",
    "rebuild_board",
    "told_rows",
    "triangle",
    "write_table",
]
