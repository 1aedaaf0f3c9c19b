"""The snippets for schedulers are Python, and do nothing but call `sojourn run`."""

import ast
from pathlib import Path

import pytest

from tests.test_docs import blocks

PAGE = Path(__file__).parent.parent.parent / "docs" / "operate.md"
SNIPPETS = [
    block for language, block in blocks(PAGE) if language == "text" and ".py\n" in block.split("\n\n")[0] + "\n"
]


def test_both_schedulers_are_there():
    assert [block.splitlines()[0] for block in SNIPPETS] == ["# dags/sojourn_daily.py", "# sojourn_dagster.py"]


@pytest.mark.parametrize("block", SNIPPETS)
def test_a_snippet_is_python_and_only_calls_sojourn_run(block):
    tree = ast.parse(block)
    texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    assert "sojourn run --day" in " ".join(texts)
    imported = {
        ((node.module or "") if isinstance(node, ast.ImportFrom) else node.names[0].name).split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    assert imported <= {"airflow", "dagster", "datetime", "subprocess"}
