"""What version 0.1.0 has written, model files and run folders, is read by every command that reads them."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from elsewhere import Done, call
from photos import write_photos
from safetensors.numpy import load_file, save_file

from benchgraft import load_runs, predict
from benchgraft.networks import model_file
from benchgraft.runfolder import seal
from benchgraft.runfolder.ledger import Ledger, config_digest
from benchgraft.runfolder.records import RunRecord

pytestmark = pytest.mark.usefixtures("one_thread")


def _names(text: str, **inner: Any) -> dict[str, Any]:
    return dict.fromkeys(text.split()) | inner


# Every name that 0.1.0 wrote, and no later one: a version that adds a field must read files without it.
# None: a leaf, or a table whose keys are the user's; "*": under any key.
_RECIPE = _names(
    "optimizer learning_rate momentum weight_decay batch_size schedule warm_up label_smoothing balance",
    augment=_names("flip shift views"),
    stop=_names("epochs patience least_steps"),
)
_NETWORK = {"batch_norm_momentum": 0.1, "batch_norm_epsilon": 1e-5}
"""All that experiments and model files said of their network, which was the paper's."""
_EXCLUDED = _names("key reason")
_CONFIG = _names(
    "name protocol about published seed runs parents minutes arms",
    data={
        "*": _names(
            "format folder validation fit damaged group_by keep_overlap leave_out test",
            hold_out=_names("fold of held"),
        )
    },
    classes={"*": _names("rules rest train_per_class validation_per_class test_per_class draw_seed")},
    stages={
        "*": _names(
            "data classes parent model_file freeze freeze_random carry_over rename frozen_statistics cache",
            recipe=_RECIPE,
        )
    },
    study=_names(
        "question x cumulative pooled", points={"*": _names("line x")}, steps=_names("what before after")
    ),
)
_RUN = _names(
    "kind stage arm seed features cut features_computed seconds segments epochs steps images_seen "
    "train_images trained_parameters loss validation_loss validation_accuracy kept_epoch accuracy "
    "predicted confidence images_digest model_file model_digest parent_digest frozen frozen_digest given "
    "started finished",
    recipe=_RECIPE,
    environment=_names("cpu cores threads device system versions git_revision"),
)
RECORDS = {
    "experiment": _names("kind name protocol config_digest arms command started", config=_CONFIG),
    "data": _names(
        "kind name format store_key images decode_seconds decoded reused",
        excluded=_EXCLUDED,
        dropped_from_test=_EXCLUDED,
    ),
    "images": _names("kind stage data digest class_names matched counts", test=_names("keys sources labels")),
    "run": _RUN,
}
CARD = _names(
    "format stage class_names fit group_by model_digest",
    record=_RUN,
    ancestors=_RUN,
)
OF_IMAGES = ("trained_on", "trained_on_perceptual", "tested_on")


def _only(value: Any, names: dict[str, Any] | None) -> Any:
    """The value without what 0.1.0 did not write."""
    if names is None:
        return value
    if isinstance(value, list):
        return [_only(item, names) for item in value]
    if isinstance(value, dict):
        known = dict.fromkeys(value, names["*"]) if "*" in names else names
        return {name: _only(item, known[name]) for name, item in value.items() if name in known}
    return value


def _old_ledger(folder: Path) -> None:
    lines = []
    for text in (folder / "ledger.jsonl").read_text().splitlines():
        line = json.loads(text)
        if line["kind"] in RECORDS:
            line = _only(line, RECORDS[line["kind"]])
            if line["kind"] == "experiment":
                line["config"]["network"] = _NETWORK
                line["config_digest"] = config_digest(line["config"])
            lines.append(json.dumps(line) + "\n")
    (folder / "ledger.jsonl").write_text("".join(lines))


def _old_model(path: Path, format: int = 2) -> None:  # noqa: A002
    """The file as 0.1.0 wrote it; in format 1 it had no perceptual hashes."""
    card = _only(model_file.read(path).card.model_dump(mode="json"), CARD)
    card |= {"format": format, "image_size": 100, "network": _NETWORK}
    tensors = {name: tensor for name, tensor in load_file(path).items() if "." in name or name in OF_IMAGES}
    if format == 1:
        del tensors["trained_on_perceptual"]
    save_file(tensors, path, {"benchgraft": json.dumps(card)})


def _old_folder(folder: Path) -> None:
    _old_ledger(folder)
    for path in folder.glob("models/*"):
        _old_model(path)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> Path:
    """Photos, and what the commands of 0.1.0 left of them. Not to be changed."""
    place = tmp_path_factory.mktemp("old")
    write_photos(place / "photos", {"red": 40, "green": 40, "blue": 40})
    shutil.copytree(place / "photos", place / "more")
    write_photos(place / "more", {"red": 9, "green": 9, "blue": 9}, start=500)
    write_photos(place / "others", {"red": 40, "green": 40, "blue": 40}, start=900)
    with contextlib.chdir(place):
        for words in (
            "adapt photos --out m.safetensors --run-folder adapted --cache-dir cache",
            "adapt more --update m.safetensors --out new.safetensors --run-folder updated --cache-dir cache",
            "compare photos --parent paper --runs 1 --out compared --cache-dir cache",
        ):
            with pytest.raises(SystemExit) as ended:
                call(words.split())
            assert ended.value.code == 0
    shutil.copy(place / "m.safetensors", place / "m1.safetensors")
    _old_model(place / "m.safetensors")
    _old_model(place / "m1.safetensors", format=1)
    _old_folder(place / "compared")
    html = place / "compared" / "report.html"
    html.write_text(html.read_text().replace("Made by benchgraft", "Made by benchgraft, in other words,"))
    (place / "compared" / seal.FILE_NAME).unlink()
    seal.seal(place / "compared")
    _old_adapt(place)
    return place


def _old_adapt(place: Path) -> None:
    """0.1.0 left a model and an account that told of no parent, and an update was added to both."""
    for name in ("adapted", "updated"):
        _old_folder(place / name)
        ledger = place / name / "ledger.jsonl"
        lines = ledger.read_text().splitlines(keepends=True)
        ledger.write_text("".join(line for line in lines if not json.loads(line).get("given")))
        for path in list((place / name).iterdir()):
            if path.is_file() and path.name != "ledger.jsonl":
                path.unlink()
    both = place / "both"
    shutil.copytree(place / "updated", both)
    first, second = ((place / name / "ledger.jsonl").read_text() for name in ("adapted", "updated"))
    (both / "ledger.jsonl").write_text(first + second.partition("\n")[2])


Run = Callable[[str], Done]


@pytest.fixture
def run(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Run:
    """Run a command in a copy of what 0.1.0 left."""
    shutil.copytree(made, tmp_path / "place", ignore=shutil.ignore_patterns("cache"))
    monkeypatch.chdir(tmp_path / "place")

    def run(words: str) -> Done:
        with pytest.raises(SystemExit) as ended:
            call(words.split())
        return Done(ended.value.code, *capsys.readouterr())  # type: ignore[arg-type]

    return run


def test_the_names_of_old_records_are_names_of_todays(made):
    """Else the lists above hold something that nobody ever wrote, or a later version has renamed it."""
    for kind, names in RECORDS.items():
        lines = map(json.loads, (made / "compared" / "ledger.jsonl").read_text().splitlines())
        assert next(line for line in lines if line["kind"] == kind).keys() == names.keys()
    assert model_file.read(made / "m.safetensors").card.model_dump().keys() >= CARD.keys()


# --- run folders --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", ["compared", "adapted", "updated", "both"])
def test_an_old_run_folder_is_reported_on_in_every_format(folder, run):
    for kind in ("text", "html", "md", "json", "csv"):
        done = run(f"report {folder} --format {kind}")
        assert done.code == 0, done.err
        assert done.out
    pytest.importorskip("pandas", reason="pandas is not installed: pip install 'benchgraft[notebook]'")
    tables = load_runs(folder)
    runs = Ledger(Path(folder)).of_kind(RunRecord)
    assert sorted(tables.runs.accuracy) == sorted(record.accuracy for record in runs)
    assert len(tables.epochs) == sum(record.epochs for record in runs)


def test_an_old_run_folder_verifies_once_its_report_is_made_anew(run):
    before = run("verify compared")
    assert before.code == 1
    different = [line for line in before.out.splitlines() if line.startswith("DIFFERENT")]
    assert all(line.startswith(("DIFFERENT: report.html", "DIFFERENT: tables.")) for line in different)
    assert run("report compared --format html").code == 0
    after = run("verify compared")
    assert after.code == 0, after.out


def test_verify_says_how_to_make_an_old_report_anew(run):
    assert "benchgraft report compared" in run("verify compared").err


@pytest.mark.parametrize("folder", ["adapted", "updated", "both"])
def test_an_old_run_folder_of_adapt_is_looked_at_by_verify(folder, run):
    done = run(f"verify {folder}")
    assert done.code in (0, 1)
    assert "accuracies of all runs" in done.out


@pytest.mark.parametrize(
    ("words", "option"),
    [
        ("compare PLACE/photos --parent paper --runs 1 --cache-dir cache --out compared", "--out"),
        ("adapt more --update m.safetensors --cache-dir cache --run-folder adapted", "--run-folder"),
    ],
)
def test_an_old_run_folder_is_continued_or_another_is_asked_for(words, option, run, made):
    ledger = Path(words.split()[-1]) / "ledger.jsonl"
    before = ledger.read_bytes()
    done = run(words.replace("PLACE", str(made)))
    if done.code:
        assert done.code == 2
        assert option in done.err
    assert ledger.read_bytes().startswith(before)


# --- model files --------------------------------------------------------------------------------------------


MODELS = pytest.mark.parametrize("model", ["m.safetensors", "m1.safetensors"])


def _answers(model: Path | str, photos: Path | str = "others") -> list[tuple[str, float]]:
    return [(answer.class_name, answer.probability) for answer in predict(model, [photos])]


@MODELS
def test_an_old_model_predicts_and_is_evaluated_as_before(model, run, made):
    now = made / "adapted" / "models" / "adapt-seed0.safetensors"
    assert _answers(model) == _answers(now)
    done = run(f"predict {model} others --json")
    assert done.code == 0, done.err
    trained = model_file.read(Path(model)).card.record["train_images"]
    for photos, known, count in (("others", 0, 120), ("more", trained, 147)):
        done = run(f"evaluate {model} {photos} --json --cache-dir cache")
        assert done.code == 0, done.err
        report = json.loads(done.out)
        assert (report["trained_on"], report["photos"]) == (known, count - known)


@MODELS
def test_an_old_model_is_a_parent_of_adapt(model, run):
    done = run(f"adapt others --parent {model} --out child.safetensors --cache-dir cache")
    assert done.code == 0, done.err
    old, child = model_file.read(Path(model)), model_file.read(Path("child.safetensors"))
    assert set(old.trained_on.tolist()) < set(child.trained_on.tolist())
    assert child.card.ancestors[-1]["model_digest"] == old.card.model_digest


def test_an_old_model_is_a_parent_of_compare(run):
    done = run("compare others --parent m.safetensors --runs 1 --out pair --cache-dir cache")
    assert done.code == 0, done.err
    assert run("verify pair").code == 0


@MODELS
def test_an_old_model_is_updated_and_keeps_every_old_split(model, run):
    old = model_file.read(Path(model))
    shutil.copytree("adapted", "runs/adapt-more")  # where 0.1.0 left its account
    done = run(f"adapt more --update {model} --cache-dir cache")
    assert done.code == 0, done.err
    new = model_file.read(Path(model))
    assert set(old.tested_on.tolist()) <= set(new.tested_on.tolist())
    assert set(old.trained_on.tolist()) <= set(new.trained_on.tolist())
    assert new.card.model_digest != old.card.model_digest


def test_an_old_model_is_exported_and_its_file_answers_as_it_does(run):
    pytest.importorskip("onnx", reason="onnx is not installed: pip install 'benchgraft[export]'")
    done = run("export m.safetensors --out m.onnx")
    assert done.code == 0, done.err
    ours, theirs = _answers("m.safetensors"), _answers("m.onnx")
    assert [name for name, _ in ours] == [name for name, _ in theirs]
    np.testing.assert_allclose([p for _, p in theirs], [p for _, p in ours], atol=1e-5)


def test_a_model_of_a_later_format_is_refused_in_one_line(run):
    _old_model(Path("m.safetensors"), format=99)
    done = run("predict m.safetensors others")
    assert done.code == 2
    assert "format 99" in done.err.splitlines()[0]
