"""How deep to train beyond the head, so that it fits into the minutes that a user gives.

The plan is made before training, from a short measurement, and carried out as it is: the clock stops nothing.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from pydantic import ValidationError
from torch import Tensor

from ..cache import free_bytes, limit_bytes
from ..config.choices import Fit
from ..config.frame import Frame
from ..config.requests import AdaptRequest
from ..errors import RequestError, StorageError
from ..files import digest_array, digest_bytes, write_whole
from ..networks.contract import split_at
from ..networks.folded import folded
from ..networks.freeze import hold_statistics
from ..photos.decode import Pixels
from ..runfolder.ledger import dump_json
from ..runfolder.records import PLAN_FILE, Depth, PlanRecord
from ..store.sides import TEST, TRAIN, VALIDATION
from ..store.split import Digests
from ..training.batches import make_view, steps_per_epoch
from ..training.cuts import fastest, step_seconds
from .bench import Bench
from .folder import BATCH_SIZE, Start, deeper_recipe
from .photos import Listed, decode_some
from .prefixes import frozen_parent

FORMAT = 1
"""Of plans in the cache."""
SHARES = (0.6, 0.4, 0.2)
"""Of the network's operations: the deepest block from which at most so much of it trains is tried."""
VIEWS = 6
EPOCHS, LEAST_EPOCHS = 12, 6
STEPS = 48
"""At least, which few photos have in more epochs."""
ENOUGH = 0.3
"""Share of a parent's operations that is a good part."""
TRIES = 2
"""Of each measurement, of which the quickest counts."""
_SPARE = 3.0
"""Seconds for what is not measured: testing, and writing the model file."""
_READING = 0.003
"""Seconds a photo for decoding, and for looking for copies."""


def default_plan(start: Start, fit: Fit, train_photos: int) -> PlanRecord:
    """From the block that the user names, for as long as it takes."""
    epochs = _epochs(train_photos, EPOCHS)
    return PlanRecord(
        parent=str(start.parent),
        weights=str(start.weights) if start.weights else None,
        fit=fit,
        train_from=start.train_from,
        views=min(VIEWS, epochs),
        epochs=epochs,
        seconds=None,
        minutes=None,
    )


def timed_plan(
    starts: Sequence[Start], fit: Fit, listed: Listed, minutes: float, began: float, bench: Bench
) -> PlanRecord | None:
    """What fits into `minutes` from `began` on (time.perf_counter); None: nothing does.

    starts: parents, the one that suits the photos best first. Another one is taken if more of it can train in
    that time. A start whose first block to train is not its head is planned from there. A plan that was made
    before for the same photos, parents and minutes on as many threads is taken again.
    """
    listing = listed.listing
    facts: list[object] = [FORMAT, minutes, fit, digest_array(listing.digests), digest_array(listed.sides)]
    facts += [[start.train_from, start.file.card.model_digest] for start in starts]
    facts += [str(bench.device), bench.environment.threads, bench.environment.versions]
    place = bench.cache / "plans" / f"{digest_bytes(dump_json(facts).encode())}.json"
    try:
        return read_plan(place)
    except RequestError:
        plan = _best_of(starts, fit, listed, minutes, began, bench)
    if plan is not None:
        try:
            write_whole(place, plan.model_dump_json())
        except StorageError:
            bench.events.say("note: the plan could not be kept in the cache, and would be made anew")
    return plan


def read_plan(path: Path) -> PlanRecord:
    """Raises RequestError for a file that is none."""
    try:
        return PlanRecord.model_validate_json(path.read_bytes())
    except OSError as error:
        raise RequestError(f"plan {path} cannot be read: {error.strerror or error}") from None
    except ValidationError:
        raise RequestError(
            f"{path} is not a plan made by adapt", f"name the {PLAN_FILE} in the run folder of an earlier run"
        ) from None


def as_planned(request: AdaptRequest, plan: PlanRecord) -> AdaptRequest:
    """The request with what the plan says."""
    weights = Path(plan.weights) if plan.weights else None
    return replace(
        request,
        parent=plan.parent,
        weights=weights,
        fit=plan.fit,
        train_from=plan.train_from,
        minutes=0.0,
        plan=None,
    )


def seconds_of(depth: Depth, views: int, epochs: int, counts: dict[str, int]) -> float:
    """That a training is expected to take. counts: photos of each split."""
    train, validation, test = (counts[split] for split in ("train", "validation", "test"))
    frozen = (views * train + validation + test) * depth.view_seconds
    steps = epochs * steps_per_epoch(train, BATCH_SIZE) * depth.step_seconds
    judged = (train + (epochs + 2) * validation + test) * depth.judge_seconds
    return frozen + steps + judged + _SPARE


def _epochs(train_photos: int, epochs: int) -> int:
    return max(epochs, -(-STEPS // steps_per_epoch(train_photos, BATCH_SIZE)))


def _best_of(
    starts: Sequence[Start], fit: Fit, listed: Listed, minutes: float, began: float, bench: Bench
) -> PlanRecord | None:
    """The first parent of which a good part trains, else the one of which the largest part does."""
    best: tuple[float, PlanRecord | None] = (0.0, None)
    for start in starts:
        plan = _fitting(start, fit, listed, minutes, began, bench)
        share = shares(start).get(plan.train_from, 0.0) if plan else 0.0
        if plan and share >= best[0]:
            best = share, plan
        if share >= ENOUGH:
            break
    return best[1]


def _fitting(
    start: Start, fit: Fit, listed: Listed, minutes: float, began: float, bench: Bench
) -> PlanRecord | None:
    """The deepest that has all epochs and views; else the shallowest, with fewer."""
    sides = {"train": TRAIN, "validation": VALIDATION, "test": TEST}
    counts = {split: int((listed.sides == side).sum()) for split, side in sides.items()}
    blocks = [start.train_from] if start.is_deeper else candidates(start)
    sample = _sample(listed, start.file.card.network.frame(fit))
    if sample is None or not counts["train"]:
        return None
    measured = [_measured(replace(start, train_from=block), *sample, bench) for block in blocks]
    # The head alone comes first, and wants the features of every photo at the network's end.
    whole = measured[-1].view_seconds / (1 - shares(start).get(measured[-1].train_from, 0.0))
    before = sum(counts.values()) * (_READING + whole)
    seconds = 60 * minutes - (time.perf_counter() - began) - before
    full, least = _epochs(counts["train"], EPOCHS), _epochs(counts["train"], LEAST_EPOCHS)
    for depths, epochs in ((measured, full), (measured[::-1], least)):
        for depth in depths:
            views = min(VIEWS, epochs, _room(depth, sum(counts.values()), bench))
            while views > 1 and seconds_of(depth, views, epochs, counts) > seconds:
                views = views // 2 if epochs == least else 0
            if views > 1:
                deeper = replace(start, train_from=depth.train_from)
                return default_plan(deeper, fit, counts["train"]).model_copy(
                    update={
                        "views": views,
                        "epochs": epochs,
                        "seconds": seconds_of(depth, views, epochs, counts),
                        "minutes": minutes,
                        "measured": measured,
                    }
                )
    return None


def _sample(listed: Listed, frame: Frame) -> tuple[Pixels, Digests] | None:
    """A batch of training photos as a network takes them, with their digests; None: none can be decoded."""
    listing = listed.listing
    rows = np.flatnonzero(listed.sides == TRAIN)[: 2 * BATCH_SIZE]  # some may be damaged
    photos = zip(rows, decode_some(listing, rows, frame), strict=True)
    whole = [(row, photo[0]) for row, photo in photos if photo is not None][:BATCH_SIZE]
    if not whole:
        return None
    digests, pixels = [listing.digests[row] for row, _ in whole], [photo for _, photo in whole]
    filled = np.resize(np.arange(len(pixels)), BATCH_SIZE)
    return np.stack(pixels)[filled], np.array(digests, np.uint64)[filled]


def shares(start: Start) -> dict[str, float]:
    """Block -> the part of the network's operations that is done from there on; of blocks with weights."""
    blocks = start.file.card.blocks
    whole, left = sum(block.megaflops for block in blocks), 0.0
    found: dict[str, float] = {}
    for block in reversed(blocks):
        left += block.megaflops
        if block.parameters:
            found[block.name] = left / whole
    return found


def candidates(start: Start) -> list[str]:
    """Blocks from which to train, the deepest first; none where nothing is known of the network's blocks."""
    names, share_of = [block.name for block in start.file.card.blocks], shares(start)
    trainable = [name for name in share_of if name not in (names[0], names[-1])]
    found = [
        min((name for name in trainable if share_of[name] <= most), key=names.index, default=None)
        for most in SHARES
    ]
    return [name for name in dict.fromkeys(found) if name is not None]


def _room(depth: Depth, photos: int, bench: Bench) -> int:
    """Views of all photos for which the cache has room."""
    room = min(limit_bytes(), free_bytes(bench.cache))
    return int(room // max(1, depth.map_bytes * photos))


def _measured(start: Start, photos: Pixels, digests: Digests, bench: Bench) -> Depth:
    """What training from this block takes, by a batch of the photos."""
    prefix = frozen_parent(start, photos, bench).prefix
    cut = prefix.cuts[-1]
    frozen, rest = prefix.uncached(cut).eval(), split_at(prefix.network, cut)[1].eval()
    augmentation = deeper_recipe(1, VIEWS, False).augment

    @torch.no_grad()
    def view() -> Tensor:
        pixels = make_view(torch.from_numpy(photos), digests, augmentation, 1)
        features: Tensor = frozen(pixels.to(bench.device))
        return features

    @torch.no_grad()
    def judge() -> None:
        rest(maps)

    maps = view()
    judged = fastest(judge, TRIES)
    rest.train()
    hold_statistics(rest)
    with folded(rest, maps[:1]):
        stepped = step_seconds(rest, maps, TRIES)
    return Depth(
        train_from=start.train_from,
        view_seconds=fastest(view, TRIES) / BATCH_SIZE,
        step_seconds=stepped,
        judge_seconds=judged / BATCH_SIZE,
        map_bytes=maps[0].numel() * maps.element_size(),
    )
