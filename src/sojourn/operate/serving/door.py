"""What stands before the app: too large a request is refused before it is read, and every fault is a sentence."""

from collections.abc import Awaitable, Callable, MutableMapping
from hmac import compare_digest
from typing import TYPE_CHECKING, Any

from sojourn.core import MissingTable, SojournError, Unreachable

if TYPE_CHECKING:
    from fastapi import FastAPI

PATIENCE = 4
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]


class SizeLimit:
    """Answers 413 to a request of more than `max_bytes`, whether it says its length or not; none of it is kept.

    A caller who is still sending does not look for an answer, and finds the connection broken. So up to four times as
    much is read and let go before it is refused; what is larger still is refused at once.
    """

    def __init__(self, app: App, *, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http" or scope["method"] in {"GET", "HEAD"}:
            await self._app(scope, receive, send)
            return
        body, read_bytes, more = bytearray(), 0, _length(scope) <= PATIENCE * self._max_bytes
        while more and read_bytes <= PATIENCE * self._max_bytes:
            message = await receive()
            part = message.get("body", b"")
            read_bytes += len(part)
            if read_bytes <= self._max_bytes:
                body += part
            more = message["type"] == "http.request" and message.get("more_body", False)
        if max(read_bytes, _length(scope)) > self._max_bytes:
            await self._refuse(scope, receive, send)
            return
        given = iter([{"type": "http.request", "body": bytes(body), "more_body": False}])

        async def once_then_wait() -> Message:
            return next(given, None) or await receive()

        await self._app(scope, once_then_wait, send)

    async def _refuse(self, scope: Message, receive: Receive, send: Send) -> None:
        told = f"The request is larger than {self._max_bytes:,} bytes. Send fewer rows at a time."
        await problem(413, told)(scope, receive, send)


def problem(status: int, sentence: str, headers: dict[str, str] | None = None) -> Any:
    """A fault as JSON: `{"error": sentence}`."""
    from starlette.responses import JSONResponse

    return JSONResponse({"error": sentence}, status_code=status, headers=headers)


def is_token(given: str | None, token: str) -> bool:
    """Whether the caller's token is ours, in a time that does not tell how much of it was right."""
    return compare_digest((given or "").encode(), token.encode())


def add_sentences(app: "FastAPI") -> None:
    """Let every fault be told as `{"error": sentence}`: of a request, of its address, of what lies behind."""
    from fastapi.exceptions import RequestValidationError
    from starlette.exceptions import HTTPException

    @app.exception_handler(RequestValidationError)
    async def _invalid(_: Any, fault: RequestValidationError) -> Any:
        return problem(422, _told(fault))

    @app.exception_handler(HTTPException)
    async def _refused(_: Any, fault: HTTPException) -> Any:
        if fault.status_code == 400:
            return problem(422, "The body is not JSON in UTF-8.")
        headers = dict(fault.headers) if fault.headers else None
        return problem(fault.status_code, f"{str(fault.detail).rstrip('.')}.", headers)

    @app.exception_handler(SojournError)
    async def _ours(_: Any, fault: SojournError) -> Any:
        return problem(503 if isinstance(fault, MissingTable | Unreachable) else 422, str(fault))


def _told(fault: Any) -> str:
    first, *more = fault.errors()
    if first["type"] == "json_invalid":
        return "The body is not JSON in UTF-8."
    where = ".".join(str(part) for part in first["loc"] if part != "body") or "the body"
    what = first["msg"].removeprefix("Value error, ")
    others = f" There are {len(more):,} more faults like this." if more else ""
    return f"The request is wrong at {where}: {what[:1].lower()}{what[1:].rstrip('.')}.{others}"


def _length(scope: Message) -> int:
    told = dict(scope["headers"]).get(b"content-length", b"0")
    return int(told) if told.isdigit() else 0
