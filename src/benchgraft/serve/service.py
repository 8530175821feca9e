"""Start the service, and end it: models opened, a socket, a token where others may ask."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import uvicorn

from ..config.requests import ServeRequest
from ..errors import RequestError
from ..files import shipped_path
from .api import make_app
from .guard import LOOPBACK, Guard
from .limits import Limits
from .metrics import Metrics
from .served import Room, Served, open_on

TOKEN = "BENCHGRAFT_TOKEN"
"""Variable with the token of a service that others may ask; without it one is drawn."""
LAST_ANSWERS = 30
"""Seconds for requests that are on their way when the service is to stop."""


def serve(request: ServeRequest, say: Callable[[str], None]) -> None:
    """Answer until SIGTERM or SIGINT; requests that are on their way then are answered first.

    Raises RequestError for names and addresses that cannot be, ModelFileError for a model that cannot.
    """
    if not request.api:
        raise RequestError("serve answers programs so far", "give --api")
    files = _named(request.models)
    token = None if request.host in LOOPBACK else os.environ.get(TOKEN) or secrets.token_urlsafe(24)
    limits, metrics, room = Limits(photos=min(Limits.photos, request.queue)), Metrics(), Room(request.queue)
    with contextlib.ExitStack() as opened:
        door = opened.enter_context(_listening(request.host, request.port))
        models = {}
        for name, path in files.items():
            open_model = open_on(request.device, request.threads)
            models[name] = Served(name, path, open_model, room, metrics, say)
            opened.callback(models[name].close)
        app = Guard(make_app(models, metrics, limits), token, limits, metrics)
        say(f"{', '.join(models)}: http://{_shown(request.host)}:{door.getsockname()[1]}/predict")
        if token and TOKEN not in os.environ:
            say(f"token, for the header Authorization: Bearer TOKEN: {token}")
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            lifespan="off",
            timeout_graceful_shutdown=LAST_ANSWERS,
        )
        asyncio.run(_until_stopped(_Server(config), door))
    say("stopped")


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Ours are set already; uvicorn's would end the process by the signal, and not with exit code 0."""
        yield


async def _until_stopped(server: uvicorn.Server, door: socket.socket) -> None:
    loop = asyncio.get_running_loop()

    def stop() -> None:
        server.should_exit = True

    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, stop)
    await server.serve([door])


def _named(given: tuple[str, ...]) -> dict[str, Path]:
    """Name -> file. Raises RequestError for a name that is there twice."""
    found: dict[str, Path] = {}
    for text in given:
        name, equals, path = text.partition("=")
        if not equals or Path(text).is_file():
            name, path = Path(text).name.partition(".")[0], text
        if not name or not path:
            raise RequestError(f'"{text}" is no model: write FILE, or NAME=FILE')
        if name in found:
            raise RequestError(f'two models are called "{name}"', "give one a name of its own: NAME=FILE")
        found[name] = shipped_path(path)
    return found


def _listening(host: str, port: int) -> socket.socket:
    """Raises RequestError where that is not to be had."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=512)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise RequestError(
            f"cannot answer on {host}, port {port}: {reason}", "choose another --port"
        ) from None


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host
