"""A whole experiment on tiny synthetic images: frozen, cached, resumed, refused."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchgraft.config.network import PAPER
from benchgraft.errors import ConfigError, FrozenMovedError, RunFolderError
from benchgraft.events import Events
from benchgraft.experiment.account import experiment_record
from benchgraft.experiment.bench import Bench
from benchgraft.experiment.load import load
from benchgraft.experiment.rounds import Comparison
from benchgraft.networks import model_file
from benchgraft.networks.build import build
from benchgraft.networks.freeze import Frozen, match_blocks
from benchgraft.runfolder.ledger import Ledger, config_digest, environment
from benchgraft.runfolder.records import DataRecord, RunRecord
from benchgraft.tasks.report import summarise

TINY = """
base = "paper"
name = "tiny"
runs = 1
classes.apple_pear_noise.train_per_class = 40
classes.apple_pear_noise.validation_per_class = 8
classes.apple_pear_noise.test_per_class = 8
[data.cifar100]
validation = 0.3
[data.fruits360]
validation = 0.3
[stages]
stage1.recipe = { batch_size = 32, stop = { epochs = 1 } }
stage2.recipe = { batch_size = 32, stop = { epochs = 2 } }
stage3.recipe = { batch_size = 32, stop = { epochs = 3 } }
scratch.recipe = { batch_size = 32, stop = { epochs = 2 } }
"""


def _bench(folder: Path, cache: Path, **more: object) -> Bench:
    lines: list[str] = []
    env = environment(torch.get_num_threads(), "cpu")
    return Bench(folder, cache, torch.device("cpu"), env, Events(say=lines.append), **more)


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    return path


def _runs(ledger: Ledger) -> dict[tuple[str, str], RunRecord]:
    return {(run.stage, run.features): run for run in ledger.of_kind(RunRecord)}


def _state(folder: Path, run: RunRecord) -> dict[str, torch.Tensor]:
    return model_file.read(folder / run.model_file).state


@pytest.mark.parametrize("augment", ["", "flip = true, shift = 4, views = 3"])
def test_cached_run_gives_the_losses_and_weights_of_the_uncached_run_bit_for_bit(
    tiny, tmp_path, synthetic_data, augment
):
    tiny.write_text(TINY.replace("epochs = 3 }", f"epochs = 3 }}, augment = {{ {augment} }}"))
    experiment = load(str(tiny))
    cached = _bench(tmp_path / "cached", tmp_path / "cache")
    plain = _bench(tmp_path / "plain", tmp_path / "cache", use_cache=False)
    with_cache = _runs(Comparison(experiment, synthetic_data, cached).run([]))
    without = _runs(Comparison(experiment, synthetic_data, plain).run([]))
    for stage in ("stage2", "stage3"):
        a = next(run for (name, mode), run in with_cache.items() if name == stage and mode != "cached")
        b = without[(stage, "none")]
        assert a.features == "computed"
        assert a.loss == b.loss
        assert a.predicted == b.predicted
        states = _state(cached.folder, a), _state(plain.folder, b)
        assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert with_cache[("stage3", "cached")].model_digest == with_cache[("stage3", "computed")].model_digest


def test_frozen_tensors_and_buffers_are_those_of_the_parent_and_the_rest_moves(
    tiny, tmp_path, synthetic_data
):
    bench = _bench(tmp_path / "run", tmp_path / "cache")
    runs = _runs(Comparison(load(str(tiny)), synthetic_data, bench).run([]))
    parent = model_file.read(bench.folder / "models" / "stage1.safetensors").state
    child = model_file.read(bench.folder / "models" / "stage2.safetensors").state
    frozen = runs[("stage2", "computed")].frozen
    assert "batch_normalization_1.running_mean" in frozen
    assert all(torch.equal(parent[name], child[name]) for name in frozen)
    assert not torch.equal(parent["conv2d_4.weight"], child["conv2d_4.weight"])


def test_finished_runs_are_not_repeated_and_the_report_can_be_made(tiny, tmp_path, synthetic_data):
    bench = _bench(tmp_path / "run", tmp_path / "cache")
    experiment = load(str(tiny))
    first = Comparison(experiment, synthetic_data, bench).run([])
    before = first.path.read_bytes()
    again = Comparison(experiment, synthetic_data, bench).run([])
    assert again.path.read_bytes() == before
    summarise(again.records)


def test_several_parents_are_trained_once_each_and_runs_take_turns_on_them(tiny, tmp_path, synthetic_data):
    gentle = TINY.replace("batch_size = 32", "batch_size = 32, learning_rate = 2e-3")
    tiny.write_text(gentle.replace("runs = 1", "runs = 3"))
    experiment = load(str(tiny)).model_copy(update={"parents": 2})
    ledger = Comparison(experiment, synthetic_data, _bench(tmp_path / "run", tmp_path / "cache")).run([])
    runs = ledger.of_kind(RunRecord)
    made = {(run.stage, run.seed): run for run in runs if run.arm is None}
    assert set(made) == {("stage1", 0), ("stage2", 0), ("stage1", 1), ("stage2", 1)}
    assert made["stage2", 1].parent_digest == made["stage1", 1].model_digest
    for run in runs:
        if run.arm == "transfer":
            assert run.parent_digest == made["stage2", run.seed % 2].model_digest
    summary = summarise(ledger.records)
    assert "2 parents" in " ".join(summary.answer)
    of_parents = [
        sum(run.accuracy for run in same) / len(same)
        for same in ([r for r in runs if r.arm == "transfer" and r.seed % 2 == p] for p in (0, 1))
    ]
    scratch = [run.accuracy for run in runs if run.arm == "scratch"]
    assert summary.accuracy[0].over_runs.value == pytest.approx(np.mean(of_parents) - np.mean(scratch))


def test_run_folder_of_another_experiment_is_refused(tiny, tmp_path, synthetic_data):
    bench = _bench(tmp_path / "run", tmp_path / "cache")
    experiment = load(str(tiny))
    Comparison(experiment, synthetic_data, bench).run([])
    with pytest.raises(RunFolderError, match="another experiment"):
        Comparison(experiment.model_copy(update={"seed": 9}), synthetic_data, bench).run([])


def test_a_folder_of_0_1_0_is_continued_though_settings_came_later(tiny, tmp_path, synthetic_data):
    bench = _bench(tmp_path / "run", tmp_path / "cache")
    experiment = load(str(tiny))
    Comparison(experiment, synthetic_data, bench).run([])
    _rewrite(bench.folder, _without_later_settings)
    before = (bench.folder / "ledger.jsonl").read_bytes()
    in_other_words = experiment.model_copy(update={"about": "the same"})
    again = Comparison(in_other_words, synthetic_data, bench).run([])
    assert again.path.read_bytes() == before


def test_a_folder_whose_settings_cannot_be_read_says_in_one_line_how_to_begin_anew(
    tiny, tmp_path, synthetic_data
):
    bench = _bench(tmp_path / "run", tmp_path / "cache")
    experiment = load(str(tiny))
    Ledger(bench.folder).append(experiment_record(experiment, []))
    _rewrite(bench.folder, lambda settings: settings | {"of_another_version": 1})
    with pytest.raises(RunFolderError, match="cannot read: begin anew with --out FOLDER") as refused:
        Comparison(experiment, synthetic_data, bench).run([])
    assert "\n" not in str(refused.value)


def _without_later_settings(settings: dict[str, Any]) -> dict[str, Any]:
    """As 0.1.0 wrote them."""
    assert {"subject"} <= settings.keys()
    assert all("overlap" in data for data in settings["data"].values())
    old = {name: value for name, value in settings.items() if name != "subject"}
    old["data"] = {
        name: {key: value for key, value in data.items() if key != "overlap"}
        for name, data in settings["data"].items()
    }
    return old


def _rewrite(folder: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """The settings in the first line of a ledger, and their digest."""
    path = folder / "ledger.jsonl"
    first, *others = path.read_text().splitlines(keepends=True)
    record = json.loads(first)
    record["config"] = change(record["config"])
    record["config_digest"] = config_digest(record["config"])
    path.write_text(json.dumps(record) + "\n" + "".join(others))


def test_as_published_runs_to_the_end(tmp_path, synthetic_data):
    recipe = "recipe.stop = { epochs = 1, patience = 1 }"
    text = 'base = "paper-as-published"\nruns = 1\n'
    text += "[data]\ncifar100.validation = 0.3\nfruits360.validation = 0.3\n"
    text += "".join(
        f"[stages.{name}]\n{recipe}\n"
        for name in ("stage1", "stage2", "stage3_text", "stage3_code", "scratch")
    )
    path = tmp_path / "short.toml"
    path.write_text(text)
    bench = _bench(tmp_path / "run", tmp_path / "cache")
    ledger = Comparison(load(str(path)), synthetic_data, bench).run([])
    assert {run.arm for run in ledger.of_kind(RunRecord)} == {
        None,
        "transfer_text",
        "transfer_code",
        "scratch",
    }
    summarise(ledger.records)


def test_a_frozen_tensor_that_moves_fails_the_run():
    model = build(PAPER, 3, seed=0)
    frozen = Frozen(model, ["batch_normalization_1"])
    with torch.no_grad():
        model.batch_normalization_1.running_mean[0] += 1e-7
    with pytest.raises(FrozenMovedError, match=r"batch_normalization_1\.running_mean"):
        frozen.verify()


def test_frozen_batchnorm_stays_in_inference_mode_while_the_rest_trains():
    model = build(PAPER, 3, seed=0)
    frozen = Frozen(model, ["conv2d_1", "batch_normalization_1"])
    frozen.train()
    model(torch.randint(0, 255, (32, 100, 100, 3), dtype=torch.uint8))
    frozen.verify()
    assert model.batch_normalization_2.num_batches_tracked == 1


def test_a_pattern_without_a_match_is_refused_with_the_blocks():
    with pytest.raises(ConfigError, match=r'"conv5\*" matches no block'):
        match_blocks(build(PAPER, 3, seed=0).block_names, ["conv5*"])


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("runss = 3", 'did you mean "runs"'),
        ('stages.stage3.parent = "stage22"', 'did you mean "stage2"'),
        ("stages.stage3.recipe.learning_rat = 1", 'did you mean "learning_rate"'),
        ("stages.stage3.recipe.learning_rate = -1", "greater than 0"),
    ],
)
def test_a_typo_in_an_experiment_file_is_answered_with_the_nearest_name(tmp_path, line, expected):
    path = tmp_path / "typo.toml"
    path.write_text(f'base = "paper"\n{line}\n')
    with pytest.raises(ConfigError) as caught:
        load(str(path))
    assert expected in str(caught.value)


def test_a_mistake_on_the_command_line_is_one_message_and_exit_code_2(tmp_path):
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "benchgraft",
            "reproduce",
            "--data",
            str(tmp_path / "nowhere"),
            "--out",
            str(tmp_path),
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr


def test_training_does_not_import_the_compiler(tiny, tmp_path, synthetic_data):
    """It takes a second, as long as a whole retraining, and changes nothing (issue 6)."""
    command = [
        *(sys.executable, "-X", "importtime", "-m", "benchgraft", "reproduce", str(tiny)),
        *("--data", str(synthetic_data), "--out", str(tmp_path / "run")),
        *("--cache-dir", str(tmp_path / "cache"), "--threads", "1"),
    ]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert re.search(r"\btorch$", done.stderr, re.MULTILINE)
    assert not re.search(r"\btorch\._dynamo\b", done.stderr)


SMALL = """
[networks.small]
family = "timm"
name = "resnet18"
input.side = 32
options.drop_rate = 0.1

[stages]
stage1.network = "small"
stage2.freeze = ["stem", "layer1"]
stage3.freeze = ["stem", "layer*", "pool"]
"""


def test_each_stage_has_a_network_of_its_own_or_its_parents(tiny, tmp_path, synthetic_data):
    """Stage 1 names a network of timm, its children have it from there, and scratch is the paper's."""
    text = TINY.replace("[stages]\n", SMALL)
    tiny.write_text(text)
    bench = _bench(tmp_path / "run", tmp_path / "cache")
    ledger = Comparison(load(str(tiny)), synthetic_data, bench).run([])
    runs = _runs(ledger)
    cards = {
        name: model_file.read(bench.folder / run.model_file).card.network.name
        for (name, _), run in runs.items()
    }
    assert cards == {"stage1": "resnet18", "stage2": "resnet18", "stage3": "resnet18", "scratch": "paper_cnn"}
    cold, warm = runs["stage3", "computed"], runs["stage3", "cached"]
    assert (warm.model_digest, warm.loss, warm.cut) == (cold.model_digest, cold.loss, cold.cut)
    assert cold.cut in ("layer1", "layer2", "layer3", "layer4", "pool")
    sides = {(record.name, record.side) for record in ledger.of_kind(DataRecord)}
    assert sides == {("cifar100", 32), ("fruits360", 32), ("fruits360", 100)}
    again = Comparison(load(str(tiny)), synthetic_data, bench).run([])
    assert len(again.records) == len(ledger.records)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("stage2.freeze", 'stage2.network = "paper_cnn"\nstage2.freeze'), "its parent stage1 a resnet18"),
        (('"stem", "layer1"', '"conv2d_1"'), '"conv2d_1" matches no block'),
        (('"resnet18"', '"resnet81"'), 'timm has no network "resnet81"'),
        (('stage1.network = "small"', 'stage1.network = "smal"'), "names nothing"),
    ],
)
def test_a_network_that_does_not_fit_is_told_before_anything_runs(tiny, change, said):
    tiny.write_text(TINY.replace("[stages]\n", SMALL).replace(*change))
    with pytest.raises(ConfigError) as caught:
        load(str(tiny))
    assert said in str(caught.value)


SOLVED = """
stage3.recipe = { optimizer = "logistic", learning_rate = 1.0, batch_size = 32, stop = { epochs = 1 } }
"""


def test_a_solved_head_is_the_same_cold_warm_and_without_a_cache(tiny, tmp_path, synthetic_data):
    text = TINY.replace("[stages]\n", SMALL)
    text = "\n".join(line for line in text.splitlines() if not line.startswith("stage3.recipe")) + SOLVED
    tiny.write_text(text)
    experiment = load(str(tiny))
    runs = _runs(Comparison(experiment, synthetic_data, _bench(tmp_path / "a", tmp_path / "cache")).run([]))
    cold, warm = runs["stage3", "computed"], runs["stage3", "cached"]
    assert cold.cut == "pool" and cold.penalty and cold.steps
    assert cold.validation_loss[cold.kept_epoch - 1] <= min(cold.validation_loss) + 0.001
    without = _bench(tmp_path / "b", tmp_path / "other", use_cache=False)
    plain = _runs(Comparison(experiment, synthetic_data, without).run([]))
    assert {run.model_digest for (name, _), run in plain.items() if name == "stage3"} == {cold.model_digest}
    assert (warm.model_digest, warm.predicted) == (cold.model_digest, cold.predicted)
    parent, child = (
        _state(tmp_path / "a", runs[key]) for key in (("stage2", "computed"), ("stage3", "cached"))
    )
    assert all(torch.equal(tensor, child[name]) for name, tensor in parent.items() if "head." not in name)


def test_only_a_head_can_be_solved(tiny, tmp_path, synthetic_data):
    text = "\n".join(line for line in TINY.splitlines() if not line.startswith("stage3.recipe")) + SOLVED
    tiny.write_text(text)
    with pytest.raises(ConfigError, match="freeze every block but the head"):
        Comparison(load(str(tiny)), synthetic_data, _bench(tmp_path / "a", tmp_path / "cache")).run([])
