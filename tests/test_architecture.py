"""The architecture: which room stands on which shelf. Imports point down only, never to a neighbour."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import sojourn

SHELVES = (
    {"core"},
    {"warehouse", "evaluate", "federated", "crawl"},
    {"events"},
    {"rollups", "perception"},
    {"features", "metrics"},
    {"lifetime", "recommend", "language", "social", "play"},
    {"campaigns", "effects"},
    {"dashboard"},
    {"operate"},
    {"cli"},
)
SHELF = {room: height for height, shelf in enumerate(SHELVES) for room in shelf}
PACKAGE = Path(sojourn.__file__).parent
ROOMS = sorted(path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists())
FILES = sorted(PACKAGE.rglob("*.py"))
HEAVY = (
    "lightgbm",
    "sklearn",
    "scipy",
    "plotly",
    "jinja2",
    "pandera",
    "pandas",
    "torch",
    "pyspark",
    "rich",
    "typer",
    "vizro",
    "dash",
    "flask",
)


def imports(file: Path) -> Iterator[str]:
    """The full name of every module that the file imports anywhere."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} has a relative import"
            yield node.module or ""


def test_every_room_has_a_shelf():
    assert set(ROOMS) <= set(SHELF)


@pytest.mark.parametrize("room", ROOMS)
def test_imports_point_down(room):
    for file in sorted((PACKAGE / room).rglob("*.py")):
        below = {name.split(".")[1] for name in imports(file) if name.startswith("sojourn.")} - {room}
        upward = {other for other in below if SHELF[other] >= SHELF[room]}
        assert not upward, f"{file.relative_to(PACKAGE)} imports {sorted(upward)}, which stand no lower than {room}"


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_begins_by_saying_what_comes_in_and_what_goes_out(room):
    tree = ast.parse((PACKAGE / room / "__init__.py").read_text())
    assert ast.get_docstring(tree), f"{room}/__init__.py has no first sentence"
    logic = [node for node in tree.body[1:] if not isinstance(node, ast.Import | ast.ImportFrom | ast.Assign)]
    assert not logic, f"{room}/__init__.py holds logic"


def test_core_holds_at_most_six_files():
    assert len([file for file in (PACKAGE / "core").glob("*.py") if file.name != "__init__.py"]) <= 6


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_no_file_is_longer_than_five_hundred_lines(file):
    assert len(file.read_text().splitlines()) <= 500


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_nothing_reads_the_wall_clock_or_a_global_seed(file):
    if file.parent.name == "cli":  # time enters there, as an argument's default
        return
    calls = {ast.unparse(node.func) for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)}
    clocks = {
        "datetime.now",
        "datetime.utcnow",
        "date.today",
        "datetime.datetime.now",
        "datetime.date.today",
        "time.time",
    }
    seeded = ("np.random.default_rng", "np.random.Generator", "np.random.Philox", "np.random.SeedSequence")
    chance = {call for call in calls if call.startswith(("random.", "np.random.")) and not call.startswith(seeded)}
    found = (calls & clocks) | chance
    assert not found


def loaded_by(statement: str) -> set[str]:
    """The heavy libraries in memory after this statement, in a fresh interpreter."""
    probe = f"import sys; {statement}; print(*sorted(m for m in {HEAVY!r} if m in sys.modules))"
    run = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    return set(run.stdout.split())


def test_importing_the_package_loads_nothing_heavy():
    assert loaded_by("import sojourn") == set()


@pytest.mark.parametrize("room", [room for room in ROOMS if room != "cli"])
def test_importing_a_room_loads_no_heavy_library(room):
    assert loaded_by(f"import sojourn.{room}") == set()


def test_the_command_line_starts_without_models_and_plots():
    assert loaded_by("import sojourn.cli") <= {"rich", "typer"}
