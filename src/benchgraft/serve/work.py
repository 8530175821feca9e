"""Training behind the page: one job at a time, told as it goes, and gone on with after whatever ended it."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from ..errors import Interrupted, UserError
from ..events import EpochEnded, Event, Note, ParentTried, TaskAdvanced, TaskEnded, TaskStarted
from ..files import write_whole
from ..names import printable
from ..runfolder.ledger import now
from ..tasks.adapt import adapt
from ..tasks.compare import compare
from .history import History, Kept
from .project import Project

Kind = Literal["train", "compare"]
Tell = Callable[[str, Mapping[str, Any]], None]
"""Takes the name of an event and what it says, from whichever thread."""
JOB = "job.json"
COMPARED = "compare"
LARGEST_MINUTES = 600.0
TELL_EVERY = 0.2
"""Seconds between two words of one task's progress."""


class BusyError(Exception):
    """A job runs already."""


class Work:
    """The jobs of one project."""

    def __init__(self, project: Project, history: History, tell: Tell, cache: Path | None) -> None:
        self._project, self._history, self._tell, self._cache = project, history, tell, cache
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._cancel = threading.Event()
        self._told: list[tuple[str, Mapping[str, Any]]] = []
        self._shown: dict[str, _Shown] = {}
        self.job: dict[str, Any] | None = None
        """As the page shows it."""

    def go_on(self) -> None:
        """With the job that was running when the program ended, if there was one."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, BusyError):
            left = json.loads((self._project.place / JOB).read_text())
            self.start(left["kind"], float(left["minutes"]), int(left["number"]))

    def start(self, kind: Kind, minutes: float = 0.0, number: int | None = None) -> None:
        """Raises BusyError where one runs."""
        with self._lock:
            if self._thread is not None and self._thread.is_alive():
                raise BusyError
            self._cancel.clear()
            self._told, self._shown = [], {}
            number = self._begun(kind, minutes) or self._history.next_number() if number is None else number
            facts = {"kind": kind, "minutes": minutes, "number": number, "started": now()}
            facts |= {"signature": self._project.listed().signature}
            write_whole(self._project.place / JOB, json.dumps(facts))
            self._set(facts | {"state": "running", "error": None})
            self._thread = threading.Thread(target=self._run, args=(kind, minutes, number), name=kind)
            self._thread.start()

    def cancel(self) -> None:
        """The job ends soon; the same one goes on where it was when it is started again."""
        self._cancel.set()

    def stop(self) -> None:
        """For the program's end: the job is left to go on with next time."""
        self._cancel.set()
        if self._thread is not None:
            self._thread.join()

    def told(self) -> list[tuple[str, Mapping[str, Any]]]:
        """What has been told of the job that runs, for somebody who comes later."""
        with self._lock:
            progress = [("progress", shown.facts()) for shown in self._shown.values()]
            return [*self._told, *progress]

    def _begun(self, kind: Kind, minutes: float) -> int | None:
        """The number of the same job where it was stopped."""
        job = self.job
        if job is None or job["state"] != "stopped":
            return None
        wanted = (kind, minutes, self._project.listed().signature)
        return int(job["number"]) if (job["kind"], job["minutes"], job["signature"]) == wanted else None

    def _run(self, kind: Kind, minutes: float, number: int) -> None:
        place = self._project.place / JOB
        job = dict(self.job or {})
        try:
            if kind == "train":
                self._train(minutes, number)
            else:
                self._compare()
            state, error = "done", None
        except Interrupted:
            state, error = "stopped", None
        except UserError as mistake:
            state, error = "failed", str(mistake)
        except MemoryError:
            state, error = "failed", "the memory did not suffice"
        except Exception as fault:  # told to the user: the page must not wait for ever
            state, error = "failed", f"fault of the program: {type(fault).__name__}: {printable(str(fault))}"
        if state in ("done", "failed"):
            place.unlink(missing_ok=True)
        self._set(job | {"state": state, "error": error})

    def _train(self, minutes: float, number: int) -> None:
        listed, history = self._project.listed(), self._history
        current = history.current()
        old = history.model(current) if current is not None and not minutes else None
        made = adapt(
            self._project.folder,
            history.model(number),
            update=old,
            minutes=minutes,
            overlap="drop-near",
            cache=self._cache,
            run_folder=history.run(number),
            listen=self._listen,
            cancel=self._cancel,
        )
        kept = Kept(
            number=number,
            date=now(),
            signature=listed.signature,
            photos=len(listed.samples),
            result=made,
        )
        history.keep(kept)

    def _compare(self) -> None:
        compare(
            self._project.folder,
            overlap="drop-near",
            cache=self._cache,
            run_folder=self._project.place / COMPARED,
            listen=self._listen,
            cancel=self._cancel,
        )

    def _set(self, job: dict[str, Any]) -> None:
        self.job = job
        self._tell("job", job)

    def _listen(self, event: Event) -> None:
        """Of the tasks: plain data on to the page."""
        if isinstance(event, TaskStarted):
            self._shown[event.task] = _Shown(event.what, event.total)
        elif isinstance(event, TaskAdvanced):
            shown = self._shown[event.task]
            if shown.advance(event.count):
                self._tell("progress", shown.facts())
        elif isinstance(event, TaskEnded):
            self._tell("progress", self._shown.pop(event.task).facts())
        elif isinstance(event, Note):
            self._note("note", {"line": event.line})
        elif isinstance(event, ParentTried):
            facts = {"parent": event.parent, "fit": event.fit, "seconds": event.seconds}
            self._note("tried", facts | {"balanced_accuracy": event.balanced_accuracy})
        elif isinstance(event, EpochEnded):
            names = ("epoch", "epochs", "loss", "validation_loss", "validation_accuracy")
            self._note("epoch", {name: getattr(event, name) for name in names})

    def _note(self, name: str, facts: Mapping[str, Any]) -> None:
        with self._lock:
            self._told.append((name, facts))
        self._tell(name, facts)


class _Shown:
    """Progress of one task."""

    def __init__(self, what: str, total: int) -> None:
        self._what, self._total, self._done = what, total, 0
        self._started = self._last = time.monotonic()

    def advance(self, count: int) -> bool:
        """Whether it is time to tell of it again."""
        self._done += count
        if time.monotonic() - self._last < TELL_EVERY:
            return False
        self._last = time.monotonic()
        return True

    def facts(self) -> dict[str, Any]:
        """For the page."""
        took = time.monotonic() - self._started
        left = took / self._done * (self._total - self._done) if self._done and self._total else None
        return {"what": self._what, "done": self._done, "total": self._total, "seconds_left": left}
