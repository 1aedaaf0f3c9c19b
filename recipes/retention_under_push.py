"""Who comes back, and whom a push would keep: a simulated app, the truth drawn beside the estimate.

    python recipes/retention_under_push.py [--users 5000] [--strength 1.0] [--out retention-under-push] [--json PATH]

Four weeks of every user are forecast from the log, and the effect of pushes is learned from those that chance decided.
A plan then pushes on three days, for those whom a budget reaches. What each user would truly do, pushed and not, comes
from the simulator, which no model here has read. Figures go to stdout, the drawing to OUT/retention-under-push.html.
"""

import argparse
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl

from sojourn.core import progress
from sojourn.evaluate import Callout, Chart, Heading, Prose, Report, SideBySide
from sojourn.events import PushPlan, WorldSpec, best_activity, simulate, truth_activity
from sojourn.lifetime import (
    FittedRetention,
    NudgePlan,
    RetentionSpec,
    activity_table,
    fit_retention,
    judge,
    mean_gain,
    planned_days,
    retention_model,
)
from sojourn.warehouse import Warehouse

DAYS, AHEAD, OFFSETS = 150, 28, (0, 7, 14)
SPEC = RetentionSpec(active="event = 'launch'", model="daily_trees")
SHARE_PUSHED = 0.3


def main() -> None:
    """Simulate, fit as of four weeks before the end, forecast, plan, and compare with the truth."""
    options = arguments()
    world = WorldSpec(users=options.users, days=DAYS, seed=7, push_strength=options.strength, install_days=120)
    warehouse = Warehouse.create(options.out / "warehouse")
    print(simulate(warehouse, world).summary())
    as_of = world.last_day + timedelta(days=1 - AHEAD)
    with progress("fit", total=1) as done:
        fitted = fit_retention(warehouse, spec=SPEC, out=options.out / "model", end=as_of)
        done(1)
    users = activity_table(warehouse, [as_of], spec=SPEC)
    forecasts = forecast(fitted, users, world)
    gains, figures = pushed(fitted, users, world)
    figures |= {name: round(values["brier"], 5) for name, values in forecasts.values.items()}
    print(told(figures))
    draw(forecasts.curve, gains, figures, fitted, out=options.out / "retention-under-push.html")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=5_000)
    parser.add_argument("--strength", type=float, default=1.0, help="how strongly pushes act; 0: not at all")
    parser.add_argument("--out", type=Path, default=Path("retention-under-push"), help="a new or an empty folder")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.out.exists() and any(options.out.iterdir()):
        parser.error(f"{options.out} is not empty. Give a new folder: --out DIR")
    return options


def forecast(fitted: FittedRetention, users: pl.DataFrame, world: WorldSpec) -> Any:
    """The model beside a share of recent days, the best that can be known, and the true chance: Brier and curves."""
    plan = PushPlan(as_of=users["as_of"][0], horizon_days=AHEAD, otherwise="campaigns")
    recent = retention_model("recent_raw", spec=SPEC.task()).fit(users).predict(users)
    said = users.select("user_id", truth="active_ahead").with_columns(
        model=fitted.model.predict(users)["active_prob"], recent=recent["active_prob"]
    )
    for name, days in (
        ("best", best_activity(world, plan, particles=256)),
        ("hidden", truth_activity(world, plan, draws=32)),
    ):
        lists = (
            days.sort("user_id", "day").group_by("user_id", maintain_order=True).agg(pl.col("active_prob").alias(name))
        )
        said = said.join(lists, on="user_id", how="left", maintain_order="left")
    return judge(said, models=["model", "recent", "best", "hidden"])


def pushed(fitted: FittedRetention, users: pl.DataFrame, world: WorldSpec) -> tuple[pl.DataFrame, dict[str, Any]]:
    """The plan's gains, predicted and true, for all whom it may push, and what they come to."""
    if fitted.effect is None:
        raise SystemExit("chance decided too few pushes to learn from; give more --users")
    said = fitted.model.predict(users)
    plan = NudgePlan(offsets=OFFSETS, otherwise="nobody", cost_per_push=1.0)
    everyone = planned_days(users, forecast=said, effect=fitted.effect, plan=plan)
    budget = SHARE_PUSHED * float(everyone["cost"].sum())
    found = planned_days(users, forecast=said, effect=fitted.effect, plan=plan.with_changes(budget=budget))
    gains = found.join(true_gains(world, users), on="user_id").filter(pl.col("pushes") > 0)
    mean = mean_gain(users, forecast=said, effect=fitted.effect, plan=plan)
    chosen = gains.filter("push")
    return gains, {
        "users": users.height,
        "decisions": fitted.effect.decisions_,
        "may_be_pushed": gains.height,
        "pushed": chosen.height,
        "mean_gain_days": mean.value,
        "mean_gain_low": mean.low,
        "mean_gain_high": mean.high,
        "mean_true_gain_days": gains["true_gain_days"].mean(),
        "true_gain_of_pushed": chosen["true_gain_days"].mean() if chosen.height else 0.0,
        "top_decile_true": tenth(gains, best=True),
        "bottom_decile_true": tenth(gains, best=False),
    }


def true_gains(world: WorldSpec, users: pl.DataFrame) -> pl.DataFrame:
    """What the plan's pushes would truly do to each user: `user_id, true_gain_days`."""
    nobody = PushPlan(as_of=users["as_of"][0], horizon_days=AHEAD)
    without, pushed_too = (
        truth_activity(world, plan, draws=64) for plan in (nobody, nobody.with_changes(offsets=OFFSETS))
    )
    both = without.with_columns(gain=pushed_too["active_prob"] - without["active_prob"])
    return both.group_by("user_id").agg(true_gain_days=pl.col("gain").sum())


def tenth(gains: pl.DataFrame, *, best: bool) -> float:
    """The mean true gain of the tenth of users with the best (or worst) predicted gain."""
    part = gains.sort("gain_days", "user_id", descending=[best, False]).head(max(1, gains.height // 10))
    return float(part.select(pl.col("true_gain_days").mean()).item())


def told(figures: dict[str, Any]) -> str:
    """The headline in a few lines."""
    mean, low, high = (f"{figures[f'mean_gain_{part}']:+.3f}" for part in ("days", "low", "high"))
    return (
        f"Brier, {AHEAD} days ahead: model {figures['model']:.4f}, share of recent days {figures['recent']:.4f}, "
        f"best that can be known {figures['best']:.4f}, hidden truth {figures['hidden']:.4f}\n"
        f"pushes on days {', '.join(map(str, OFFSETS))}: {mean} active days a user expected [{low}, {high}], "
        f"truly {figures['mean_true_gain_days']:+.3f}\n"
        f"the tenth with the best predicted gain truly gains {figures['top_decile_true']:+.3f} days, the worst "
        f"{figures['bottom_decile_true']:+.3f}; those a budget of {SHARE_PUSHED:.0%} reaches "
        f"{figures['true_gain_of_pushed']:+.3f}"
    )


def draw(
    curve: pl.DataFrame, gains: pl.DataFrame, figures: dict[str, Any], fitted: FittedRetention, *, out: Path
) -> None:
    """The page: retention, the effect of one push, and gains by decile, each beside its truth."""
    parts = (
        Callout(told(figures).splitlines()[-1].capitalize() + ".", "note"),
        Heading("Who comes back", "Forecast on the day, before anything of what follows was known."),
        Chart(
            retention_figure(curve),
            title="The forecast beside what came, and beside the truth",
            how_to_read="The band is the 95 % interval of what came, over users. The truth is the mean hidden chance.",
        ),
        Heading("Whom a push would keep"),
        SideBySide(
            (
                Chart(
                    decile_figure(gains),
                    title="Gained days by decile of the predicted gain",
                    how_to_read="Bars are the truth, which no model has read; diamonds what was predicted.",
                ),
                Chart(
                    effect_figure(fitted),
                    title="One push, and the days after it",
                    how_to_read="Change of the log-odds of activity for the mean user; the band is its 95 % interval.",
                ),
            )
        ),
        Prose(
            "Pushes in the log go to users who have been away, so that comparing pushed with not pushed is biased. The "
            "estimate uses only what chance decided, with the probability that was recorded."
        ),
    )
    Report("Retention under pushes", subtitle=told(figures).splitlines()[1].capitalize(), parts=parts).write(out)


def retention_figure(curve: pl.DataFrame) -> Any:
    """Observed with band, model, truth."""
    import plotly.graph_objects as go

    figure, days = go.Figure(), curve["day_ahead"].to_list()
    edge = {"x": days, "mode": "lines", "line": {"width": 0}, "hoverinfo": "skip"}
    figure.add_scatter(**edge, y=curve["high"].to_list(), showlegend=False)
    fill = {"fill": "tonexty", "fillcolor": "rgba(90,101,114,0.16)", "name": "95 % band"}
    figure.add_scatter(**edge, y=curve["low"].to_list(), **fill)
    for name, label, color, dash in (
        ("observed", "What came", "#17202b", "solid"),
        ("model", "Forecast", "#0f5f7d", "solid"),
        ("hidden", "Truth", "#e08a2c", "dot"),
    ):
        line = {"color": color, "width": 2.5, "dash": dash}
        figure.add_scatter(x=days, y=curve[name].to_list(), mode="lines", name=label, line=line)
    figure.update_yaxes(title_text="Share of users active", tickformat=".1%", rangemode="tozero")
    return figure.update_xaxes(title_text="Days ahead")


def decile_figure(gains: pl.DataFrame) -> Any:
    """Predicted and true mean gain by decile of the predicted gain, 1 the best."""
    import plotly.graph_objects as go

    ranked = gains.sort("gain_days", "user_id", descending=[True, False]).with_row_index("rank")
    tenths = (
        ranked.with_columns(decile=pl.col("rank") * 10 // gains.height + 1)
        .group_by("decile")
        .agg(pl.col("gain_days", "true_gain_days").mean())
        .sort("decile")
    )
    figure, x = go.Figure(), tenths["decile"].cast(pl.String).to_list()
    figure.add_bar(x=x, y=tenths["true_gain_days"].to_list(), name="True", marker_color="#5b93a9")
    marker = {"symbol": "diamond", "size": 10, "color": "#e08a2c"}
    figure.add_scatter(x=x, y=tenths["gain_days"].to_list(), name="Predicted", mode="markers", marker=marker)
    figure.update_yaxes(title_text="Active days gained, a user")
    return figure.update_xaxes(title_text="Decile by predicted gain (1 = best)", type="category", showgrid=False)


def effect_figure(fitted: FittedRetention) -> Any:
    """The effect of one push by days since, with its band."""
    import plotly.graph_objects as go

    assert fitted.effect is not None
    curve = fitted.effect.curve()
    figure, days = go.Figure(), curve["day_since"].to_list()
    edge = {"x": days, "mode": "lines", "line": {"width": 0}, "hoverinfo": "skip"}
    figure.add_scatter(**edge, y=curve["high"].to_list(), showlegend=False)
    figure.add_scatter(
        **edge, y=curve["low"].to_list(), fill="tonexty", fillcolor="rgba(224,138,44,0.18)", name="95 % band"
    )
    line = {"color": "#e08a2c", "width": 2.5}
    figure.add_scatter(x=days, y=curve["effect"].to_list(), mode="lines", name="Mean user", line=line)
    figure.update_yaxes(title_text="Log-odds of activity")
    return figure.update_xaxes(title_text="Days since the push")


if __name__ == "__main__":
    main()
