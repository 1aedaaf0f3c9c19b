"""Whatever is asked within the API's own description, or beside it, the server keeps to the description."""

import os

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings

from tests.operate.serving.worlds import served

TOKEN = "a-token-of-some-length"
FEW = settings(
    max_examples=int(os.environ.get("SOJOURN_FUZZ", "15")),
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


api = schemathesis.pytest.from_fixture("described")


@api.parametrize()
@FEW
def test_every_answer_is_one_that_the_description_promises(case):
    case.call_and_validate(headers={"Authorization": f"Bearer {TOKEN}"})
