"""The page's service: photos, labels, training, result, trying, taking away. Its script is in static/."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi.responses import FileResponse, JSONResponse, StreamingResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from ..names import printable
from .answering import Answering
from .body import photos_of
from .failures import tell_failures
from .history import History, Kept, interval
from .hub import Hub, Told
from .limits import Limits
from .project import Listed, Project
from .thumbnails import SIDES, Thumbnails
from .uploads import take
from .work import LARGEST_MINUTES, BusyError, Work

STATIC = Path(__file__).parent / "static"
MOST_LISTED = 1000
POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob:",
        "media-src 'self' blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""Of every answer."""
REPORT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'"
"""A report is one file with its style and pictures inside, and without any script."""


class Labels(BaseModel):
    """Of POST /api/labels."""

    keys: list[str] = Field(max_length=100_000)
    label: str = Field(max_length=1000)


class Checked(BaseModel):
    """Of POST /api/checked."""

    key: str = Field(max_length=5000)
    label: str = Field(max_length=1000)
    is_: bool = Field(default=True, alias="is")


class ClassName(BaseModel):
    """Of POST /api/classes."""

    name: str = Field(max_length=1000)
    to: str | None = Field(default=None, max_length=1000)


class Training(BaseModel):
    """Of POST /api/train."""

    minutes: float = Field(default=0.0, ge=0, le=LARGEST_MINUTES)


class Chosen(BaseModel):
    """Of POST /api/history."""

    number: int = Field(ge=1)


class Page:
    """What the routes work with."""

    def __init__(
        self, project: Project, work: Work, answering: Answering, history: History, hub: Hub, limits: Limits
    ) -> None:
        self.project, self.work, self.answering = project, work, answering
        self.history, self.hub, self.limits = history, hub, limits
        self.thumbnails = Thumbnails()

    def facts(self, is_camera_allowed: bool) -> dict[str, Any]:
        """Of GET /api/project."""
        listed, kept = self.project.listed(), self.history.own()
        return {
            "name": printable(self.project.folder.name),
            "folder": printable(str(self.project.folder)),
            "photos": len(listed.samples),
            "revision": listed.revision,
            "classes": [{"name": name, "photos": count} for name, count in listed.classes.items()],
            "problems": len(_problems(listed, kept)),
            "notes": listed.notes,
            "undo": self.project.undo_text,
            "camera": is_camera_allowed,
            "model": kept and kept.row(kept.number) | {"is_of_these": kept.signature == listed.signature},
            "job": self.work.job,
            "comparison": self.work.comparison() is not None,
            "version": version("benchgraft"),
        }

    def photos(self, class_name: str | None, only: str | None, offset: int, limit: int) -> dict[str, Any]:
        """Of GET /api/photos."""
        listed = self.project.listed()
        problems = _problems(listed, self.history.own())
        wanted = [
            (key, sample)
            for key, sample in listed.samples.items()
            if (class_name is None or sample.class_name == class_name) and (only is None or key in problems)
        ]
        return {
            "total": len(wanted),
            "photos": [
                {
                    "key": key,
                    "label": sample.class_name,
                    "problems": problems.get(key, []),
                    "readable": self.thumbnails.is_readable(sample.path),
                }
                for key, sample in wanted[offset : offset + limit]
            ],
        }

    def thumbnail(self, key: str, side: int) -> bytes | None:
        """Of GET /api/photo; None: there is no such photo, or side."""
        listed = self.project.listed()
        sample = listed.samples.get(key) or listed.out.get(key)
        return self.thumbnails.of(sample.path, side) if sample and side in SIDES else None

    def unsure(self) -> list[dict[str, Any]]:
        """Of GET /api/unsure."""
        kept = self.history.own()
        return [each.model_dump() for each in kept.result.thresholds] if kept else []

    def models(self) -> list[dict[str, Any]]:
        """Of GET /api/history."""
        current = self.history.current()
        return [self.history.read(number).row(current) for number in reversed(self.history.numbers())]

    def file(self, what: Literal["model", "onnx", "report"], number: int | None) -> Path | None:
        """Of GET /download; None: there is no such model, or no such file of it."""
        chosen = self.history.current() if number is None else number
        if chosen is None or chosen not in self.history.numbers():
            return None
        path = self.answering.file(what, chosen)
        return path if path.is_file() else None

    def result(self) -> dict[str, Any] | None:
        """Of GET /api/result."""
        kept = self.history.own()
        if kept is None:
            return None
        found = kept.result
        whole = found.model_dump(mode="json")
        taken = ("parent", "fit", "images", "balanced_accuracy", "commonest", "mistakes", "notes")
        checked = self.project.checked()
        return {name: whole[name] for name in taken} | {
            "number": kept.number,
            "date": kept.date,
            "seconds": sum(found.seconds.values()) + found.decode_seconds,
            "accuracy": interval(found.accuracy),
            "classes": [
                each.model_dump(include={"name", "train_images", "test_images"})
                | {"recall": interval(each.recall)}
                for each in found.classes
            ],
            "confusion": {"names": [each.name for each in found.classes], "counts": found.confusion},
            "suspects": [
                each.model_dump() | {"checked": (each.key, each.given) in checked} for each in found.suspects
            ],
            "changes": [each.model_dump() | {"is_worse": each.is_worse} for each in found.changes],
            "left_out": [
                {"key": each.key, "reason": each.reason}
                for each in [*found.excluded, *found.dropped_from_test]
            ],
        }


def _problems(listed: Listed, kept: Kept | None) -> dict[str, list[str]]:
    """Key -> what the last training said of the photo."""
    found: dict[str, list[str]] = {}
    for image in [*kept.result.excluded, *kept.result.dropped_from_test] if kept else []:
        if image.key in listed.samples:
            found.setdefault(image.key, []).append(image.reason)
    return found


def make_page(page: Page, is_camera_allowed: Callable[[Request], bool]) -> FastAPI:
    """All routes."""
    app = FastAPI(title="benchgraft", version=version("benchgraft"), docs_url=None, redoc_url=None)
    tell_failures(app)
    _photo_routes(app, page, is_camera_allowed)
    _job_routes(app, page)
    _result_routes(app, page)
    app.mount("/static", StaticFiles(directory=STATIC))

    @app.get("/")
    async def index() -> FileResponse:
        return FileResponse(STATIC / "index.html")

    return app


def _photo_routes(app: FastAPI, page: Page, is_camera_allowed: Callable[[Request], bool]) -> None:
    @app.get("/api/project")
    async def project(request: Request) -> dict[str, Any]:
        return await run_in_threadpool(page.facts, is_camera_allowed(request))

    @app.get("/api/photos")
    async def photos(
        class_name: Annotated[str | None, Query(alias="class")] = None,
        only: Literal["problems"] | None = None,
        offset: Annotated[int, Query(ge=0)] = 0,
        limit: Annotated[int, Query(ge=1, le=MOST_LISTED)] = 200,
    ) -> dict[str, Any]:
        return await run_in_threadpool(page.photos, class_name, only, offset, limit)

    @app.get("/api/photo")
    async def photo(key: str, side: int = 160) -> Response:
        jpeg = await run_in_threadpool(page.thumbnail, key, side)
        if jpeg is None:
            raise HTTPException(404, "no such photo, or no such side")
        return Response(jpeg, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=60"})

    @app.post("/api/photos")
    async def upload(
        request: Request, label: str | None = None, drop: Annotated[str | None, Query(max_length=100)] = None
    ) -> dict[str, Any]:
        uploads = await photos_of(request, page.limits, files=True)
        taken = await run_in_threadpool(take, page.project, uploads, label, page.limits, drop)
        added = sum(path.is_file() for path in taken.made)
        return {"added": added, "skipped": [{"name": name, "reason": why} for name, why in taken.skipped]}

    @app.post("/api/labels")
    async def labels(asked: Labels) -> dict[str, int]:
        return {"changed": await run_in_threadpool(page.project.label, asked.keys, asked.label)}

    @app.post("/api/checked")
    async def checked(asked: Checked) -> dict[str, str]:
        await run_in_threadpool(page.project.check, asked.key, asked.label, asked.is_)
        return {}

    @app.post("/api/classes")
    async def classes(asked: ClassName) -> dict[str, int]:
        if asked.to is None:
            await run_in_threadpool(page.project.add_class, asked.name)
            return {"changed": 0}
        return {"changed": await run_in_threadpool(page.project.rename, asked.name, asked.to)}

    @app.post("/api/undo")
    async def undo() -> dict[str, str | None]:
        return {"undone": await run_in_threadpool(page.project.undo)}


def _job_routes(app: FastAPI, page: Page) -> None:
    async def started(*what: Any) -> JSONResponse:
        try:
            await run_in_threadpool(page.work.start, *what)
        except BusyError:
            raise HTTPException(409, "a job runs already: stop it, or wait for its end") from None
        return JSONResponse({}, 202)

    @app.post("/api/train")
    async def train(asked: Training) -> JSONResponse:
        return await started("train", asked.minutes)

    @app.post("/api/compare")
    async def compare() -> JSONResponse:
        return await started("compare")

    @app.post("/api/cancel")
    async def cancel() -> dict[str, str]:
        page.work.cancel()
        return {}

    @app.get("/api/events")
    async def events() -> StreamingResponse:
        def before() -> list[Told]:
            return [*([("job", page.work.job)] if page.work.job else []), *page.work.told()]

        stream = page.hub.stream(before)
        return StreamingResponse(
            stream, media_type="text/event-stream", headers={"Cache-Control": "no-store"}
        )


def _result_routes(app: FastAPI, page: Page) -> None:
    history = page.history

    @app.get("/api/result")
    async def result() -> dict[str, Any] | None:
        return await run_in_threadpool(page.result)

    @app.get("/api/unsure")
    async def unsure() -> list[dict[str, Any]]:
        return await run_in_threadpool(page.unsure)

    @app.post("/api/try")
    async def try_it(
        request: Request, unsure_below: Annotated[float, Query(ge=0, le=1)] = 0.0
    ) -> dict[str, Any]:
        photos = await photos_of(request, page.limits)
        return {"answers": await page.answering.of(photos, unsure_below)}

    @app.get("/api/history")
    async def models() -> list[dict[str, Any]]:
        return await run_in_threadpool(page.models)

    @app.post("/api/history")
    async def choose(asked: Chosen) -> dict[str, str]:
        await run_in_threadpool(history.choose, asked.number)
        return {}

    @app.get("/download/{what}")
    async def download(what: Literal["model", "onnx", "report"], number: int | None = None) -> FileResponse:
        path = await run_in_threadpool(page.file, what, number)
        if path is None:
            raise HTTPException(404, f"there is no such {what}: train a model first")
        return FileResponse(path, filename=f"{'report' if what == 'report' else 'model'}{path.suffix}")

    @app.get("/report/compare")
    async def compared() -> FileResponse:
        path = page.work.comparison()
        if path is None:
            raise HTTPException(404, "nothing was compared yet")
        return FileResponse(path, headers={"Content-Security-Policy": REPORT_POLICY})
