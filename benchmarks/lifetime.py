"""All figures of lifetime and of effects: each part's table, one after another.

Run it as `python -m benchmarks.lifetime`. The parts are programs of their own and may be run alone: how fast purchase
processes learn (`lifetime_process`), value models beside their baselines (`ltv`), refunds forecast apart
(`lifetime_refunds`), users' distributions (`lifetime_distributions`), sums over cohorts (`lifetime_cohorts`), the
network (`lifetime_network`), daily activity (`lifetime_retention`), CDNOW, the mobile game and Hillstrom's experiment
(`lifetime_recipes`), effects beside the known truth (`lifetime_uplift`).
With `--json` all tables go into one file.
"""

from benchmarks.measure import run_parts

PARTS = (
    "lifetime_process",
    "ltv",
    "lifetime_refunds",
    "lifetime_distributions",
    "lifetime_cohorts",
    "lifetime_network",
    "lifetime_retention",
    "lifetime_recipes",
    "lifetime_uplift",
)

if __name__ == "__main__":
    run_parts(PARTS, what=__doc__ or "")
