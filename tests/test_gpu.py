"""What holds on a card: skipped, and said so, where there is none."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from invented import EXPERIMENT
from photos import write_photos

from benchgraft import adapt, predict
from benchgraft.config.requests import ReproduceRequest
from benchgraft.experiment.bench import bench_for
from benchgraft.experiment.load import load
from benchgraft.experiment.rounds import Comparison
from benchgraft.runfolder.records import RunRecord
from benchgraft.training.batches import resident, rows_of

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="no GPU here: nothing of this is tested"
)


def test_cold_and_warm_runs_agree_within_the_stated_tolerance(tmp_path):
    write_photos(tmp_path / "photos", {"red": 60, "green": 60})
    (tmp_path / "tiny.toml").write_text(EXPERIMENT)
    request = ReproduceRequest(data=tmp_path, device="cuda", cache=tmp_path / "cache")
    bench = bench_for(request, tmp_path / "run")
    bench.chosen_cuts["second"] = "max_pooling2d_3"
    ledger = Comparison(load(str(tmp_path / "tiny.toml")), tmp_path, bench).run([])
    runs = [run for run in ledger.of_kind(RunRecord) if run.arm == "transfer"]
    assert {run.features for run in runs} == {"computed", "cached"}
    for cold in (run for run in runs if run.features == "computed"):
        (warm,) = (run for run in runs if (run.features, run.seed) == ("cached", cold.seed))
        assert warm.loss == pytest.approx(cold.loss, rel=1e-3)
        assert warm.predicted == cold.predicted


def test_batches_that_are_made_on_the_card_are_the_same(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), np.uint8)
    rows = {"train": rows_of(pixels, np.arange(40), np.zeros(40, np.int64), torch.device("cuda"))}
    there = resident(rows)["train"]
    assert there.array.device.type == "cuda"
    some = torch.tensor([3, 1, 39])
    assert torch.equal(there.take(some).cpu(), rows["train"].take(some).cpu())


def test_a_model_made_on_the_card_answers_as_one_made_on_the_cpu(tmp_path):
    write_photos(tmp_path / "photos", {"red": 60, "green": 60})
    new = write_photos(tmp_path / "new", {"red": 30, "green": 30}, start=500)
    answers = []
    for device in ("cpu", "cuda"):
        model = tmp_path / f"{device}.safetensors"
        adapt(
            tmp_path / "photos",
            model,
            parent="imagenet",
            device=device,
            cache=tmp_path / f"cache {device}",
            run_folder=tmp_path / f"run {device}",
        )
        found = predict(model, [new], device=device)
        answers.append([answer.class_name for answer in found])
    assert answers[0] == answers[1]
