"""Day partials of the event log come in; metrics of growth go out as tables, charts and checks, each defined once."""

from sojourn.metrics._counted import board_rollup, boards_of, default_board
from sojourn.metrics._definition import built_otherwise
from sojourn.metrics.acquired_value import write_acquired_value
from sojourn.metrics.acquisition import ACQUISITION_METRICS, AcquisitionReport, write_acquisition
from sojourn.metrics.acquisition_check import check_acquisition
from sojourn.metrics.acquisition_spec import AcquisitionSpec, AttributionSpec, TouchRule, acquisition_from
from sojourn.metrics.attribution import AcquiredReport, write_acquired
from sojourn.metrics.board import BoardReport, advance_board, backfill_board, rebuild_board
from sojourn.metrics.catalogue import GRAINS, METRICS, MetricSpec, metrics_of
from sojourn.metrics.charts import metric_chart
from sojourn.metrics.check import check_board
from sojourn.metrics.costs import daily_costs
from sojourn.metrics.growth_charts import (
    cohort_chart,
    payback_chart,
    payback_lines,
    place_hour_chart,
    retention_chart,
    why_chart,
)
from sojourn.metrics.growth_pages import acquisition_page, channel_summary, why_page
from sojourn.metrics.growth_tables import growth_table
from sojourn.metrics.pages import metric_page, told_board, told_rows, write_table
from sojourn.metrics.payback import payback_table
from sojourn.metrics.rates import put_rates, read_rates
from sojourn.metrics.spec import BoardSpec, FunnelSpec, MetricsSpec, StepSpec, metrics_from
from sojourn.metrics.supply_demand import (
    MARKET_METRICS,
    SupplyDemandReport,
    SupplyDemandSpec,
    supply_demand_from,
    write_supply_demand,
)
from sojourn.metrics.tables import day_after_last, metric_relation, metric_table, triangle
from sojourn.metrics.why import Part, Why, WhySpec, ratio_parts, sum_parts, why_moved, write_why

__all__ = [
    "ACQUISITION_METRICS",
    "GRAINS",
    "MARKET_METRICS",
    "METRICS",
    "AcquiredReport",
    "AcquisitionReport",
    "AcquisitionSpec",
    "AttributionSpec",
    "BoardReport",
    "BoardSpec",
    "FunnelSpec",
    "MetricSpec",
    "MetricsSpec",
    "Part",
    "StepSpec",
    "SupplyDemandReport",
    "SupplyDemandSpec",
    "TouchRule",
    "Why",
    "WhySpec",
    "acquisition_from",
    "acquisition_page",
    "advance_board",
    "backfill_board",
    "board_rollup",
    "boards_of",
    "built_otherwise",
    "channel_summary",
    "check_acquisition",
    "check_board",
    "cohort_chart",
    "daily_costs",
    "day_after_last",
    "default_board",
    "growth_table",
    "metric_chart",
    "metric_page",
    "metric_relation",
    "metric_table",
    "metrics_from",
    "metrics_of",
    "payback_chart",
    "payback_lines",
    "payback_table",
    "place_hour_chart",
    "put_rates",
    "ratio_parts",
    "read_rates",
    "rebuild_board",
    "retention_chart",
    "sum_parts",
    "supply_demand_from",
    "told_board",
    "told_rows",
    "triangle",
    "why_chart",
    "why_moved",
    "why_page",
    "write_acquired",
    "write_acquired_value",
    "write_acquisition",
    "write_supply_demand",
    "write_table",
    "write_why",
]
