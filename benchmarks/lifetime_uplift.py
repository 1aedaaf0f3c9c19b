"""Effects and uplift beside the simulator's known truth, over many small worlds, at push strengths 0, 1 and 2.

Run it as `python -m benchmarks.lifetime_uplift`. The estimand: over the push decisions that the log holds (users of the
programme who had opted in, were installed and not yet seen that day), what one push that day does to the active days of
[day, day + 7) while the campaigns go on from the next day; the truth is the difference of two plans of the simulator,
"everybody that day" less "nobody that day", each then with the campaigns, averaged over futures from the hidden state
of each decision's morning. The model sees the log alone: nothing of the truth goes into it. It takes over half an hour
on two free cores; with `--keep worlds.jsonl`, killed and run again, it goes on from the worlds that were done.
"""

import json
import os
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.measure import arguments, show
from sojourn.effects import (
    CampaignSpec,
    RankingSpec,
    Uplift,
    UpliftSpec,
    average_effects,
    campaign_table,
    qini,
    uplift_deciles,
)
from sojourn.events import PushPlan, WorldSpec, simulate, truth_activity
from sojourn.warehouse import EngineSpec, Warehouse

STRENGTHS = (0.0, 1.0, 2.0)
HORIZON_DAYS = 7
WORLD = WorldSpec(users=4000, days=50, install_days=30, start=date(2025, 1, 1))
FIRST = WORLD.start + timedelta(days=12)
DRAWS = 24
# What a push might work differently on: who the user is, how lately and how often seen, how often pushed.
MODIFIERS = (
    "age_band",
    "os",
    "channel",
    "country",
    "push_campaign",
    "recency_days",
    "active_days_7d",
    "active_days_28d",
    "tenure_days",
    "pushes_sent_7d",
    "pushes_sent_28d",
)
WORLDS, QUICK_WORLDS, QUICK_USERS = 100, 2, 1500
KEYS = ["user_id", "as_of"]


def world(seed: int, *, strength: float, users: int = WORLD.users) -> tuple[pl.DataFrame, pl.DataFrame]:
    """A world's campaign log, and beside it the true effect on each of its decisions: `user_id, as_of, true_effect`."""
    spec = WORLD.with_changes(users=users, seed=seed, push_strength=strength)
    with tempfile.TemporaryDirectory() as folder:
        warehouse = Warehouse.create(Path(folder) / "app", engine=EngineSpec(threads=1))
        simulate(warehouse, spec)
        log = campaign_table(warehouse, spec=CampaignSpec(horizon_days=HORIZON_DAYS, first=FIRST))
    truth = pl.concat(list(_true_effects(spec, log)))
    return log, log.select(KEYS).join(truth, on=KEYS, how="left", validate="1:1")


def _true_effects(spec: WorldSpec, log: pl.DataFrame) -> Iterator[pl.DataFrame]:
    for (as_of,), rows in log.group_by("as_of", maintain_order=True):
        assert isinstance(as_of, date)
        plan = PushPlan(as_of=as_of, horizon_days=HORIZON_DAYS, otherwise="campaigns")
        days = [
            truth_activity(spec, each, draws=DRAWS, users=rows["user_id"].to_list())
            .group_by("user_id")
            .agg(pl.col("active_prob").sum())
            for each in (plan.with_changes(offsets=(0,)), plan.with_changes(quiet=(0,)))
        ]
        both = days[0].join(days[1], on="user_id", suffix="_without")
        yield both.select(
            "user_id",
            as_of=pl.lit(as_of),
            true_effect=pl.col("active_prob") - pl.col("active_prob_without"),
        )


def judged(seed: int, *, strength: float, users: int = WORLD.users) -> dict[str, Any]:
    """One world: what was estimated from its log, and whether the truth bears it out."""
    log, truth = world(seed, strength=strength, users=users)
    true = float(truth["true_effect"].mean())  # type: ignore[arg-type]
    inside = {
        row["method"]: row["low"] <= true <= row["high"]
        for row in average_effects(log, methods=["difference", "cuped", "doubly_robust"]).iter_rows(named=True)
    }
    model = Uplift(UpliftSpec(modifiers=MODIFIERS)).fit(log)
    held_out = model.held_out_.join(truth, on=KEYS, validate="1:1")
    # The same deciles twice, once with the scores that anyone has and once with the truth in their place.
    deciles = uplift_deciles(held_out.with_columns(score_treated="true_effect"))
    found = qini(held_out, spec=RankingSpec(replicates=200, random_scores=50)).figures["qini"]
    assert found.low is not None
    assert found.high is not None
    ends = {"top": deciles.row(0, named=True), "bottom": deciles.row(-1, named=True)}
    return {
        "strength": strength,
        "seed": seed,
        "decisions": log.height,
        "true_effect": true,
        "inside": inside,
        "learner": model.chosen_["treated"]["learner"],
        "all_constant": bool((held_out["chosen_treated"] == "constant").all()),
        "qini": found.value,
        "qini_holds_zero": found.low <= 0 <= found.high,
        "true_mean": {end: row["effect"] for end, row in ends.items()},
        "predicted_mean": {end: row["predicted_mean"] for end, row in ends.items()},
        "sign_right": {end: (row["predicted_mean"] > 0) == (row["effect"] > 0) for end, row in ends.items()},
    }


def summary(found: list[dict[str, Any]]) -> dict[str, Any]:
    """The worlds of one strength in one row; shares in percent of worlds."""
    strength = found[0]["strength"]

    def percent(name: str, key: str | None = None) -> float:
        hits = [bool(each[name] if key is None else each[name][key]) for each in found]
        return 100 * sum(hits) / len(hits)

    def mean(name: str, key: str) -> float:
        return float(sum(each[name][key] for each in found) / len(found))

    learned = [each for each in found if each["learner"] != "constant"]
    return {
        "strength": f"{strength:g}",
        "worlds": len(found),
        "decisions_mean": round(sum(each["decisions"] for each in found) / len(found)),
        "true_effect_days": round(sum(each["true_effect"] for each in found) / len(found), 4),
        "truth_inside_doubly_robust_pct": percent("inside", "doubly_robust"),
        "truth_inside_cuped_pct": percent("inside", "cuped"),
        "truth_inside_raw_difference_pct": percent("inside", "difference"),
        "top_sign_right_pct": percent("sign_right", "top") if strength else None,
        "bottom_sign_right_pct": percent("sign_right", "bottom") if strength else None,
        "top_true_days": round(mean("true_mean", "top"), 3),
        "bottom_true_days": round(mean("true_mean", "bottom"), 3),
        "final_model_constant_pct": 100 - 100 * len(learned) / len(found),
        "all_folds_constant_pct": percent("all_constant"),
        "qini_interval_holds_zero_pct": percent("qini_holds_zero"),
        "qini_days": round(sum(each["qini"] for each in found) / len(found), 4),
    }


def rows(*, quick: bool, keep: Path | None = None) -> list[dict[str, Any]]:
    """One row per push strength; two processes live and judge the worlds, but for those that `keep` has."""
    worlds, users = (QUICK_WORLDS, QUICK_USERS) if quick else (WORLDS, WORLD.users)
    lines = keep.read_text().splitlines() if keep is not None and keep.exists() else []
    done = {(each["strength"], each["seed"], each["users"]): each for each in map(json.loads, lines)}
    found = []
    with ProcessPoolExecutor(min(2, os.cpu_count() or 1)) as pool:
        for strength in STRENGTHS:
            left = [seed for seed in range(worlds) if (strength, seed, users) not in done]
            for each in pool.map(partial(judged, strength=strength, users=users), left):
                done[strength, each["seed"], users] = each
                if keep is not None:
                    with keep.open("a") as file:
                        file.write(json.dumps({**each, "users": users}) + "\n")
            found.append(summary([done[strength, seed, users] for seed in range(worlds)]))
    return found


def main() -> None:
    """Print the table; `--quick` lives two small worlds a strength, too few for shares to mean much."""
    options = arguments(__doc__ or "", keeps=True)
    show("Effects and uplift beside the known truth", rows(quick=options.quick, keep=options.keep), to=options.json)


if __name__ == "__main__":
    main()
