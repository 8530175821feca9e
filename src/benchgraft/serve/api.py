"""The answering service: photos in, classes with their probabilities out."""

from __future__ import annotations

import time
from collections.abc import Mapping
from importlib.metadata import version
from typing import Annotated

from fastapi import FastAPI, HTTPException, Query, Request
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel

from ..tasks.predict import Answer, Unreadable
from .body import SCHEMA, photos_of, shown
from .failures import tell_failures
from .limits import Limits
from .metrics import CONTENT_TYPE, Metrics
from .served import Served


class PhotoAnswer(BaseModel):
    """What the model says of one photo, or why it says nothing."""

    photo: str
    """Its file name, or "photo"."""
    class_name: str | None = None
    """The likeliest class; `unsure` where its probability is below `unsure_below`."""
    probability: float | None = None
    """Of the likeliest class."""
    top: dict[str, float] = {}
    """The likeliest classes with their probabilities, the likeliest first."""
    findings: list[str] = []
    """What looks like a mistake in the photo."""
    error: str | None = None
    """Why it could not be read."""


class Answers(BaseModel):
    """Of one request, in its order."""

    model: str
    answers: list[PhotoAnswer]


class ModelFacts(BaseModel):
    """What answers."""

    name: str
    file: str
    """Its name, without the folder."""
    class_names: list[str]
    side: int
    """Pixels of the square that it takes."""
    fit: str
    """How photos are brought to it."""
    engine: str


class Failure(BaseModel):
    """Of a request that was refused."""

    detail: str


REFUSED: dict[int | str, dict[str, object]] = {
    code: {"model": Failure, "description": told}
    for code, told in {
        401: "The token is missing or wrong.",
        403: "A page of another site asks.",
        404: "No model of this name.",
        408: "The request took too long to arrive.",
        413: "Too large, or too many photos.",
        415: "No photo, and no form with photos.",
        421: "Asked under a name that is not this machine's.",
        422: "No photo, none that can be read, or a value that cannot be.",
        429: "Too many photos wait; ask again after the seconds of Retry-After.",
    }.items()
}


def make_app(models: Mapping[str, Served], metrics: Metrics, limits: Limits) -> FastAPI:
    """models: by name; the first one answers where a question names none."""
    app = FastAPI(
        title="benchgraft",
        version=version("benchgraft"),
        description="Answers of image classifiers.",
        docs_url=None,  # their pages load scripts from elsewhere
        redoc_url=None,
    )
    tell_failures(app)
    default = next(iter(models))

    def chosen(name: str | None) -> Served:
        if (name or default) not in models:
            raise HTTPException(404, f"no model of this name; there are: {', '.join(models)}")
        return models[name or default]

    @app.post("/predict", openapi_extra=SCHEMA, responses=_refused(404, 408, 413, 415, 422, 429))
    async def predict(
        request: Request,
        model: Annotated[str | None, Query(description="Default: the first one.")] = None,
        top: Annotated[int, Query(ge=1, le=1000, description="How many classes to list.")] = 1,
        unsure_below: Annotated[
            float, Query(ge=0, le=1, description="Answer `unsure` where the probability is below this.")
        ] = 0.0,
    ) -> Answers:
        """Say what photos show. One that cannot be read costs the others nothing."""
        started = time.perf_counter()
        served = chosen(model)
        photos = await photos_of(request, limits)
        found = await served.answers(photos, top, unsure_below)
        unreadable = [answer for answer in found if isinstance(answer, Unreadable)]
        metrics.photos(served.name, len(found) - len(unreadable), len(unreadable))
        metrics.took(time.perf_counter() - started)
        if len(unreadable) == len(found):
            told = "; ".join(f"{shown(answer.path)}: {answer.reason}" for answer in unreadable[:3])
            raise HTTPException(422, f"no photo can be read: {told}")
        return Answers(model=served.name, answers=[_answer(answer) for answer in found])

    @app.get("/model", responses=_refused())
    async def model() -> list[ModelFacts]:
        """All models, the one that answers by default first."""
        return [_facts(served) for served in models.values()]

    @app.get("/healthz", responses=_refused())
    async def healthz() -> dict[str, str]:
        """Whether it answers."""
        return {"status": "ok"}

    @app.get("/metrics", response_class=PlainTextResponse, responses=_refused())
    async def counted() -> PlainTextResponse:
        """Counters for Prometheus."""
        return PlainTextResponse(metrics.text(), media_type=CONTENT_TYPE)

    return app


def _refused(*codes: int) -> dict[int | str, dict[str, object]]:
    """For OpenAPI; what the guard refuses may come back of any path."""
    return {code: REFUSED[code] for code in (401, 403, 421, *codes)}


def _answer(answer: Answer) -> PhotoAnswer:
    if isinstance(answer, Unreadable):
        return PhotoAnswer(photo=shown(answer.path), error=answer.reason)
    return PhotoAnswer(
        photo=shown(answer.path),
        class_name=answer.class_name,
        probability=answer.probability,
        top=dict(answer.top),
        findings=list(answer.findings),
    )


def _facts(served: Served) -> ModelFacts:
    classifier = served.classifier
    return ModelFacts(
        name=served.name,
        file=served.path.name,
        class_names=classifier.class_names,
        side=classifier.rule.size,
        fit=classifier.rule.fit,
        engine=classifier.engine.name,
    )
