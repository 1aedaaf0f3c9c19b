"""Whatever is asked within the API's own description, or beside it, the server keeps to the description."""

import os

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.generation import GenerationMode

from tests.operate.serving.worlds import served

TOKEN = "a-token-of-some-length"
NOTHING_TO_GET_WRONG = {(path, GenerationMode.NEGATIVE) for path in ("/health", "/ready")}
FEW = settings(
    max_examples=int(os.environ.get("SOJOURN_FUZZ", "10")),
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def described(root):
    (root / "fuzz.toml").write_text('[serve]\ntoken_env = "APP_TOKEN"\nmodels = "models"\n')
    with served(root, "--config", "fuzz.toml", env={**os.environ, "APP_TOKEN": TOKEN}) as address:
        yield schemathesis.openapi.from_url(f"{address}/openapi.json")


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize("path", ["/health", "/ready", "/users/{user_id}", "/score"])
def test_every_answer_is_one_that_the_description_promises(described, path, mode):
    operation = next(each.ok() for each in described.get_all_operations() if each.ok().path == path)

    @FEW
    @given(case=operation.as_strategy(generation_mode=mode))
    def promises(case):
        case.call_and_validate(headers={"Authorization": f"Bearer {TOKEN}"})

    try:
        promises()
    except Unsatisfiable:
        assert (path, mode) in NOTHING_TO_GET_WRONG
