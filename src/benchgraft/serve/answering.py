"""The project's own model, tried on photos, and its files to take away."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from ..engines.engine import ONNX_SUFFIX, Classifier
from ..errors import DataError
from ..runfolder.seal import REPORT_HTML
from ..tasks.export import export
from ..tasks.predict import Answer, Unreadable
from .alike import Alike
from .body import shown
from .history import History
from .metrics import Metrics
from .served import Room, Served

TOP = 5
WAITING = 1024
KEPT_MODELS = 3


class Answering:
    """Opens the model when it is first asked, and another one when the project has another."""

    def __init__(self, history: History, open_model: Callable[[Path], Classifier], alike: Alike) -> None:
        """open_model: on the device of the user's choice."""
        self._history, self._open_model, self._room = history, open_model, Room(WAITING)
        self._alike = alike
        self._served: OrderedDict[Path, Served] = OrderedDict()
        """Of the last models that were asked, the latest last: those before may still be answering."""
        self._opening = asyncio.Lock()

    async def of(self, photos: Sequence[tuple[str, bytes]], unsure_below: float) -> list[dict[str, Any]]:
        """Answers for (name, bytes), in order. Raises DataError where there is no model yet."""
        served = await self._model()
        found = await served.answers(photos, TOP, unsure_below)
        alike = await self._alike.of(served.path, photos)
        near: list[Any] = [None] * len(photos) if alike.photos is None else alike.photos
        return [
            _facts(answer) | {"alike": each, "why_none_alike": alike.why_none}
            for answer, each in zip(found, near, strict=True)
        ]

    def file(self, what: Literal["model", "onnx", "report"], number: int) -> Path:
        """Its path; an ONNX file is made when it is first wanted. Raises ExportError."""
        model = self._history.model(number)
        if what == "model":
            return model
        if what == "report":
            return self._history.run(number) / REPORT_HTML
        made = model.with_suffix(ONNX_SUFFIX)
        if not made.is_file():
            export(model, made)
        return made

    def close(self) -> None:
        """End."""
        self._alike.close()
        for served in self._served.values():
            served.close()

    async def _model(self) -> Served:
        number = self._history.current()
        if number is None:
            raise DataError("there is no model yet", "train one first")
        path = self._history.model(number)
        async with self._opening:
            if path not in self._served:
                self._served[path] = await asyncio.to_thread(self._open, path)
            self._served.move_to_end(path)
            if len(self._served) > KEPT_MODELS:
                _, oldest = self._served.popitem(last=False)
                await asyncio.to_thread(oldest.close)
            return self._served[path]

    def _open(self, path: Path) -> Served:
        return Served("model", path, self._open_model, self._room, Metrics(), lambda _line: None)


def _facts(answer: Answer) -> dict[str, Any]:
    if isinstance(answer, Unreadable):
        empty: dict[str, Any] = {"class_name": None, "probability": None, "top": {}, "findings": []}
        return {"photo": shown(answer.path), "error": answer.reason} | empty
    return {
        "photo": shown(answer.path),
        "class_name": answer.class_name,
        "probability": answer.probability,
        "top": dict(answer.top),
        "findings": list(answer.findings),
        "error": None,
    }
