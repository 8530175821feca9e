"""A linear head on features: multinomial logistic regression, its strength of penalty chosen on validation.

Fits go from the strongest penalty to weaker ones, each from where the last ended. The path ends where the
log loss on validation photos has clearly risen; the strength with the smallest is used once more on training
and validation photos together.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..errors import DataError
from .cross_entropy import CrossEntropy, InverseCurvature, in_float32
from .descent import Minimum, Steps, minimize
from .products import Factor
from .scaled_rows import Labelled, ScaledRows, Scaling, scaling_of

STRENGTHS = tuple(10 ** (1 - step / 2) for step in range(13))
"""From 10 to 0.00001, two a decade: of features whose mean variance is one, per photo."""
TOLERANCE = 5e-4
"""Gradient norm of the last fit, in scaled units (that of weights of zero is about 1). On clothing,
CIFAR-100 and generated photos its loss is then 0.000002 to 0.00003 nats above the smallest; with 0.0001
it was a tenth of that, by twice as many passes (2026-11-27)."""
_PATH_TOLERANCE = 2
"""How much larger it may be along the path: validation log loss is then exact to 0.0002."""
_WEAK = 1e-3
"""Below this strength it falls with the root of the strength: so does the gradient that a loss stands for."""
_TIE = 2e-4
"""In nats: log losses that differ by less are equal, and the stronger penalty is taken."""
_RISEN = 0.005
"""Relative rise above the smallest log loss, after which weaker penalties are not tried."""
_NEVER = -1e4
"""Bias of a class without photos: its probability is zero, so that the fit leaves it alone."""

_MANY = 20_000
"""Of more training photos so many, evenly spread, walk the path first; all of them go on from the strength
before the one that these choose. More photos want no stronger penalty, but for chance."""
_ENOUGH = 4_000
"""Training photos, from which on the penalty of a head that was fitted to nearly the same ones is kept."""

Positions = npt.NDArray[np.int64]
Head = tuple[Tensor, Tensor]
"""Weights (classes, d) and biases (classes,), float64."""


@dataclass(frozen=True)
class Tried:
    """A strength of the path."""

    strength: float
    loss: float
    """Log loss on the validation photos in nats; weighted as the fit is. Photos of a class that has none to
    train on do not count here."""
    accuracy: float
    """On the validation photos; every photo counts alike."""
    gradient_norm: float
    iterations: int


@dataclass(frozen=True, eq=False)
class Validated:
    """Answers for photos that were not fitted to, in the order of their rows."""

    confidence: npt.NDArray[np.float32]
    """(n,), probability of the answer."""
    right: npt.NDArray[np.bool_]
    """(n,)"""


@dataclass(frozen=True)
class LinearHead:
    """What was fitted."""

    weight: Tensor
    """float32 (classes, d), for features as they are; as in nn.Linear."""
    bias: Tensor
    """float32 (classes,); they sum to zero. -10,000 for a class without photos, which counts in no sum."""
    strength: float
    validated: Validated
    """By the fit of this strength that had not yet taken in the validation photos."""
    path: tuple[Tried, ...]
    """From strong to weak; it may have ended before the last strength."""
    scaling: Scaling
    """In whose units strength and gradient norm are."""
    gradient_norm: float
    """Of the last fit."""
    iterations: int
    """Of the last fit."""
    seconds: float
    """Wall clock, all of it."""
    processor_seconds: float
    """Of all threads."""


@dataclass(frozen=True, eq=False)
class Before:
    """A head that was fitted to nearly the same photos."""

    strength: float
    weight: Tensor
    """(classes, d)."""
    bias: Tensor
    """(classes,)."""


def fit_head(
    data: Labelled,
    train: Positions,
    validation: Positions,
    class_count: int,
    *,
    is_balanced: bool = False,
    strengths: Sequence[float] = STRENGTHS,
    tolerance: float = TOLERANCE,
    before: Before | None = None,
) -> LinearHead:
    """The head for these photos; no other row of `data` is looked at. Same arguments and threads, same bits.

    train, validation: positions of rows, without repeats, in any order. is_balanced: every class weighs the
    same in fit and log loss. strengths: falling. before: of very many training photos its strength is kept,
    and fits start from it. Memory: float32 rows up to 512 MB, and blocks beyond.
    Raises ValueError where one of the three is empty, strengths do not fall, or a label is no class;
    DataError for features that are not finite.
    """
    if not len(train) or not len(validation) or not len(strengths):
        raise ValueError("training photos, validation photos and strengths are needed")
    if any(weaker >= stronger for stronger, weaker in pairwise([*strengths, 0.0])):
        raise ValueError(f"strengths must fall, and stay above zero: {strengths}")
    wall, processor = time.perf_counter(), time.process_time()
    asked = _Asked(data, np.sort(train), np.sort(validation), class_count, is_balanced, tolerance)
    known = (before.weight.double(), before.bias.double()) if before and len(train) >= _ENOUGH else None
    # It may have seen the validation photos; the descent leaves of that no more than its tolerance.
    walk = _along_path(asked, [before.strength], known) if before and known else _chosen_on(asked, strengths)
    path = walk.path
    strength = path[_chosen([tried.loss for tried in path])].strength
    fitter = _fitter_of_both(asked, walk)
    found = fitter.fit(strength, fitter.start(known or walk.head), tolerance, [])
    weight, bias = fitter.rows.scaling.to_features(found.point)
    has_photos = fitter.class_weights > 0
    bias = torch.where(has_photos, bias - bias[has_photos].mean(), _NEVER)
    return LinearHead(
        weight.float(),
        bias.float(),
        strength,
        walk.validated,
        tuple(path),
        fitter.rows.scaling,
        found.gradient_norm,
        found.iterations,
        time.perf_counter() - wall,
        time.process_time() - processor,
    )


def start_head(
    data: Labelled, train: Positions, validation: Positions, class_count: int, *, is_balanced: bool = False
) -> tuple[Tensor, Tensor]:
    """Weights (classes, d) and biases (classes,) as `fit_head` has them before it takes in validation photos.

    A class without photos gets the least of all biases, from which training can lift it.
    """
    asked = _Asked(data, np.sort(train), np.sort(validation), class_count, is_balanced, TOLERANCE)
    weight, bias = _chosen_on(asked, STRENGTHS).head
    has_photos = bias > _NEVER / 2
    bias = bias - bias[has_photos].mean()
    return weight.float(), torch.where(has_photos, bias, bias[has_photos].min()).float()


def class_weights(labels: npt.NDArray[np.int64], class_count: int, is_balanced: bool) -> Tensor:
    """float64 (classes,): one each, or in inverse proportion to its photos; zero for a class without photos.

    Raises ValueError for labels out of range.
    """
    if len(labels) and not (labels.min() >= 0 and labels.max() < class_count):
        raise ValueError(f"labels must be from 0 to {class_count - 1}")
    counts = torch.from_numpy(np.bincount(labels, minlength=class_count)).double()
    has_photos = (counts > 0).double()
    return has_photos * len(labels) / (has_photos.sum() * counts.clamp(min=1)) if is_balanced else has_photos


@dataclass(frozen=True, eq=False)
class _Fitter:
    """Fits on one set of rows."""

    rows: ScaledRows
    class_weights: Tensor
    """float64 (classes,), see class_weights."""

    def start(self, head: Head | None = None) -> Tensor:
        """From a head fitted to other rows; else, and for classes that it does not know, no weights, and
        biases that give every class its share."""
        shares = self.rows.shares_of_classes(len(self.class_weights))
        point = torch.zeros(len(shares), self.rows.dimensions + 1, dtype=torch.float64)
        point[:, -1] = torch.where(shares > 0, shares.log(), _NEVER)
        if head is None:
            return point
        return torch.where(head[1][:, None] > _NEVER / 2, self.rows.scaling.from_features(*head), point)

    def fit(self, strength: float, start: Tensor, tolerance: float, known: Steps) -> Minimum:
        """As near to the minimum as asked for."""
        curvature = InverseCurvature(self.rows, start, strength)
        return minimize(CrossEntropy(self.rows, strength), start, curvature, tolerance, known)


def _at_other_strength(steps: Steps, rise: float) -> Steps:
    """Steps of a fit with the changes of a gradient whose strength is higher by `rise`: that part is linear.

    With them a path over 27,000 photos takes 71 passes instead of 103.
    """
    carried = []
    for step, change in steps:
        moved = change.clone()
        moved[:, :-1].add_(step[:, :-1], alpha=rise)
        carried.append((step, moved))
    return carried


@dataclass(frozen=True, eq=False)
class _Asked:
    """What `fit_head` is asked for; positions sorted."""

    data: Labelled
    train: Positions
    validation: Positions
    class_count: int
    is_balanced: bool
    tolerance: float


@dataclass(frozen=True, eq=False)
class _Walk:
    """Along the path of strengths."""

    path: list[Tried]
    head: Head
    """The chosen one, for features as they are."""
    validated: Validated
    """Its answers."""
    fitter: _Fitter
    """On the training photos."""
    judges: ScaledRows
    """The validation photos."""


def _chosen_on(asked: _Asked, strengths: Sequence[float]) -> _Walk:
    """On all training photos."""
    head = None
    if len(asked.train) > _MANY:
        some = replace(asked, train=asked.train[:: -(-len(asked.train) // _MANY)])
        few = _along_path(some, strengths, None)
        head, strengths = few.head, strengths[max(0, _chosen([tried.loss for tried in few.path]) - 1) :]
        del few  # it holds rows
    return _along_path(asked, strengths, head)


def _fitter_of_both(asked: _Asked, walk: _Walk) -> _Fitter:
    """On training and validation photos; in the units of the path, whose strength it is to use."""
    labels = asked.data.labels[np.concatenate([asked.train, asked.validation])]
    weights = class_weights(labels, asked.class_count, asked.is_balanced)
    return _Fitter(walk.fitter.rows.joined(walk.judges, weights[labels]), weights)


def _along_path(asked: _Asked, strengths: Sequence[float], head: Head | None) -> _Walk:
    """head: where to start from."""
    data, judged = asked.data, asked.validation
    labels = data.labels[asked.train]
    of_classes = class_weights(labels, asked.class_count, asked.is_balanced)
    weights = of_classes[labels]
    rows = ScaledRows(data, asked.train, weights, scaling_of(data, asked.train, weights))
    fitter = _Fitter(rows, of_classes)
    class_weights(data.labels[judged], asked.class_count, False)
    judges = ScaledRows(data, judged, fitter.class_weights[data.labels[judged]], fitter.rows.scaling)
    path: list[Tried] = []
    answers: list[Validated] = []
    points = [fitter.start(head)]
    steps: Steps = []
    before = strengths[0]
    for strength in strengths:
        enough = _PATH_TOLERANCE * asked.tolerance * min(1, (strength / _WEAK) ** 0.5)
        found = fitter.fit(strength, points[-1], enough, _at_other_strength(steps, strength - before))
        steps, before = found.steps, strength
        loss, validated = _judge(found.point, judges)
        if not math.isfinite(loss):
            raise DataError("a feature of a photo is not a finite number", "compute the features again")
        answers.append(validated)
        path.append(
            Tried(strength, loss, float(validated.right.mean()), found.gradient_norm, found.iterations)
        )
        points.append(found.point)
        if loss > (1 + _RISEN) * min(tried.loss for tried in path) + _TIE:
            break
    chosen = _chosen([tried.loss for tried in path])
    head = fitter.rows.scaling.to_features(points[1 + chosen])
    return _Walk(path, head, answers[chosen], fitter, judges)


def _chosen(losses: Sequence[float]) -> int:
    """The first, that is the strongest, of those that tie with the smallest."""
    return next(place for place, loss in enumerate(losses) if loss <= min(losses) + _TIE)


def _judge(point: Tensor, rows: ScaledRows) -> tuple[float, Validated]:
    """Weighted log loss, and the answers."""

    def judged(block: slice, x: Factor) -> tuple[float, Tensor, Tensor]:
        logs = torch.log_softmax(x.scores(*in_float32(point)), 0)
        labels = rows.labels[block]
        right = logs.gather(0, labels[None])[0]
        best = logs.max(0)
        return (
            float((right * rows.weights[block]).sum(dtype=torch.float64)),
            best.values.exp(),
            best.indices == labels,
        )

    losses, *answers = zip(*rows.each(judged), strict=True)
    confidence, right = (torch.cat(parts).numpy() for parts in answers)
    return -sum(losses), Validated(confidence, right)
