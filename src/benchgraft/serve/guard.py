"""Who may ask, and how much: looked at before anything of a request is read.

On this machine alone: another page in the user's browser must not reach the service. A page that has its own
name point here (DNS rebinding) is told by the Host of its requests; one that posts here from elsewhere by
their Origin. On other addresses: who has the token.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any
from urllib.parse import parse_qs

from fastapi import HTTPException
from fastapi.responses import JSONResponse, RedirectResponse
from starlette.requests import cookie_parser

from .limits import Limits
from .metrics import Metrics

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
COUNTED = frozenset({"/predict", "/model", "/healthz", "/metrics", "/openapi.json"})
"""Paths that are counted by name; the others, which anyone may invent, as one."""
ELSEWHERE = frozenset({"cross-site", "same-site"})
"""Of Sec-Fetch-Site: another site, or another port of this machine."""
LONGEST_QUERY = 4096
OPEN = frozenset({"/healthz"})
"""Asked by what watches over services, which has no token."""


class Guard:
    """An ASGI application around another."""

    def __init__(
        self,
        app: App,
        token: str | None,
        limits: Limits,
        metrics: Metrics | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """token: None asks for none, and answers to names of this machine alone. metrics: counts. headers: of
        every answer that has not its own of that name."""
        self._app, self._token, self._limits, self._metrics = app, token, limits, metrics
        self._headers = [(name.lower().encode(), text.encode()) for name, text in (headers or {}).items()]

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        send = self._told(scope["path"], send)
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        given = _token_in(scope) if scope["path"] == "/" else None
        refused = self._refused(scope, headers, given)
        if refused is not None:
            code, reason = refused
            more = {"WWW-Authenticate": "Bearer"} if code == 401 else {}
            response = JSONResponse({"detail": reason}, code, {**more, "Connection": "close"})
            await response(scope, receive, send)
            return
        if self._token is not None and given is not None:
            await self._admitted(headers, scope, receive, send)
            return
        await self._app(scope, _bounded(receive, self._limits), send)

    def _told(self, path: str, send: Send) -> Send:
        """Counts, and adds the headers."""

        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                there = {name for name, _ in message["headers"]}
                more = [header for header in self._headers if header[0] not in there]
                message = {**message, "headers": [*message["headers"], *more]}
                if self._metrics is not None:
                    self._metrics.request(path if path in COUNTED else "other", message["status"])
            await send(message)

        return told

    async def _admitted(
        self, headers: Mapping[str, str], scope: Message, receive: Receive, send: Send
    ) -> None:
        """Who opened the address with the token in it: a browser keeps it, and the address is without it."""
        response = RedirectResponse("/", 303)
        name = _cookie_of(headers.get("host", ""))
        response.set_cookie(name, str(self._token), httponly=True, samesite="strict")
        await response(scope, receive, send)

    def _refused(
        self, scope: Message, headers: Mapping[str, str], given: str | None
    ) -> tuple[int, str] | None:
        """(status, reason); None: it may go on. given: the token in the address of the page."""
        host, path = headers.get("host", ""), scope["path"]
        if self._token is None and name_of_host(host) not in LOOPBACK:
            return 421, f'this service answers to localhost, not to "{host[:100]}"'
        origin = headers.get("origin")
        if origin is not None and origin.partition("://")[2] != host:
            return 403, "pages of other origins may not ask"
        is_opened = path == "/" and headers.get("sec-fetch-mode") == "navigate" and scope["method"] == "GET"
        if headers.get("sec-fetch-site") in ELSEWHERE and not is_opened:
            return 403, "pages of other sites may not ask"
        if self._token is not None and path not in OPEN and not self._knows(headers, given):
            return 401, "the token is missing or wrong: send the header Authorization: Bearer TOKEN"
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length) > self._limits.request_bytes:
            return 413, _too_long(self._limits)
        return None

    def _knows(self, headers: Mapping[str, str], given: str | None) -> bool:
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        kept = cookie_parser(headers.get("cookie", "")).get(_cookie_of(headers.get("host", "")))
        found = [bearer.strip() if scheme.lower() == "bearer" else None, kept, given]
        expected = str(self._token).encode()
        return any(hmac.compare_digest(text.encode(), expected) for text in found if text is not None)


def _token_in(scope: Message) -> str | None:
    """Of the address of the page."""
    asked = scope["query_string"].decode("latin-1")
    return parse_qs(asked).get("token", [None])[0] if len(asked) < LONGEST_QUERY else None


def _cookie_of(host: str) -> str:
    """A name for each port: browsers keep cookies of a host without one."""
    port = host.rpartition(":")[2]
    return f"benchgraft_token_{port}" if port.isdecimal() else "benchgraft_token"


def name_of_host(host: str) -> str:
    """Without its port: `[::1]:80` is ::1."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] or host if ":" in host else host


def _bounded(receive: Receive, limits: Limits) -> Receive:
    """Reads a body of so many bytes, in so much time, and no more."""
    came, until = 0, asyncio.get_running_loop().time() + limits.upload_seconds
    is_whole = False

    async def bounded() -> Message:
        nonlocal came, is_whole
        if is_whole:  # waits for the end of the connection, however long that takes
            return await receive()
        try:
            async with asyncio.timeout_at(until):
                message = await receive()
        except TimeoutError:
            told = f"the request did not arrive within {limits.upload_seconds:g} seconds"
            raise HTTPException(408, told, {"Connection": "close"}) from None
        came += len(message.get("body", b""))
        if came > limits.request_bytes:
            raise HTTPException(413, _too_long(limits), {"Connection": "close"})
        is_whole = not message.get("more_body", False)
        return message

    return bounded


def _too_long(limits: Limits) -> str:
    return f"a request may have {limits.request_bytes >> 20} MiB; send the photos in several"
