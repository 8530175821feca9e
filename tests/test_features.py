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
from benchgraft.training.logistic import fit_head
from benchgraft.training.scaled_rows import Labelled

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
    assert np.array_equal(found.array[:], anew.array)


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


class _Numbers:
    """An engine whose features of an image say which one it is."""

    name, is_same_in_any_batch = "numbers", True

    def __init__(self):
        self.computed = 0

    def compute(self, pixels):
        self.computed += len(pixels)
        return pixels.reshape(len(pixels), -1)[:, :12].astype(np.float32)


def _computed(cache: FeatureCache, numbers: list[int], reuse: bool = True):
    return cache.compute(_Numbers(), _wanted(numbers), BATCH, reuse, NoProgress())


def _arrays(folder: Path) -> list[int]:
    """Rows of each array."""
    return sorted(len(np.load(path)) for path in folder.rglob("ids.npy"))


def _expected(numbers: list[int]) -> np.ndarray:
    return np.concatenate([_Numbers().compute(each.rows.array.numpy()) for each in _wanted(numbers)])


def test_a_list_that_has_grown_writes_its_new_rows_alone_and_reads_as_one_array(tmp_path):
    cache = FeatureCache(tmp_path, "key")
    _computed(cache, list(range(60)))
    grown = [200, *range(59, -1, -1), 201]
    found = _computed(cache, grown)
    assert (found.computed, _arrays(tmp_path)) == (2, [2, 60])
    assert found.array.shape == (62, 12)
    assert np.array_equal(found.array[:], _expected(grown))
    some = np.array([61, 0, 5, 5])
    assert np.array_equal(found.array[some], _expected(grown)[some])
    fewer = _computed(cache, list(range(50)))
    assert (fewer.computed, _arrays(tmp_path)) == (0, [2, 60])
    assert np.array_equal(fewer.array[:], _expected(list(range(50))))


def test_many_updates_leave_few_arrays_and_never_copy_the_large_one(tmp_path):
    cache, most = FeatureCache(tmp_path, "key"), feature_work.MOST_ARRAYS
    _computed(cache, list(range(60)))
    (large,) = tmp_path.rglob("features.npy")
    before = large.stat().st_ino
    for count in range(61, 100):
        found = _computed(cache, list(range(count)))
        assert found.computed == 1
        assert len(_arrays(tmp_path)) <= most + 1
        del found  # what is held cannot go
    assert large.stat().st_ino == before
    assert sum(_arrays(tmp_path)) == 99
    last = _computed(cache, list(range(99)))
    assert (last.computed, np.array_equal(last.array[:], _expected(list(range(99))))) == (0, True)


def test_shards_of_a_first_run_become_one_array(tmp_path):
    cache = FeatureCache(tmp_path, "key")
    numbers = list(range(100))
    for start in range(0, 100, 5):
        some = numbers[start : start + 5]
        cache.keep(_wanted(some)[0].ids, _expected(some))
    assert _computed(cache, numbers).computed == 0
    assert _arrays(tmp_path) == [100]
    assert np.array_equal(cache.open(_wanted(numbers)[0].ids), _expected(numbers))


def test_an_array_that_is_mostly_of_other_photos_is_copied_from(tmp_path):
    cache = FeatureCache(tmp_path, "key")
    _computed(cache, list(range(100)))
    found = _computed(cache, list(range(80, 103)))
    assert (found.computed, _arrays(tmp_path)) == (3, [23, 100])
    assert np.array_equal(found.array, _expected(list(range(80, 103))))


def test_of_a_list_in_several_arrays_the_damaged_part_is_computed_again(tmp_path):
    cache = FeatureCache(tmp_path, "key")
    _computed(cache, list(range(60)))
    _computed(cache, list(range(64)))
    path = min(tmp_path.rglob("features.npy"), key=lambda path: path.stat().st_size)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    again = _computed(cache, list(range(64)))
    assert (again.computed, _arrays(tmp_path)) == (4, [4, 60])
    assert np.array_equal(again.array[:], _expected(list(range(64))))


def test_an_interrupted_update_goes_on_where_it_was(tmp_path, monkeypatch):
    monkeypatch.setattr(feature_work, "SAVE_EVERY_SECONDS", 0.0)
    cache, numbers = FeatureCache(tmp_path, "key"), [*range(200, 300), *range(100)]
    _computed(cache, list(range(100)))

    class PoweredOff(_Numbers):
        def compute(self, pixels):
            if self.computed >= 2 * BATCH:
                raise KeyboardInterrupt
            return super().compute(pixels)

    with pytest.raises(KeyboardInterrupt):
        cache.compute(PoweredOff(), _wanted(numbers), BATCH, True, NoProgress())
    assert _arrays(tmp_path) == [100]
    found = _computed(cache, numbers)
    assert (found.computed, _arrays(tmp_path)) == (100 - 2 * BATCH, [100, 100])
    assert np.array_equal(found.array[:], _expected(numbers))


def test_an_array_goes_once_a_new_one_has_all_of_it_but_not_while_it_is_held(tmp_path):
    cache = FeatureCache(tmp_path, "key")
    _computed(cache, list(range(40)))
    held = _computed(cache, list(range(90, 95)))
    _computed(cache, list(range(100)), reuse=False)
    _computed(cache, [*range(80, 95), 300])
    assert held.array.shape[0] == 5
    assert _arrays(tmp_path) == [5, 16, 40, 100]


def test_a_head_is_the_same_from_one_array_and_from_several(tmp_path):
    numbers = list(range(200))
    labels = np.arange(200) % 3
    several = FeatureCache(tmp_path / "several", "key")
    for count in (120, 150, 200):
        found = _computed(several, numbers[:count]).array
    one = _computed(FeatureCache(tmp_path / "one", "key"), numbers).array
    assert isinstance(one, np.ndarray)
    assert not isinstance(found, np.ndarray)
    train, validation = np.arange(150), np.arange(150, 200)
    heads = [fit_head(Labelled(each, labels), train, validation, 3) for each in (one, found)]
    assert torch.equal(heads[0].weight, heads[1].weight)
    assert torch.equal(heads[0].bias, heads[1].bias)


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
