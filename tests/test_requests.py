"""Values that cannot be asked for are refused by the functions as by the command, before anything is done."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from photos import write_photos

from benchgraft import adapt, compare, evaluate, export, predict, prepare
from benchgraft.errors import RequestError
from benchgraft.files import shipped_path
from benchgraft.tasks.predict import Prediction

PARENT = shipped_path("shipped:stage2.safetensors")


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    return write_photos(tmp_path_factory.mktemp("requests") / "photos", {"red": 30, "green": 30})


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"overlap": "drop_test"}, 'overlap is "drop_test", which is unknown\n  did you mean "drop-test"?'),
        ({"overlap": "Refuse"}, 'did you mean "refuse"?'),
        ({"fit": "letterbx"}, 'did you mean "letterbox"?'),
        ({"damaged": True}, "damaged is True, which is unknown"),
        ({"rename": {"red": "rot"}}, "rename needs update"),
        ({"refuse_regression": True}, "refuse_regression needs update"),
        ({"parent": PARENT, "update": PARENT}, "parent and update exclude each other"),
        ({"refuse_regression": "yes", "update": PARENT}, 'refuse_regression is "yes"'),
        ({"train_from": 3}, "train_from is 3, no name of a block"),
        ({"train_from": ""}, "no name of a block"),
        ({"train_from": "dense_1"}, "train_from needs parent"),
        ({"train_from": "conv3d_1", "parent": "paper"}, '"conv3d_1" is no block of the network'),
        ({"freeze": "conv2d_*"}, "name the first block that trains: train_from"),
        ({"minutes": -1}, "minutes is -1, but must be a number of minutes, 0 or more"),
        ({"minutes": float("nan")}, "a number of minutes"),
        ({"plan": "p.json", "minutes": 3}, "minutes and plan exclude each other"),
        ({"plan": "p.json"}, "plan p.json cannot be read"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": "0"}, 'seed is "0", no whole number'),
        ({"seed": True}, "seed is True, no whole number"),
        ({"threads": 0}, "threads is 0, but must be at least 1"),
        ({"group_by": "("}, 'group_by is "(", no regular expression'),
        ({"out": ""}, "out is an empty path"),
        ({"cache": 7}, "cache is 7, no path"),
        ({"say": "loud"}, 'say is "loud": give a function'),
        ({"progress": print}, "progress is <built-in function print>: give an object with a method track"),
        ({"device": 0}, "device is 0"),
    ],
)
def test_adapt_refuses_what_the_command_would_refuse(photos, tmp_path, monkeypatch, values, said):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Exception) as refused:
        adapt(photos, **values)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value).partition("\n")[0]
    assert not list(tmp_path.iterdir())


def test_every_wrong_value_is_told_at_once(photos):
    with pytest.raises(RequestError) as refused:
        adapt(photos, overlap="kepe", seed=-1, threads=0)
    for name in ("overlap", "seed", "threads"):
        assert name in str(refused.value)


@pytest.mark.parametrize(
    "call",
    [
        lambda: adapt(""),
        lambda: adapt(b"photos"),
        lambda: adapt(None),
        lambda: compare("photos", runs=0),
        lambda: compare("photos", overlap="drop"),
        lambda: prepare("paper", seed="1"),
        lambda: prepare(3),
        lambda: evaluate(PARENT, 3),
        lambda: evaluate(PARENT, "photos", include_trained="no"),
        lambda: export(PARENT, images=3),
        lambda: predict(PARENT, 3),
        lambda: predict(PARENT, {"x.jpg": 1}),
        lambda: predict(PARENT, ""),
        lambda: predict(PARENT, ["x.jpg"], top=0),
        lambda: predict(PARENT, ["x.jpg"], top=1.5),
        lambda: predict(PARENT, ["x.jpg"], unsure_below=2),
        lambda: predict(PARENT, ["x.jpg"], unsure_below="0.5"),
        lambda: predict(PARENT, ["x.jpg"], threads=0),
        lambda: list(predict(PARENT, ["x.jpg", None])),
        lambda: list(predict(PARENT, [""])),
    ],
)
def test_no_function_takes_values_of_a_wrong_kind(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RequestError):
        call()
    assert not list(tmp_path.iterdir())


def test_one_path_stands_for_a_list_of_one(photos, tmp_path, monkeypatch):
    monkeypatch.setattr("benchgraft.tasks.adapt.STEPS", 5)
    photo = sorted((photos / "red").iterdir())[0]
    made = adapt(
        photos,
        tmp_path / "m.safetensors",
        parent="paper",
        train_from="dense_1",
        seed=np.int64(3),
        cache=tmp_path / "cache",
        run_folder=tmp_path / "run",
    )
    for given in (photo, str(photo), [photo], (str(photo),), iter([photo])):
        [answer] = predict(made.model, given)
        assert isinstance(answer, Prediction)
        assert answer.path == str(photo)


def test_the_printed_name_of_the_parent_is_one_that_can_be_given(photos, tmp_path, monkeypatch):
    monkeypatch.setattr("benchgraft.tasks.adapt.STEPS", 5)
    told = adapt(
        photos,
        tmp_path / "m.safetensors",
        parent="shipped:stage2.safetensors",
        cache=tmp_path / "cache",
        run_folder=tmp_path / "run",
    )
    assert told.accuracy.value > 0.5
