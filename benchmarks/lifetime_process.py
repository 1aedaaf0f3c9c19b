"""How long purchase processes take to learn, and in how much memory: beside the archived library `lifetimes`.

Run it as `python -m benchmarks.lifetime_process`. Customers are simulated with known parameters, seen on whole days for
up to a year. Each fit runs in a process of its own; the other library in an environment made for it, with the versions
of numpy, pandas and scipy that it still runs with, on as many customers as take it a minute or two. Both are given the
same histories. Target: a million customers in 60 s and 2 GB.
"""

import json
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.measure import Cost, arguments, child, show

SIZES = (10_000, 100_000, 1_000_000)
TRUTH = {"bgnbd": (0.5, 30.0, 0.8, 2.4), "pareto_nbd": (0.6, 60.0, 0.6, 90.0)}
THEIRS = ("lifetimes==0.11.3", "numpy<2", "pandas<2.3", "scipy<1.14", "autograd<1.8")
LONGEST_S = 400
OURS_CODE = """
import json, sys, time
import polars as pl
from sojourn.lifetime import ProcessSpec, PurchaseProcess
table = pl.read_parquet(sys.argv[1])
started = time.perf_counter()
model = PurchaseProcess(ProcessSpec(model=sys.argv[2], unit_days=1)).fit(table)
print(json.dumps({"s": time.perf_counter() - started, "parameters": list(model.parameters_.values())}))
"""
THEIRS_CODE = """
import json, sys, time
import lifetimes, numpy as np
x, recency, age = np.load(sys.argv[1])
Fitter = {"bgnbd": lifetimes.BetaGeoFitter, "pareto_nbd": lifetimes.ParetoNBDFitter}[sys.argv[2]]
started = time.perf_counter()
model = Fitter().fit(x, recency, age)
print(json.dumps({"s": time.perf_counter() - started, "parameters": [float(each) for each in model.params_]}))
"""


def customers(model: str, n: int, *, seed: int = 0) -> pl.DataFrame:
    """Histories of customers who live as the model says, one after another purchase, all customers at a time."""
    rng = np.random.default_rng(seed)
    r, alpha, third, fourth = TRUTH[model]
    rate, age = rng.gamma(r, 1 / alpha, n), rng.integers(60, 365, n).astype(float)
    p = rng.beta(third, fourth, n) if model == "bgnbd" else np.zeros(n)
    ends = np.minimum(age, rng.exponential(1.0, n) / rng.gamma(third, 1 / fourth, n)) if model != "bgnbd" else age
    x, last, now, here = np.zeros(n), np.zeros(n), np.zeros(n), np.arange(n)
    while len(here):
        now[here] += rng.exponential(1.0, len(here)) / np.maximum(rate[here], 1e-12)
        here = here[now[here] <= ends[here]]
        x[here] += 1
        last[here] = now[here]
        here = here[rng.random(len(here)) >= p[here]]
    return pl.DataFrame(
        {
            "user_id": np.arange(n),
            "frequency": x.astype(int),
            "recency_days": np.where(x > 0, np.ceil(last), 0.0),
            "age_days": age,
        }
    )


def ours(table: Path, model: str) -> tuple[Cost, dict[str, Any]]:
    """The cost of the whole process, and what it found."""
    cost = child([sys.executable, "-c", OURS_CODE, str(table), model])
    return cost, json.loads(cost.stdout)


class Theirs:
    """The other library in an environment of its own; `why_not` says why it cannot run."""

    def __init__(self, folder: Path) -> None:
        self._python, self.why_not = folder / "env" / "bin" / "python", ""
        try:
            venv.create(folder / "env", with_pip=True)
            install = [str(self._python), "-m", "pip", "install", "--quiet", *THEIRS]
            subprocess.run(install, check=True, capture_output=True)
        except (subprocess.CalledProcessError, OSError) as fault:
            self.why_not = f"not installed: {fault}"

    def run(self, table: pl.DataFrame, model: str, folder: Path) -> tuple[Cost, dict[str, Any]]:
        """The cost of the whole process, and what it found. Raises `CalledProcessError` when it fails."""
        path = folder / "histories.npy"
        np.save(path, table.select("frequency", "recency_days", "age_days").to_numpy().T.astype(float))
        cost = child([str(self._python), "-W", "ignore", "-c", THEIRS_CODE, str(path), model])
        return cost, json.loads(cost.stdout)


def rows(*, quick: bool) -> Iterator[dict[str, Any]]:
    """A row for each model and number of customers."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        theirs = Theirs(folder)
        for model in TRUTH:
            slow_s = 0.0
            for n in SIZES[:1] if quick else SIZES:
                table = customers(model, n)
                table.write_parquet(folder / "histories.parquet")
                cost, found = ours(folder / "histories.parquet", model)
                row = {"model": model, "customers": n, "fit_s": found["s"], "peak_mb": cost.peak_mb}
                # Theirs grows at least in proportion.
                if theirs.why_not or 10 * slow_s > LONGEST_S:
                    said = theirs.why_not or "too long"
                    yield {**row, "lifetimes_fit_s": said, "lifetimes_mb": "", "ratio_fit": "", "apart": ""}
                    continue
                try:
                    their_cost, their_found = theirs.run(table, model, folder)
                except subprocess.CalledProcessError:
                    yield {**row, "lifetimes_fit_s": "fails", "lifetimes_mb": "", "ratio_fit": "", "apart": ""}
                    continue
                slow_s = their_found["s"]
                both = np.array([found["parameters"], their_found["parameters"]])
                yield {
                    **row,
                    "lifetimes_fit_s": slow_s,
                    "lifetimes_mb": their_cost.peak_mb,
                    "ratio_fit": slow_s / found["s"],
                    "apart": f"{np.abs(both[0] / both[1] - 1).max():.1e}",
                }


def main() -> None:
    """Print the table; `--quick` has 10,000 customers alone."""
    options = arguments(__doc__ or "")
    show("Learning a purchase process", list(rows(quick=options.quick)), to=options.json)


if __name__ == "__main__":
    main()
