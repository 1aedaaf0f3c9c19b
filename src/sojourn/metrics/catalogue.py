"""Every metric by its name: title, unit, formula in words, and of which columns of the cohort table it is a sum."""

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Literal

from sojourn.core import BadInput, Spec
from sojourn.metrics.spec import BoardSpec

Grain = Literal["day", "week", "month"]
GRAINS: tuple[Grain, ...] = ("day", "week", "month")
Shape = Literal["total", "states", "cohort", "unbounded", "bracket", "funnel"]
BESIDE: dict[Shape, tuple[str, ...]] = {
    "total": (),
    "states": ("state",),
    "cohort": ("cohort", "age"),
    "unbounded": ("cohort", "age"),
    "bracket": ("cohort", "age", "bracket"),
    "funnel": ("step", "step_name"),
}


class MetricSpec(Spec):
    """One metric: what it is called, what it means, and how it is summed.

    `kind` says what adds up: a `sum` over dimensions and periods; a `count` of distinct entities over dimensions only;
    of a `ratio` its numerator and denominator do, over dimensions. `numerator` and `denominator` are columns of the
    cohort table; of shape `states` the metric has one row for each of `states`.
    """

    name: str
    title: str
    unit: Literal["users", "share", "times", "money", "money per user", "count", "count per user"]
    kind: Literal["sum", "count", "ratio"]
    formula: str
    shape: Shape = "total"
    numerator: str = ""
    denominator: str | None = None
    states: tuple[str, ...] = ()
    grains: tuple[Grain, ...] = GRAINS
    needs: Literal["money", "margin", "sessions", "exclusions"] | None = None

    @property
    def beside(self) -> tuple[str, ...]:
        """The columns of its table beside the dimensions and the figures."""
        return BESIDE[self.shape]


def _metrics() -> tuple[MetricSpec, ...]:
    of = MetricSpec
    return (
        of(name="active_users", title="Active users", unit="users", kind="count", numerator="active",
           formula="entities with at least one active row in the day, week or month"),
        of(name="active_7d", title="Active users, rolling 7 days", unit="users", kind="count", numerator="active_7d",
           grains=("day",), formula="entities active on at least one of the 7 days that end with this one"),
        of(name="active_28d", title="Active users, rolling 28 days", unit="users", kind="count",
           numerator="active_28d", grains=("day",),
           formula="entities active on at least one of the 28 days that end with this one"),
        of(name="new_users", title="New users", unit="users", kind="sum", numerator="new",
           formula="entities whose first active day lies in the period"),
        of(name="lifecycle", title="Lifecycle", unit="users", kind="count", shape="states",
           states=("new", "returning", "resurrected", "dormant"),
           formula="active users = new + returning + resurrected: first active in this period; active in the period "
           "before too; active earlier, but not in the period before. Active users of the period before = returning + "
           "dormant"),
        of(name="stickiness", title="Stickiness", unit="share", kind="ratio", numerator="active_days",
           denominator="active_28d_days",
           formula="active users of the day / active users of the 28 days that end with it; of a week or month: sums "
           "over its days"),
        of(name="retention", title="Retention", unit="share", kind="ratio", shape="cohort", numerator="active",
           denominator="size",
           formula="of the entities first active in period `cohort`, the share active in the period `age` later"),
        of(name="unbounded_retention", title="Unbounded retention", unit="share", kind="ratio", shape="unbounded",
           formula="of the entities of the cohort, the share active on or after their day `age`, as known by the last "
           "closed day; mature once all had unbounded_wait_days more to come back"),
        of(name="bracket_retention", title="Bracket retention", unit="share", kind="ratio", shape="bracket",
           grains=("day",),
           formula="of the entities first active on day `cohort`, the share active on at least one day of the bracket "
           "of ages"),
        of(name="sessions", title="Sessions", unit="count", kind="sum", numerator="sessions", needs="sessions",
           formula="runs of active rows of one entity without a gap longer than session_gap_minutes, by the day on "
           "which they begin"),
        of(name="sessions_per_user", title="Sessions per active user", unit="count per user", kind="ratio",
           numerator="sessions", denominator="active", needs="sessions", formula="sessions / active users"),
        of(name="events", title="Active rows", unit="count", kind="sum", numerator="events",
           formula="rows that count as activity"),
        of(name="revenue", title="Net revenue", unit="money", kind="sum", numerator="revenue", needs="money",
           formula="sum of amounts, refunds taken off on the day they happen"),
        of(name="gross_revenue", title="Gross revenue", unit="money", kind="sum", numerator="gross", needs="money",
           formula="sum of positive amounts"),
        of(name="refunds", title="Refunds", unit="money", kind="sum", numerator="refunds", needs="money",
           formula="sum of negative amounts, as a positive number"),
        of(name="margin", title="Margin", unit="money", kind="sum", numerator="margin", needs="margin",
           formula="sum of the margin of each row: its column, or the declared share of its amount"),
        of(name="purchases", title="Purchases", unit="count", kind="sum", numerator="purchases", needs="money",
           formula="rows with a positive amount"),
        of(name="paying_users", title="Paying users", unit="users", kind="count", numerator="paying", needs="money",
           formula="entities with at least one positive amount in the period"),
        of(name="paying_share", title="Paying share", unit="share", kind="ratio", numerator="paying_active",
           denominator="active", needs="money",
           formula="active entities with a positive amount in the period / active users"),
        of(name="arpu", title="Revenue per active user", unit="money per user", kind="ratio", numerator="revenue",
           denominator="active", needs="money", formula="net revenue / active users"),
        of(name="arppu", title="Revenue per paying user", unit="money per user", kind="ratio", numerator="revenue",
           denominator="paying", needs="money", formula="net revenue / paying users"),
        of(name="cohort_users", title="Active users by cohort", unit="users", kind="count", shape="cohort",
           numerator="active", denominator="size", formula="entities of the cohort active in the period `age` later"),
        of(name="cohort_revenue", title="Net revenue by cohort", unit="money", kind="sum", shape="cohort",
           numerator="revenue", denominator="size", needs="money",
           formula="net revenue of the cohort in the period `age` later; the denominator is its size"),
        of(name="cohort_margin", title="Margin by cohort", unit="money", kind="sum", shape="cohort",
           numerator="margin", denominator="size", needs="margin",
           formula="margin of the cohort in the period `age` later; the denominator is its size"),
        of(name="excluded_events", title="Rows left out", unit="count", kind="sum", shape="states",
           states=("excluded_rule", "excluded_test"), needs="exclusions",
           formula="rows left out by the rule `exclude`; active rows of entities marked as test accounts"),
    )  # fmt: skip


METRICS: dict[str, MetricSpec] = {each.name: each for each in _metrics()}


def funnel_metric(name: str) -> MetricSpec:
    """The metric of a declared funnel: `funnel_<name>`."""
    return MetricSpec(
        name=f"funnel_{name}",
        title=f"Funnel {name.replace('_', ' ')}",
        unit="share",
        kind="ratio",
        shape="funnel",
        formula="of the entities with a first row of step one in the period, the share that reached each step, in "
        "order, within the declared hours; mature once the last of them had that long",
    )


def metrics_of(board: BoardSpec) -> dict[str, MetricSpec]:
    """The metrics that a board publishes, by name, its funnels last.

    Raises `BadInput` for a name in `metrics` that is not in the catalogue, or that the board cannot serve.
    """
    funnels = {each.name: each for each in map(funnel_metric, board.funnels)}
    every = METRICS | funnels
    able = {name: each for name, each in every.items() if each.needs is None or each.needs in served(board)}
    if board.metrics is None:
        return able
    for name in board.metrics:
        metric_named(name, every, board=board)
        if name not in able:
            raise BadInput(_unable(board, every[name]))
    return {name: able[name] for name in (*board.metrics, *(name for name in funnels if name not in board.metrics))}


def served(board: BoardSpec) -> set[str]:
    """What the board's settings provide for metrics that need more than activity."""
    money = {"money"} if board.amount is not None else set()
    margin = {"margin"} if board.margin_sql is not None else set()
    sessions = {"sessions"} if board.session_gap_minutes is not None else set()
    exclusions = {"exclusions"} if board.exclude or board.test_accounts else set()
    return money | margin | sessions | exclusions


def metric_named(name: str, among: dict[str, MetricSpec], *, board: BoardSpec) -> MetricSpec:
    """The metric of this name. Raises `BadInput` with the nearest names when the board has none."""
    if name in among:
        return among[name]
    if name in METRICS:
        raise BadInput(_unable(board, METRICS[name]))
    near: Sequence[str] = get_close_matches(name, among, n=3, cutoff=0.4) or sorted(among)
    raise BadInput(
        f"Board {board.name!r} has no metric {name!r}. Did you mean {' or '.join(map(repr, near))}? "
        f"All of them: sojourn metrics list"
    )


def _unable(board: BoardSpec, metric: MetricSpec) -> str:
    mends = {
        "money": "amount = 'amount'",
        "margin": "margin_share = 0.3, or margin = 'SQL for the margin of one row'",
        "sessions": "session_gap_minutes = 30",
        "exclusions": "exclude = 'SQL condition', or test_accounts = 'is_test'",
    }
    where = f"in [metrics.boards.{board.name}]"
    if metric.needs in mends and metric.needs not in served(board):
        lacks = f"Metric {metric.name!r} needs {metric.needs}, which board {board.name!r} lacks"
        return f"{lacks}. Declare {where}: {mends[metric.needs]}"
    return f"Board {board.name!r} does not publish {metric.name!r}. Add it to metrics {where}, or leave metrics out."
