"""What may be asked is written once: functions, commands and the command that repeats a run follow."""

from __future__ import annotations

import dataclasses
import inspect
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from photos import write_photos

import benchgraft
from benchgraft import adapt, compare
from benchgraft.cli import app
from benchgraft.config import options, requests, values
from benchgraft.config.checking import checked
from benchgraft.config.words import Argument, Asked, asked, command_line
from benchgraft.errors import DataError, RequestError

KINDS = {
    "adapt": requests.AdaptRequest,
    "compare": requests.CompareRequest,
    "prepare": requests.PrepareRequest,
    "parents": requests.ParentsRequest,
    "reproduce": requests.ReproduceRequest,
    "predict": requests.PredictRequest,
    "evaluate": requests.EvaluateRequest,
    "export": requests.ExportRequest,
    "report": requests.ReportRequest,
}
OPTIONS: dict[str, Any] = {
    "adapt": options.AdaptOptions,
    "compare": options.CompareOptions,
    "parents": options.ParentsOptions,
    "prepare": options.PrepareOptions,
    "predict": options.PredictOptions,
    "evaluate": options.EvaluateOptions,
}
PYTHON_ONLY = {"progress", "say", "listen", "cancel", "command"}
OF_THE_FRONT = {"json", "format", "dry_run", "help"}
"""Options of commands that say how something is shown, not what is done."""


@pytest.mark.parametrize("task", OPTIONS)
def test_a_function_takes_the_fields_of_its_request_and_their_types(task: str) -> None:
    function = getattr(benchgraft, task)
    named = [name for name in inspect.signature(function).parameters if name != "options"]
    hints = get_type_hints(function)
    taken = {name: hints[name] for name in named} | get_type_hints(OPTIONS[task])
    assert taken == {field.name: field.takes for field in asked(KINDS[task])}
    assert len(named) <= 2
    assert hints["options"].__args__ == (OPTIONS[task],)


def test_export_takes_the_fields_of_its_request_and_their_types() -> None:
    hints = get_type_hints(benchgraft.export)
    assert set(inspect.signature(benchgraft.export).parameters) == {
        field.name for field in asked(KINDS["export"])
    }
    for field in asked(KINDS["export"]):
        assert hints[field.name] == field.takes


COMMANDS: Any = typer.main.get_command(app)


def _command(task: str) -> Any:
    return COMMANDS.commands[task]


@pytest.mark.parametrize("task", KINDS)
def test_every_field_of_a_request_is_an_option_of_its_command_with_its_words(task: str) -> None:
    parameters = {parameter.name: parameter for parameter in _command(task).params}
    fields = {field.name: field for field in asked(KINDS[task])}
    assert set(fields) - set(parameters) <= PYTHON_ONLY
    assert not set(parameters) & PYTHON_ONLY
    assert set(parameters) - set(fields) <= OF_THE_FRONT
    for name in set(fields) & set(parameters):
        field, parameter = fields[name], parameters[name]
        assert field.words is not None
        assert parameter.help == field.words.help
        assert parameter.required == (field.default is dataclasses.MISSING)
        if not isinstance(field.words, Argument):
            assert tuple(parameter.opts) == field.names


def test_compare_takes_every_option_of_photos_that_adapt_takes() -> None:
    of_adapt = {field.name: field.type for field in asked(requests.AdaptRequest)}
    of_compare = {field.name: field.type for field in asked(requests.CompareRequest)}
    of_a_model_file = {"out", "update", "rename", "refuse_regression", "plan"}
    of_several_arms = {"parent", "train_from"}
    assert of_several_arms <= set(of_compare)
    apart = of_a_model_file | of_several_arms
    assert of_adapt.items() - of_compare.items() == {
        (name, kind) for name, kind in of_adapt.items() if name in apart
    }
    names = {name for parameter in _command("compare").params for name in parameter.opts}
    assert {"--out", "--run-folder"} <= names


# --- the command that repeats -------------------------------------------------------------------------------

LETTERS = st.text("ab é\n-./=*\"'\\$\udcff", min_size=1, max_size=6)
NAMES = LETTERS.filter(lambda text: not text.startswith("-"))
VALUES = {
    values.as_path: LETTERS,
    values.as_file: LETTERS.filter(lambda text: not text.endswith("/") and Path(text).name),
    values.as_model: LETTERS,
    values.as_name: NAMES,
    values.as_parent: NAMES,
    values.as_parents: st.lists(NAMES, min_size=1, max_size=3),
    values.as_block: NAMES,
    values.as_text: NAMES,
    values.as_minutes: st.floats(0, 1e6),
    values.as_texts: st.lists(LETTERS, min_size=1, max_size=3),
    values.as_expression: st.sampled_from(["(a+)", "-", "--out", r"\d $"]),
    values.as_renames: st.lists(st.sampled_from(["a=b", "c=d e", "=", "--rename"]), min_size=1),
    values.as_seed: st.integers(0, 2**32 - 1),
    values.at_least_one: st.integers(1, 10**6),
    values.as_points: st.floats(0.001, 99),
    values.as_fraction: st.floats(0, 1),
}


def _values(field: Asked) -> st.SearchStrategy[Any]:
    if field.check:
        found: st.SearchStrategy[Any] = VALUES[field.check.make]
    elif field.type is bool:
        found = st.booleans()
    else:
        found = st.sampled_from(get_args(field.type) or ("cpu", "-x", "a b"))
    return st.none() | found if field.is_optional else found


@st.composite
def _requests(draw: st.DrawFn, kind: Any) -> Any:
    """Any one of this kind, of what the command line can say."""
    fields = [field for field in asked(kind) if field.words]
    given = {field.name: draw(_values(field)) for field in fields}
    if kind is requests.AdaptRequest:
        if given["update"] is None:
            given |= {"rename": None, "refuse_regression": False}
        else:
            given |= {"parent": None, "minutes": 0.0}
        if given["parent"] is None and given["update"] is None:
            given["train_from"] = None
        if any(given[name] for name in ("parent", "fit", "train_from", "minutes", "update")):
            given["plan"] = None
    if given.get("parent") is None or (kind is requests.CompareRequest and len(given["parent"]) > 1):
        given.pop("weights", None)
    if given.get("cluster") is None:
        given.pop("shared", None)
    else:
        given["profile"] = False
    return checked(kind, **given)


def _parsed(words: list[str]) -> Any:
    """The request that the command line makes of the words, as far as the task that gets it."""
    program, task, *rest = words
    assert program == "benchgraft"
    params = _command(task).make_context(task, rest).params
    kind = KINDS[task]
    names = {field.name for field in asked(kind)}
    given = {name: value for name, value in params.items() if name in names}
    return checked(kind, **{name: value for name, value in given.items() if value not in (None, [], ())})


@pytest.mark.parametrize("task", [task for task in KINDS if task != "predict"])
@given(data=st.data())
def test_the_command_that_repeats_a_run_asks_for_the_same(task: str, data: st.DataObject) -> None:
    request = data.draw(_requests(KINDS[task]))
    words = command_line(task, request)
    assert _parsed(words) == request
    assert shlex.split(shlex.join(words)) == words


# --- one gate, results --------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", [adapt, compare])
def test_adapt_and_compare_leave_the_pairs_of_photos_for_which_they_refuse(task, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    photos = write_photos(tmp_path / "photos" / "train", {"red": 20, "green": 20}).parent
    write_photos(photos / "test", {"red": 6, "green": 6}, start=100)
    known = sorted((photos / "train" / "red").iterdir())[0]
    (photos / "test" / "red" / "again.png").write_bytes(known.read_bytes())
    with pytest.raises(DataError, match="among the training images"):
        task("photos", cache="cache")
    pairs = (tmp_path / "runs" / f"{task.__name__}-photos" / "overlap.csv").read_text()
    assert "bytes,test,test/red/again.png,train,train/red/" in pairs
    (tmp_path / "runs" / f"{task.__name__}-photos" / "ledger.jsonl").touch()
    with pytest.raises(DataError, match="among the training images"):
        task("photos", cache="cache", run_folder=f"runs/{task.__name__}-photos")


def test_compare_tells_where_the_pairs_are_as_adapt_does(tmp_path, monkeypatch):
    monkeypatch.setattr("benchgraft.tasks.compare.COMPARED_STEPS", 1)
    monkeypatch.setattr("benchgraft.tasks.adapt.STEPS", 1)
    monkeypatch.chdir(tmp_path)
    photos = write_photos(tmp_path / "photos" / "train", {"red": 20, "green": 20}).parent
    write_photos(photos / "test", {"red": 6, "green": 6}, start=100)
    known = sorted((photos / "train" / "red").iterdir())[0]
    (photos / "test" / "red" / "again.png").write_bytes(known.read_bytes())
    said: list[str] = []
    made = compare("photos", parent="paper", runs=1, cache="cache", overlap="drop-test", say=said.append)
    adapted = adapt("photos", cache="cache", overlap="drop-test", parent="paper")
    place = Path("runs/compare-photos")
    assert made.run_folder == place
    assert (place / "overlap.csv").read_text() == Path("runs/adapt-photos/overlap.csv").read_text()
    wanted = [note.replace("adapt-photos", "compare-photos") for note in adapted.notes]
    assert set(wanted) - {note for note in wanted if "labels to check" in note} <= set(said)


def test_an_option_that_is_not_there_is_told_with_the_nearest(tmp_path):
    with pytest.raises(RequestError, match='sed is no option\n  did you mean "seed"'):
        adapt(tmp_path, sed=3)  # type: ignore[call-arg]


def test_a_result_can_be_written_as_json_whatever_its_files_are_called(tmp_path, monkeypatch):
    monkeypatch.setattr("benchgraft.tasks.adapt.STEPS", 1)
    monkeypatch.chdir(tmp_path)
    photos = write_photos(tmp_path / "photo\udcffs", {"red": 20, "green": 20})
    made = adapt(photos, cache="cache", parent="paper")
    assert made.model == Path("photo\udcffs.safetensors")
    assert r'"model":"photo\\xffs.safetensors"' in made.model_dump_json()


def test_help_reads_no_library_that_it_does_not_need():
    seen = "{'numpy', 'torch', 'scipy', 'pydantic'} & set(sys.modules)"
    script = f"import sys, benchgraft.cli; print({seen})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
