"""The program in the test's own process, for tests that read what it prints."""

import sys

import pytest

from sojourn.cli import main


@pytest.fixture
def program(tmp_path, monkeypatch, capsys):
    """The program in an empty folder: arguments in; status, stdout and stderr out."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["sojourn", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        told = capsys.readouterr()
        return ended.value.code or 0, told.out, told.err

    return run
