"""Day partials of the event log come in; metrics of growth go out as tables, charts and checks, each defined once."""

from sojourn.metrics.catalogue import METRICS, MetricSpec, metrics_of
from sojourn.metrics.spec import BoardSpec, FunnelSpec, MetricsSpec, StepSpec, metrics_from

__all__ = [
    "METRICS",
    "BoardSpec",
    "FunnelSpec",
    "MetricSpec",
    "MetricsSpec",
    "StepSpec",
    "metrics_from",
    "metrics_of",
]
