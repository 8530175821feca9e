"""ONNX Runtime computes a frozen prefix as PyTorch does, and always the same bits, cached or not."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from photos import write_photos
from test_networks import CLASSES, FAMILIES, _pixels, _spec

from benchgraft.cache import clear, entries
from benchgraft.config.network import PAPER, NetworkSpec
from benchgraft.engines import exporter
from benchgraft.engines import prefix as prefixes
from benchgraft.engines.exporter import TOLERANCE
from benchgraft.engines.graph import graph_of, traced_graph_of
from benchgraft.engines.onnx_ import OnnxEngine
from benchgraft.engines.prefix import prefix_of
from benchgraft.engines.torch_ import EngineBlock, TorchEngine
from benchgraft.events import Events
from benchgraft.experiment.bench import make_bench
from benchgraft.experiment.load import load
from benchgraft.experiment.rounds import Comparison
from benchgraft.networks import model_file
from benchgraft.networks.build import build
from benchgraft.networks.contract import split_at
from benchgraft.networks.freeze import Frozen
from benchgraft.networks.model_file import ModelCard
from benchgraft.runfolder.ledger import Ledger
from benchgraft.runfolder.records import RunRecord

pytestmark = pytest.mark.usefixtures("one_thread")
for needed in ("onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(needed)


def _cuts() -> list[Any]:
    """(family, cut): an early and the last one in every test run, all of them in the long one."""
    found = []
    for family in FAMILIES:
        names = build(_spec(family), CLASSES, None).block_names[:-1]
        often = {names[1], names[-1]}
        found += [
            pytest.param(family, cut, marks=[] if cut in often else pytest.mark.long, id=f"{family}-{cut}")
            for cut in names
        ]
    return found


@pytest.mark.parametrize(("family", "cut"), _cuts())
def test_engines_agree_at_every_cut_and_each_gives_a_photo_the_same_bits_in_any_company(family, cut):
    network = build(_spec(family), CLASSES, seed=1).eval()
    pixels = _pixels(network.spec, 32).numpy()
    first, rest = split_at(network, cut)
    ours, theirs = OnnxEngine(traced_graph_of(first, pixels[:3], "features", {}), 2), TorchEngine(first)
    features, expected = ours.compute(pixels), theirs.compute(pixels)
    assert features.dtype == expected.dtype and features.shape == expected.shape
    assert np.abs(features - expected).max() <= TOLERANCE * np.abs(expected).max()
    with torch.no_grad():
        classes = [rest(EngineBlock(engine)(torch.from_numpy(pixels))).argmax(1) for engine in (ours, theirs)]
    assert torch.equal(*classes)
    shuffled = np.random.default_rng(0).permutation(32)
    for engine in (ours, theirs):
        again = engine.compute(pixels[shuffled])
        assert np.array_equal(engine.compute(pixels)[shuffled], again)
        company = np.concatenate([pixels[:3], 255 - pixels[3:]])
        assert np.array_equal(engine.compute(company)[:3], engine.compute(pixels)[:3])
    # All threads at once on a few photos, one on each of many, or one alone: the same bits.
    assert np.array_equal(ours.compute(pixels[:5]), features[:5])
    alone = OnnxEngine(traced_graph_of(first, pixels[:3], "features", {}), 1)
    assert np.array_equal(alone.compute(pixels[:1]), features[:1])


# --- which engine -------------------------------------------------------------------------------------------


def _prefix(cache: Path, network: Any = None, said: list[str] | None = None) -> prefixes.Prefix:
    network = network or build(_spec("mobilenetv3_small_100"), CLASSES, seed=1)
    blocks = network.block_names[:2]
    say = [].append if said is None else said.append
    example = _pixels(network.spec, 4).numpy()
    return prefix_of(network, Frozen(network, blocks), blocks, example, cache, 1, say)


def test_the_paper_s_network_is_computed_by_pytorch(tmp_path):
    assert _prefix(tmp_path, build(PAPER, CLASSES, seed=1)).engine_name == f"torch {torch.__version__}"
    assert not list(tmp_path.iterdir())


def test_a_graph_is_written_once_for_the_same_weights_and_kept_in_the_cache(tmp_path, monkeypatch):
    written = []
    traced = exporter.traced_graph_of
    monkeypatch.setattr(exporter, "traced_graph_of", lambda *given: written.append(1) or traced(*given))
    found = _prefix(tmp_path)
    (entry,) = entries(tmp_path)
    assert (entry.kind, entry.is_held) == ("graphs", True)
    assert clear(tmp_path) == []  # while somebody uses it
    again = _prefix(tmp_path)
    assert written == [1]
    pixels = _pixels(found.network.spec, 4).numpy()
    assert np.array_equal(found.onnx.compute(pixels), again.onnx.compute(pixels))
    other = build(_spec("mobilenetv3_small_100"), CLASSES, seed=1)
    with torch.no_grad():
        other.get_submodule("stem")[1].running_mean[0] += 1e-3
    _prefix(tmp_path, other)
    assert written == [1, 1]
    del found, again
    assert entry.folder in [each.folder for each in clear(tmp_path)]


def test_where_the_quicker_exporter_is_wrong_or_gone_the_other_one_writes_the_graph(tmp_path, monkeypatch):
    def gone(*_given: Any) -> bytes:
        raise AttributeError("module 'torch.onnx' has no such exporter any more")

    quick = _prefix(tmp_path / "quick")
    monkeypatch.setattr(exporter, "traced_graph_of", gone)
    slow = _prefix(tmp_path / "slow")
    assert slow.engine_name == quick.engine_name
    pixels = _pixels(quick.network.spec, 5).numpy()
    assert np.abs(quick.onnx.compute(pixels) - slow.onnx.compute(pixels)).max() < 1e-4


def test_a_damaged_graph_is_written_again(tmp_path):
    whole = _prefix(tmp_path)
    (path,) = tmp_path.rglob("graph.onnx")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    again = _prefix(tmp_path)
    pixels = _pixels(whole.network.spec, 4).numpy()
    assert np.array_equal(whole.onnx.compute(pixels), again.onnx.compute(pixels))
    assert path.read_bytes() != bytes(content)


def test_a_cache_that_cannot_be_written_costs_the_graph_and_nothing_else(tmp_path):
    (tmp_path / "graphs").write_text("no folder")
    assert _prefix(tmp_path).engine_name.startswith("onnxruntime ")


def test_missing_onnx_runtime_is_told_in_one_line_and_pytorch_computes(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    said: list[str] = []
    assert _prefix(tmp_path, said=said).engine_name.startswith("torch ")
    (line,) = said
    assert "computed by PyTorch" in line and "pip install onnx onnxscript onnxruntime" in line


@pytest.mark.parametrize("fault", ["no graph", "wrong graph"])
def test_a_network_without_a_true_graph_is_computed_by_pytorch(fault, tmp_path, monkeypatch):
    def broken(layers: Any, *rest: Any) -> bytes:
        if fault == "no graph":
            raise RuntimeError("an operator has no counterpart\nand much more")
        other = build(_spec("mobilenetv3_small_100"), CLASSES, seed=2).eval()
        return graph_of(split_at(other, other.block_names[1])[0], *rest[:2], {})

    for name in ("graph_of", "traced_graph_of"):
        monkeypatch.setattr(exporter, name, broken)
    said: list[str] = []
    assert _prefix(tmp_path, said=said).engine_name.startswith("torch ")
    (line,) = said
    assert "\n" not in line
    assert ("no counterpart" if fault == "no graph" else "differ from PyTorch's") in line
    assert not entries(tmp_path)


# --- training -----------------------------------------------------------------------------------------------

EXPERIMENT = """
name = "tiny"
protocol = "like_for_like"
runs = 1
arms = {{ transfer = "frozen" }}
[networks.parent]
{network}
[data.photos]
format = "folder"
folder = "photos"
validation = 0.2
test = 0.2
[stages.parent]
data = "photos"
network = "parent"
model_file = "{model}"
recipe = {{ learning_rate = 0.01, batch_size = 32, stop = {{ epochs = 1 }} }}
[stages.frozen]
data = "photos"
parent = "parent"
freeze = {freeze}
recipe = {{ learning_rate = 0.001, batch_size = 32, stop = {{ epochs = 3 }}, augment = {augment} }}
"""
STAGES = {
    "head": ("tf_efficientnet_lite0", lambda names: names[:-1]),
    "half": ("mobilenetv3_small_100", lambda names: names[: len(names) // 2]),
    "tokens": ("vit_tiny_patch16_224", lambda names: names[:3]),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("engines")
    write_photos(folder / "photos", {"red": 60, "green": 60})
    return folder


def _experiment(place: Path, stage: str, augment: str = "{}") -> Any:
    name, frozen = STAGES[stage]
    spec = _spec(name)
    if not name.startswith("vit"):
        spec = spec.model_copy(update={"input": spec.input.model_copy(update={"side": 64})})
    network = build(spec, 2, seed=4)
    card = ModelCard(
        stage="elsewhere",
        class_names=["green", "red"],
        network=network.spec,
        model_digest=model_file.state_digest(network),
        origin="tests",
    )
    model_file.write(place / f"{stage}.safetensors", network, card)
    text = EXPERIMENT.format(
        network=_toml(network.spec),
        model=place / f"{stage}.safetensors",
        freeze=json.dumps(frozen(network.block_names)),
        augment=augment,
    )
    (place / "tiny.toml").write_text(text)
    return load(str(place / "tiny.toml"))


def _toml(spec: NetworkSpec) -> str:
    lines = [f"family = {json.dumps(spec.family)}", f"name = {json.dumps(spec.name)}"]
    lines += [f"options = {{ {', '.join(f'{key} = {value}' for key, value in spec.options.items())} }}"]
    given = spec.input.model_dump(mode="json")
    return "\n".join(
        [*lines, f"input = {{ {', '.join(f'{k} = {json.dumps(v)}' for k, v in given.items())} }}"]
    )


def _runs(place: Path, folder: Path, experiment: Any, **more: Any) -> dict[str, RunRecord]:
    """Runs of the frozen stage by their features; all tests share their graphs, which take seconds each."""
    (place / "graphs").mkdir(exist_ok=True)
    (folder / "cache").mkdir(parents=True, exist_ok=True)
    if not (folder / "cache" / "graphs").exists():
        (folder / "cache" / "graphs").symlink_to(place / "graphs")
    bench = make_bench(folder / "run", folder / "cache", "cpu")
    ledger = Comparison(experiment, place, replace(bench, **more)).run([])
    return {run.features: run for run in ledger.of_kind(RunRecord) if run.stage == "frozen"}


@pytest.mark.parametrize(
    ("stage", "augment"),
    [*((stage, "{}") for stage in STAGES), ("half", "{ flip = true, shift = 4, views = 2 }")],
    ids=[*STAGES, "half-views"],
)
def test_cached_and_uncached_training_give_the_same_weights_to_the_last_bit(stage, augment, place, tmp_path):
    experiment = _experiment(place, stage, augment)
    blocks = experiment.stages["frozen"].freeze
    cut = {"frozen": blocks[-1]}
    said: list[str] = []
    cached = _runs(place, tmp_path / "a", experiment, chosen_cuts=cut, events=Events(say=said.append))
    uncached = _runs(place, tmp_path / "b", experiment, use_cache=False)["none"]
    assert cached.keys() == {"computed", "cached"}
    for run in cached.values():
        assert run.cut == blocks[-1]
        assert run.engine.startswith("onnxruntime ")
        assert run.seconds["features"] > 0
        for fact in ("model_digest", "loss", "validation_loss", "predicted", "confidence", "engine"):
            assert getattr(run, fact) == getattr(uncached, fact), fact
    assert not [line for line in said if "note" in line]
    kinds = {entry.kind for entry in entries(tmp_path / "a" / "cache")}
    assert kinds == {"stores", "features", "graphs"}


def test_features_of_one_engine_are_never_those_of_the_other(place, tmp_path, monkeypatch):
    experiment = _experiment(place, "half")
    cut = {"frozen": experiment.stages["frozen"].freeze[-1]}
    first = _runs(place, tmp_path / "a", experiment, chosen_cuts=cut)["computed"]
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    said: list[str] = []
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "cache").symlink_to(tmp_path / "a" / "cache")
    second = _runs(place, tmp_path / "b", experiment, chosen_cuts=cut, events=Events(say=said.append))
    assert second["computed"].engine.startswith("torch ")
    assert second["computed"].features_computed == first.features_computed
    assert len([line for line in said if "ONNX Runtime" in line]) == 1  # for all runs together
    assert second["computed"].loss == pytest.approx(first.loss, rel=1e-3)


def test_views_drawn_anew_in_each_step_pass_through_the_same_engine(place, tmp_path):
    experiment = _experiment(place, "half", "{ flip = true, shift = 4 }")
    run = _runs(place, tmp_path, experiment)["none"]
    assert (run.cut, run.engine.partition(" ")[0]) == (None, "onnxruntime")


def test_a_profile_changes_nothing_and_tells_what_the_prefix_took(place, tmp_path):
    from benchgraft.runfolder.profiling import Profiler

    experiment = _experiment(place, "half")
    plain = _runs(place, tmp_path / "a", experiment, use_cache=False)["none"]
    profiler = Profiler()
    profiled = _runs(place, tmp_path / "b", experiment, use_cache=False, profiler=profiler)["none"]
    assert plain.model_digest == profiled.model_digest
    profile = profiler.profile(profiled.environment)
    (stage,) = (each for each in profile.stages if each.stage == "frozen")
    assert stage.parts["train"]["frozen prefix"] > 0


def test_the_engine_stands_in_the_account_and_is_read_back(place, tmp_path):
    experiment = _experiment(place, "half")
    _runs(place, tmp_path, experiment, use_cache=False)
    (record,) = (run for run in Ledger(tmp_path / "run").of_kind(RunRecord) if run.stage == "frozen")
    assert RunRecord.model_validate_json(record.model_dump_json()).engine == record.engine
