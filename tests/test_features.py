"""The feature cache: only what is new is computed, an interrupted computation goes on, views are exact."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from benchgraft.config.network import PAPER
from benchgraft.config.recipe import Augmentation
from benchgraft.engines.torch_ import TorchEngine
from benchgraft.networks.build import build
from benchgraft.networks.contract import split_at
from benchgraft.networks.freeze import Frozen, match_blocks
from benchgraft.progress import NoProgress
from benchgraft.training import feature_work
from benchgraft.training.batches import make_view, rows_of
from benchgraft.training.feature_work import Wanted
from benchgraft.training.features import FeatureCache, prefix_key

CUT, BATCH = "max_pooling2d_3", 32


@pytest.fixture(scope="module")
def model():
    return build(PAPER, 3, seed=0).eval()


def _wanted(numbers: list[int]) -> list[Wanted]:
    """Images number i, each a pure function of i, as one part."""
    pixels = np.stack(
        [np.random.default_rng(i).integers(256, size=(100, 100, 3), dtype=np.uint8) for i in numbers]
    )
    labels = np.zeros(len(numbers), np.int64)
    rows = rows_of(pixels, np.arange(len(numbers)), labels, torch.device("cpu"))
    return [Wanted(rows, np.array(numbers, np.uint64) * np.uint64(977))]


def _cache(model, folder: Path) -> FeatureCache:
    frozen = Frozen(model, match_blocks(model.block_names, ["conv2d_*", "batch_normalization_*"]))
    return FeatureCache(folder, prefix_key(model, CUT, frozen, "torch", 100, "letterbox", BATCH))


def test_only_images_not_seen_before_are_computed_and_all_features_are_as_computed_anew(model, tmp_path):
    prefix, _ = split_at(model, CUT)
    cache = _cache(model, tmp_path / "a")
    cache.compute(TorchEngine(prefix), _wanted(list(range(70))), BATCH, True, NoProgress())
    grown = _wanted([5, 200, *range(10, 70), 201, 3])
    found = cache.compute(TorchEngine(prefix), grown, BATCH, True, NoProgress())
    assert found.computed == 2
    anew = _cache(model, tmp_path / "b").compute(TorchEngine(prefix), grown, BATCH, False, NoProgress())
    assert anew.computed == 64
    assert np.array_equal(found.array, anew.array)


def test_another_prefix_never_gets_these_features(model, tmp_path):
    wanted = _wanted(list(range(40)))
    prefix, _ = split_at(model, CUT)
    _cache(model, tmp_path).compute(TorchEngine(prefix), wanted, BATCH, True, NoProgress())
    other = build(PAPER, 3, seed=0).eval()
    with torch.no_grad():
        other.batch_normalization_1.running_mean[0] += 1e-3
    assert _cache(other, tmp_path).open(wanted[0].ids) is None


def test_damaged_features_are_computed_again(model, tmp_path):
    wanted = _wanted(list(range(40)))
    prefix, _ = split_at(model, CUT)
    cache = _cache(model, tmp_path)
    whole = np.array(cache.compute(TorchEngine(prefix), wanted, BATCH, True, NoProgress()).array)
    (path,) = tmp_path.rglob("features.npy")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    assert cache.open(wanted[0].ids) is None
    found = cache.compute(TorchEngine(prefix), wanted, BATCH, True, NoProgress())
    assert found.computed == 40
    assert np.array_equal(found.array, whole)


def test_a_larger_list_takes_the_place_of_those_that_it_has_all_of(model, tmp_path):
    prefix, _ = split_at(model, CUT)
    cache = _cache(model, tmp_path)

    def computed(images, reuse=True):
        wanted = _wanted(images)
        return cache.compute(TorchEngine(prefix), wanted, BATCH, reuse, NoProgress()), wanted[0].ids

    def is_there(ids):
        return cache.open(ids) is not None

    _, first = computed(list(range(40)))
    _, other = computed(list(range(30, 70)))
    larger, ids = computed(list(range(60)))
    assert larger.computed == 0  # all of them lie in the two
    assert (is_there(first), is_there(other), is_there(ids)) == (False, True, True)
    held, _ = computed(list(range(80, 90)))
    computed(list(range(80, 100)))
    assert held.array.shape[0] == 10  # still mapped, and so still there
    assert len(list(tmp_path.rglob("features.npy"))) == 4


def test_interrupted_computation_goes_on_where_it_was(model, tmp_path, monkeypatch):
    monkeypatch.setattr(feature_work, "SAVE_EVERY_SECONDS", 0.0)
    wanted = _wanted(list(range(160)))
    prefix, _ = split_at(model, CUT)
    cache = _cache(model, tmp_path / "a")

    class PoweredOff(torch.nn.Module):
        calls = 0

        def forward(self, x):
            self.calls += 1
            if self.calls == 4:  # one call finds out the shape
                raise KeyboardInterrupt
            return prefix(x)

    with pytest.raises(KeyboardInterrupt):
        cache.compute(TorchEngine(torch.nn.Sequential(PoweredOff())), wanted, BATCH, True, NoProgress())
    assert cache.open(wanted[0].ids) is None
    found = cache.compute(TorchEngine(prefix), wanted, BATCH, True, NoProgress())
    assert found.computed == 160 - 64
    anew = _cache(model, tmp_path / "b").compute(TorchEngine(prefix), wanted, BATCH, False, NoProgress())
    assert np.array_equal(found.array, anew.array)


def test_a_view_depends_on_its_image_and_number_alone():
    pixels = torch.from_numpy(np.random.default_rng(0).integers(256, size=(50, 20, 20, 3), dtype=np.uint8))
    digests = np.random.default_rng(1).integers(2**63, size=50).astype(np.uint64)
    augmentation = Augmentation(flip=True, shift=3, views=4)
    assert torch.equal(make_view(pixels, digests, augmentation, 0), pixels)
    whole = make_view(pixels, digests, augmentation, 2)
    assert torch.equal(make_view(pixels[7:9], digests[7:9], augmentation, 2), whole[7:9])
    assert not torch.equal(make_view(pixels, digests, augmentation, 1), whole)
    mirrored = make_view(pixels, digests, Augmentation(flip=True, views=2), 1)
    is_mirrored = [torch.equal(mirrored[i], pixels[i].flip(1)) for i in range(50)]
    is_same = [torch.equal(mirrored[i], pixels[i]) for i in range(50)]
    assert all(a or b for a, b in zip(is_mirrored, is_same, strict=True))
    assert 10 < sum(is_mirrored) < 40
