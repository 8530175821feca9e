"""Start the service, and end it: models opened, a socket, a token where others may ask."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import socket
import webbrowser
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import uvicorn

from ..config.requests import ServeRequest
from ..errors import RequestError
from ..files import lock, shipped_path
from .alike import Alike
from .answering import Answering
from .api import make_app
from .guard import LOOPBACK, Guard
from .history import History
from .hub import Hub
from .limits import Limits
from .metrics import Metrics
from .page import HEADERS, Page, make_page
from .project import Project
from .served import Room, Served, open_on
from .work import Work

TOKEN = "BENCHGRAFT_TOKEN"
"""Variable with the token of a service that others may ask; without it one is drawn."""
LAST_ANSWERS = 30
"""Seconds for requests that are on their way when the service is to stop."""


def serve(request: ServeRequest, say: Callable[[str], None]) -> None:
    """Answer until SIGTERM or SIGINT; requests that are on their way then are answered first.

    Raises RequestError for names and addresses that cannot be, ModelFileError for a model that cannot,
    DataError for a folder that is none.
    """
    given = os.environ.get(TOKEN)
    token = None if request.host in LOOPBACK else given or secrets.token_urlsafe(24)
    drawn = quote(token) if token and not given else None
    with contextlib.ExitStack() as opened:
        door = opened.enter_context(_listening(request.host, request.port))
        address = f"http://{_shown(request.host)}:{door.getsockname()[1]}"
        start = _start_api if request.api else _start_page
        app, on_stop = start(request, token, opened, say)
        say(f"answers on {address}{'/predict' if request.api else '/'}")
        if drawn:
            way = "header Authorization: Bearer TOKEN" if request.api else f"page {address}/?token={drawn}"
            say(f"token, for the {way}: {token}")
        if request.open and not request.api:
            webbrowser.open(f"{address}/" + (f"?token={quote(token)}" if token else ""))
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            lifespan="off",
            timeout_graceful_shutdown=LAST_ANSWERS,
        )
        asyncio.run(_until_stopped(_Server(config), door, on_stop))
    say("stopped")


def _start_api(
    request: ServeRequest,
    token: str | None,
    opened: contextlib.ExitStack,
    say: Callable[[str], None],
) -> tuple[Guard, Callable[[], None]]:
    files = _named(request.what or ())
    limits, metrics, room = Limits(photos=min(Limits.photos, request.queue)), Metrics(), Room(request.queue)
    models = {}
    for name, path in files.items():
        open_model = open_on(request.device, request.threads, request.cache, say)
        models[name] = Served(name, path, open_model, room, metrics, say)
        opened.callback(models[name].close)
    say(f"models: {', '.join(models)}")
    return Guard(make_app(models, metrics, limits), token, limits, metrics), lambda: None


def _start_page(
    request: ServeRequest,
    token: str | None,
    opened: contextlib.ExitStack,
    say: Callable[[str], None],
) -> tuple[Guard, Callable[[], None]]:
    given = request.what or (".",)
    if len(given) > 1 or Path(given[0]).is_file():
        raise RequestError("the page works on one folder of photos", "give --api to answer by model files")
    hub = Hub()
    project = Project(Path(given[0]), lambda revision: hub.tell("changed", {"revision": revision}))
    # Two pages on one folder would take each other's jobs.
    project.place.mkdir(exist_ok=True)
    opened.enter_context(lock(project.place))
    history = History(project.place)
    options = {name: getattr(request, name) for name in ("cache", "device", "threads")}
    work = Work(project, history, hub.tell, options)
    opens = open_on(request.device, request.threads, request.cache, say)
    answering = Answering(history, opens, Alike(project, options))
    page = Page(project, work, answering, history, hub, Limits())
    opened.callback(answering.close)
    opened.callback(work.stop)
    app = make_page(page, lambda asked: asked.url.scheme == "https" or asked.url.hostname in LOOPBACK)
    work.go_on()
    say(f"photos: {project.folder}")
    return Guard(app, token, page.limits, headers=HEADERS), hub.close


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Ours are set already; uvicorn's would end the process by the signal, and not with exit code 0."""
        yield


async def _until_stopped(server: uvicorn.Server, door: socket.socket, on_stop: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()

    def stop() -> None:
        server.should_exit = True
        on_stop()

    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, stop)
    await server.serve([door])


def _named(given: tuple[str, ...]) -> dict[str, Path]:
    """Name -> file. Raises RequestError for none, and for a name that is there twice."""
    if not given:
        raise RequestError("--api needs a model", "name a model file, or an ONNX file exported from one")
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
