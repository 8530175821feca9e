"""What a model says of photos: predict, evaluate, export."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from invented import TINY
from photos import write_photos
from PIL import Image

from benchgraft import adapt, evaluate, export, predict
from benchgraft.engines.engine import open_classifier
from benchgraft.errors import DataError, ExportError, ModelFileError
from benchgraft.networks import model_file
from benchgraft.photos.decode import Rule, decode
from benchgraft.photos.synthetic import draw_varied
from benchgraft.tasks.export import CHECKED_PHOTOS
from benchgraft.tasks.predict import Prediction, Unreadable


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with a model of three classes (m.safetensors) and photos that it has not seen (new/)."""
    folder = tmp_path_factory.mktemp("predict")
    photos = write_photos(folder / "photos", {"red": 50, "green": 50, "blue": 50})
    adapt(photos, folder / "m.safetensors", cache=folder / "cache", run_folder=folder / "run", parent="paper")
    write_photos(folder / "new", {"red": 20, "green": 20, "blue": 20}, start=500)
    return folder


@pytest.fixture(scope="module")
def onnx_file(place) -> Path:
    """The same model as m.onnx beside it."""
    pytest.importorskip("onnxruntime", reason="extra [export] is not installed")
    pytest.importorskip("onnxscript", reason="extra [export] is not installed")
    return export(place / "m.safetensors", place / "m.onnx").path


def _run(place: Path, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchgraft", *words]
    return subprocess.run(command, cwd=place, input=stdin, capture_output=True, text=True)


def _run_without_torch(place: Path, *words: str) -> subprocess.CompletedProcess[str]:
    program = (
        "import sys; from benchgraft.cli import main\n"
        "try: main()\n"
        "finally: assert 'torch' not in sys.modules, 'torch was imported'"
    )
    command = [sys.executable, "-c", program, *words]
    return subprocess.run(command, cwd=place, capture_output=True, text=True)


def test_photos_get_answers_in_order_whatever_else_is_asked(place):
    together = list(predict(place / "m.safetensors", [place / "new"], top=3))
    assert [Path(answer.path).parent.name for answer in together] == ["blue"] * 20 + ["green"] * 20 + [
        "red"
    ] * 20
    right = sum(answer.class_name == Path(answer.path).parent.name for answer in together)
    assert right >= 57
    for answer in (together[0], together[33]):
        assert next(predict(place / "m.safetensors", [answer.path], top=3)) == answer
        assert sum(probability for _, probability in answer.top) == pytest.approx(1)


def test_onnx_file_answers_as_the_model_file_whatever_else_is_asked(place, onnx_file):
    wanted = list(predict(place / "m.safetensors", [place / "new"], top=3))
    together = list(predict(onnx_file, [place / "new"], top=3, threads=1))
    assert [(answer.path, answer.class_name) for answer in together] == [
        (answer.path, answer.class_name) for answer in wanted
    ]
    for ours, theirs in zip(wanted, together, strict=True):
        assert dict(theirs.top) == pytest.approx(dict(ours.top), abs=1e-5)
    for answer in (together[0], together[33]):
        assert next(predict(onnx_file, [answer.path], top=3)) == answer
        assert sum(probability for _, probability in answer.top) == pytest.approx(1)


def test_onnx_file_is_answered_from_without_torch_and_without_a_word_on_stderr(place, onnx_file):
    done = _run_without_torch(place, "predict", str(onnx_file), "new/red/0500.png", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["class"] == "red"


def test_a_model_file_of_timm_answers_without_torch_from_the_second_time_on(
    place, tiny, tmp_path, monkeypatch
):
    """By a graph that is kept: the same bits both times, PyTorch's within 1e-5; a damaged file is refused."""
    made = tmp_path / "t.safetensors"
    options = {"parent": f"timm/{TINY}", "weights": tiny, "fit": "letterbox", "overlap": "keep"}
    adapt(place / "photos", made, **options, cache=tmp_path / "cache", run_folder=tmp_path / "run")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    photos = sorted((place / "new").rglob("*.png"))
    first = list(predict(made, photos, top=3))
    done = _run_without_torch(place, "predict", str(made), str(photos[0]), "--json", "--top", "3")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["probability"] == round(first[0].probability, 6)
    assert list(predict(made, photos, top=3)) == first

    monkeypatch.setattr("benchgraft.engines.whole.wants_onnx", lambda _network: False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "elsewhere"))
    for ours, theirs in zip(first, predict(made, photos, top=3), strict=True):
        assert ours.class_name == theirs.class_name
        assert dict(ours.top) == pytest.approx(dict(theirs.top), abs=1e-5)
    broken = bytearray(made.read_bytes())
    broken[-1] ^= 1
    made.write_bytes(bytes(broken))
    with pytest.raises(ModelFileError, match="is damaged"):
        predict(made, photos)


def test_damaged_and_foreign_onnx_files_are_named_and_never_answered_from(place, onnx_file, tmp_path):
    onnx = pytest.importorskip("onnx")
    whole = onnx_file.read_bytes()
    bad = tmp_path / "bad.onnx"

    def refused(content: bytes) -> str:
        bad.write_bytes(content)
        with pytest.raises(ModelFileError) as error:
            predict(bad, [])
        assert error.value.what.startswith(str(bad)) and "\n" not in error.value.what
        return error.value.what

    for content in (b"", b"no model", whole[:-1], whole[: len(whole) // 2]):
        assert "is not a whole ONNX file" in refused(content)
    rng = np.random.default_rng(0)
    for place_of_flip in rng.integers(0, len(whole), 20).tolist():
        flipped = bytearray(whole)
        flipped[place_of_flip] ^= 1
        refused(bytes(flipped))
    assert "damaged, or was changed" in refused(whole.replace(b'"green"', b'"brown"'))
    foreign = onnx.load(onnx_file)
    onnx.helper.set_model_props(foreign, {})
    assert "was not exported by this version" in refused(foreign.SerializeToString())
    with pytest.raises(ModelFileError, match="no ONNX file at"):
        predict(tmp_path / "nowhere.onnx", [])


def test_what_cannot_be_done_with_an_onnx_file_is_said_with_exit_code_2(place, onnx_file):
    elsewhere = _run(place, "predict", "m.onnx", "new", "--device", "cuda")
    assert elsewhere.returncode == 2
    assert elsewhere.stderr == 'error: --device "cuda" is for model files: an ONNX file is run on the cpu\n'
    judged = _run(place, "evaluate", "m.onnx", "new")
    assert judged.returncode == 2
    assert judged.stderr.splitlines()[0] == "error: m.onnx is an ONNX file, which only predict takes"


def test_missing_onnx_runtime_is_told_with_what_to_install(place, onnx_file, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ModelFileError, match="ONNX Runtime cannot be imported") as error:
        predict(onnx_file, [])
    assert "pip install onnxruntime" in str(error.value)


def test_unreadable_photos_are_answers_of_their_own_and_cost_no_other(place, tmp_path):
    good = place / "new" / "red" / "0500.png"
    cut = tmp_path / "cut.png"
    cut.write_bytes(good.read_bytes()[:200])
    answers = list(predict(place / "m.safetensors", [good, cut, tmp_path / "gone.png", good]))
    assert [type(answer) for answer in answers] == [Prediction, Unreadable, Unreadable, Prediction]
    assert "truncated" in answers[1].reason or "damaged" in answers[1].reason
    assert "No such file" in answers[2].reason


def test_command_writes_csv_and_json_lines_and_says_unsure(place, tmp_path):
    (tmp_path / "no.jpg").write_bytes(b"no photo")
    names = "new/red/0500.png\nnew/blue/0501.png\n"
    done = _run(
        place, "predict", "m.safetensors", "-", str(tmp_path / "no.jpg"), "--format", "csv", stdin=names
    )
    assert done.returncode == 1
    assert f"error: {tmp_path / 'no.jpg'}: not an image" in done.stderr
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [row["path"] for row in rows] == names.split()
    assert [row["class"] for row in rows] == ["red", "blue"]
    unsure = _run(place, "predict", "m.safetensors", "new/red/0500.png", "--json", "--unsure-below", "1")
    assert unsure.returncode == 0
    answer = json.loads(unsure.stdout)
    assert (answer["class"], *answer["top"]) == ("unsure", "red")


def test_a_file_that_is_no_model_is_one_error_line(place):
    done = _run(place, "predict", "new/red/0500.png", "new")
    assert done.returncode == 2
    assert done.stderr.startswith("error: new/red/0500.png is not a whole safetensors file")
    with pytest.raises(ModelFileError):
        predict(place / "nowhere", [])


def test_evaluation_counts_what_the_model_was_trained_on_and_names_unknown_classes(place, tmp_path):
    write_photos(tmp_path / "mixed", {"red": 15, "green": 15, "blue": 15, "yellow": 4}, start=500)
    old = place / "photos" / "red"
    trained = set(model_file.read(place / "m.safetensors").trained_on.tolist())
    for photo in old.iterdir():
        (tmp_path / "mixed" / "red" / f"old {photo.name}").write_bytes(photo.read_bytes())
    found = evaluate(place / "m.safetensors", tmp_path / "mixed", cache=tmp_path / "cache")
    assert found.unknown_classes == {"yellow": 4}
    assert 0 < found.trained_on < 50
    assert found.photos == 45 + 50 - found.trained_on
    assert len(trained) > found.trained_on
    everything = evaluate(
        place / "m.safetensors", tmp_path / "mixed", include_trained=True, cache=tmp_path / "cache"
    )
    assert everything.photos == 95


def test_evaluation_figures_are_those_of_its_confusion_matrix(place, tmp_path):
    photos = write_photos(tmp_path / "p", {"red": 12, "green": 12, "blue": 12}, start=700)
    for number in range(4):  # four photos of blue that show green
        (photos / "green" / f"{700 + number:04}.png").rename(photos / "blue" / f"wrong{number}.png")
    found = evaluate(place / "m.safetensors", photos, cache=tmp_path / "cache")
    confusion = np.array(found.confusion)
    assert confusion.sum() == found.photos == 36
    assert found.accuracy.value == pytest.approx(np.trace(confusion) / 36)
    names = [each.name for each in found.classes]
    blue = found.classes[names.index("blue")]
    assert blue.photos == 16
    assert blue.recall.value == pytest.approx(confusion[names.index("blue"), names.index("blue")] / 16)
    assert {mistake.key for mistake in found.mistakes} >= {f"blue/wrong{number}.png" for number in range(4)}
    assert sum(each.photos for each in found.calibration) == 36


def test_evaluation_of_folders_with_other_names_is_refused_with_the_models_classes(place, tmp_path):
    photos = write_photos(tmp_path / "p", {"rod": 3, "grün": 3})
    with pytest.raises(DataError, match="no class folder has the name") as error:
        evaluate(place / "m.safetensors", photos, cache=tmp_path / "cache")
    assert "blue, green, red" in str(error.value)


def test_exported_file_answers_as_pytorch_and_carries_the_class_names(place, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime", reason="extra [export] is not installed")
    pytest.importorskip("onnxscript", reason="extra [export] is not installed")
    done = export(place / "m.safetensors", tmp_path / "m.onnx")
    assert done.largest_difference < 1e-4
    session = onnxruntime.InferenceSession(str(tmp_path / "m.onnx"), providers=["CPUExecutionProvider"])
    facts = session.get_modelmeta().custom_metadata_map
    assert json.loads(facts["class_names"]) == ["blue", "green", "red"]
    photo = place / "new" / "red" / "0500.png"
    pixels = decode(photo.read_bytes(), Rule(100))[0]
    (row,) = session.run(None, {"images": pixels[None]})[0]
    answer = next(predict(place / "m.safetensors", [photo], top=3))
    assert dict(answer.top)["red"] == pytest.approx(row[2], abs=1e-5)


def test_export_is_compared_on_pictures_of_every_class(place):
    pictures = draw_varied(CHECKED_PHOTOS, 100, seed=0)
    assert np.array_equal(pictures, draw_varied(CHECKED_PHOTOS, 100, seed=0))
    assert len({picture.tobytes() for picture in pictures}) == CHECKED_PHOTOS
    answers = open_classifier(place / "m.safetensors", "cpu", None).probabilities(pictures).argmax(axis=1)
    assert set(answers.tolist()) == {0, 1, 2}


def test_export_that_answers_otherwise_is_not_kept(place, tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime", reason="extra [export] is not installed")
    pytest.importorskip("onnxscript", reason="extra [export] is not installed")
    monkeypatch.setattr("benchgraft.tasks.export.LARGEST_DIFFERENCE", -1.0)
    with pytest.raises(ExportError, match="answers differently"):
        export(place / "m.safetensors", tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


def test_photos_are_shown_upright_and_whole_to_the_model(place, tmp_path):
    wide = np.full((40, 160, 3), 255, np.uint8)
    wide[5:35, 60:95] = (200, 40, 40)
    Image.fromarray(wide).save(tmp_path / "wide.png")
    answer = next(predict(place / "m.safetensors", [tmp_path / "wide.png"]))
    assert isinstance(answer, Prediction)
    assert answer.class_name == "red"


def test_export_command_says_one_line_and_nothing_aside(place):
    pytest.importorskip("onnxruntime", reason="extra [export] is not installed")
    pytest.importorskip("onnxscript", reason="extra [export] is not installed")
    done = _run(place, "export", "m.safetensors", "--out", "said.onnx")
    assert (done.returncode, done.stderr, done.stdout.count("\n")) == (0, "", 1)
