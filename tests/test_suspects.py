"""Wrong labels are found by scores made without them; right ones are left alone, however rare the class."""

from __future__ import annotations

import random
import resource
import shutil
import sys
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from photos import write_discs, write_photos
from typer.testing import CliRunner

from benchgraft import adapt
from benchgraft.cache import LIMIT_VARIABLE
from benchgraft.cli import app
from benchgraft.experiment.folder import DEFAULT_PARENT
from benchgraft.files import shipped_path
from benchgraft.networks import model_file
from benchgraft.networks.contract import split_at
from benchgraft.photos.readers import open_source
from benchgraft.store.store import open_store
from benchgraft.tasks import suspects
from benchgraft.tasks.suspects import find_suspects

CUT = "max_pooling2d_3"
CLOUDS = ["a", "b", "c"]


def _clouds(seed: int = 0, width: int = 12, count: int = 60) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.repeat([0, 1, 2], [count, count, count // 3])
    centres = rng.normal(size=(3, width)) * 2
    return (centres[labels] + rng.normal(size=(len(labels), width))).astype(np.float32), labels


def _find(features, labels, names=CLOUDS):
    return find_suspects(features, labels, [f"photo {i}" for i in range(len(labels))], names)


def _features(folder: Path, cache: Path) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """(features of the shipped parent, labels, class names) of a folder of class folders."""
    store = open_store(open_source("folder", folder), cache)
    prefix, _ = split_at(model_file.load(model_file.read(shipped_path(DEFAULT_PARENT))).eval(), CUT)
    with torch.no_grad():
        parts = [prefix(torch.from_numpy(store.pixels[i : i + 64])).numpy() for i in range(0, len(store), 64)]
    return np.concatenate(parts), store.labels.astype(np.int64), store.class_names


def _most_listed_of_a_trio(features, labels, trios) -> int:
    """Of 36, 36 and 3 photos of each three classes, all labels right."""
    most = 0
    for trio in trios:
        rows = np.concatenate(
            [np.flatnonzero(labels == c)[:n] for c, n in zip(trio, (36, 36, 3), strict=True)]
        )
        given = np.repeat([0, 1, 2], (36, 36, 3))
        most = max(most, len(_find(features[rows], given).found))
    return most


@pytest.mark.parametrize("block_rows", [33, 2048])
def test_scores_are_those_of_fits_without_the_photo(monkeypatch, block_rows):
    monkeypatch.setattr(suspects, "BLOCK_ROWS", block_rows)
    features, labels = _clouds()
    table = suspects._Table(features, np.arange(140), lambda: None)
    fit = suspects._Fit(table, labels, 3)
    scores = np.concatenate([fit.scores(places) for places in fit.blocks(np.arange(140))])
    x = features.astype(np.float64)
    distances = ((x[:, None] - x) ** 2).sum(2)
    kernel = 1 + np.exp(-distances / np.median(distances[np.triu_indices(140, 1)]))
    share = np.bincount(labels) / 140
    for left_out in (0, 77, 139):
        keep = np.arange(140) != left_out
        system = kernel[np.ix_(keep, keep)] + suspects.RIDGE * np.eye(139)
        coefficients = np.linalg.solve(system, np.eye(3)[labels[keep]] - share)
        assert scores[left_out] == pytest.approx(share + kernel[left_out, keep] @ coefficients, abs=1e-3)


def test_planted_wrong_labels_are_the_list_with_their_right_classes():
    features, labels = _clouds()
    wrong = labels.copy()
    wrong[[3, 70, 130]] = [1, 2, 0]
    found = _find(features, wrong).found
    assert {suspect.key: suspect.likelier for suspect in found} == {
        "photo 3": "a",
        "photo 70": "b",
        "photo 130": "c",
    }
    assert all(0.5 < suspect.probability <= 1 for suspect in found)
    assert found == _find(features, wrong).found
    assert _find(features, labels).found == []


def test_a_fit_by_few_landmarks_of_part_of_the_photos_and_of_folded_columns_finds_the_same(monkeypatch):
    features, labels = _clouds(count=300)
    wide = features @ np.random.default_rng(1).normal(size=(12, 5000)).astype(np.float32)
    wrong = labels.copy()
    planted = np.random.default_rng(2).choice(len(labels), 20, replace=False)
    wrong[planted] = (labels[planted] + 1) % 3
    for name, value in (("LANDMARKS", 128), ("COLUMNS", 512), ("FITTED", 400)):
        monkeypatch.setattr(suspects, name, value)
    keys = {suspect.key for suspect in _find(wide, wrong).found}
    assert keys <= {f"photo {i}" for i in planted}
    assert len(keys) >= 18


def test_photos_that_show_nothing_of_their_class_give_no_list_and_a_reason():
    features, labels = _clouds()
    shuffled = np.random.default_rng(0).permutation(labels)
    nothing = _find(features, shuffled)
    assert nothing.found == []
    assert nothing.why_none is not None
    assert nothing.why_none.endswith("too few for wrong labels to stand out")


def test_classes_of_few_photos_are_not_judged_and_nothing_looks_like_them():
    features, labels = _clouds()
    few = np.r_[0:120, 120:129]
    assert _find(features[few], labels[few]).found == []
    wrong = labels[few].copy()
    wrong[3] = 1
    found = [(each.key, each.likelier) for each in _find(features[few], wrong).found]
    assert found == [("photo 3", "a")]
    one_class = _find(features[few], np.where(labels[few] < 2, 0, 2))
    assert one_class.why_none == "fewer than two classes have 10 photos"


def test_a_class_that_is_not_recognised_is_not_doubted():
    features, labels = _clouds(count=300)
    alike = labels.copy()
    alike[:15] = 2  # photos of a, all of them, as far as features tell
    keep = np.r_[0:600]
    assert not [each for each in _find(features[keep], alike[keep]).found if each.given == "c"]


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_features_that_are_no_numbers_give_no_list_and_a_reason(broken):
    features, labels = _clouds()
    features[5, 5] = broken
    assert "finite" in (_find(features, labels).why_none or "")
    assert "the same" in (_find(np.ones_like(features), labels).why_none or "")


@pytest.mark.parametrize("shape", [(79, 48, 48, 16), (6000, 1152)])
def test_memory_is_bounded_for_wide_features_and_for_many(shape):
    labels = np.arange(shape[0]) % 3
    features = np.zeros(shape, np.float32)
    features.reshape(len(labels), -1)[:, :1000] = np.random.default_rng(0).normal(size=(len(labels), 1000))
    features.reshape(len(labels), -1)[np.arange(len(labels)), labels] = 30
    tracemalloc.start()
    found = _find(features, labels)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (found.found, found.why_none) == ([], None)
    assert peak < 300e6


@contextmanager
def _at_most_more(size: int) -> Iterator[None]:
    """This process may take so many bytes more than it has."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@pytest.fixture
def short_training(monkeypatch):
    """What is looked for does not depend on it."""
    monkeypatch.setattr("benchgraft.tasks.adapt.STEPS", 5)


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and a limit of address space")
def test_a_cut_after_the_first_layer_ends_with_an_answer(tmp_path, short_training):
    photos = write_photos(tmp_path / "photos", {"red": 27, "green": 26, "blue": 26})
    with _at_most_more(4 << 30):
        done = adapt(
            photos,
            tmp_path / "m",
            train_from="batch_normalization_1",
            cache=tmp_path / "cache",
            run_folder=tmp_path / "run",
            parent="paper",
        )
    assert done.features_computed == 79
    assert not done.suspects
    assert (tmp_path / "m").exists()


@pytest.mark.parametrize("error", [MemoryError(), np.linalg.LinAlgError("singular matrix")])
def test_whatever_goes_wrong_is_one_line(monkeypatch, error):
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(torch.linalg, "cholesky", fail)
    features, labels = _clouds()
    found = _find(features, labels)
    assert found.found == []
    assert found.why_none in (
        "there was not enough memory",
        "judging them failed (LinAlgError: singular matrix)",
    )


def test_a_failed_search_never_costs_the_answer(tmp_path, monkeypatch, short_training):
    monkeypatch.setattr(suspects, "LANDMARKS", "many")
    photos = write_photos(tmp_path / "photos", {"red": 30, "green": 30})
    done = adapt(
        photos, tmp_path / "m", cache=tmp_path / "cache", run_folder=tmp_path / "run", parent="paper"
    )
    assert (tmp_path / "m").exists()
    assert done.suspects == []
    (line,) = [note for note in done.notes if "labels to check" in note]
    assert line.startswith("no list of labels to check: judging them failed (")


def test_without_cached_features_a_line_says_why_there_is_no_list_and_what_to_set(
    tmp_path, monkeypatch, short_training
):
    monkeypatch.setenv(LIMIT_VARIABLE, "0.0001")
    said: list[str] = []
    photos = write_photos(tmp_path / "photos", {"red": 30, "green": 30})
    places = {"cache": tmp_path / "cache", "run_folder": tmp_path / "run"}
    done = adapt(photos, tmp_path / "m", say=said.append, **places, parent="paper")
    assert done.suspects == []
    (line,) = [note for note in done.notes if "labels to check" in note]
    for told in (line, *[each for each in said if "in every epoch" in each]):
        assert f"set {LIMIT_VARIABLE} to 0.1 or more" in told
    assert len([each for each in said if "in every epoch" in each]) == 1


def test_the_command_prints_the_first_ten_of_the_list(tmp_path, short_training, monkeypatch):
    monkeypatch.setattr(suspects, "LISTED", 0.1)  # it is about the printing: a list of more than ten
    photos = write_photos(tmp_path / "photos", {"red": 80, "green": 80})
    for number in range(12):
        (photos / "red" / f"{number:04}.png").rename(photos / "green" / f"wrong {number:04}.png")
    options = ["--parent", "paper", "--out", str(tmp_path / "m"), "--cache-dir", str(tmp_path / "cache")]
    done = CliRunner().invoke(app, ["adapt", str(photos), *options, "--run-folder", str(tmp_path / "run")])
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("Labels to check first"))
    count = int(lines[start].partition("(")[2].partition(" of 160 photos)")[0])
    assert count > 10
    for line in lines[start + 1 : start + 7]:
        assert line.startswith("  green/wrong ")
        assert ": given green, looks like red; " in line and line.endswith(" % likely wrong")
    assert lines[start + 11] == f"  and {count - 10} more: --json"


def test_of_generated_uneven_trios_with_right_labels_at_most_one_photo_is_listed(tmp_path):
    photos = write_discs(tmp_path / "photos", classes=6, count=36)
    features, labels, _ = _features(photos, tmp_path / "cache")
    assert _most_listed_of_a_trio(features, labels, combinations(range(6), 3)) <= 1


def _copy(paths: dict[str, list[Path]], out: Path) -> Path:
    for name, files in paths.items():
        (out / name).mkdir(parents=True)
        for number, path in enumerate(files):
            shutil.copy(path, out / name / f"{number:04}.jpg")
    return out


@pytest.mark.real
@pytest.mark.parametrize("data", ["fruits-360/Training", "clothing/train"])
def test_of_real_uneven_trios_with_right_labels_at_most_one_photo_is_listed(real_data, tmp_path, data):
    if not (real_data / data).is_dir():
        pytest.skip(f"real data: {data} is not there")
    classes = sorted((real_data / data).iterdir())
    chosen = random.Random(0).sample(classes, min(10, len(classes)))
    paths = {folder.name: random.Random(1).sample(sorted(folder.iterdir()), 36) for folder in chosen}
    features, labels, names = _features(_copy(paths, tmp_path / "photos"), tmp_path / "cache")
    trios = [random.Random(seed).sample(range(len(names)), 3) for seed in range(24)]
    assert _most_listed_of_a_trio(features, labels, trios) <= 1


@pytest.mark.real
def test_of_fruit_with_one_label_in_twenty_wrong_the_list_is_mostly_these_and_about_as_long(
    real_data, tmp_path
):
    pools: dict[str, list[Path]] = {"apple": [], "pear": [], "other": []}
    for folder in sorted((real_data / "fruits-360" / "Training").iterdir()):
        word = folder.name.partition(" ")[0].lower()
        pools[word if word in pools else "other"] += sorted(folder.iterdir())
    paths = {name: random.Random(0).sample(files, 400) for name, files in pools.items()}
    features, labels, names = _features(_copy(paths, tmp_path / "photos"), tmp_path / "cache")
    assert len(_find(features, labels, names).found) <= 6
    for seed in range(3):
        rng = np.random.default_rng(seed)
        planted = rng.choice(1200, 60, replace=False)
        wrong = labels.copy()
        wrong[planted] = (labels[planted] + rng.integers(1, 3, 60)) % 3
        found = [suspect.key for suspect in _find(features, wrong, names).found]
        hits = set(found[:60]) & {f"photo {i}" for i in planted}
        assert len(hits) >= 36
        assert 40 <= len(found) <= 80
