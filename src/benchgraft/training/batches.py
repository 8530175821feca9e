"""Batches in a seeded order over any array of rows; every batch is full.

The order is a pure function of seed and epoch, so a position is one number (the step) and a run can go on
anywhere. A short last batch is never fed: convolution kernels may differ in the last bits between batch
shapes, and then a cached run would no longer be the uncached one.
"""

from __future__ import annotations

import mmap
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from ..config.recipe import Augmentation
from ..engines.device import room_on
from ..shortcuts import give_back
from ..store.mixing import mixed

_ZOOMS = 2**32
"""Numbers from here on draw what a zoom shows of an image; those below, its other changes."""
_WIDEST = 4 / 3
RELEASED_IMAGES = 2048
"""So many are read before their pages are given back. By number, not by time: a split with a tenth of the
images, in order over the whole store, maps several images with each that it reads."""


class Table(Protocol):
    """Rows that lie in no one array: photos that are decoded when they are wanted (store.on_demand), features
    of several arrays (feature_work.Joined)."""

    @property
    def shape(self) -> tuple[int, ...]:
        """As of an array."""

    @property
    def maps(self) -> tuple[mmap.mmap, ...]:
        """What the rows are mapped from."""

    def __getitem__(self, rows: npt.NDArray[np.int64], /) -> npt.NDArray[Any]:
        """(n, ...) of these rows."""


@dataclass(frozen=True)
class Rows:
    """Images or features of some rows of an array, with labels.

    array: uint8 pixels (N, H, W, 3), float32 features (N, H, W, C) or (N, F); may be memory-mapped; empty
    where `elsewhere` stands for it.
    index: int64 (views, n), the rows of `array` that take part. labels: int64 (n,).
    """

    array: Tensor
    index: Tensor
    labels: Tensor
    device: torch.device
    memory: tuple[mmap.mmap, ...] = ()
    """What the rows are mapped from."""
    elsewhere: Table | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, positions: Tensor, view: int = 0) -> Tensor:
        """Inputs at these positions (int64, CPU); feature maps come as (n, C, H, W), channels last."""
        index = self.index[view % len(self.index)][positions]
        if self.elsewhere is not None:
            batch = torch.from_numpy(self.elsewhere[index.numpy()])
        else:
            batch = torch.index_select(self.array, 0, index.to(self.array.device))
        if batch.dim() == 4 and batch.dtype != torch.uint8:
            batch = batch.permute(0, 3, 1, 2)
        return batch.to(self.device)

    @property
    def table(self) -> npt.NDArray[Any] | Table:
        """What `index` names rows of."""
        return self.array.numpy() if self.elsewhere is None else self.elsewhere

    def between(self, start: int, stop: int) -> Self:
        """The same rows from position `start` to before `stop`."""
        return replace(self, index=self.index[:, start:stop], labels=self.labels[start:stop])

    def release(self) -> None:
        """Let the system take back the pages read so far: a large store must not fill the memory."""
        for memory in self.memory:
            give_back(memory)

    def take_labels(self, positions: Tensor) -> Tensor:
        """Labels at these positions (int64, any shape), int64 of the same shape."""
        return self.labels[positions].to(self.device)


@dataclass(frozen=True)
class ViewedRows(Rows):
    """Pixel rows of which each view is made when it is taken: what cached views are compared with."""

    digests: npt.NDArray[np.uint64] = field(kw_only=True)
    """Content digest of each image, (n,): a view depends on nothing else."""
    augmentation: Augmentation = field(kw_only=True)

    def between(self, start: int, stop: int) -> Self:
        """As Rows.between."""
        return replace(super().between(start, stop), digests=self.digests[start:stop])

    def take(self, positions: Tensor, view: int = 0) -> Tensor:
        """As Rows.take; view 0 is the image itself."""
        pixels = super().take(positions)
        return make_view(pixels, self.digests[positions.numpy()], self.augmentation, view)


def rows_of(
    array: npt.NDArray[Any] | Table,
    index: npt.NDArray[np.int64],
    labels: npt.NDArray[np.int64],
    device: torch.device,
) -> Rows:
    """Rows over an array, which is not copied, or over what looks like one. index: (n,) or (views, n)."""
    places, given = torch.from_numpy(np.atleast_2d(index)), torch.from_numpy(labels)
    if isinstance(array, np.ndarray):
        return Rows(torch.from_numpy(array), places, given, device, maps_of(array))
    return Rows(torch.empty(0, dtype=torch.uint8), places, given, device, array.maps, array)


def maps_of(array: npt.NDArray[Any]) -> tuple[mmap.mmap, ...]:
    """What an array is mapped from, if it is."""
    return (array.base,) if isinstance(array.base, mmap.mmap) else ()


def resident(rows: Mapping[str, Rows]) -> dict[str, Rows]:
    """The same rows of one array, which lies on their device where it fits there: batches are made there."""
    train = rows["train"]
    if train.elsewhere is not None or train.array.nbytes > room_on(train.device):
        return dict(rows)
    moved = train.array.to(train.device)
    return {split: replace(each, array=moved, memory=()) for split, each in rows.items()}


def with_views(rows: Rows, digests: npt.NDArray[np.uint64], augmentation: Augmentation) -> Rows:
    """The same pixel rows with the views of `augmentation`, if it has any."""
    if augmentation.view_count == 1:
        return rows
    return ViewedRows(
        rows.array,
        rows.index,
        rows.labels,
        rows.device,
        rows.memory,
        rows.elsewhere,
        digests=digests,
        augmentation=augmentation,
    )


def steps_per_epoch(images: int, batch_size: int) -> int:
    """Full batches in an epoch; the rest of the permutation is left out, another rest each epoch."""
    return max(1, images // batch_size)


def epoch_order(images: int, batch_size: int, seed: int, epoch: int) -> Tensor:
    """Positions of an epoch, int64 (steps, batch_size). Fewer images than a batch are repeated to fill it."""
    permutation = np.random.default_rng([seed, epoch]).permutation(images)
    steps = steps_per_epoch(images, batch_size)
    return torch.from_numpy(np.resize(permutation, steps * batch_size).reshape(steps, batch_size))


def augment(
    pixels: Tensor, augmentation: Augmentation, seed: int, step: int, part: slice | None = None, of: int = 0
) -> Tensor:
    """Augmented copy of uint8 pixels (n, H, W, 3); a pure function of pixels, seed and step.

    part, of: where they are these rows of a batch of so many, as it would be with all of them.
    """
    rng = np.random.default_rng([seed, step, 1])
    part, n, limit = part or slice(None), of or len(pixels), augmentation.shift
    # Drawn only where used, so that what one setting draws does not depend on the other.
    moves = rng.integers(-limit, limit + 1, size=(2, n)) if limit else np.zeros((2, n), np.int64)
    mirrored = rng.random(n) < 0.5 if augmentation.flip else np.zeros(n, bool)
    moved = _moved(pixels, moves[:, part], mirrored[part])
    if augmentation.zoom is None:
        return moved
    return _zoomed(moved, augmentation.zoom, rng.random((4, n))[:, part])


def make_view(
    pixels: Tensor, digests: npt.NDArray[np.uint64], augmentation: Augmentation, view: int
) -> Tensor:
    """View number `view` (modulo their count) of uint8 pixels (n, H, W, 3) with content digests (n,).

    A pure function of the image and the number, whatever else is in the batch or the data set.
    """
    view %= augmentation.view_count
    if view == 0:
        return pixels
    span = np.uint64(2 * augmentation.shift + 1)
    drawn = [mixed(digests, 3 * view + part) for part in range(3)]
    moves = np.stack([part % span for part in drawn[:2]]).astype(np.int64) - augmentation.shift
    mirrored = (drawn[2] >> np.uint64(63) == 1) & augmentation.flip
    moved = _moved(pixels, moves, mirrored)
    if augmentation.zoom is None:
        return moved
    parts = np.stack([mixed(digests, _ZOOMS + 4 * view + part) for part in range(4)])
    return _zoomed(moved, augmentation.zoom, parts / 2.0**64)


def _zoomed(pixels: Tensor, least: float, drawn: npt.NDArray[np.float64]) -> Tensor:
    """A part of each of (n, H, W, 3) at its size. drawn (4, n), 0 to 1: share of the area from `least` on,
    shape, place."""
    n, height, width, _ = pixels.shape
    area, shape = least + (1 - least) * drawn[0], _WIDEST ** (2 * drawn[1] - 1)
    wide, high = np.minimum(1, np.sqrt(area * shape)) * width, np.minimum(1, np.sqrt(area / shape)) * height
    left, top = drawn[2] * (width - wide), drawn[3] * (height - high)
    boxes = np.stack([left, top, left + wide, top + high], 1).tolist()
    zoomed = [
        np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC, tuple(box)))
        for image, box in zip(pixels.cpu().numpy(), boxes, strict=True)
    ]
    return torch.from_numpy(np.stack(zoomed)).to(pixels.device) if n else pixels


def _moved(pixels: Tensor, moves: npt.NDArray[np.int64], mirrored: npt.NDArray[np.bool_]) -> Tensor:
    """Copy of (n, H, W, 3) moved by (rows, columns) `moves` (2, n) and mirrored where (n,) says so."""
    n, height, width, _ = pixels.shape
    rows = np.clip(np.arange(height) + moves[0][:, None], 0, height - 1)
    columns = np.clip(np.arange(width) + moves[1][:, None], 0, width - 1)
    columns = np.where(mirrored[:, None], columns[:, ::-1], columns)
    places = torch.from_numpy((rows[:, :, None] * width + columns[:, None, :]).reshape(n, -1, 1))
    flat = pixels.reshape(n, height * width, 3)
    return flat.gather(1, places.expand(-1, -1, 3).to(pixels.device)).reshape(pixels.shape)
