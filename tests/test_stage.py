"""One stage of a run: where its features are cut off, and what happens where a freeze did not hold."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from elsewhere import Done, call
from photos import write_photos

from benchgraft.config.network import PAPER
from benchgraft.experiment import stage
from benchgraft.experiment.bench import make_bench
from benchgraft.experiment.load import load
from benchgraft.experiment.rounds import Comparison
from benchgraft.files import digest_array
from benchgraft.networks import model_file
from benchgraft.networks.build import build
from benchgraft.networks.cost import block_costs
from benchgraft.networks.freeze import Frozen
from benchgraft.runfolder.ledger import Ledger
from benchgraft.runfolder.records import RunRecord
from benchgraft.training import cuts
from benchgraft.training.batches import rows_of
from benchgraft.training.cuts import Cut
from benchgraft.training.features import FeatureCache

pytestmark = pytest.mark.usefixtures("one_thread")

EXPERIMENT = """
name = "tiny"
protocol = "like_for_like"
runs = 1
arms = { transfer = "frozen", scratch = "scratch" }
[data.photos]
format = "folder"
folder = "photos"
validation = 0.1
test = 0.15
[stages.parent]
data = "photos"
model_file = "shipped:stage2.safetensors"
recipe = { learning_rate = 0.01, batch_size = 32, stop = { epochs = 1 } }
[stages.frozen]
data = "photos"
parent = "parent"
freeze = ["conv2d_*", "batch_normalization_*", "dense_1"]
recipe = { learning_rate = 0.01, batch_size = 32, stop = { epochs = 3 } }
[stages.scratch]
data = "photos"
recipe = { learning_rate = 0.01, batch_size = 32, stop = { epochs = 1 } }
"""
PREFIX = [
    "conv2d_1",
    "batch_normalization_1",
    "max_pooling2d_1",
    "conv2d_2",
    "batch_normalization_2",
]
PREFIX += ["max_pooling2d_2", "conv2d_3", "conv2d_4", "max_pooling2d_3", "dense_1"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("stage")
    write_photos(place / "photos", {"red": 50, "green": 50})
    (place / "tiny.toml").write_text(EXPERIMENT)
    return place


# --- the choice of the cut ----------------------------------------------------------------------------------


def _measured(monkeypatch: pytest.MonkeyPatch, seconds: dict[str, float], batch: int = 32) -> list[Cut]:
    """What is measured of a network whose blocks take these times, 1 s where none is given."""
    model, now = build(PAPER, 3, seed=0), [0.0]
    for name, layer in model.named_children():
        taken = seconds.get(name, 1.0)
        layer.register_forward_hook(lambda *_, taken=taken: now.__setitem__(0, now[0] + taken))
    clock = SimpleNamespace(perf_counter=lambda: now[0], monotonic=time.monotonic)
    monkeypatch.setattr(cuts, "time", clock)
    pixels = np.zeros((5, 100, 100, 3), np.uint8)
    rows = rows_of(pixels, np.arange(5), np.zeros(5, np.int64), torch.device("cpu"))
    return cuts.measure_cuts(model, PREFIX, rows, batch)


def test_every_block_of_the_prefix_is_measured_with_all_before_it(monkeypatch):
    measured = _measured(monkeypatch, {"conv2d_2": 7.0})
    assert [cut.block for cut in measured] == PREFIX
    expected = 1 / 32 + np.cumsum([7.0 if name == "conv2d_2" else 1.0 for name in PREFIX]) / 32
    assert [cut.forward_seconds for cut in measured] == pytest.approx(expected)
    outputs = {row.name: row.output for row in block_costs(build(PAPER, 3, seed=0))}  # table 1 of the paper
    assert [cut.image_bytes for cut in measured] == [4 * int(np.prod(outputs[name])) for name in PREFIX]


CUTS = [Cut("early", 1000, 1.0, 0.1), Cut("wide", 9000, 3.0, 2.9), Cut("late", 2000, 3.0, 0.2)]


@pytest.mark.parametrize(
    ("epochs", "limit", "expected"),
    [
        (10, 10**9, "late"),  # 10 x (3 - 0.2) - 3 saved, the most
        (10, 200_000, "late"),  # 100 images of 2,000 bytes fit to the byte
        (10, 199_999, "early"),
        (10, 99_999, None),
        (1, 10**9, None),  # computing once and reading once is more than computing once
        (2, 10**9, "late"),
    ],
)
def test_the_cut_that_saves_most_and_fits_is_chosen(epochs, limit, expected):
    assert cuts.choose_cut(CUTS, 100, epochs, limit) == expected
    assert cuts.choose_cut(CUTS[::-1], 100, epochs, limit) == expected


def test_a_cut_must_earn_the_features_that_it_costs():
    slow = [Cut("slow", 1000, 1.0, 0.6)]
    assert cuts.choose_cut(slow, 100, 2, 10**9) is None  # 1 + 2 x 0.6 s are more than 2 x 1 s
    assert cuts.choose_cut(slow, 100, 3, 10**9) == "slow"  # and 1 + 3 x 0.6 s less than 3 x 1 s


def _compared(made: Path, folder: Path, **more: Any) -> dict[str, RunRecord]:
    """Runs of the frozen arm by their features, in a run folder and a cache of their own."""
    bench = make_bench(folder / "run", folder / "cache", "cpu")
    experiment = load(str(made / "tiny.toml")).model_copy(update={"arms": {"transfer": "frozen"}})
    ledger = Comparison(experiment, made, replace(bench, **more)).run([])
    return {run.features: run for run in ledger.of_kind(RunRecord) if not run.given}


@pytest.fixture
def from_pixels(made: Path) -> RunRecord:
    """Carried out once: what is done already is not done again."""
    return _compared(made, made / "pixels", use_cache=False)["none"]


@pytest.mark.parametrize(
    ("winner", "limit", "expected"),
    [
        ("batch_normalization_1", 10**9, "batch_normalization_1"),
        ("conv2d_3", 10**9, "conv2d_3"),
        ("dense_1", 10**9, "dense_1"),
        ("conv2d_3", 100 * 9 * 9 * 64 * 4 - 1, "dense_1"),  # the winner's features are a byte too large
        ("conv2d_3", 100 * 512 * 4 - 1, None),
        (None, 10**9, None),
    ],
)
def test_cached_features_of_the_cut_that_pays_lead_where_pixels_lead(
    winner, limit, expected, made, from_pixels, tmp_path, monkeypatch
):
    def measured(*_: object) -> list[Cut]:
        """By these times `dense_1` pays, `winner` pays more, and no other does."""
        pays = {"dense_1": 1.0} if winner else {}
        seconds = pays | {winner: 2.0}
        return [replace(cut, forward_seconds=seconds.get(cut.block, 0.0)) for cut in every]

    every = [replace(cut, read_seconds=0.1) for cut in _measured(monkeypatch, {})]
    monkeypatch.undo()
    monkeypatch.setattr(cuts, "measure_cuts", measured)
    monkeypatch.setenv("BENCHGRAFT_CACHE_GB", f"{limit / 1e9:.9f}")
    runs = _compared(made, tmp_path)
    assert runs.keys() == ({"computed", "cached"} if expected else {"none"})
    for run in runs.values():
        assert run.cut == expected
        assert (run.loss, run.model_digest) == (from_pixels.loss, from_pixels.model_digest)


# --- a freeze that did not hold -----------------------------------------------------------------------------


Run = Callable[[str], Done]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], made: Path, tmp_path: Path) -> Run:
    """Run a command in this process; `@` stands for a folder of this test."""

    def run(words: str) -> Done:
        with pytest.raises(SystemExit) as ended:
            call(words.replace("@", str(tmp_path)).replace("PHOTOS", str(made)).split())
        return Done(ended.value.code, *capsys.readouterr())  # type: ignore[arg-type]

    return run


REPRODUCE = "reproduce PHOTOS/tiny.toml --data PHOTOS --out @/run --cache-dir @/cache"
ADAPT = "adapt PHOTOS/photos --out @/m.safetensors --run-folder @/run --cache-dir @/cache"


def _assert_fault(done: Done, words: str, folder: Path) -> None:
    """Told as a fault of the program; what was trained is no result."""
    assert done.code == 1
    assert done.err.splitlines()[-1].startswith("fault of the program: ")
    assert words in done.err.splitlines()[-1]
    assert not (folder / "m.safetensors").exists()
    assert not (folder / "run" / "report.html").exists()


@pytest.mark.parametrize("words", [f"{REPRODUCE} --no-cache", REPRODUCE, ADAPT])
@pytest.mark.parametrize("tensor", ["batch_normalization_2.running_mean", "conv2d_1.weight"])
def test_a_frozen_tensor_that_is_changed_amid_training_fails_the_command(
    words, tensor, run, tmp_path, monkeypatch
):
    train, epochs = Frozen.train, []

    def tampered(self: Frozen) -> None:
        train(self)
        epochs.append(1)
        if len(epochs) == 2 and self.blocks:
            self._model.state_dict()[tensor].add_(1e-6)

    monkeypatch.setattr(Frozen, "train", tampered)
    _assert_fault(run(words), f"frozen tensors changed during training: {tensor}", tmp_path)
    assert len(epochs) > 2
    assert [r for r in Ledger(tmp_path / "run").of_kind(RunRecord) if not r.given] == []
    assert not list((tmp_path / "run").rglob("models/*"))


def test_a_frozen_batchnorm_left_in_training_mode_fails_the_command(run, tmp_path, monkeypatch):
    """What most PyTorch code does: requires_grad is off, and the statistics move."""
    monkeypatch.setattr(Frozen, "train", lambda self: self._model.train())
    moved = [f"batch_normalization_{n}.{name}" for n in (1, 2) for name in STATISTICS]
    _assert_fault(run(f"{REPRODUCE} --no-cache"), ": " + ", ".join(moved), tmp_path)


STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


# --- cold and warm ------------------------------------------------------------------------------------------


@pytest.fixture
def refused(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Done:
    """A warm run whose cached features were changed, and with them the digest that would have told it."""

    def changed(cache: FeatureCache, ids: Any) -> Any:
        (path,) = (tmp_path / "cache").rglob("features.npy")
        array = np.load(path)
        array[0] += 0.5
        np.save(path, array)
        path.with_name("features.json").write_text(json.dumps({"digest": digest_array(array)}))
        return open_features(cache, ids)

    open_features = FeatureCache.open
    monkeypatch.setattr(FeatureCache, "open", changed)
    return run(REPRODUCE)


def test_a_warm_run_that_leads_elsewhere_fails_the_command_and_is_no_result(refused, tmp_path):
    _assert_fault(refused, "stage frozen, seed 0: cached features led to another model", tmp_path)
    runs = [r for r in Ledger(tmp_path / "run").of_kind(RunRecord) if not r.given]
    assert [(r.arm, r.features) for r in runs] == [("transfer", "computed")]


def test_a_warm_run_that_leads_elsewhere_does_not_replace_the_model_of_the_cold_run(refused, tmp_path):
    (cold,) = (r for r in Ledger(tmp_path / "run").of_kind(RunRecord) if not r.given)
    assert model_file.read(tmp_path / "run" / cold.model_file).card.model_digest == cold.model_digest


# --- updates ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("history", "now", "expected"),
    [
        ([(1000, 0.1, 5)], 1050, 0.1),
        ([(1000, 0.1, 5)], 1200, None),
        ([(1000, 0.1, 5), (1090, 0.1, 1)], 1095, 0.1),
        ([(1000, 0.1, 5), (1090, 0.1, 1)], 1150, None),  # near the last one, and not to where it was chosen
        ([(1000, 0.1, 5), (2000, 0.01, 4), (2100, 0.01, 1)], 2150, 0.01),
        ([(1090, 0.1, 1)], 1095, None),
    ],
)
def test_a_penalty_is_kept_until_photos_have_grown_since_it_was_chosen(history, now, expected):
    facts = [
        {"train_images": images, "penalty": penalty, "validation_loss": [1.0] * tried}
        for images, penalty, tried in history
    ]
    card = SimpleNamespace(class_names=["a", "b"], record=facts[-1], history=facts)
    begun = SimpleNamespace(
        parent=SimpleNamespace(card=card),
        run=SimpleNamespace(settings=SimpleNamespace(carry_over=True)),
        images=SimpleNamespace(class_names=["b", "a"], rows={"train": range(now)}),
    )
    assert stage._strength_before(begun) == expected
