"""What is served, to whom, and how much at once: section `[serve]` of `sojourn.toml`."""

import os

from pydantic import Field

from sojourn.core import BadSpec, Spec

LEAST_TOKEN = 16


class ServeSpec(Spec):
    """How `sojourn serve` answers.

    `source` names the `[publish.<name>]` in Redis to read users from; without one they are read from the warehouse's
    `tables`, the latest partition of each. `models` is the folder that scores rows, as for `sojourn ltv score`.
    At most `max_rows` are scored at once, and a request has at most `max_bytes`. `token_env` names the environment
    variable with the token that callers must send; `/health` and `/ready` need none.
    """

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65_535)
    source: str | None = None
    tables: tuple[str, ...] = Field(default=("features", "predictions"), min_length=1)
    models: str | None = None
    max_rows: int = Field(default=1_000, ge=1)
    max_bytes: int = Field(default=2_000_000, ge=1_000)
    token_env: str | None = None

    def token(self) -> str | None:
        """The token that callers must send, if any. Raises `BadSpec` where its variable is not set, or too short."""
        if self.token_env is None:
            return None
        found = os.environ.get(self.token_env, "")
        if len(found) < LEAST_TOKEN:
            raise BadSpec(
                f"[serve] takes its token from the variable {self.token_env}, which has {len(found)} characters; "
                f"{LEAST_TOKEN} are the least. Set it: export {self.token_env}=$(openssl rand -hex 32)"
            )
        return found
