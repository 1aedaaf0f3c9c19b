"""`sojourn publish` and `sojourn serve` read their sections, and tell a mistake in one sentence with exit status 2."""

import pytest
from typer.testing import CliRunner

from sojourn.cli import app
from sojourn.core import SojournError
from tests.operate.publishing.places import published, shop, spec_of, stored

SETTINGS = '[publish.{name}]\nto = "duckdb"\nurl = "{folder}/published.duckdb"\ntables = ["predictions"]\n'


@pytest.fixture
def folder(tmp_path):
    shop(tmp_path / "w")
    return tmp_path


def told(folder, *words, settings=""):
    (folder / "sojourn.toml").write_text(settings)
    flags = ["--warehouse", str(folder / "w"), "--config", str(folder / "sojourn.toml")]
    return CliRunner().invoke(app, [*words, *flags], catch_exceptions=True)


def test_declared_tables_go_where_they_are_declared_to_go(folder):
    from sojourn.warehouse import Warehouse

    settings = SETTINGS.format(name="board", folder=folder)
    done = told(folder, "publish", "--day", "2025-05-06", settings=settings)
    assert done.output == "board: predictions: 50 rows; partitions 1 written\n"
    done = told(folder, "publish", "--only", "board", settings=settings)
    assert done.output == "board: predictions: 50 rows; partitions 1 written, 1 current\n"
    assert published(spec_of("duckdb", folder)).equals(stored(Warehouse.open(folder / "w")), null_equal=True)


@pytest.mark.parametrize(
    ("words", "settings", "mistake"),
    [
        (["publish"], "", "No place to publish to is declared. Declare [publish.NAME] with to, url and tables."),
        (
            ["publish", "--only", "x"],
            SETTINGS,
            "There is no [publish.x]; there are board. Choose one",
        ),
        (["publish"], '[publish.board]\nto = "kafka"\nurl = "x"\n', "field 'to' = 'kafka'"),
        (["serve"], '[serve]\nsource = "cache"\n', "[serve] takes users from [publish.cache], which is not declared"),
        (["serve", "--port", "-1"], "", "field 'port' = -1"),
        (["serve", "--models", "nowhere"], "", "holds no saved model"),
    ],
)
def test_a_mistake_is_one_sentence(folder, words, settings, mistake):
    done = told(folder, *words, settings=settings.format(name="board", folder=folder))
    assert isinstance(done.exception, SojournError)
    assert mistake in str(done.exception)
