"""What the demo prints when it is done: a short table, two sentences, and where to look."""

from io import StringIO
from typing import TYPE_CHECKING

from sojourn.evaluate import Interval
from sojourn.lifetime import Comparison, model_label

if TYPE_CHECKING:
    from sojourn.operate.demo import Demo

WIDTH = 118
SHOWN = {"value": ("mae", "gini", "bias"), "probability": ("brier", "auc", "bias")}
HEADS = {"mae": "MAE", "gini": "Gini", "brier": "Brier", "auc": "AUC", "bias": "total bias"}
TITLES = {"ltv": "Spend in the next {} days", "churn": "No purchase in the next {} days"}


def closing_text(demo: "Demo") -> str:
    """The text, `WIDTH` columns wide, without colour."""
    from rich.console import Console

    console = Console(file=StringIO(), width=WIDTH, no_color=True, highlight=False)
    for comparison in demo.study.comparisons:
        console.print(_table(comparison))
    for line in _where(demo):
        console.print(line, soft_wrap=True, markup=False)
    written = console.file
    assert isinstance(written, StringIO)
    return written.getvalue().rstrip()


def _table(comparison: Comparison) -> object:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    spec, scores = comparison.spec, comparison.scores
    metrics = SHOWN[scores.kind]
    title = TITLES[spec.name.split("_")[0]].format(spec.horizon_days)
    table = Table(
        title=f"{title}: {scores.rows:,} users on {comparison.final.fold.test}, which no choice had seen",
        title_justify="left",
        title_style="bold",
        box=SIMPLE_HEAD,
    )
    table.add_column("model", no_wrap=True)
    for metric in metrics:
        table.add_column(HEADS[metric], justify="right", no_wrap=True)
    for name, figures in scores.models.items():
        label = ("* " if name == comparison.chosen else "  ") + model_label(name, spec=spec)
        table.add_row(label, *(_figure(metric, figures[metric]) for metric in metrics))
    return table


def _figure(metric: str, figure: Interval) -> str:
    if figure.value is None:
        return "not defined"
    shape = "{:+.1%}" if metric == "bias" else "{:.1f}" if metric == "mae" else "{:.3f}"
    if figure.low is None or figure.high is None:
        return shape.format(figure.value)
    return f"{shape.format(figure.value)} [{shape.format(figure.low)}, {shape.format(figure.high)}]"


def _where(demo: "Demo") -> list[str]:
    outlook = demo.study.predicted.outlook
    users = outlook.profiles
    days = users["horizon_days"][0]
    expected = users["expected_spend"].sum()
    will_spend = f"are expected to spend ${expected:,.0f} in the {days} days from {users['as_of'][0]}"
    return [
        "* picked on earlier folds alone. Brackets: 95 % bootstrap interval over users.",
        f"{users.height:,} households {will_spend}.",
        f"{outlook.at_risk.height} of the high spenders are slipping away.",
        "",
        f"Open    {demo.out / 'report.html'}",
        f"Act on  {demo.out / 'likely_high_spenders.csv'}, {demo.out / 'high_spenders_at_risk.csv'}",
        f"Reuse   {demo.out / 'predictions.parquet'}, {demo.out / 'models'}, {demo.out / 'warehouse'}",
        f"Check   {demo.out / 'metrics.json'}",
        "Your own data next: sojourn ingest --help",
    ]
