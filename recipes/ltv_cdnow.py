"""CDNOW: who of 2,357 customers buys in the 39 weeks to come, said in week 39 by models that never saw them.

    python recipes/ltv_cdnow.py [--data FOLDER] [--out ltv-cdnow] [--json PATH]

FOLDER holds `cdnow/` (default: the environment variable SOJOURN_DATA; docs/data.md says where from). Purchase processes
learn from when the customers of the published sample bought in weeks 1 to 39. Then all 23,570 customers are used: the
Pareto/NBD of all of them, three corrections of it, learned at week 19 from weeks 20 to 38, and the mean of the four.
One of these is picked by how it did twice inside weeks 1 to 39: in weeks 21 to 39, learned at week 10, and in weeks 27
to 39, learned at week 13. For the tables weeks 40 to 78 are looked at.
"""

import argparse
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from sojourn.evaluate import (
    BootstrapSpec,
    Chart,
    Column,
    Heading,
    Interval,
    Prose,
    Report,
    Table,
    Task,
    bootstrap_metrics,
)
from sojourn.events import ingest_cdnow
from sojourn.lifetime import GammaGamma, ProcessSpec, PurchaseProcess, alive_chart, rfm_table, tracking_chart
from sojourn.warehouse import Warehouse

FIRST, WEEKS = date(1997, 1, 1), 39
BOUGHT = "event = 'purchase'"
PROCESSES = {"bgnbd": "BG/NBD", "mbgnbd": "MBG/NBD", "pareto_nbd": "Pareto/NBD"}
WORDS = {
    "zero": "Always zero",
    "rate": "x / T · 39",
    **PROCESSES,
    "pareto_all": "Pareto/NBD of all customers",
    "log_linear": "... corrected, log-linear",
    "splines": "... corrected, splines",
    "trees": "... corrected, trees",
    "mean": "... mean of these four",
}
METRICS = ("mae", "rmse", "gini", "bias")
# The formulas divide by what was expected; nobody is expected to buy quite nothing.
LEAST = 1e-4
Floats = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Look:
    """The log as seen at the end of a week: histories, facts, the process's words, and what came in the weeks after."""

    table: pl.DataFrame
    came: Floats
    spent: Floats
    expected: Floats
    facts: Floats


def main() -> None:
    """Ingest, learn, choose, look once, draw."""
    options = arguments()
    warehouse = Warehouse.create(options.out / "warehouse")
    ingest_cdnow(warehouse, folder=options.data / "cdnow")
    sample = (options.data / "cdnow" / "sample_customer_ids.txt").read_text().split()
    inner = chosen_inside(warehouse)
    picked = min(inner, key=inner.__getitem__)
    final = look(warehouse, week=WEEKS, ahead=WEEKS)
    in_sample = final.table["user_id"].is_in(sample).to_numpy()
    said = {
        **of_sample(final, in_sample),
        **{name: words[in_sample] for name, words in corrected(look(warehouse, week=19, ahead=19), final).items()},
    }
    purchases = scores(final.table.filter(pl.Series(in_sample)), final.came[in_sample], said)
    everybody = corrected(look(warehouse, week=19, ahead=19), final)
    of_all = scores(final.table, final.came, everybody)
    dollars = in_dollars(final, in_sample)
    figures = {"picked": picked, "inside_rmse": inner, "sample": purchases, "all": of_all, "dollars": dollars}
    print(told("Purchases of the sample, weeks 40 to 78", purchases, picked))
    print(told("... of all 23,570 customers", of_all, picked))
    print(told("... in dollars", dollars, picked))
    draw(warehouse, final, in_sample, said, figures, out=options.out / "ltv-cdnow.html")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("SOJOURN_DATA", "data")))
    parser.add_argument("--out", type=Path, default=Path("ltv-cdnow"), help="a new or an empty folder")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if not (options.data / "cdnow").is_dir():
        parser.error(f"{options.data} has no folder cdnow. Say where it lies: --data FOLDER")
    if options.out.exists() and any(options.out.iterdir()):
        parser.error(f"{options.out} is not empty. Give a new folder: --out DIR")
    return options


def look(warehouse: Warehouse, *, week: int, ahead: int) -> Look:
    """All customers seen so far at the end of a week, and what they bought in the weeks after."""
    as_of, end = (FIRST + timedelta(days=7 * each) for each in (week, week + ahead))
    table = rfm_table(warehouse, as_of=as_of, where=BOUGHT)
    days = warehouse.engine.frame(
        f"SELECT user_id, day, CAST(sum(amount) AS DOUBLE) AS spend, CAST(sum(cds) AS DOUBLE) AS cds FROM "
        f"{warehouse.relation('events')} WHERE day < DATE '{end}' GROUP BY user_id, day ORDER BY user_id, day"
    )
    later = days.filter(pl.col("day") >= as_of).group_by("user_id").agg(came=pl.len(), spent=pl.col("spend").sum())
    gap = pl.col("day").diff().dt.total_days()
    seen = (
        days.filter(pl.col("day") < as_of)
        .group_by("user_id")
        .agg(
            first_spend=pl.col("spend").first(),
            last_spend=pl.col("spend").last(),
            most_spend=pl.col("spend").max(),
            mean_spend=pl.col("spend").mean(),
            mean_cds=pl.col("cds").mean(),
            gap_mean=gap.mean(),
            gap_std=gap.std(),
            lately=(pl.col("day") >= as_of - timedelta(days=int(3.5 * week))).mean(),
        )
    )
    both = table.join(later, on="user_id", how="left", maintain_order="left").join(
        seen, on="user_id", how="left", maintain_order="left"
    )
    process = PurchaseProcess(ProcessSpec(horizon_days=7 * ahead)).fit(table)
    words = process.predict(table)
    expected, alive = (words[name].to_numpy() for name in (f"purchases_{7 * ahead}", "alive_prob"))
    came, spent = (both[name].fill_null(0).cast(pl.Float64).to_numpy() for name in ("came", "spent"))
    return Look(table, came, spent, expected, facts(both, expected, alive))


def facts(table: pl.DataFrame, expected: Floats, alive: Floats) -> Floats:
    """What corrections read: free of scale, so that week 19 and week 39 are alike."""
    age = pl.col("age_days").clip(1)
    found = table.select(
        (pl.col("frequency") + 1).log(),
        pl.col("recency_days") / age,
        (age - pl.col("recency_days")) / age,
        *((pl.col(name) + 1).log() for name in ("first_spend", "last_spend", "most_spend", "mean_spend", "mean_cds")),
        *((pl.col(name) / age).fill_null(0.0) for name in ("gap_mean", "gap_std")),
        *(pl.col(name).is_null().cast(pl.Float64).alias(f"no_{name}") for name in ("gap_mean", "gap_std")),
        "lately",
    ).to_numpy()
    return np.column_stack([np.log(expected + LEAST), alive, found])


def corrected(past: Look, now: Look) -> dict[str, Floats]:
    """The Pareto/NBD of all customers, its corrections learned at an earlier week, each to the same total, their mean."""
    words = {"pareto_all": now.expected} | {
        name: level(correct(past, now), now.expected) for name, correct in CORRECTIONS.items()
    }
    return words | {"mean": np.mean(list(words.values()), axis=0)}


def level(words: Floats, total_of: Floats) -> Floats:
    """The same order and proportions, with the process's total: how much is bought at all moves with the season."""
    return words * total_of.sum() / words.sum()


def log_linear(past: Look, now: Look) -> Floats:
    """A Poisson regression on the facts, with the process as offset."""
    return _regression(past, now, splines=False)


def splines(past: Look, now: Look) -> Floats:
    """The same on cubic splines of the facts."""
    return _regression(past, now, splines=True)


def _regression(past: Look, now: Look, *, splines: bool) -> Floats:
    from sklearn.linear_model import PoissonRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import SplineTransformer, StandardScaler

    curves = [SplineTransformer(n_knots=4, degree=3, extrapolation="constant")] if splines else []
    model = make_pipeline(StandardScaler(), *curves, PoissonRegressor(alpha=1e-3, max_iter=1_000))
    weight = past.expected + LEAST
    model.fit(past.facts, past.came / weight, poissonregressor__sample_weight=weight)
    return np.asarray(model.predict(now.facts) * (now.expected + LEAST))


def trees(past: Look, now: Look) -> Floats:
    """Small LightGBM trees with a Poisson loss, which start from the process; the mean of four seeds."""
    import lightgbm

    settings = {"objective": "poisson", "learning_rate": 0.05, "num_leaves": 8, "min_data_in_leaf": 100}
    settings |= {"feature_fraction": 0.5, "bagging_fraction": 0.7, "bagging_freq": 1, "lambda_l2": 5.0}
    settings |= {"verbose": -1, "num_threads": 1, "deterministic": True}
    raw = []
    for seed in range(4):
        data = lightgbm.Dataset(past.facts, past.came, init_score=np.log(past.expected + LEAST))
        raw.append(lightgbm.train({**settings, "seed": seed}, data, 60).predict(now.facts, raw_score=True))
    return np.asarray(np.exp(raw).mean(axis=0) * (now.expected + LEAST))


CORRECTIONS: Mapping[str, Callable[[Look, Look], Floats]] = {
    "log_linear": log_linear,
    "splines": splines,
    "trees": trees,
}


def chosen_inside(warehouse: Warehouse) -> dict[str, float]:
    """The error of each inside weeks 1 to 39, the geometric mean of two looks: what the choice is made by."""
    logs = []
    for learned, week, ahead in ((10, 20, 19), (13, 26, 13)):
        past, now = look(warehouse, week=learned, ahead=week - learned), look(warehouse, week=week, ahead=ahead)
        said = corrected(past, now)
        logs.append({name: 0.5 * np.log(np.mean((words - now.came) ** 2)) for name, words in said.items()})
    return {name: float(np.exp(np.mean([each[name] for each in logs]))) for name in logs[0]}


def of_sample(final: Look, in_sample: Floats) -> dict[str, Floats]:
    """What the models say that learn from the published sample alone."""
    table = final.table.filter(pl.Series(in_sample))
    days = 7 * WEEKS
    said = {
        "zero": np.zeros(table.height),
        "rate": (table["frequency"] / table["age_days"] * days).to_numpy(),
    }
    for name in PROCESSES:
        model = PurchaseProcess(ProcessSpec(model=name, horizon_days=days)).fit(table)  # type: ignore[arg-type]
        said[name] = model.predict(table)[model.spec.name].to_numpy()
    return said


def in_dollars(final: Look, in_sample: Floats) -> dict[str, Any]:
    """What the customers of the sample spend: processes times the value of a purchase."""
    table = final.table.filter(pl.Series(in_sample))
    each = GammaGamma().fit(table.filter(pl.col("frequency") > 0)).predict(table)["purchase_value"].to_numpy()
    said = {name: words * each for name, words in of_sample(final, in_sample).items() if name in PROCESSES}
    return scores(table, final.spent[in_sample], said)


def scores(table: pl.DataFrame, came: Floats, said: Mapping[str, Floats]) -> dict[str, Any]:
    """Each model's figures with 95 % intervals over customers, and the correlation r."""
    frame = table.select("user_id").with_columns(truth=came, **{name: pl.Series(words) for name, words in said.items()})
    task = Task(name="purchases", kind="value", truth="truth", models=tuple(said))
    found = bootstrap_metrics(frame, task=task, bootstrap=BootstrapSpec(replicates=300))
    return {
        name: {
            **{metric: figure.model_dump() for metric, figure in figures.items() if metric in METRICS},
            "r": float(np.corrcoef(said[name], came)[0, 1]) if np.ptp(said[name]) > 0 else None,
        }
        for name, figures in found.items()
    }


def told(title: str, found: Mapping[str, Any], picked: str) -> str:
    """A table as text; the picked model is starred."""
    lines = [f"{title}\n{'model':<32}{'MAE':>8}{'RMSE':>8}{'r':>7}{'Gini':>7}{'bias':>8}"]
    for name, figures in found.items():
        value = {metric: figures[metric]["value"] for metric in METRICS}
        r, gini = (f"{each:.3f}" if each is not None else "-" for each in (figures["r"], value["gini"]))
        star = "* " if name == picked else "  "
        errors = f"{value['mae']:>8.4g}{value['rmse']:>8.4g}{r:>7}{gini:>7}{value['bias']:>+8.1%}"
        lines.append(f"{star}{WORDS[name]:<30}{errors}")
    return "\n".join(lines) + "\n"


def draw(
    warehouse: Warehouse,
    final: Look,
    in_sample: Floats,
    said: Mapping[str, Floats],
    figures: Mapping[str, Any],
    *,
    out: Path,
) -> None:
    """Everything on one page."""
    table = final.table.filter(pl.Series(in_sample))
    model = PurchaseProcess(ProcessSpec(horizon_days=7 * WEEKS)).fit(table)
    weeks = tracking(warehouse, table, model)
    columns = [
        Column("model", "Model"),
        *(Column(name, name.upper() if name != "gini" else "Gini") for name in METRICS),
    ]
    columns[-1] = Column("bias", "Total bias", style="change")
    parts = (
        Prose(
            "2,357 customers made their first purchase in the first quarter of 1997. In week 39 each model says how "
            "often each of them will buy in the 39 weeks to come; then those weeks are looked at, once."
        ),
        Table(_shown(figures["sample"]), columns, mark=WORDS[figures["picked"]], mark_label="picked inside weeks 1-39"),
        Heading("The same customers, as a process"),
        Chart(
            tracking_chart(weeks, models={"expected": "Pareto/NBD"}, known_until=WEEKS),
            title="Purchases add up as the process says",
            caption="Purchases after the first of all customers of the sample, cumulated; the model knows 39 weeks.",
        ),
        Chart(
            by_frequency(
                table, final.came[in_sample], {name: said[name] for name in ("pareto_nbd", figures["picked"])}
            ),
            title="Who bought often goes on, but less than before",
            caption="Mean purchases in weeks 40 to 78 by purchases in weeks 1 to 39; whiskers: 95 % of the mean.",
        ),
        Chart(
            alive_chart(model, age_days=7 * WEEKS, most=15),
            title="Many purchases, then silence: rather gone than slow",
            caption="The probability that a customer seen for 39 weeks still buys, by Pareto/NBD.",
        ),
        Heading("All 23,570 customers"),
        Table(_shown(figures["all"]), columns, mark=WORDS[figures["picked"]], mark_label="picked inside weeks 1-39"),
        Heading("In dollars", "The sample: purchases times the value of a purchase (gamma-gamma)."),
        Table(_shown(figures["dollars"]), columns),
    )
    Report("CDNOW: 39 weeks ahead", subtitle="Purchase processes, and what corrects them", parts=parts).write(out)


def _shown(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {"model": WORDS[name], **{metric: Interval(**figures[metric]) for metric in METRICS}}
        for name, figures in found.items()
    ]


def tracking(warehouse: Warehouse, table: pl.DataFrame, model: PurchaseProcess) -> pl.DataFrame:
    """Cumulative purchases after the first by week, as they came and as the process says from the start."""
    users = table.select("user_id", began=pl.lit(FIRST + timedelta(days=7 * WEEKS - 1)) - pl.duration(days="age_days"))
    with warehouse.engine.table(users.select("user_id")) as name:
        days = warehouse.engine.frame(
            f"SELECT DISTINCT user_id, day FROM {warehouse.relation('events')} JOIN {name} USING (user_id)"
        )
    later = days.join(users, on="user_id").filter(pl.col("day") > pl.col("began"))
    newborn = pl.DataFrame({"user_id": ["new"], "frequency": [0], "recency_days": [0], "age_days": [0]})
    ahead = [0.0] + [model.expect(newborn, horizon_days=days).to_series(1)[0] for days in range(1, 14 * WEEKS + 1)]
    rows = []
    for week in range(1, 2 * WEEKS + 1):
        end = FIRST + timedelta(days=7 * week)
        age = users.select((pl.lit(end) - pl.col("began")).dt.total_days().clip(0)).to_series()
        expected = float(np.array(ahead)[age].sum())
        rows.append({"week": week, "actual": later.filter(pl.col("day") < end).height, "expected": expected})
    return pl.DataFrame(rows)


def by_frequency(table: pl.DataFrame, came: Floats, said: Mapping[str, Floats]) -> Any:
    """Mean purchases to come by purchases so far, 7 and more together."""
    import plotly.graph_objects as go

    from sojourn.evaluate.theme import COLORS, color_of, plotly_template

    x = np.minimum(table["frequency"].to_numpy(), 7)
    labels = [*map(str, range(7)), "7+"]
    means = [came[x == each].mean() for each in range(8)]
    errors = [1.96 * came[x == each].std() / np.sqrt((x == each).sum()) for each in range(8)]
    figure = go.Figure(layout={"template": plotly_template()})
    figure.add_bar(x=labels, y=means, name="Actual", marker_color=COLORS["bar"], error_y={"array": errors})
    for at, (name, words) in enumerate(said.items()):
        figure.add_scatter(
            x=labels,
            y=[words[x == each].mean() for each in range(8)],
            name=WORDS[name].removeprefix("... ").capitalize() if WORDS[name].startswith("...") else WORDS[name],
            mode="markers",
            marker={"size": 10, "symbol": ("diamond", "circle")[at], "color": color_of(at + 1)},
        )
    figure.update_xaxes(title_text="Purchases after the first, weeks 1 to 39", type="category", showgrid=False)
    return figure.update_yaxes(title_text="Mean purchases, weeks 40 to 78", rangemode="tozero")


if __name__ == "__main__":
    main()
