"""Every network is a chain that can be cut: each part gives what the original gives, bit for bit.

Against timm's own networks with random weights: outputs and BatchNorm statistics, in both modes, at every
cut, with dropout and stochastic depth.
"""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from benchgraft.config.network import PAPER, InputSpec, NetworkSpec
from benchgraft.engines.torch_ import TorchEngine
from benchgraft.errors import ConfigError
from benchgraft.networks import model_file
from benchgraft.networks.build import build, resolved
from benchgraft.networks.contract import Input, split_at
from benchgraft.networks.freeze import Frozen, constant_prefix, match_blocks
from benchgraft.networks.model_file import ModelCard
from benchgraft.networks.timm_ import create
from benchgraft.progress import NoProgress
from benchgraft.training.batches import rows_of
from benchgraft.training.feature_work import Wanted
from benchgraft.training.features import FeatureCache, prefix_key

FAMILIES = (
    "tf_efficientnet_lite0",
    "resnet18",
    "mobilenetv3_small_100",
    "convnext_atto",
    "vit_tiny_patch16_224",
)
CHANCE = {"drop_rate": 0.2, "drop_path_rate": 0.1}
"""Several families call dropout as a function inside `forward`: a chain of children would lose it."""
CLASSES = 7
SIDE = 96
"""Pixels, instead of 224: the same code in a fifth of the time."""


def _spec(name: str, **options: float) -> NetworkSpec:
    if name == PAPER.name:
        return PAPER
    if name.startswith("vit"):
        options["img_size"] = SIDE
    spec = resolved(NetworkSpec(family="timm", name=name, options=options))
    return spec.model_copy(update={"input": spec.input.model_copy(update={"side": SIDE})})


def _pixels(spec: NetworkSpec, count: int) -> torch.Tensor:
    draw = torch.Generator().manual_seed(count)
    side = spec.side
    return torch.randint(0, 256, (count, side, side, 3), dtype=torch.uint8, generator=draw)


@pytest.fixture(scope="module", params=FAMILIES)
def pair(request):
    """(the chain, the original network of timm with the same weights)."""
    spec = _spec(request.param, **CHANCE)
    chain = build(spec, CLASSES, seed=3)
    original = create(spec, CLASSES, seed=3).to(memory_format=torch.channels_last)
    head = original.get_classifier()
    drawn = chain.get_submodule(chain.head_name).classifier
    head.load_state_dict(drawn.state_dict())  # a new head has weights of our own
    return chain, original


def _buffers(module: nn.Module) -> list[str]:
    return sorted(model_file.tensor_digest(buffer) for buffer in module.buffers())


@pytest.mark.parametrize("is_training", [False, True])
def test_prefix_then_rest_is_the_original_at_every_cut(pair, is_training):
    chain, original = pair
    assert chain.spec.has_blocks
    pixels = Input(chain.spec.input)(_pixels(chain.spec, 4))
    before = copy.deepcopy(original).train(is_training)
    torch.manual_seed(5)
    expected = before(pixels)
    for cut in [None, *chain.block_names]:
        cuttable = copy.deepcopy(chain).train(is_training)
        prefix, rest = split_at(cuttable, cut)
        torch.manual_seed(5)
        assert torch.equal(rest(prefix(_pixels(chain.spec, 4))), expected), cut
        assert _buffers(cuttable) == _buffers(before), cut
    if is_training:
        torch.manual_seed(6)
        assert not torch.equal(copy.deepcopy(original).train()(pixels), expected)  # chance was at work


def test_every_tensor_is_in_exactly_one_block(pair):
    chain, original = pair
    owners = {}
    for name in chain.block_names:
        block = chain.get_submodule(name)
        for tensor in [*block.parameters(), *block.buffers()]:
            assert owners.setdefault(id(tensor), name) == name
    of_chain = sorted(model_file.tensor_digest(t) for t in [*chain.parameters(), *chain.buffers()])
    of_original = sorted(model_file.tensor_digest(t) for t in [*original.parameters(), *original.buffers()])
    assert of_chain == of_original
    assert len(owners) == len(of_original)


@pytest.mark.parametrize("name", [PAPER.name, *FAMILIES])
def test_features_from_the_cache_are_those_of_the_uncached_run_at_every_cut(name, tmp_path):
    """What training sees after the cut, memory layout included: outputs and gradients have the same bits."""
    network = build(_spec(name), CLASSES, seed=1)
    pixels = _pixels(network.spec, 32).numpy()
    rows = rows_of(pixels, np.arange(32), np.zeros(32, np.int64), torch.device("cpu"))
    frozen = Frozen(network, network.block_names[:-1])
    frozen.train()
    order = torch.from_numpy(np.random.default_rng(0).permutation(32))
    with torch.no_grad():
        expected = network(rows.take(order))
    for cut in network.block_names[:-1]:
        prefix, rest = split_at(network, cut)
        key = prefix_key(network, cut, frozen, "torch", network.spec.side, "letterbox", 32)
        wanted = Wanted(rows, np.arange(32, dtype=np.uint64))
        made = FeatureCache(tmp_path, key).compute(TorchEngine(prefix), [wanted], 32, False, NoProgress())
        cached = rows_of(made.array, np.arange(32), np.zeros(32, np.int64), torch.device("cpu"))
        with torch.no_grad():
            assert torch.equal(rest(cached.take(order)), expected), cut


@pytest.mark.parametrize("name", [PAPER.name, *FAMILIES])
def test_frozen_blocks_do_not_move_in_a_step_of_training(name):
    network = build(_spec(name, **CHANCE), CLASSES, seed=1)
    middle = network.block_names[len(network.block_names) // 2]
    blocks = network.block_names[: network.block_names.index(middle)]
    frozen = Frozen(network, blocks)
    frozen.train()
    optimizer = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], 0.1, weight_decay=0.1)
    before = model_file.state_digest(network)
    network(_pixels(network.spec, 4)).square().sum().backward()
    optimizer.step()
    frozen.verify()
    assert model_file.state_digest(network) != before
    assert constant_prefix(network, frozen)[: len(blocks)] == blocks


def test_tokens_of_a_vision_transformer_are_frozen_and_in_the_key():
    network = build(_spec("vit_tiny_patch16_224"), CLASSES, seed=1)
    frozen = Frozen(network, ["embed"])
    assert {"embed.cls_token", "embed.pos_embed"} <= set(frozen.tensor_names)
    key = prefix_key(network, "embed", frozen, "torch", SIDE, "letterbox", 32)
    with torch.no_grad():
        network.get_submodule("embed").cls_token += 1e-3
    assert prefix_key(network, "embed", Frozen(network, ["embed"]), "torch", SIDE, "letterbox", 32) != key


def test_what_draws_by_chance_is_not_constant_unless_it_is_frozen():
    network = build(_spec("vit_tiny_patch16_224", **CHANCE), CLASSES, seed=1)
    statistics_move = Frozen(network, network.block_names[:-1], statistics=False)
    assert constant_prefix(network, statistics_move) == []
    with_dropout = build(PAPER, CLASSES, seed=1)
    with_dropout.max_pooling2d_1 = nn.Sequential(nn.MaxPool2d(2), nn.Dropout(0.5))
    assert constant_prefix(build(PAPER, CLASSES, 1), Frozen(build(PAPER, CLASSES, 1), [])) == []
    frozen = Frozen(with_dropout, match_blocks(with_dropout.block_names, ["conv2d_*", "batch_*"]))
    assert constant_prefix(with_dropout, frozen) == ["conv2d_1", "batch_normalization_1"]


def test_a_network_of_no_known_family_is_backbone_and_head():
    spec = _spec("regnetx_002")
    network = build(spec, CLASSES, seed=2)
    assert network.block_names == ["backbone", "head"]
    original = create(spec, CLASSES, seed=2).to(memory_format=torch.channels_last).eval()
    original.get_classifier().load_state_dict(network.head.classifier.state_dict())
    pixels = _pixels(network.spec, 2)
    with torch.no_grad():
        expected = original(Input(network.spec.input)(pixels))
        assert torch.equal(network.eval()(pixels), expected)


@pytest.mark.parametrize("name", [PAPER.name, *FAMILIES])
def test_a_model_file_needs_no_history(name, tmp_path):
    network = build(_spec(name), 3, seed=4)
    card = ModelCard(
        stage="elsewhere",
        class_names=["a", "b", "c"],
        network=network.spec,
        model_digest=model_file.state_digest(network),
        origin="tests",
    )
    model_file.write(tmp_path / "m.safetensors", network, card)
    file = model_file.read(tmp_path / "m.safetensors")
    again = model_file.load(file)
    assert model_file.state_digest(again) == card.model_digest
    assert file.card == card and not len(file.trained_on)
    pixels = _pixels(network.spec, 2)
    with torch.no_grad():
        assert torch.equal(again.eval()(pixels), network.eval()(pixels))
    child = model_file.start_from(file, 5, seed=0, carried={4: 1})
    assert torch.equal(list(child.parameters())[-1][4], list(network.parameters())[-1][1])
    first = child.block_names[0]
    for ours, theirs in zip(
        child.get_submodule(first).parameters(), network.get_submodule(first).parameters(), strict=True
    ):
        assert torch.equal(ours, theirs)


def test_input_normalizes_each_channel_as_torch_does():
    spec = InputSpec(side=8, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    pixels = torch.randint(0, 256, (2, 8, 8, 3), dtype=torch.uint8)
    mean, std = (torch.tensor(values)[:, None, None] for values in (spec.mean, spec.std))
    expected = (pixels.permute(0, 3, 1, 2) / 255 - mean) / std
    torch.testing.assert_close(Input(spec)(pixels), expected)
    larger = Input(spec.model_copy(update={"side": 16, "interpolation": "bicubic"}))(pixels)
    assert larger.shape == (2, 3, 16, 16)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (NetworkSpec(family="timm", name="resnet81"), "timm has no network"),
        (NetworkSpec(family="timm", name="resnet18", options={"drop_rat": 0.1}), "timm cannot make resnet18"),
        (NetworkSpec(name="paper_ccn"), "paper_cnn has no network"),
        (NetworkSpec(options={"momentum": 0.1}), "options of paper_cnn"),
    ],
)
def test_a_network_that_cannot_be_is_one_error(spec, said):
    with pytest.raises(ConfigError, match=said):
        build(spec, 2, 0)


def test_the_seed_decides_on_all_weights_and_no_process_wide_chance_is_touched():
    torch.manual_seed(7)
    state = torch.random.get_rng_state()
    first, second, other = (model_file.state_digest(build(_spec("resnet18"), 2, seed)) for seed in (0, 0, 1))
    assert first == second != other
    assert torch.equal(torch.random.get_rng_state(), state)
