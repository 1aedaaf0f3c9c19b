"""What a daily run loses to kills, broken files, wrong schemas and a full disk: the tables are compared in the end.

Run it as `python -m benchmarks.operate_faults`. Each fault hits a copy of the same warehouse before or while a day is
run; then the fault is mended and the day run again. `told` counts the faults that the run, or `sojourn verify`, tells
of (a kill: that it struck in time); `lost` the files that differ in the end from those of an undisturbed run.
"""

import hashlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import arguments, show

FIRST, LAST = date(2024, 9, 1), date(2024, 11, 30)
STEPS = (
    *("ingest events", "check rows", "rollup user", "features", "model ltv", "predict ltv", "watch ltv", "metrics"),
    *("check counted", "publish board", "account"),
)
# Of what is said to ClickHouse, the statements whose replies get lost.
LOST = (b"REPLACE PARTITION", b"FORMAT+Arrow", b"CREATE TABLE", b"DROP TABLE")
SETTINGS = """
[ingest]
files = ["{folder}/orders/orders-*.csv"]

[rollups.user]
windows_days = [7, 30]

[rollups.user.aggregates]
events = {{function = "count"}}
active_days = {{function = "active_days"}}
spend = {{function = "sum", expression = "amount"}}
purchases = {{function = "count", where = "amount > 0"}}
purchase_days = {{function = "active_days", where = "amount > 0"}}

[features]

[lifetime]
horizons_days = [14]
churn_days = 14
train_as_ofs = 2
replicates = 20
models = {{ltv_14 = "mean", churn_14 = "churn_trees"}}

[lifetime.boost]
rounds = 5
groups = 2

[run]
refit_days = 1

[watch]
max_psi = 50.0

[metrics]

[checks.rows]
kind = "rows"

[checks.counted]
kind = "conservation"

[publish.board]
to = "parquet"
url = "_board"
tables = ["predictions"]
"""


@dataclass(frozen=True)
class Shop:
    """A folder with orders, settings, and a warehouse in which the day before the last was run."""

    folder: Path

    @property
    def last_file(self) -> Path:
        """The orders of the last day."""
        return self.folder / "orders" / f"orders-{LAST}.csv"


def main() -> None:
    """Every fault in turn."""
    options = arguments(__doc__ or "")
    show("Faults, and what was lost", rows(delays_s=(0.1,) if options.quick else (0.0, 0.1, 0.5)), to=options.json)


def rows(*, delays_s: tuple[float, ...]) -> list[dict[str, Any]]:
    """A row per kind of fault: how often it was tried and told, and how many files differed in the end."""
    with tempfile.TemporaryDirectory() as temporary:
        shop = _shop(Path(temporary))
        undisturbed = _copy(shop, "undisturbed")
        assert _run(shop, undisturbed).returncode == 0
        expected = _content(undisturbed)
        faults: dict[str, list[tuple[bool, int]]] = {}
        for step in STEPS:
            faults["SIGKILL within " + step] = [_kill(shop, step, after_s, expected) for after_s in delays_s]
        for table in ("events", "features", "predictions"):
            faults[f"cut off and put back: a file of {table}"] = [_cut(shop, table, expected)]
        faults["cut off and removed: a file of rollup_user"] = [_cut(shop, "rollup_user", expected)]
        faults["wrong schema: no user"] = [_schema(shop, "order_date,revenue\n2024-11-30,5\n", expected)]
        faults["wrong schema: no dates"] = [_schema(shop, "customer_id,order_date,revenue\nc1,soon,much\n", expected)]
        faults["wrong schema: an empty file"] = [_schema(shop, "", expected)]
        faults["no room: a file may not grow"] = [_quota(shop, kb, expected) for kb in (4, 30, 60)]
        faults["no room: a small disk"] = _small_disk(shop, expected)
        faults["a reply of ClickHouse lost on the way"] = _lost_replies(shop)
    return [
        {
            "fault": name,
            "tried": len(found),
            "told": sum(told for told, _ in found),
            "lost": sum(lost for _, lost in found),
        }
        for name, found in faults.items()
        if found
    ]


def _kill(shop: Shop, step: str, after_s: float, expected: dict[str, str]) -> tuple[bool, int]:
    root = _copy(shop, "killed")
    command, quiet = _command(shop, root), subprocess.DEVNULL
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=quiet, text=True, cwd=root) as run:
        assert run.stderr is not None
        for line in run.stderr:
            if line.strip() == f"{LAST} {step}":
                time.sleep(after_s)
                run.send_signal(signal.SIGKILL)
                break
        run.wait()
    return run.returncode == -signal.SIGKILL, _mended(shop, root, expected)


def _cut(shop: Shop, table: str, expected: dict[str, str]) -> tuple[bool, int]:
    """A file is cut in half before the run; then it is put back, as from a backup, or removed where it is derived."""
    root = _copy(shop, "cut")
    file = sorted((root / table).rglob("data.parquet"))[-1]
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    is_told = _run(shop, root).returncode == 2 or _verify(shop, root) == 1
    file.unlink() if table == "rollup_user" else file.write_bytes(whole)
    return is_told, _mended(shop, root, expected)


def _verify(shop: Shop, root: Path) -> int:
    program = [sys.executable, "-c", "from sojourn.cli import main; main()", "verify", "--warehouse", str(root)]
    command = [*program, "--config", str(shop.folder / "sojourn.toml")]
    return subprocess.run(command, capture_output=True, check=False).returncode


def _schema(shop: Shop, text: str, expected: dict[str, str]) -> tuple[bool, int]:
    root, right = _copy(shop, "schema"), shop.last_file.read_bytes()
    changed = shop.last_file.stat()
    shop.last_file.write_text(text)
    told = _run(shop, root)
    shop.last_file.write_bytes(right)
    os.utime(shop.last_file, ns=(changed.st_atime_ns, changed.st_mtime_ns))
    return told.returncode == 2, _mended(shop, root, expected)


def _quota(shop: Shop, most_kb: int, expected: dict[str, str]) -> tuple[bool, int]:
    root = _copy(shop, "quota")

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most_kb * 1000, most_kb * 1000))

    told = _run(shop, root, before=limit)
    return told.returncode == 2 and "room" in (told.stdout + told.stderr).lower(), _mended(shop, root, expected)


def _small_disk(shop: Shop, expected: dict[str, str]) -> list[tuple[bool, int]]:
    """The warehouse on a disk of its own with little room left; where no disk can be mounted this is left out."""
    found = []
    for spare_kb in (0, 16, 40):
        disk = shop.folder / f"disk-{spare_kb}"
        disk.mkdir()
        used_kb = sum(-(-path.stat().st_size // 4096) * 4 for path in (shop.folder / "w").rglob("*"))
        mount = ["mount", "-t", "tmpfs", "-o", f"size={2 * used_kb + 20_000}k", "tmpfs", str(disk)]
        if subprocess.run(mount, capture_output=True, check=False).returncode:
            return []
        try:
            root = disk / "w"
            shutil.copytree(shop.folder / "w", root)
            free_kb = shutil.disk_usage(disk).free // 1024
            with (disk / "ballast").open("wb") as ballast:
                ballast.write(b"\0" * 1024 * max(free_kb - spare_kb, 0))
            told = _run(shop, root)
            (disk / "ballast").unlink()
            found.append((told.returncode == 2, _mended(shop, root, expected)))
        finally:
            subprocess.run(["umount", str(disk)], check=True)
    return found


def _lost_replies(shop: Shop) -> list[tuple[bool, int]]:
    """Predictions published through a proxy that loses up to two replies of each kind: rows too few or too many."""
    from sojourn.operate import PublishSpec, publish
    from sojourn.operate.publishing.clickhouse import ClickHouse
    from sojourn.warehouse import Warehouse
    from tests.operate.publishing.http_clickhouse import Forgetful, clickhouse_server

    found, warehouse = [], Warehouse.open(_copy(shop, "lost"))
    expected = warehouse.frame("predictions").height
    with clickhouse_server(shop.folder / "clickhouse") as port:
        for nth, words in enumerate(LOST):
            proxy = Forgetful(port, words=words, losses=2)
            url = f"http://127.0.0.1:{proxy.port}"
            spec = PublishSpec(name="far", to="clickhouse", url=url, space=f"s{nth}", tables=("predictions",))
            publish(warehouse, spec=spec)
            proxy.close()
            with ClickHouse(spec.with_changes(url=f"http://127.0.0.1:{port}")) as place:
                [(rows,)] = place._rows(f"SELECT count() FROM s{nth}.predictions")
            found.append((proxy.lost > 0, abs(int(rows) - expected)))
    return found


def _mended(shop: Shop, root: Path, expected: dict[str, str]) -> int:
    """Run the day again; the number of files that are not as expected."""
    done = _run(shop, root)
    if done.returncode:
        sys.exit(f"benchmarks.operate_faults: the rerun failed: {done.stdout}{done.stderr}")
    found = _content(root)
    shutil.rmtree(root)
    return len({name for name in {*found, *expected} if found.get(name) != expected.get(name)})


def _run(shop: Shop, root: Path, *, before: Callable[[], None] | None = None) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        _command(shop, root), capture_output=True, text=True, check=False, preexec_fn=before, cwd=root
    )


def _command(shop: Shop, root: Path, day: date = LAST) -> list[str]:
    program = [sys.executable, "-c", "from sojourn.cli import main; main()"]
    options = ["--day", str(day), "--at", "2024-12-01T05:00:00", "--warehouse", str(root)]
    return [*program, "run", *options, "--config", str(shop.folder / "sojourn.toml")]


def _copy(shop: Shop, name: str) -> Path:
    shutil.copytree(shop.folder / "w", shop.folder / name)
    return shop.folder / name


def _content(root: Path) -> dict[str, str]:
    """A hash of every file but locks, the account of runs, which tells of times, and the published place's own path."""
    files = [path for path in sorted(root.rglob("*")) if path.is_file()]
    named = {str(path.relative_to(root)): path for path in files}
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest()
        for name, path in named.items()
        if name.split("/")[0] not in {"runs", "_published"} and "_locks" not in name.split("/")
    }


def _shop(folder: Path) -> Shop:
    """Orders of a quarter, a file a day, and the day before the last run."""
    shop, chance = Shop(folder), np.random.default_rng(3)
    (folder / "orders").mkdir()
    (folder / "sojourn.toml").write_text(SETTINGS.format(folder=folder))
    pace = chance.gamma(2.0, 0.12, 300)
    for number in range((LAST - FIRST).days + 1):
        day = FIRST + timedelta(days=number)
        buys = np.flatnonzero(chance.random(300) < pace)
        lines = [f"c{user:03d},{day},{chance.gamma(2.0, 20.0):.2f}" for user in buys]
        text = "\n".join(["customer_id,order_date,revenue", *lines]) + "\n"
        (folder / "orders" / f"orders-{day}.csv").write_text(text)
    aside = shop.last_file.rename(folder / "last.csv")
    (folder / "w").mkdir()
    command = _command(shop, folder / "w", LAST - timedelta(days=1))
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder / "w")
    if done.returncode:
        sys.exit(f"benchmarks.operate_faults: {done.stdout}{done.stderr}")
    aside.rename(shop.last_file)
    return shop


if __name__ == "__main__":
    main()
