"""What commands print and what they are told: any name of a file or class, any terminal, any list."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from elsewhere import call
from photos import write_photos

from benchgraft.config.experiment import ClassRules
from benchgraft.errors import ModelFileError, UserError
from benchgraft.files import check_target, default_cache, name_of
from benchgraft.names import class_name, listed, printable, resolve_renames
from benchgraft.networks import model_file

CLASSES = ("Äpfel", "梨")
RAW = os.fsdecode(b"\xff.png")
BROKEN = "a\nb.png"
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}
HERE = Path(__file__).parent


@dataclass(frozen=True)
class Said:
    """How a command ended, and the bytes that it wrote."""

    code: int | None
    out: bytes
    err: bytes


Run = Callable[..., Said]


@pytest.fixture
def run() -> Run:
    """Run a command in this process, on streams of its own."""

    def run(*words: str, encoding: str = "utf-8", stdin: bytes = b"") -> Said:
        buffers = [io.BytesIO(content) for content in (b"", b"", stdin)]
        streams = [io.TextIOWrapper(buffer, encoding) for buffer in buffers]
        with pytest.MonkeyPatch.context() as patched:
            for name, stream in zip(("stdout", "stderr", "stdin"), streams, strict=True):
                patched.setattr(sys, name, stream)
            with pytest.raises(SystemExit) as ended:
                call(words)
            for stream in streams[:2]:
                stream.flush()
        return Said(ended.value.code, *(buffer.getvalue() for buffer in buffers[:2]))  # type: ignore[arg-type]

    return run


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos of classes in other scripts, two of them with names that are none, and a model of them."""
    place = tmp_path_factory.mktemp("words")
    write_photos(place / "drawn", {"red": 40, "green": 40})
    (place / "photos").mkdir()
    for drawn, name in zip(("red", "green"), CLASSES, strict=True):
        (place / "drawn" / drawn).rename(place / "photos" / name)
        (place / "photos" / name / "0000.png").rename(place / "photos" / name / RAW)
        (place / "photos" / name / "0001.png").rename(place / "photos" / name / BROKEN)
    program = "import sys; from elsewhere import call; call(sys.argv[1:])"
    words = (
        "adapt",
        "photos",
        "--parent",
        "paper",
        "--out",
        "m.safetensors",
        "--run-folder",
        "run",
        "--cache-dir",
        "cache",
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *words],
        cwd=place,
        env={**os.environ, **ASCII, "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path])},
        capture_output=True,
    )
    assert b"Traceback" not in done.stderr
    assert done.returncode == 0, done.stderr
    assert rb"\xc4pfel" in done.stdout and rb"\u68a8" in done.stdout
    return place


@pytest.fixture
def inside(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(place)
    return place


# --- names --------------------------------------------------------------------------------------------------


def test_a_class_in_another_script_ends_no_training_on_a_plain_terminal(place: Path) -> None:
    assert model_file.read(place / "m.safetensors").card.class_names == list(CLASSES)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_predict_answers_for_every_name_in_every_format(inside: Path, run: Run, encoding: str) -> None:
    shown = {f"photos/{name}/{printable(file)}" for name in CLASSES for file in (RAW, BROKEN)}
    escaped = {path.encode(encoding, "backslashreplace").decode(encoding) for path in shown}
    names = b"".join(
        os.fsencode(f"photos/{name}/{file}") + b"\0" for name in CLASSES for file in (RAW, BROKEN)
    )
    answers = {
        form: run("predict", "m.safetensors", "-", "--format", form, encoding=encoding, stdin=names)
        for form in ("table", "csv", "jsonl")
    }
    assert {form: (said.code, said.err) for form, said in answers.items()} == dict.fromkeys(answers, (0, b""))
    table = answers["table"].out.decode(encoding).splitlines()
    assert {line.partition(": ")[0] for line in table} == escaped
    rows = list(csv.DictReader(io.StringIO(answers["csv"].out.decode(encoding))))
    assert {row["path"] for row in rows} == escaped
    facts = [json.loads(line) for line in answers["jsonl"].out.decode("utf-8").splitlines()]
    assert {fact["path"] for fact in facts} == shown
    assert {fact["class"] for fact in facts} <= set(CLASSES)


def test_a_name_that_cannot_be_read_is_told_on_one_line(inside: Path, run: Run) -> None:
    said = run("predict", "m.safetensors", os.fsdecode(b"gone\xff\n\x1b[31m.png"), encoding="ascii")
    assert said == Said(1, b"", b"error: gone\\xff\\n\\x1b[31m.png: No such file or directory\n")
    said = run("evaluate", os.fsdecode(b"no\xff\nmodel"), "photos", encoding="ascii")
    assert said.code == 2
    assert said.err.startswith(b"error: no model file at no\\xff\\nmodel\n  name a ")


def test_results_of_folders_with_any_name_are_printed_and_are_json(
    inside: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Model, photos, cache and run folder with names that are no text."""
    odd = os.fsdecode(b"o\xff\nd")
    monkeypatch.chdir(tmp_path)
    shutil.copytree(inside / "photos", odd)
    shutil.copy(inside / "m.safetensors", f"{odd}.safetensors")
    cache = ("--cache-dir", f"c{odd}")
    made = run(
        *("adapt", odd, "--update", f"{odd}.safetensors", "--run-folder", f"r{odd}", *cache, "--json"),
        encoding="ascii",
    )
    assert made.code == 0, made.err
    assert json.loads(made.out)["model"] == f"{printable(odd)}.safetensors"
    judged = run(
        "evaluate", f"{odd}.safetensors", odd, "--include-trained", *cache, "--json", encoding="ascii"
    )
    assert json.loads(judged.out)["folder"] == printable(odd)
    for words in (
        ("data", "check", odd, *cache),
        ("cache", "list", *cache),
        ("cache", "list", *cache, "--json"),
        ("cache", "clear", *cache),
    ):
        said = run(*words, encoding="ascii")
        assert (said.code, said.err) == (0, b""), words
        assert b"o\\xff\\nd" in said.out or b"o\\\\xff\\\\nd" in said.out, words


def test_reports_are_printed_on_a_plain_terminal(inside: Path, run: Run) -> None:
    words = (
        "compare",
        "photos",
        "--runs",
        "1",
        "--out",
        "compared",
        "--parent",
        "shipped:stage2.safetensors",
    )
    said = run(*words, "--cache-dir", "cache", encoding="ascii")
    assert said.code == 0, said.err
    assert b"shipped:stage2.safetensors" in said.out, "the printed name is the one that was given"
    for form in ("text", "md", "json", "csv"):
        said = run("report", "compared", "--format", form, encoding="ascii")
        assert (said.code, said.err) == (0, b"")
        said.out.decode("ascii")
    widths = [len(line) for line in run("report", "compared", encoding="ascii").out.splitlines()]
    assert max(widths) <= 200
    assert json.loads(run("report", "compared", "--format", "json", encoding="ascii").out) == json.loads(
        (inside / "compared" / "tables.json").read_text("utf-8")
    )


# --- lists --------------------------------------------------------------------------------------------------


LISTED = ["a.png", "b c.png", os.fsdecode(b"d\xff.png")]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\0"], ids=["LF", "CRLF", "NUL"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "marked"])
@pytest.mark.parametrize("last", [True, False], ids=["ended", "open"])
def test_lists_are_read_however_they_were_written(end: bytes, mark: bytes, last: bool) -> None:
    content = mark + end.join(map(os.fsencode, LISTED)) + (end if last else b"")
    assert list(listed(io.BytesIO(content))) == LISTED
    assert list(listed(Pieces(content[place : place + 1] for place in range(len(content))))) == LISTED


def test_list_with_nul_keeps_line_ends_in_names() -> None:
    assert list(listed(io.BytesIO(b"a\nb\0c\r\0\0"))) == ["a\nb", "c\r"]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_list_of_a_windows_shell_is_read(encoding: str) -> None:
    content = "\ufeffÄpfel.png\r\n梨.png\r\n".encode(encoding)
    assert list(listed(io.BytesIO(content))) == ["Äpfel.png", "梨.png"]


@pytest.mark.parametrize("content", [b"", b"\n\r\n  \n", b"\xef\xbb\xbf", b"\xef", b"\0\0"])
def test_list_without_a_name_has_none(content: bytes) -> None:
    assert list(listed(io.BytesIO(content))) == ([] if content != b"\xef" else [os.fsdecode(b"\xef")])


def test_names_are_given_as_they_come() -> None:
    asked: list[int] = []

    def pieces() -> Iterator[bytes]:
        for number in range(3):
            asked.append(number)
            yield b"%d.png\n" % number

    names = listed(Pieces(pieces()))
    assert next(names) == "0.png"
    assert asked == [0]
    assert next(names) == "1.png"
    assert asked == [0, 1]


@pytest.mark.parametrize("content", [b"%s\r\n", b"\xef\xbb\xbf%s\n", b"%s\0"], ids=["CRLF", "mark", "NUL"])
def test_predict_reads_every_kind_of_list(inside: Path, run: Run, content: bytes) -> None:
    said = run("predict", "m.safetensors", "-", stdin=content.replace(b"%s", "photos/梨/0002.png".encode()))
    assert (said.code, said.err) == (0, b"")
    assert said.out.decode().startswith("photos/梨/0002.png: ")


class Pieces(io.RawIOBase):
    """Input that comes piece by piece."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = iter(pieces)

    def read1(self, _size: int) -> bytes:
        return next(self._pieces, b"")


# --- a place for the cache ----------------------------------------------------------------------------------


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No HOME, a user without an entry; the folder for temporary files."""

    def unknown(uid: int) -> Any:
        raise KeyError(uid)

    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", unknown)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(RuntimeError):
        Path.home()
    return tmp_path / f"benchgraft-cache-{os.getuid()}"


def test_without_a_home_folder_every_command_has_a_cache(
    inside: Path, run: Run, homeless: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert not homeless.exists()
    for words in (
        ("data", "check", "photos"),
        ("cache", "list"),
        ("evaluate", "m.safetensors", "photos", "--include-trained"),
        ("adapt", "photos", "--parent", "paper", "--out", "homeless.safetensors", "--run-folder", "homeless"),
    ):
        caplog.clear()
        said = run(*words)
        assert said.code == 0, said.err
        assert [record.getMessage() for record in caplog.records if "--cache-dir" in record.getMessage()] == [
            f"note: no home folder to write to, so the cache is {homeless} (another: --cache-dir DIR)"
        ]
    assert stat.S_IMODE(homeless.stat().st_mode) == 0o700
    assert sorted(path.name for path in homeless.iterdir()) == ["features", "stores"]


def test_the_note_is_one_line_on_stderr(tmp_path: Path) -> None:
    program = (
        "import pwd, sys\n"
        "def unknown(uid): raise KeyError(uid)\n"
        "pwd.getpwuid = unknown\n"
        "from benchgraft.cli import main; main()"
    )
    env = {name: value for name, value in os.environ.items() if name not in ("HOME", "XDG_CACHE_HOME")}
    done = subprocess.run(
        [sys.executable, "-c", program, "cache", "list"],
        env={**env, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("note: no home folder to write to")


def test_home_that_cannot_be_written_is_none(
    homeless: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", "/proc/nobody")
    monkeypatch.setattr(os, "access", lambda path, _mode: "proc" not in str(path))
    assert default_cache() == homeless
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    assert default_cache() == tmp_path / "me" / ".cache" / "benchgraft"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert default_cache() == tmp_path / "me" / ".cache" / "benchgraft"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "kept"))
    assert default_cache() == tmp_path / "kept" / "benchgraft"


@pytest.mark.parametrize("what", ["another user's", "a link", "a file"])
def test_temporary_cache_of_somebody_else_is_refused_with_the_option(
    homeless: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, what: str
) -> None:
    if what == "a link":
        (tmp_path / "elsewhere").mkdir()
        homeless.symlink_to(tmp_path / "elsewhere")
    elif what == "a file":
        homeless.write_text("x")
    else:
        monkeypatch.setattr(os, "getuid", lambda: 54321)
        (tmp_path / "benchgraft-cache-54321").mkdir()
    with pytest.raises(UserError, match="somebody else's") as refused:
        default_cache()
    assert "--cache-dir" in str(refused.value)


# --- one way of comparing names -----------------------------------------------------------------------------


APART = unicodedata.normalize("NFD", "Äpfel")
"""As macOS types it."""


def test_names_typed_in_any_way_are_the_same_names() -> None:
    assert APART != "Äpfel" == class_name(APART)
    rules = ClassRules(rules={APART: ["apfel"]}, rest=APART + "rest")
    assert (list(rules.rules), rules.rest) == (["Äpfel"], "Äpfelrest")
    with pytest.raises(ValueError, match="one, written in two ways"):
        ClassRules(rules={APART: ["a"], "Äpfel": ["b"]})
    assert model_file.carried_rows([APART, "b"], ["b", "Äpfel"]) == {0: 1, 1: 0}
    assert model_file.carried_rows(["Äpfel"], ["Öl"], {APART: unicodedata.normalize("NFD", "Öl")}) == {0: 0}


def test_classes_that_are_written_apart_are_judged_and_renamed(
    inside: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(inside / "photos", tmp_path / "photos")
    (tmp_path / "photos" / "Äpfel").rename(tmp_path / "photos" / APART)
    shutil.copy(inside / "m.safetensors", tmp_path)
    monkeypatch.chdir(tmp_path)
    judged = run("evaluate", "m.safetensors", "photos", "--include-trained", "--json", "--cache-dir", "cache")
    assert json.loads(judged.out)["unknown_classes"] == {}
    (tmp_path / "photos" / APART).rename(tmp_path / "photos" / "a=b")
    words = ("adapt", "photos", "--update", "m.safetensors", "--json", "--cache-dir", "cache")
    first = run(*words, "--rename", f"{APART}=a=b", "--run-folder", "first")
    assert first.code == 0, first.err
    (tmp_path / "photos" / "a=b").rename(tmp_path / "photos" / "c=d")
    second = run(*words, "--rename", "a=b=c=d", "--run-folder", "second")
    assert second.code == 0, second.err
    for made in (first, second):
        assert not [note for note in json.loads(made.out)["notes"] if "--rename" in note]
    assert [each["name"] for each in json.loads(second.out)["classes"]] == ["c=d", "梨"]
    wrong = run(*words, "--rename", "a=b=e", "--run-folder", "third")
    assert wrong.code == 2
    assert b'error: cannot rename "a": the model has no such class' in wrong.err


def test_a_rename_that_can_be_read_in_two_ways_names_both() -> None:
    assert resolve_renames(["a=b=c"], ["a", "x"]) == {"a": "b=c"}
    assert resolve_renames(["a=b=c"], ["a=b", "x"]) == {"a=b": "c"}
    assert resolve_renames({"a=b": "c=d"}, ["a", "a=b"]) == {"a=b": "c=d"}
    with pytest.raises(UserError, match="can be read in 2 ways") as refused:
        resolve_renames(["a=b=c"], ["a", "a=b"])
    assert refused.value.details[:2] == ('"a" is now "b=c"', '"a=b" is now "c"')
    for pair in ("a", "=a", "a=", "="):
        with pytest.raises(UserError, match="is not OLD=NEW"):
            resolve_renames([pair], ["a"])
    with pytest.raises(ModelFileError, match='did you mean "red"'):
        resolve_renames(["rad=red"], ["red", "green"])


# --- paths --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ("predict", "nowhere.safetensors", ""),
        ("adapt", ""),
        ("evaluate", "nowhere.safetensors", ""),
        ("data", "check", ""),
        ("adapt", "photos", "--cache-dir="),
        ("adapt", "photos", "--out", ""),
    ],
)
def test_an_empty_path_never_stands_for_the_present_folder(
    inside: Path, run: Run, words: tuple[str, ...]
) -> None:
    said = run(*words)
    assert (said.code, said.out) == (2, b"")
    assert re.match(rb"error: the path after .* is empty\n  is a variable not set\?", said.err)


def test_folder_where_a_file_is_to_be_written_is_told_before_training(inside: Path, run: Run) -> None:
    said = run("adapt", "photos", "--out", "new/", "--run-folder", "never")
    assert (said.code, said.out) == (2, b"")
    assert said.err.startswith(b'error: --out "new/" is a folder\n  name the file')
    assert not (inside / "never").exists()


LONG = "n" * 300


@pytest.mark.parametrize(
    ("name", "is_folder", "said"),
    [
        ("", False, "is no name of a file"),
        ("", True, "is no name of a folder"),
        (".", False, "is no name of a file"),
        ("folder/..", False, "is no name of a file"),
        ("folder", False, "is a folder"),
        ("new/", False, "is a folder"),
        ("pipe", False, "is no plain file"),
        ("file", True, "is a file, not a folder"),
        ("file/below", False, "file is a file, not a folder"),
        ("file/below", True, "file is a file, not a folder"),
        (LONG, False, "a name of 300 bytes, 255 at most"),
        (f"{LONG}/m", False, "a name of 300 bytes"),
        ("é" * 200, True, "a name of 400 bytes"),
        ("/".join(["n" * 200] * 30), True, "too long"),
        ("/proc/m", False, "cannot write /proc/m"),
        ("a\0b", False, "null"),
    ],
)
def test_target_that_cannot_be_written_is_told_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, is_folder: bool, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("x")
    os.mkfifo(tmp_path / "pipe")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match=said) as refused:
        check_target(name, is_folder=is_folder, option="--somewhere")
    assert refused.value.details
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("name", "is_folder"),
    [
        ("m", False),
        ("a/b/m", False),
        ("file", False),
        ("folder", True),
        ("a/b", True),
        (".", True),
        ("..", True),
        ("n" * 255, False),
        ("n" * 255, True),
    ],
)
def test_target_that_can_be_written_is_let_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, is_folder: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("x")
    before = sorted(tmp_path.rglob("*"))
    check_target(name, is_folder=is_folder)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_name_of_any_allowed_length_can_be_written(tmp_path: Path) -> None:
    from benchgraft.files import write_whole

    write_whole(tmp_path / ("é" * 127), "x")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["x"]


def test_folders_have_their_own_names_however_they_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "photos" / "red").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "photos" / "red")
    assert [name_of(path) for path in (".", "..", "../", "../red/.")] == ["red", "photos", "photos", "red"]
    with pytest.raises(UserError, match="has no name"):
        name_of("/")


# --- names of what comes along ------------------------------------------------------------------------------


def test_the_parents_printed_name_is_one_that_every_command_takes(inside: Path, run: Run) -> None:
    shipped = "shipped:stage2.safetensors"
    assert run("predict", shipped, "photos/梨/0002.png").code == 0
    judged = run("evaluate", shipped, "photos", "--cache-dir", "cache")
    assert b"error: no class folder has the name of a class of" in judged.err
    made = run(
        *("adapt", "photos", "--parent", shipped, "--out", "p.safetensors"),
        *("--run-folder", "parented", "--cache-dir", "cache"),
    )
    assert made.code == 0, made.err
    for words in (
        ("predict", "shipped:stage22", "photos"),
        ("export", "shipped:stage22", "--images", "photos"),
    ):
        unknown = run(*words)
        assert unknown.code == 2
        assert b"error: shipped:stage22 does not come with the program" in unknown.err
        assert b'did you mean "shipped:stage2.safetensors"' in unknown.err
