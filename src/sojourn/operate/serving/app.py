"""The app: users by id, rows to score, and whether it is well."""

import json
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, Field

from sojourn import __version__
from sojourn.core import BadInput, BadSpec, SojournError, need, say
from sojourn.operate.publishing.spec import PublishSpec
from sojourn.operate.serving.door import SizeLimit, add_sentences, is_token, problem
from sojourn.operate.serving.scoring import Scorer, feature_kinds
from sojourn.operate.serving.sources import FromRedis, FromWarehouse, Source
from sojourn.operate.serving.spec import ServeSpec
from sojourn.warehouse import Warehouse

if TYPE_CHECKING:
    from fastapi import FastAPI


class Problem(BaseModel):
    """Why a request was not answered."""

    error: str


class Health(BaseModel):
    """The process is up: `ok`, or `degraded` where what it serves from does not answer, which `error` tells."""

    status: Literal["ok", "degraded"]
    error: str | None = None


class Ready(BaseModel):
    """What is served: the partition of each table, and the fingerprint of the models."""

    tables: dict[str, dict[str, str]]
    models: str | None


def make_app(warehouse: Warehouse, *, spec: ServeSpec, published: Mapping[str, PublishSpec] | None = None) -> Any:
    """The FastAPI app that serves this warehouse, or what is published of it in Redis; its OpenAPI at `/openapi.json`.

    Raises `BadSpec` for a source that is not declared or no Redis and for a token that is not set, `UnreadableSource`
    for models that cannot be read, `MissingTable` for models without a table of features that says what they read.
    """
    fastapi = need("fastapi", extra="serve", for_="sojourn serve")
    source = _source(warehouse, spec, published or {})
    scorer = None if spec.models is None else _scorer(warehouse, spec.models)

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        fault = await _fault_of(source)
        if fault is not None:
            say(f"sojourn: {fault} Until then every request for a user is answered with 503.")
        yield
        await source.close()

    app = fastapi.FastAPI(
        title="Sojourn", version=__version__, summary="Users' features and predictions.", lifespan=lifespan
    )
    app.add_middleware(SizeLimit, max_bytes=spec.max_bytes)
    add_sentences(app)
    guards = _guards(spec.token())
    _add_states(app, source, scorer)
    _add_users(app, source, guards)
    if scorer is not None:
        _add_score(app, scorer, guards, spec)
    return app


def run_app(app: Any, *, host: str, port: int, ready: Callable[[str], None] = lambda _: None) -> None:
    """Serve the app until the process is told to end. Addresses are not logged: they hold users' ids.

    `ready` is called with the address once the port is ours; port 0 is any that is free. Raises `BadInput` when the
    port is taken, or is not one of this machine.
    """
    uvicorn = need("uvicorn", extra="serve", for_="sojourn serve")
    with _listening(host, port) as listening:
        ready(f"http://{host}:{listening.getsockname()[1]}")
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, server_header=False))
        server.run(sockets=[listening])


def _listening(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listening = socket.create_server((host, port), family=family, backlog=2048)
        # Answers go out in two parts. asyncio sets this on sockets that it has made alone, and without it the second
        # part waits for the client's acknowledgement of the first: 40 ms an answer.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listening
    except OSError as fault:
        raise BadInput(
            f"sojourn serve cannot listen at {host}:{port}: {(fault.strerror or str(fault)).lower()}. Choose another "
            f"with --port, or end what is using it."
        ) from fault


async def _fault_of(source: Source) -> str | None:
    """Why no user can be served just now, in a sentence; None where they can."""
    try:
        await source.places()
    except SojournError as fault:
        return str(fault)
    return None


def _scorer(warehouse: Warehouse, models: str) -> Scorer:
    from pathlib import Path

    return Scorer(Path(models), columns=feature_kinds(warehouse))


def _source(warehouse: Warehouse, spec: ServeSpec, published: Mapping[str, PublishSpec]) -> Source:
    if spec.source is None:
        return FromWarehouse(warehouse, spec.tables)
    place = published.get(spec.source)
    if place is None or place.to != "redis":
        what = "is not declared" if place is None else f"is {place.to}"
        raise BadSpec(
            f"[serve] takes users from [publish.{spec.source}], which {what}; users are served from Redis or from the "
            f"warehouse. Name a [publish.NAME] with to = 'redis', or leave source out."
        )
    return FromRedis(place)


def _guards(token: str | None) -> list[Any]:
    """What every request for users or scores goes through first: the token, where there is one."""
    from fastapi import Depends, HTTPException
    from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

    if token is None:
        return []
    bearer = HTTPBearer(auto_error=False)

    async def known(given: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]) -> None:
        if not is_token(None if given is None else given.credentials, token):
            told = "The token is missing or is not the one of this server. Send it: Authorization: Bearer TOKEN"
            raise HTTPException(401, told, headers={"WWW-Authenticate": "Bearer"})

    return [Depends(known)]


def _add_states(app: "FastAPI", source: Source, scorer: Scorer | None) -> None:
    @app.get("/health", tags=["state"], response_model_exclude_none=True)
    async def health() -> Health:
        """Whether the process is up, and whether what it serves from answers."""
        fault = await _fault_of(source)
        return Health(status="ok" if fault is None else "degraded", error=fault)

    @app.get("/ready", tags=["state"], responses=_may_fail(503))
    async def ready() -> Ready:
        """Whether there is something to serve, and which."""
        places = await source.places()
        tables = {table: dict(place) for table, place in places.items()}
        return Ready(tables=tables, models=None if scorer is None else scorer.model.fingerprint_)


def _add_users(app: "FastAPI", source: Source, guards: list[Any]) -> None:
    from starlette.responses import Response

    answer: dict[int | str, dict[str, Any]] = {
        200: {"model": dict[str, Any], "description": "The user's row of each table that has one."}
    }

    @app.get(
        "/users/{user_id:path}",
        tags=["users"],
        dependencies=guards,
        responses={**answer, **_may_fail(404, 422, 503, *([401] if guards else []))},
        response_class=Response,
    )
    async def user(user_id: str) -> Any:
        """A user's features and predictions. Decimals, dates and times are texts; so are numbers that JSON lacks."""
        text = await source.user(user_id)
        if text is None:
            return problem(404, f"No table that is served has a user {user_id!r}.")
        whole = f'{{"user_id":{json.dumps(user_id)},{text[1:]}'
        return Response(whole, media_type="application/json")


def _add_score(app: "FastAPI", scorer: Scorer, guards: list[Any], spec: ServeSpec) -> None:
    from fastapi import Body

    row, predicted = scorer.row, scorer.predictions
    rows_type = Annotated[list[row], Field(min_length=1, max_length=spec.max_rows)]  # type: ignore[valid-type]

    def score(rows: Any) -> Any:
        """The saved models' predictions for rows of features, in their order."""
        return scorer.score([each.model_dump(by_alias=True) for each in rows])

    # The types are made when the models are known, so no annotation in the text can name them.
    score.__annotations__ = {"rows": Annotated[rows_type, Body(embed=True)], "return": list[predicted]}  # type: ignore[valid-type]
    failures = _may_fail(413, 422, *([401] if guards else []))
    app.post("/score", tags=["scores"], dependencies=guards, responses=failures)(score)


def _may_fail(*statuses: int) -> dict[int | str, dict[str, Any]]:
    told = {
        401: "The token is missing or wrong.",
        404: "There is no such user.",
        413: "The request is too large.",
        422: "The request is wrong; the sentence says where.",
        503: "There is nothing to serve yet, or what serves it does not answer.",
    }
    return {status: {"model": Problem, "description": told[status]} for status in statuses}
