"""A folder that was changed after its run is found out, and the change is named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from test_experiment import TINY
from typer.testing import CliRunner

from benchgraft.cli import app
from benchgraft.cli.report import conclude
from benchgraft.runfolder.ledger import THUMBNAILS, Ledger, read
from benchgraft.runfolder.records import RunRecord
from benchgraft.runfolder.seal import UNCOVERED, seal
from benchgraft.tasks import report as reports
from benchgraft.tasks.report import verify


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, synthetic_data: Path) -> Path:
    """The folder of a tiny experiment, carried out by the command."""
    place = tmp_path_factory.mktemp("finished")
    (place / "tiny.toml").write_text(TINY)
    options = ["--data", synthetic_data, "--out", place / "run", "--cache-dir", place / "cache"]
    result = CliRunner().invoke(app, ["reproduce", str(place / "tiny.toml"), *map(str, options)])
    assert result.exit_code == 0, result.output
    return place / "run"


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


def test_reproduce_leaves_a_report_and_a_folder_that_verifies(folder: Path) -> None:
    found = verify(folder)
    assert found.differences == []
    assert len(found.checked) == 5
    assert (folder / "report.html").is_file()
    result = CliRunner().invoke(app, ["verify", str(folder)])
    assert result.exit_code == 0


def test_mistakes_leave_their_pictures_which_the_report_shows(folder: Path) -> None:
    surest = reports.write(folder).surest_mistakes
    assert surest
    assert list((folder / THUMBNAILS).glob("*.json"))
    assert "no picture stored" not in (folder / "report.html").read_text("utf-8")


def test_report_is_made_without_thumbnails(folder: Path) -> None:
    shutil.rmtree(folder / THUMBNAILS)
    reports.write(folder)
    assert "no picture stored" in (folder / "report.html").read_text("utf-8")


def test_flipped_bytes_are_noticed_wherever_they_are(folder: Path) -> None:
    generator = np.random.default_rng(0)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    covered = [path for path in files if not path.relative_to(folder).as_posix().startswith(UNCOVERED)]
    for path in covered:
        whole = path.read_bytes()
        changed = bytearray(whole)
        changed[int(generator.integers(len(whole)))] ^= int(generator.integers(1, 256))
        path.write_bytes(changed)
        result = CliRunner().invoke(app, ["verify", str(folder)])
        assert result.exit_code == 1, path
        assert path.name in result.output
        path.write_bytes(whole)


def _edit_ledger(folder: Path, edit: Callable[[dict[str, object]], object]) -> None:
    path = folder / "ledger.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    edit(next(line for line in lines if line.get("arm") == "scratch"))
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_an_accuracy_changed_everywhere_is_betrayed_by_the_stored_answers(folder: Path) -> None:
    _edit_ledger(folder, lambda run: run.update(accuracy=0.999))
    reports.write(folder)
    (folder / "digests.json").unlink()
    seal(folder)
    differences = verify(folder).differences
    assert len(differences) == 1
    assert "accuracy 0.999 in the ledger" in differences[0]


def test_a_figure_changed_in_the_report_alone_is_named(folder: Path) -> None:
    path = folder / "report.html"
    path.write_text(path.read_text("utf-8").replace("<b>", "<b>1", 1), "utf-8")
    (folder / "digests.json").unlink()
    seal(folder)
    assert any("report.html, line" in line for line in verify(folder).differences)


def test_a_frozen_tensor_that_moved_is_named_though_all_digests_agree(folder: Path) -> None:
    run = next(r for r in read(folder) if isinstance(r, RunRecord) and r.arm == "transfer")
    path = folder / run.model_file
    tensors = load_file(path)
    tensors["conv2d_1.bias"] = tensors["conv2d_1.bias"] + 1e-7
    save_file(tensors, path)
    differences = " ".join(verify(folder).differences)
    assert "frozen tensors differ from the parent's: conv2d_1.bias" in differences
    assert "its weights are not those that the ledger tells of" in differences


def test_a_missing_file_and_a_missing_line_are_named(folder: Path) -> None:
    (folder / "models" / "stage1.safetensors").unlink()
    ledger = folder / "ledger.jsonl"
    ledger.write_bytes(b"".join(ledger.read_bytes().splitlines(keepends=True)[:-1]))
    differences = " ".join(verify(folder).differences)
    assert "models/stage1.safetensors is missing" in differences
    assert "lines," in differences


def test_an_unfinished_folder_does_not_verify(folder: Path) -> None:
    (folder / "digests.json").unlink()
    assert "digests.json is missing" in verify(folder).differences[0]


def test_a_file_that_came_later_is_told_of_but_is_no_difference(folder: Path) -> None:
    (folder / "notes.txt").write_text("mine")
    found = verify(folder)
    assert found.differences == []
    assert any("notes.txt" in line for line in found.unchecked)


def test_a_model_changed_before_the_folder_is_continued_is_not_sealed_anew(folder: Path) -> None:
    path = folder / "models" / "stage2.safetensors"
    changed = bytearray(path.read_bytes())
    changed[-1] ^= 1
    path.write_bytes(changed)
    conclude(folder)
    assert any("models/stage2.safetensors has changed" in line for line in verify(folder).differences)


def test_a_ledger_that_has_grown_is_sealed_anew(folder: Path) -> None:
    ledger = Ledger(folder)
    ledger.append(ledger.of_kind(RunRecord)[-1].model_copy(update={"seed": 7}))
    assert any("lines," in line for line in verify(folder).differences)
    conclude(folder)
    assert verify(folder).differences == []


def test_a_report_made_again_keeps_the_folder_verified(folder: Path) -> None:
    result = CliRunner().invoke(app, ["report", str(folder), "--format", "html", "--half-width", "0.5"])
    assert result.exit_code == 0
    assert verify(folder).differences == []


def test_a_folder_without_a_ledger_is_a_users_mistake(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["verify", str(tmp_path)])
    assert "holds no ledger.jsonl" in str(result.exception)


@pytest.mark.parametrize("is_there", [False, True])
def test_a_given_parent_that_is_not_there_or_is_another_is_told_of_but_is_no_difference(
    folder: Path, tmp_path: Path, is_there: bool
) -> None:
    given = tmp_path / "mine.safetensors"
    if is_there:
        shutil.copy(folder / "models" / "stage1.safetensors", given)
    ledger = folder / "ledger.jsonl"
    lines = [json.loads(line) for line in ledger.read_text().splitlines()]
    for line in lines:
        if line.get("stage") == "stage2" and line["kind"] == "run":
            line["given"] = str(given)
    ledger.write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "digests.json").unlink()
    reports.write(folder)
    seal(folder)
    found = verify(folder)
    assert found.differences == []
    assert any(f"{given} is not here, or is another one now" in line for line in found.unchecked)
