"""What goes on is told to one function, and a task can be stopped from another thread and given again."""

from __future__ import annotations

import dataclasses
import json
import signal
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest
from photos import write_photos
from test_functions import CHAIN

from benchgraft import adapt, compare, evaluate, prepare
from benchgraft.errors import Interrupted, RequestError
from benchgraft.events import (
    EpochEnded,
    Event,
    Events,
    Note,
    RunFinished,
    TaskAdvanced,
    TaskEnded,
    TaskStarted,
)
from benchgraft.networks import model_file
from benchgraft.progress import NoProgress
from benchgraft.runfolder.ledger import Ledger
from benchgraft.runfolder.records import RunRecord
from benchgraft.training import cuts

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchgraft.tasks.adapt.STEPS", 20)
    monkeypatch.setattr("benchgraft.tasks.compare.COMPARED_STEPS", 5)
    # It is measured, and the machine is shared.
    monkeypatch.setattr(cuts, "choose_cut", lambda *_, **__: "max_pooling2d_3")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos(tmp_path_factory.mktemp("events") / "photos", {"red": 60, "green": 60})


def _where(folder: Path, **more: Any) -> dict[str, Any]:
    return {"cache": folder / "cache", "run_folder": folder / "run"} | more


# --- what is told -------------------------------------------------------------------------------------------


def test_a_listener_hears_tasks_epochs_the_run_and_its_record(photos, tmp_path):
    heard: list[Event] = []
    made = adapt(photos, tmp_path / "m", **_where(tmp_path, listen=heard.append), parent="paper")
    started = {event.task: event for event in heard if isinstance(event, TaskStarted)}
    wanted = ["read images", "decode images", "compare images", "features", "train"]
    assert [event.what for event in started.values()] == wanted
    for task, event in started.items():
        counts = [each.count for each in heard if isinstance(each, TaskAdvanced) and each.task == task]
        assert sum(counts) == event.total or event.what == "train"  # which may stop early
        assert [each.is_whole for each in heard if isinstance(each, TaskEnded) and each.task == task] == [
            True
        ]
    (record,) = (run for run in Ledger(tmp_path / "run").of_kind(RunRecord) if not run.given)
    epochs = [event for event in heard if isinstance(event, EpochEnded)]
    assert [event.loss for event in epochs] == record.loss
    assert [event.validation_loss for event in epochs] == record.validation_loss
    assert [event.validation_accuracy for event in epochs] == record.validation_accuracy
    assert [event.epoch for event in epochs] == list(range(1, made.epochs + 1))
    assert {event.run for event in epochs} == {"transfer, seed 0"}
    (finished,) = (event for event in heard if isinstance(event, RunFinished))
    assert RunRecord.model_validate(finished.record) == record


def test_every_event_can_be_sent_to_a_page(photos, tmp_path):
    heard: list[Event] = []
    compare(photos, parent="paper", runs=1, **_where(tmp_path, listen=heard.append))
    for event in heard:
        assert type(event)(**json.loads(json.dumps(dataclasses.asdict(event)))) == event
    assert any(isinstance(event, Note) and event.line.startswith("scratch, seed 0") for event in heard)


def test_lines_and_progress_are_shown_beside_a_listener(photos, tmp_path):
    tracked: list[str] = []

    class Noting(NoProgress):
        def track(self, total: int, what: str) -> AbstractContextManager[Callable[[int], None]]:
            tracked.append(what)
            return nullcontext(lambda _: None)

    heard: list[Event] = []
    lines: list[str] = []
    compare(
        photos,
        parent="paper",
        runs=1,
        **_where(tmp_path, listen=heard.append, say=lines.append, progress=Noting()),
    )
    assert lines == [event.line for event in heard if isinstance(event, Note)]
    assert tracked == [event.what for event in heard if isinstance(event, TaskStarted)]


def test_a_task_that_fails_is_told_as_not_whole_and_shown_to_its_end():
    ended: list[object] = []

    class Shown(AbstractContextManager[Callable[[int], None]]):
        def __enter__(self) -> Callable[[int], None]:
            return lambda _: None

        def __exit__(self, kind: object, *_: object) -> None:
            ended.append(kind)

    class Showing(NoProgress):
        def track(self, total: int, what: str) -> Shown:
            return Shown()

    heard: list[Event] = []
    with pytest.raises(ZeroDivisionError), Events(heard.append, progress=Showing()).track(2, "count"):
        raise ZeroDivisionError
    assert isinstance(heard[-1], TaskEnded)
    assert not heard[-1].is_whole
    assert ended == [Interrupted]


# --- cancelled ----------------------------------------------------------------------------------------------


class Thread(threading.Thread):
    """Calls a function, and keeps what it gave or raised."""

    def __init__(self, call: Callable[[], object]) -> None:
        super().__init__()
        self._call = call
        self.made: object = None
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self.made = self._call()
        except BaseException as error:
            self.error = error


def _cancelled(call: Callable[..., object], what: str, after: int) -> BaseException | None:
    """What a call raises in a thread of its own, cancelled from here when a task has advanced so often."""
    reached, cancel = threading.Event(), threading.Event()
    left, followed = [after], set()

    def listen(event: Event) -> None:
        if isinstance(event, TaskStarted) and event.what == what:
            followed.add(event.task)
        if isinstance(event, TaskAdvanced) and event.task in followed and event.count:
            left[0] -= 1
            if not left[0]:
                reached.set()
                assert cancel.wait(60)

    thread = Thread(lambda: call(listen=listen, cancel=cancel))
    thread.start()
    assert reached.wait(60)
    cancel.set()
    thread.join()
    return thread.error


@pytest.fixture(scope="module")
def whole(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Digest of the model that nobody stops."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("benchgraft.tasks.adapt.STEPS", 20)
        patch.setattr(cuts, "choose_cut", lambda *_, **__: "max_pooling2d_3")
        adapt(photos, folder / "m", **_where(folder), parent="paper")
    return model_file.read(folder / "m").card.model_digest


STEPS = [("read images", 1), ("decode images", 1), ("compare images", 1), ("features", 1)]
STEPS += [("train", steps) for steps in (1, 2, 7)]


@pytest.mark.parametrize(("what", "after"), STEPS)
def test_a_call_cancelled_from_another_thread_goes_on_later_to_the_same_model(
    what, after, photos, tmp_path, whole
):
    handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}
    where = _where(tmp_path)
    error = _cancelled(
        lambda **how: adapt(photos, tmp_path / "m", **where, **how, parent="paper"), what, after
    )
    assert isinstance(error, Interrupted)
    assert not (tmp_path / "m").exists()
    assert len(list(tmp_path.rglob("checkpoints/*"))) == (what == "train")
    heard: list[Event] = []
    made = adapt(photos, tmp_path / "m", **where, listen=heard.append, parent="paper")
    assert model_file.read(tmp_path / "m").card.model_digest == whole
    (run,) = (run for run in Ledger(tmp_path / "run").of_kind(RunRecord) if not run.given)
    assert run.segments == (2 if what == "train" else 1)
    (train,) = (e for e in heard if isinstance(e, TaskStarted) and e.what == "train")
    done = [e.count for e in heard if isinstance(e, TaskAdvanced) and e.task == train.task]
    assert done[0] == (after if what == "train" else 0)
    assert made.decoded == {"read images": 120, "decode images": 120 - 64}.get(what, 0)
    assert {number: signal.getsignal(number) for number in signal.valid_signals()} == handlers


def test_a_task_in_a_thread_of_its_own_gives_the_model_that_it_gives_in_the_main_one(photos, tmp_path, whole):
    thread = Thread(lambda: adapt(photos, tmp_path / "m", **_where(tmp_path), parent="paper"))
    thread.start()
    thread.join()
    assert thread.error is None
    assert model_file.read(tmp_path / "m").card.model_digest == whole


def test_a_task_that_is_cancelled_before_it_begins_does_nothing(photos, tmp_path, synthetic_data):
    (tmp_path / "tiny.toml").write_text(CHAIN)
    adapt(photos, tmp_path / "m", **_where(tmp_path), parent="paper")
    cancel = threading.Event()
    cancel.set()
    here, compared, prepared = (
        {"cache": tmp_path / "cache", "run_folder": tmp_path / "none" / name, "cancel": cancel}
        for name in ("here", "compared", "prepared")
    )
    calls: list[Callable[[], object]] = [
        lambda: adapt(photos, tmp_path / "n", **here, parent="paper"),
        lambda: compare(photos, parent="paper", **compared),
        lambda: prepare(tmp_path / "tiny.toml", tmp_path / "n", data=synthetic_data, **prepared),
        lambda: evaluate(
            tmp_path / "m", photos, include_trained=True, cache=tmp_path / "cache", cancel=cancel
        ),
    ]
    for call in calls:
        with pytest.raises(Interrupted):
            call()
    assert not (tmp_path / "n").exists()
    assert not list((tmp_path / "none").rglob("*.safetensors"))


@pytest.mark.parametrize("name", ["cancel", "listen"])
def test_what_cannot_be_asked_or_told_is_refused_at_once(name, photos):
    with pytest.raises(RequestError, match=f"^{name} is 3: give "):
        adapt(photos, **{name: 3}, parent="paper")
