"""`adapt` without a parent tries those that are installed, on photos that it does not test on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from photos import write_photos
from PIL import Image

from benchgraft import adapt
from benchgraft.config.parents import PARENTS
from benchgraft.errors import DataError, RequestError
from benchgraft.experiment import choice
from benchgraft.networks import model_file
from benchgraft.runfolder.ledger import Ledger
from benchgraft.runfolder.records import ChoiceRecord, ImagesRecord
from benchgraft.tasks.report import verify


@pytest.fixture(autouse=True)
def two_small_parents(monkeypatch):
    """Those that come along: others take seconds each."""
    monkeypatch.setattr(choice, "PARENTS", {name: PARENTS[name] for name in ("paper", "cifar100")})
    monkeypatch.setattr("benchgraft.tasks.adapt.STEPS", 5)


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    return write_photos(tmp_path_factory.mktemp("choice") / "photos", {"red": 30, "green": 30, "blue": 30})


def _options(place: Path) -> dict[str, Path]:
    return {"out": place / "m.safetensors", "cache": place / "cache", "run_folder": place / "run"}


def test_the_choice_stands_in_the_answer_the_account_and_the_command_that_repeats_it(photos, tmp_path):
    made = adapt(photos, **_options(tmp_path))
    assert made.choice is not None
    assert [tried.parent for tried in made.choice.tried] == ["paper", "paper", "cifar100"]
    assert [tried.fit for tried in made.choice.tried[:2]] == ["letterbox", "center"]
    assert (made.parent, made.fit) == (made.choice.parent, made.choice.fit)
    assert model_file.read(tmp_path / "m.safetensors").card.fit == made.fit
    [told] = Ledger(tmp_path / "run").of_kind(ChoiceRecord)
    assert told == made.choice
    command = json.loads((tmp_path / "run" / "ledger.jsonl").read_text().splitlines()[0])["command"]
    assert command[command.index("--parent") + 1] == made.parent
    assert command[command.index("--fit") + 1] == made.fit
    assert verify(tmp_path / "run").differences == []


def test_what_was_tried_is_not_tried_again(photos, tmp_path, monkeypatch):
    first = adapt(photos, **_options(tmp_path))

    def refuse(*_arguments):
        raise AssertionError("tried again")

    monkeypatch.setattr(choice, "leave_out", refuse)
    again = adapt(photos, **{**_options(tmp_path), "run_folder": tmp_path / "other"})
    assert again.choice.tried == first.choice.tried
    more = write_photos(tmp_path / "photos", {"red": 32, "green": 30, "blue": 30})
    with pytest.raises(AssertionError, match="tried again"):
        adapt(more, **{**_options(tmp_path), "run_folder": tmp_path / "third", "out": tmp_path / "n"})


def test_no_photo_to_test_on_is_looked_at(photos, tmp_path, monkeypatch):
    looked_at: list[str] = []
    real = choice._Trial.run

    def run(trial, names, started):
        record = real(trial, names, started)
        looked_at.extend(trial._sample.listing.source.samples[row].key for row in trial._sample.rows)
        return record

    monkeypatch.setattr(choice._Trial, "run", run)
    adapt(photos, **_options(tmp_path))
    [images] = Ledger(tmp_path / "run").of_kind(ImagesRecord)
    assert len(looked_at) > 60
    assert not set(looked_at) & set(images.test.keys)


@pytest.mark.parametrize("matters", [0.01, -2.0])
def test_of_parents_that_are_not_told_apart_a_cheap_one_is_taken_where_it_costs_no_point(
    photos, tmp_path, monkeypatch, matters
):
    """-2: even the same accuracy would be too far behind."""
    costs = iter([9.0, 1.0])
    monkeypatch.setattr(choice, "megaflops", lambda _network: next(costs))
    monkeypatch.setattr(choice, "TOLD_APART", 1e9)
    monkeypatch.setattr(choice, "MATTERS", matters)
    made = adapt(photos, **_options(tmp_path))
    assert made.choice is not None
    paper, cifar100 = (
        next(each for each in made.choice.tried if each.parent == name) for name in ("paper", "cifar100")
    )
    best = min((paper, cifar100), key=lambda each: each.error)
    is_near = best.balanced_accuracy - cifar100.balanced_accuracy < matters
    assert made.parent == ("cifar100" if is_near else best.parent)


def test_photos_that_cannot_be_read_take_no_part_and_end_nothing(tmp_path):
    photos = write_photos(tmp_path / "photos", {"red": 24, "green": 24})
    for number in (3, 7):
        (photos / "red" / f"{number:04}.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    made = adapt(photos, **_options(tmp_path))
    assert len(made.excluded) == 2
    assert made.choice is not None


def test_a_crop_is_tried_for_photos_that_are_not_square(tmp_path, monkeypatch):
    photos = tmp_path / "photos"
    for name, colour in (("red", (200, 30, 30)), ("green", (30, 170, 30))):
        (photos / name).mkdir(parents=True)
        for number in range(24):
            noise = np.random.default_rng([number, len(name)]).integers(-25, 25, (60, 90, 3))
            Image.fromarray((noise + np.array(colour)).clip(0, 255).astype(np.uint8)).save(
                photos / name / f"{number}.png"
            )
    made = adapt(photos, **_options(tmp_path))
    assert {tried.fit for tried in made.choice.tried} >= {"letterbox", "crop"}


def test_too_few_photos_to_try_parents_on_are_no_error_of_the_choice(tmp_path):
    photos = write_photos(tmp_path / "photos", {"red": 1, "green": 1})
    with pytest.raises(DataError, match="too few to set any aside"):
        adapt(photos, **_options(tmp_path))


def test_a_block_without_its_network_is_refused(photos):
    with pytest.raises(RequestError, match="train_from needs parent"):
        adapt(photos, train_from="dense_1")


def test_a_parent_that_has_learned_these_photos_is_not_tried_and_that_is_said(photos, tmp_path, monkeypatch):
    """What it gets right of photos that it knows says nothing of others, which it would be chosen for."""
    knows = adapt(photos, parent="cifar100", **_options(tmp_path / "knows")).model
    monkeypatch.setattr(choice, "_installed", lambda: (["paper", str(knows)], []))
    made = adapt(photos, overlap="keep", **_options(tmp_path))
    assert made.parent == "paper"
    assert {tried.parent for tried in made.choice.tried} == {"paper"}
    [why] = made.choice.not_tried.values()
    assert "it was trained on" in why
    assert any("was not tried: it was trained on" in note for note in made.notes)
