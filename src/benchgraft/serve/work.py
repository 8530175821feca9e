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
from ..progress import seconds_left
from ..runfolder.ledger import now
from ..runfolder.seal import REPORT_HTML
from ..tasks.adapt import adapt
from ..tasks.compare import compare
from .history import History, Kept
from .project import Project

Kind = Literal["train", "compare"]
Tell = Callable[[str, Mapping[str, Any]], None]
"""Takes the name of an event and what it says, from whichever thread."""
JOB = "job.json"
COMPARED = "compared"
"""The number of the run folder of the last comparison."""
LARGEST_MINUTES = 600.0
TELL_EVERY = 0.2
"""Seconds between two words of one task's progress."""


class BusyError(Exception):
    """A job runs already."""


class Work:
    """The jobs of one project."""

    def __init__(
        self, project: Project, history: History, tell: Tell, options: Mapping[str, Any] | None = None
    ) -> None:
        """options: of `adapt` and `compare` alike: cache, device, threads."""
        self._project, self._history, self._tell, self._options = project, history, tell, options or {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._cancel = threading.Event()
        self._told: list[tuple[str, Mapping[str, Any]]] = []
        self._shown: dict[str, _Shown] = {}
        self._stopped: Mapping[str, Any] | None = None
        """The job that the user has stopped, which goes on if it is started again."""
        self._is_ending = False
        self.job: dict[str, Any] | None = None
        """As the page shows it."""

    def go_on(self) -> None:
        """With the job that was running when the program ended, if there was one."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, BusyError, UserError):
            left = json.loads((self._project.place / JOB).read_text())
            self.start(left["kind"], float(left["minutes"]), left)

    def start(self, kind: Kind, minutes: float = 0.0, left: Mapping[str, Any] | None = None) -> None:
        """left: the same job, as it was when it ended; it goes on where its photos are the same. Raises
        BusyError where one runs, DataError for a folder that cannot be listed."""
        signature, current = self._project.listed().signature, self._history.current()
        with self._lock:
            if self._thread is not None and self._thread.is_alive():
                raise BusyError
            facts = {"kind": kind, "minutes": minutes, "signature": signature, "old": current}
            left = left or self._stopped
            is_same = left is not None and all(left.get(name) == value for name, value in facts.items())
            number = int(left["number"]) if left is not None and is_same else self._history.next_number()
            facts |= {"number": number, "started": now()}
            self._stopped, self._is_ending = None, False
            self._cancel.clear()
            self._told, self._shown = [], {}
            write_whole(self._project.place / JOB, json.dumps(facts))
            self._thread = threading.Thread(target=self._run, args=(facts,), name=kind)
            self._set(facts | {"state": "running", "error": None})
            self._thread.start()

    def cancel(self) -> None:
        """The job ends soon; the same one goes on where it was when it is started again."""
        self._cancel.set()

    def stop(self) -> None:
        """For the program's end: the job is left to go on with next time."""
        self._is_ending = True
        self._cancel.set()
        if self._thread is not None:
            self._thread.join()

    def told(self) -> list[tuple[str, Mapping[str, Any]]]:
        """What has been told of the job that runs, for somebody who comes later."""
        with self._lock:
            progress = [("progress", shown.facts()) for shown in self._shown.values()]
            return [*self._told, *progress]

    def _run(self, facts: dict[str, Any]) -> None:
        place = self._project.place / JOB
        try:
            if facts["kind"] == "train":
                self._train(facts)
            else:
                self._compare(facts["number"])
            state, error = "done", None
        except Interrupted:
            state, error = "stopped", None
        except UserError as mistake:
            state, error = "failed", str(mistake)
        except MemoryError:
            state, error = "failed", "there was not enough memory"
        except Exception as fault:  # told to the user: the page must not wait for ever
            state, error = "failed", f"fault of the program: {type(fault).__name__}: {printable(str(fault))}"
        self._stopped = facts if state == "stopped" else None
        if not (state == "stopped" and self._is_ending):
            place.unlink(missing_ok=True)
        self._set(facts | {"state": state, "error": error})

    def _train(self, facts: Mapping[str, Any]) -> None:
        listed, history, number = self._project.listed(), self._history, int(facts["number"])
        minutes, old = facts["minutes"], facts["old"]
        made = adapt(
            self._project.folder,
            history.model(number),
            update=history.model(old) if old is not None and not minutes else None,
            minutes=minutes,
            overlap="drop-near",
            **self._options,
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

    def _compare(self, number: int) -> None:
        compare(
            self._project.folder,
            overlap="drop-near",
            **self._options,
            run_folder=self._history.run(number),
            listen=self._listen,
            cancel=self._cancel,
        )
        write_whole(self._project.place / COMPARED, f"{number}\n")

    def comparison(self) -> Path | None:
        """The report of the last comparison."""
        try:
            number = int((self._project.place / COMPARED).read_text())
        except (OSError, ValueError):
            return None
        path = self._history.run(number) / REPORT_HTML
        return path if path.is_file() else None

    def _set(self, job: dict[str, Any]) -> None:
        self.job = job
        self._tell("job", job)

    def _listen(self, event: Event) -> None:
        """Of the tasks: plain data on to the page."""
        if isinstance(event, TaskStarted | TaskAdvanced | TaskEnded):
            facts = self._progress(event)
            if facts is not None:
                self._tell("progress", facts)
        elif isinstance(event, Note):
            self._note("note", {"line": event.line})
        elif isinstance(event, ParentTried):
            tried = {"parent": event.parent, "fit": event.fit, "seconds": event.seconds}
            self._note("tried", tried | {"balanced_accuracy": event.balanced_accuracy})
        elif isinstance(event, EpochEnded):
            names = ("epoch", "epochs", "loss", "validation_loss", "validation_accuracy")
            self._note("epoch", {name: getattr(event, name) for name in names})

    def _progress(self, event: TaskStarted | TaskAdvanced | TaskEnded) -> dict[str, Any] | None:
        """What is to be told of it now."""
        with self._lock:
            if isinstance(event, TaskStarted):
                self._shown[event.task] = _Shown(event.what, event.total)
                return None
            if isinstance(event, TaskEnded):
                return self._shown.pop(event.task).facts()
            shown = self._shown[event.task]
            return shown.facts() if shown.advance(event.count) else None

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
        is_known = self._done and self._total
        left = seconds_left(time.monotonic() - self._started, self._done, self._total) if is_known else None
        return {"what": self._what, "done": self._done, "total": self._total, "seconds_left": left}
