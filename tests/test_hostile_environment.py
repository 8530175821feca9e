"""Full disks, folders that cannot be written, two processes at once, input that is none: for every command.

Each ends with one error that says what, where and what to do, exit code 2, and leaves what was there.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import itertools
import json
import logging
import os
import resource
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from elsewhere import NO_NAMESPACE, Done, call, run_all, start_processes
from photos import write_photos
from safetensors import safe_open

from benchgraft.engines import exporter
from benchgraft.files import lock
from benchgraft.networks import model_file
from benchgraft.runfolder.ledger import read

EXPERIMENT = """
name = "tiny"
protocol = "like_for_like"
runs = 1
arms = { transfer = "second", scratch = "scratch" }
[data.photos]
format = "folder"
folder = "photos"
test = 0.15
[stages.first]
data = "photos"
recipe = { learning_rate = 0.01, batch_size = 32, stop = { epochs = 1 } }
[stages.second]
data = "photos"
parent = "first"
freeze = ["conv2d_*", "batch_normalization_*"]
recipe = { learning_rate = 0.01, batch_size = 32, stop = { epochs = 1 } }
[stages.scratch]
data = "photos"
recipe = { learning_rate = 0.01, batch_size = 32, stop = { epochs = 1 } }
"""
OLD = b"what was there before"

# Words of each command; what it writes is below disk/, what it reads beside it.
COMMANDS = {
    "adapt": "adapt photos --parent paper --out disk/m.safetensors --run-folder disk/run "
    "--cache-dir disk/cache",
    "update": "adapt photos --update disk/model.safetensors --run-folder disk/run --cache-dir disk/cache",
    "compare": "compare photos --parent paper --runs 1 --out disk/run --cache-dir disk/cache",
    "prepare": "prepare tiny.toml --data . --out disk/m.safetensors --run-folder disk/run"
    " --cache-dir disk/cache",
    "reproduce": "reproduce tiny.toml --data . --out disk/run --cache-dir disk/cache",
    "evaluate": "evaluate model.safetensors photos --include-trained --cache-dir disk/cache",
    "data check": "data check photos --cache-dir disk/cache",
    "export": "export model.safetensors --images photos --out disk/m.onnx",
    "report": "report disk/done",
    "report html": "report disk/done --format html",
}
SWEPT = [name for name in COMMANDS if name not in ("report html", "compare")]
"""Those two write as report and reproduce do."""
ON_A_RUN_FOLDER = ("adapt", "update", "compare", "prepare", "reproduce")
PRINTING = {
    "predict": "predict model.safetensors photos",
    "report csv": "report done --format csv",
    "report json": "report done --format json",
    "verify": "verify done",
    "evaluate": "evaluate model.safetensors photos --include-trained --cache-dir cache",
    "model": "model",
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """photos, a model of them, an experiment file, and a finished run folder (done); not to be changed."""
    start_processes()
    place = tmp_path_factory.mktemp("made")
    write_photos(place / "photos", {"red": 40, "green": 40})
    (place / "tiny.toml").write_text(EXPERIMENT)
    for words in (
        "adapt photos --out model.safetensors --run-folder run --cache-dir cache",
        "compare photos --parent paper --runs 1 --out done --cache-dir cache",
    ):
        with contextlib.chdir(place), pytest.raises(SystemExit) as ended:
            call(words.split())
        assert ended.value.code == 0
    return place


@pytest.fixture
def place(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The present folder: what commands read, and disk/ with files that they may replace."""
    place = tmp_path / "place"
    disk = place / "disk"
    disk.mkdir(parents=True)
    for name in ("photos", "model.safetensors", "tiny.toml", "done", "cache"):
        (place / name).symlink_to(made / name)
    shutil.copytree(made / "done", disk / "done", ignore=shutil.ignore_patterns("models"))
    shutil.copy(made / "model.safetensors", disk)
    for name in ("m.safetensors", "m.onnx"):
        (disk / name).write_bytes(OLD)
    monkeypatch.chdir(place)
    return place


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here depends on what a real disk has done."""
    monkeypatch.setattr(os, "fsync", lambda _: None)
    # Of torch's own loggers, which hold an earlier test's stderr.
    monkeypatch.setattr(logging, "raiseExceptions", False)


@pytest.fixture(autouse=True)
def one_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    """Export makes the same graph again and again, which takes seconds."""
    graph = exporter.graph_of

    def once(*arguments: Any) -> bytes:
        if not GRAPH:
            GRAPH.append(graph(*arguments))
        return GRAPH[0]

    monkeypatch.setattr(exporter, "graph_of", once)


GRAPH: list[bytes] = []
Run = Callable[[str], Done]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command in this process."""

    def run(words: str) -> Done:
        with pytest.raises(SystemExit) as ended:
            call(words.split())
        return Done(ended.value.code, *capsys.readouterr())  # type: ignore[arg-type]

    return run


# --- full disk ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SWEPT)
def test_disk_that_is_full_at_any_sync_costs_nothing(
    name: str, place: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The n-th fsync fails, for every n; the same command given again goes on, and ends well at last."""
    before = contents(place / "disk")
    for failing in itertools.count():
        left = [failing]

        def fsync(file: int, left: list[int] = left) -> None:
            if stat.S_ISREG(os.fstat(file).st_mode):
                left[0] -= 1
                if left[0] == -1:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "fsync", fsync)
        done = run(COMMANDS[name])
        assert_nothing_half_written(place / "disk")
        if left[0] >= 0:  # it came to its end before the one that would have failed
            break
        if done.code == 0:  # what only saves time, such as hashes of files, may be missing
            now = contents(place / "disk")
            before = {file: now[file] for file in before}
            if name == "update":  # the next is one of the updated model, so another run
                shutil.rmtree(place / "disk" / "run")
        else:
            assert_one_error(done, "No space left on device")
            assert_kept(before, place / "disk")
    assert done.code == 0
    assert failing > 0


@pytest.mark.parametrize("name", [name for name in COMMANDS if not name.startswith("report")])
def test_disk_that_takes_only_short_files_costs_nothing(name: str, place: Path, run: Run) -> None:
    """Every write beyond so many bytes of a file fails."""
    before = contents(place / "disk")
    for length in (0, 20_000, 1_000_000):
        with files_at_most(length):
            done = run(COMMANDS[name])
        assert_nothing_half_written(place / "disk")
        if done.code == 0:
            break
        assert_one_error(done, "File too large")
        assert_kept(before, place / "disk")
    assert length > 0, "the command wrote nothing"


# Bytes after which what is written ends too early: account, store, features, checkpoint or model, output.
SMALL_DISKS = {
    "adapt": (2_600_000, 5_500_000),
    "update": (2_600_000, 5_500_000),
    "compare": (2_600_000, 5_500_000),
    "prepare": (60_000, 5_500_000),
    "reproduce": (60_000, 5_500_000),
    "data check": (60_000, 1_500_000),
    "report": (0,),
    "report html": (20_000,),
}


@pytest.mark.parametrize(("name", "sizes"), SMALL_DISKS.items(), ids=SMALL_DISKS)
def test_small_disk_costs_nothing(name: str, sizes: Sequence[int], place: Path) -> None:
    """Real file systems of few bytes, where maps of files matter too: they end a process with SIGBUS."""
    before = contents(place / "disk")
    words = COMMANDS[name].split()
    for number, done in enumerate(run_all([words] * len(sizes), place, place / "disk", sizes)):
        if done.code == NO_NAMESPACE:
            pytest.skip("this system lets no user mount a small disk")
        after = place / f"disk-after-{number}"
        assert_nothing_half_written(after)
        assert_one_error(done, "No space left on device")
        assert_kept(before, after)


@pytest.mark.parametrize("name", PRINTING)
def test_full_disk_below_stdout_is_told(
    name: str, place: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open("/dev/full", "w") as full:  # noqa: PTH123
        monkeypatch.setattr(sys, "stdout", full)
        done = run(PRINTING[name])
        monkeypatch.undo()
    assert_one_error(done, "No space left on device")


def test_full_disk_below_stdout_is_told_once_to_the_end_of_the_process(tmp_path: Path) -> None:
    with open("/dev/full", "w") as full:  # noqa: PTH123
        done = subprocess.run(
            [sys.executable, "-m", "benchgraft", "--version"], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert_one_error(Done(done.returncode, "", done.stderr), "No space left on device")


def test_reader_that_has_seen_enough_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "benchgraft", "--version"]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert done.stderr == ""


# --- folders that cannot be written -------------------------------------------------------------------------


OPTIONS = [
    (name, option)
    for name, words in COMMANDS.items()
    for option in ("--out", "--run-folder", "--cache-dir")
    if f"{option} disk/" in words
]


@pytest.mark.parametrize("where", ["photos/red/0000.png/below", "/proc/benchgraft", "locked"])
@pytest.mark.parametrize(("name", "option"), OPTIONS)
def test_place_that_cannot_be_written_is_told(
    name: str, option: str, where: str, place: Path, run: Run
) -> None:
    words = COMMANDS[name].replace(f"{option} disk/", f"{option} {where}/")
    before = contents(place / "disk")
    (place / "locked").mkdir()
    with read_only(place / "locked"):
        done = run(words)
    assert_one_error(done, f"{where}/")
    assert_kept(before, place / "disk")
    assert_nothing_half_written(place / "disk")
    assert list((place / "locked").iterdir()) == []


@pytest.mark.parametrize("name", ["report", "report html", "update"])
def test_what_is_to_be_replaced_in_a_read_only_folder_stays(name: str, place: Path, run: Run) -> None:
    before = contents(place / "disk")
    for folder in (place / "disk" / "run", place / "disk" / "cache"):
        folder.mkdir()
    with read_only(place / "disk"), read_only(place / "disk" / "done"):
        done = run(COMMANDS[name])
    if name == "report" and done.code == 0:  # it prints, then
        assert "scratch" in done.out
    else:
        assert_one_error(done, "disk/")
    assert_kept(before, place / "disk")
    assert_nothing_half_written(place / "disk")


@pytest.mark.parametrize("name", ["adapt", "prepare", "export"])
def test_output_that_is_a_folder_is_told(name: str, place: Path, run: Run) -> None:
    for file in ("m.safetensors", "m.onnx"):
        (place / "disk" / file).unlink()
        (place / "disk" / file).mkdir()
    assert_one_error(run(COMMANDS[name]), "disk/m.")
    assert_nothing_half_written(place / "disk")


# --- two processes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ON_A_RUN_FOLDER)
def test_held_run_folder_is_refused_and_untouched(name: str, place: Path, run: Run) -> None:
    folder = place / "disk" / "run"
    with lock(folder):
        before = contents(place / "disk")
        done = run(COMMANDS[name])
        assert contents(place / "disk" / "run") == {}
        assert_kept(before, place / "disk")
    assert_one_error(done, "another process is working in disk/run")
    assert str(os.getpid()) in done.err
    if name in ("adapt", "update", "prepare"):
        assert "--run-folder" in done.err


TWICE = [
    *((words, words) for name, words in COMMANDS.items() if name not in ("report html", "compare")),
    # Each with a run folder of its own: output and cache are the same.
    *((COMMANDS[name], COMMANDS[name].replace("disk/run", "disk/other")) for name in ("adapt", "reproduce")),
]


@pytest.mark.parametrize(("one", "other"), TWICE, ids=[f"{a} / {b}" for a, b in TWICE])
def test_two_at_once_end_well_or_one_says_that_it_does_not(one: str, other: str, place: Path) -> None:
    done = run_all([one.split(), other.split()], place)
    assert 0 in [each.code for each in done]
    for each in done:
        if each.code != 0:
            assert_one_error(each, "another process is working in ")
    if one != other:
        assert [each.code for each in done] == [0, 0]
    assert_nothing_half_written(place / "disk")
    written = place / words_after(one, "--out")
    assert written.is_dir() or written.read_bytes() != OLD


# --- input that is none -------------------------------------------------------------------------------------


WRONG = [
    (words.replace(wanted, wrong), wrong)
    for words in ({**COMMANDS, **PRINTING}).values()
    for wanted, wrongs in {
        " photos": (" nowhere", " empty", " file"),
        " model.safetensors": (" nowhere", " empty", " file", " cut.safetensors"),
        "--update disk/model.safetensors": ("--update nowhere", "--update file", "--update cut.safetensors"),
        " tiny.toml": (" nowhere", " empty", " file", " typo.toml"),
        " disk/done": (" nowhere", " empty", " file", " cut"),
        " done": (" nowhere", " empty", " file", " cut"),
        "--data .": ("--data nowhere", "--data empty", "--data file"),
    }.items()
    if wanted in words
    for wrong in wrongs
]


@pytest.mark.parametrize(("words", "wrong"), WRONG, ids=[words for words, _ in WRONG])
def test_input_that_cannot_be_used_is_told_and_nothing_is_written(
    words: str, wrong: str, place: Path, run: Run
) -> None:
    (place / "empty").mkdir()
    (place / "file").write_text("neither photos nor a model\n")
    (place / "cut.safetensors").write_bytes((place / "model.safetensors").read_bytes()[:-1000])
    (place / "typo.toml").write_text(EXPERIMENT.replace("batch_size = 32", "batch_siez = 32", 1))
    (place / "cut").mkdir()
    whole = (place / "done" / "ledger.jsonl").read_bytes()
    (place / "cut" / "ledger.jsonl").write_bytes(whole[: len(whole) // 2] + b"\n")
    before = contents(place)
    # predict and verify say in their answer what is wrong, each in one line.
    answers = words.startswith("predict model") or words == "verify cut"
    assert_one_error(run(words), wrong.split()[-1], 1 if answers else 2)
    assert contents(place) == before


@pytest.mark.parametrize("name", ["adapt", "reproduce", "evaluate", "data check"])
def test_file_that_is_no_whole_image_is_named_and_left_out(name: str, place: Path, run: Run) -> None:
    photos = place / "photos"
    photos.unlink()
    write_photos(photos, {"red": 40, "green": 40})
    whole = (photos / "red" / "0000.png").read_bytes()
    (photos / "red" / "cut.png").write_bytes(whole[:-200])
    (photos / "green" / "text.jpg").write_text("no image")
    done = run(COMMANDS[name])
    assert done.code == 0, done.err
    for key in ("red/cut.png", "green/text.jpg"):
        assert key in done.out + done.err


@pytest.mark.parametrize("name", ["adapt", "compare", "prepare", "reproduce", "evaluate", "data check"])
def test_class_of_one_photo_ends_well_or_is_named(name: str, place: Path, run: Run) -> None:
    photos = place / "photos"
    photos.unlink()
    write_photos(photos, {"red": 40, "green": 40, "blue": 1})
    done = run(COMMANDS[name])
    if done.code == 0:
        assert "blue" in done.out
    else:
        assert_one_error(done, "blue", 1 if name == "data check" else 2)
    assert_nothing_half_written(place / "disk")


# --- how it is seen -----------------------------------------------------------------------------------------


def assert_one_error(done: Done, words: str, code: int = 2) -> None:
    """The exit code, and at the end of stderr one line of what and where, then lines of what to do."""
    assert done.code == code, (done.code, done.err)
    assert "Traceback" not in done.err
    lines = done.err.splitlines()
    starts = [number for number, line in enumerate(lines) if line.startswith("error: ")]
    assert len(starts) == 1, done.err
    told = lines[starts[0] :]
    assert words in "\n".join(told), done.err
    assert code != 2 or len(told) > 1 or "did you mean" in told[0], f"no advice: {done.err}"
    assert all(line.startswith("  ") for line in told[1:]), done.err


def assert_nothing_half_written(disk: Path) -> None:
    """No temporary file is left, and every file is whole."""
    hidden = [path for path in disk.rglob(".*") if path.name != ".lock"]
    assert hidden == []
    for path in filter(Path.is_file, disk.rglob("*")):
        if path.suffix == ".safetensors" and path.read_bytes() != OLD:
            if path.parent.name == "checkpoints":
                with safe_open(path, framework="np") as opened:
                    assert list(opened.keys())
            else:
                model_file.read(path)
        elif path.suffix == ".json":
            json.loads(path.read_bytes())
        elif path.name == "ledger.jsonl":
            read(path.parent)
        elif path.suffix == ".html":
            assert path.read_text().rstrip().endswith("</html>")
        elif path.suffix == ".onnx" and path.read_bytes() != OLD:
            import onnx

            onnx.checker.check_model(onnx.load(path))


def words_after(words: str, option: str) -> str:
    return words.partition(f"{option} ")[2].partition(" ")[0]


def assert_kept(before: dict[str, str], disk: Path) -> None:
    """Files that were there are there, bit by bit."""
    now = contents(disk)
    assert {name: now.get(name) for name in before} == before


def contents(folder: Path) -> dict[str, str]:
    """Name -> digest of every file, of a folder its mark."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        if path.is_file()
        else "folder"
        for path in sorted(folder.rglob("*"))
        if path.name != ".lock"
    }


# --- how it is made -----------------------------------------------------------------------------------------


@contextlib.contextmanager
def files_at_most(length: int) -> Iterator[None]:
    """No file of this process can be written beyond so many bytes (Python ignores SIGXFSZ)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (length, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Take away the right to write in a folder, from root too."""
    folder.chmod(0o555)
    try:
        with without_override():
            yield
    finally:
        folder.chmod(0o755)


@contextlib.contextmanager
def without_override() -> Iterator[None]:
    """Lay down root's right to write everywhere (CAP_DAC_OVERRIDE), for this thread."""
    libc = ctypes.CDLL(None, use_errno=True)
    version_3, dac_override = 0x20080522, 1 << 1
    head, sets = (ctypes.c_uint32 * 2)(version_3, 0), (ctypes.c_uint32 * 6)()
    assert libc.capget(head, sets) == 0
    before = sets[0]
    sets[0] &= ~dac_override
    assert libc.capset(head, sets) == 0
    try:
        yield
    finally:
        sets[0] = before
        assert libc.capset(head, sets) == 0
