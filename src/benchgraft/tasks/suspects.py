"""Labels to check first: photos whose given class is likely wrong, judged without them.

Two steps, neither of which knows what network the features come from:

1. Scores. A kernel ridge regression from features to classes, whose leave-one-out predictions have a closed
   form (Hastie, Tibshirani and Friedman, The Elements of Statistical Learning, equation 7.64): each photo is
   scored by a fit on all the others, or, of very many, on FITTED others.
2. Chances. A softmax of these scores, times a scale, says what a photo shows; a given class is that one, or,
   with a chance that is the same for all photos, any other. Scale and chance are not fitted but averaged
   over, weighted by how well they explain all given classes. Where the scores are often wrong, a small scale
   explains that better than wrong labels do, and nothing is doubted; where they are nearly always right and
   a few given classes contradict them flatly, wrong labels explain it better. Fixed thresholds on classes'
   mean scores (confident learning) were tried: they list photos that are only hard, see docs/photos.md.

Memory: at most about 300 MB and 24 bytes a photo, whatever the width and number of features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import softmax
from torch import Tensor

from ..experiment.inputs import Inputs
from ..experiment.photos import FEW_IMAGES
from ..report.answers import Suspect
from ..store.classes import StageImages
from ..store.sides import SPLITS
from ..training.batches import Table
from ..training.products import Factor
from ..training.scaled_rows import by_one_thread_each, slices

LANDMARKS = 1024
"""Photos, drawn by seed, whose kernels span the fit; where there are no more than these it is exact."""
FITTED = 20_000
"""Photos, drawn by seed, that the fit takes in; more would add time and hardly anything else."""
COLUMNS = 2048
"""Wider features are folded to so many, with signs drawn by seed: distances stay within some per cent."""
LISTED = 0.6
"""Chance that a given class is wrong from which on it is on the list."""
RIDGE = 0.5
"""In units of a photo's kernel with itself. Between 0.2 and 1 nothing changes on fruit, clothes and cells."""
BLOCK_BYTES = 1 << 25
"""Of features, or of scores, at once."""
BLOCK_ROWS = 2048
SAMPLE_ROWS, SAMPLE_CELLS = 20_000, 1 << 21
"""At most so many photos, and scores of photos, say which scales and shares explain the given classes."""
SCALES = np.geomspace(1.5, 150, 28)
LIKELY_SCALE, SCALE_SPREAD = 7.0, 0.3
"""Before any photo is seen, the logarithm of the scale is normal around the first with this deviation: on
fruit, clothes and cells by two networks it came out at 3 to 12. Only small or very easy sets feel it."""
SHARES = np.geomspace(0.0005, 0.3, 24)
"""Of given classes that are wrong."""
LIKELY_SHARE = 0.005
"""Before any photo is seen, the density of the share is that of a Cauchy distribution with this scale."""
LEAST_KNOWLEDGE = 0.5
"""No list unless the features lead at least so far from guessing to always right."""
TRIED_SHARE, LEAST_NOTICED = 0.05, 0.1
"""No list either where, if the first share of labels were wrong, less than the second of these were on it."""
LEAST_KNOWN = 0.5
"""Photos of a class are not doubted where fewer of them fall into it: that class is not known well enough."""

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Suspects:
    """What was found."""

    found: list[Suspect]
    """The most doubtful first, each wrong with a chance of LISTED or more. Where the features tell the
    classes apart, the list is about as long as there are wrong labels; else only plain ones are on it."""
    why_none: str | None = None
    """One line for the user, where labels could not be judged."""


class _TooLittleError(Exception):
    """There is no ground to doubt a label on; the message is the line for the user."""


def suspects_of(inputs: Inputs, images: StageImages) -> Suspects:
    """Of all photos in all splits, by the features that training used; never fails."""
    if inputs.cut is None:
        return Suspects([], f"it needs cached features, and there are none: {inputs.why_uncached}")
    train = inputs.rows["train"]
    return _safely(
        lambda: _found(
            train.table,
            np.concatenate([images.labels[split] for split in SPLITS]),
            [images.store.keys[row] for split in SPLITS for row in images.rows[split].tolist()],
            images.class_names,
            # View 0 of each photo is the photo itself.
            np.concatenate([inputs.rows[split].index[0].numpy() for split in SPLITS]),
            train.release,
        )
    )


def find_suspects(
    features: npt.NDArray[np.float32], labels: Integers, keys: Sequence[str], class_names: Sequence[str]
) -> Suspects:
    """Photos whose given class is likely wrong, the most doubtful first; never fails.

    features: (n, ...), flattened, best mapped from disk. labels: (n,), index into class_names. keys: n names.
    Classes of fewer than FEW_IMAGES photos take no part. What goes wrong is one line in `why_none`. The same
    input gives the same list. Memory: see the module; time: 100,000 photos of 1,280 columns take 1.7 s
    on 2 cores.
    """
    rows = np.arange(len(labels))
    return _safely(lambda: _found(features, labels, keys, class_names, rows, lambda: None))


def _safely(find: Callable[[], list[Suspect]]) -> Suspects:
    try:
        return Suspects(find())
    except _TooLittleError as error:
        return Suspects([], str(error))
    except MemoryError:
        return Suspects([], "there was not enough memory")
    except Exception as error:  # the model is made: nothing that happens here may cost the answer
        return Suspects([], f"judging them failed ({type(error).__name__}: {error})")


def _found(
    features: npt.NDArray[np.float32] | Table,
    labels: Integers,
    keys: Sequence[str],
    class_names: Sequence[str],
    rows: Integers,
    release: Callable[[], None],
) -> list[Suspect]:
    """rows: row in `features` of each photo. release: called after each block of rows that is read.

    Raises _TooLittleError.
    """
    judged = np.flatnonzero(np.bincount(labels, minlength=len(class_names)) >= FEW_IMAGES)
    if len(judged) < 2:
        raise _TooLittleError(f"fewer than two classes have {FEW_IMAGES} photos")
    chosen = np.flatnonzero(np.isin(labels, judged))
    own = np.searchsorted(judged, labels[chosen])
    fit = _Fit(_Table(features, rows[chosen], release), own, len(judged))
    belief = _belief(fit)

    def judge(places: Integers) -> tuple[Floats, Integers, npt.NDArray[np.bool_]]:
        """(chance that it is wrong, likelier class, whether the given one is the likeliest) of each."""
        scores = fit.scores(places)
        chances, is_right = belief.wrong(scores, own[places]), scores.argmax(1) == own[places]
        scores[np.arange(len(places)), own[places]] = -np.inf
        return chances, scores.argmax(1), is_right

    blocks = by_one_thread_each(judge, fit.blocks(np.arange(len(own))))
    wrong, likelier, is_right = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
    known = np.bincount(own, is_right) / np.bincount(own)
    wrong[known[own] < LEAST_KNOWN] = 0
    return [
        Suspect(
            key=keys[chosen[place]],
            given=class_names[judged[own[place]]],
            likelier=class_names[judged[likelier[place]]],
            probability=round(float(wrong[place]), 3),
        )
        for place in np.argsort(-wrong, kind="stable").tolist()
        if wrong[place] >= LISTED
    ]


class _Table:
    """Features as rows of at most COLUMNS numbers, centred, with a mean square of 1, a block at a time."""

    def __init__(
        self, features: npt.NDArray[np.float32] | Table, rows: Integers, release: Callable[[], None]
    ) -> None:
        self._features, self._rows, self._release = features, rows, release
        self._width = int(np.prod(features.shape[1:]))
        signs = np.random.default_rng(self._width).integers(0, 2, self._width) * 2 - 1
        self._signs = signs.astype(np.float32) if self._width > COLUMNS else None
        drawn = np.random.default_rng(len(rows)).permutation(len(rows))
        self.landmarks, self.fitted = np.sort(drawn[:LANDMARKS]), np.sort(drawn[:FITTED])
        """Places among the photos."""
        raw = self._folded(self.landmarks).astype(np.float64)
        with np.errstate(all="ignore"):
            centre = raw.mean(0)
            self._centre = centre.astype(np.float32)
            self._size = float(np.sqrt(np.mean((raw - centre) ** 2)))
        if not np.isfinite(self._size):
            raise ValueError("features are no finite numbers")
        if not self._size:
            raise _TooLittleError("the photos' features are all the same")

    def take(self, places: Integers) -> Tensor:
        """Of these photos, float32 (n, columns)."""
        return torch.from_numpy(self._folded(places)).sub_(torch.from_numpy(self._centre)).div_(self._size)

    def _folded(self, places: Integers) -> npt.NDArray[np.float32]:
        found = np.zeros((len(places), min(self._width, COLUMNS)), np.float32)
        step = max(1, BLOCK_BYTES // (4 * self._width))
        for start in range(0, len(places), step):
            block = self._features[self._rows[places[start : start + step]]].reshape(-1, self._width)
            mine = found[start : start + step]
            if self._signs is None:
                mine[:] = block
            else:
                block = block * self._signs
                for left in range(0, self._width, COLUMNS):
                    part = block[:, left : left + COLUMNS]
                    mine[:, : part.shape[1]] += part
            self._release()
        return found


class _Fit:
    """The kernel ridge regression on all photos, and what it says of each without it.

    The kernel of two photos is 1 + exp(-d), with d their squared distance by the median of those between
    landmarks. Few photos need no wider fit than their number, many none wider than LANDMARKS.
    """

    def __init__(self, table: _Table, labels: Integers, class_count: int) -> None:
        self._table, self.labels, self.class_count = table, labels, class_count
        landmarks = table.take(table.landmarks)
        unit = _median_distance(landmarks)
        self._landmarks, self._unit = Factor(landmarks * (2 / unit)), unit
        self._lengths = landmarks.square().sum(1) / -unit
        self._shares = np.bincount(labels, minlength=class_count) / len(labels)
        self._is_fitted = np.zeros(len(labels), bool)
        self._is_fitted[table.fitted] = True
        self._kept = torch.empty(len(table.fitted), len(table.landmarks))
        """Of fitted photos, less 1: float32, 80 MB at most; they are wanted three times."""

        def products(places: Integers) -> tuple[Tensor, Tensor]:
            kept = self._kept[np.searchsorted(table.fitted, places)] = self._near(places)
            kernel = kept.double().add_(1)
            return _above_diagonal(kernel), kernel.T @ torch.from_numpy(self._given(places))

        gram = RIDGE * self._near(table.landmarks).double().add_(1)
        above = torch.zeros_like(gram)
        cross = torch.zeros(len(above), class_count, dtype=torch.float64)
        for squares, of_classes in by_one_thread_each(products, self.blocks(table.fitted)):
            above += squares
            cross += of_classes
        gram += above.triu() + above.triu(1).T
        gram.diagonal().add_(1e-7 * gram.trace() / len(gram))
        root = torch.linalg.cholesky(gram)
        self._coefficients = torch.cholesky_solve(cross, root)
        inverse = torch.linalg.solve_triangular(root, torch.eye(len(root), dtype=root.dtype), upper=False)
        of_ones, projection = inverse.sum(1).float(), Factor(inverse.float())

        def leverages(rows: slice) -> Tensor:  # right to 1e-6 by float32, as coefficients are not
            return projection.products(self._kept[rows], of_ones).square_().sum(1)

        self._leverage = torch.cat(list(by_one_thread_each(leverages, slices(len(self._kept))))).numpy()

    def blocks(self, places: Integers) -> Iterator[Integers]:
        """These photos, as many at once as bounded memory allows."""
        step = max(1, min(BLOCK_ROWS, BLOCK_BYTES // (8 * self.class_count)))
        for start in range(0, len(places), step):
            yield places[start : start + step]

    def scores(self, places: Integers) -> Floats:
        """Of each class for these photos, each by the fit on all others; (n, classes), near 0 to 1."""
        are_fitted = self._is_fitted[places]
        numbers = np.searchsorted(self._table.fitted, places[are_fitted])
        near = torch.empty(len(places), len(self._lengths))
        near[are_fitted] = self._kept[numbers]
        if not are_fitted.all():
            near[~are_fitted] = self._near(places[~are_fitted])
        found = (near.double().add_(1) @ self._coefficients).numpy()
        leverage, given = self._leverage[numbers][:, None], self._given(places[are_fitted])
        found[are_fitted] = (found[are_fitted] - leverage * given) / np.maximum(1 - leverage, 1e-6)
        return np.asarray(self._shares + found)

    def _given(self, places: Integers) -> Floats:
        """What is regressed on: 1 for the given class, else 0, less the class's share."""
        given = np.zeros((len(places), self.class_count))
        given[np.arange(len(places)), self.labels[places]] = 1
        return np.asarray(given - self._shares)

    def _near(self, places: Integers) -> Tensor:
        """What these photos' kernels with the landmarks have above 1, float32."""
        rows = self._table.take(places)
        found = self._landmarks.products(rows, self._lengths)  # less the squared distance, but for |rows|^2
        return found.sub_(rows.square().sum(1)[:, None] / self._unit).clamp_(max=0).exp_()


def _median_distance(rows: Tensor) -> float:
    """Of all pairs of rows, squared; their mean where more than half of all are equal."""
    lengths = rows.square().sum(1)
    distances = Factor(rows).products(rows * -2, lengths).add_(lengths[:, None]).clamp_(min=0)
    apart = distances.double().numpy()[np.triu_indices(len(rows), 1)]
    return float(np.median(apart)) or float(apart.mean())


def _above_diagonal(rows: Tensor) -> Tensor:
    """rows.T @ rows, float64 (m, m); what lies below its diagonal is not to be used."""
    found = rows.new_zeros(rows.shape[1], rows.shape[1])
    step = max(1, rows.shape[1] // 4)
    for start in range(0, rows.shape[1], step):  # 10 of 16 parts of the work
        torch.mm(rows[:, start : start + step].T, rows[:, start:], out=found[start : start + step, start:])
    return found


@dataclass(frozen=True, eq=False)
class _Belief:
    """How likely each scale (of a score) and each share (of wrong labels) is, given all given classes."""

    weights: Floats
    """(scales, shares), sum 1."""

    def wrong(self, scores: Floats, labels: Integers) -> Floats:
        """Chance that the given class is wrong, for each of n photos."""
        chances = np.zeros(len(labels))
        for scale, weights in zip(SCALES, self.weights, strict=True):
            if weights.sum() > 1e-6:
                shown = _shown(scores, labels, scale)
                mistaken = _mistaken(shown, scores.shape[1])
                chances += (mistaken / (mistaken + (1 - SHARES) * shown)) @ weights
        return chances

    def noticed(self, scores: Floats) -> float:
        """The part of wrong labels whose chance would be above a half, if TRIED_SHARE of all were wrong."""
        others = scores.shape[1] - 1
        shows = softmax(float(self.weights.sum(1) @ SCALES) * scores, axis=1)
        is_noticed = TRIED_SHARE / others * (1 - shows) > (1 - TRIED_SHARE) * shows
        count = is_noticed.sum(1, keepdims=True) - is_noticed  # of classes other than the one it shows
        return float((shows * count / others).sum(1).mean())


def _belief(fit: _Fit) -> _Belief:
    """What a sample of all photos says. Raises _TooLittleError if wrong labels would hardly be noticed."""
    count = len(fit.labels)
    most = min(count, SAMPLE_ROWS, max(FEW_IMAGES, SAMPLE_CELLS // fit.class_count))
    sample = np.sort(np.random.default_rng(count).permutation(count)[:most])
    scores = np.concatenate(list(by_one_thread_each(fit.scores, fit.blocks(sample))))
    labels = fit.labels[sample]
    log = -0.5 * (np.log(SCALES / LIKELY_SCALE) / SCALE_SPREAD)[:, None] ** 2
    # On a logarithmic grid a density counts times the share itself.
    log = log + np.log(SHARES) - np.log1p((SHARES / LIKELY_SHARE) ** 2)
    for place, scale in enumerate(SCALES):
        shown = _shown(scores, labels, scale)
        log[place] += np.log(_mistaken(shown, fit.class_count) + (1 - SHARES) * shown).sum(0)
    weights = np.exp(log - log.max())
    belief = _Belief(weights / weights.sum())
    right = float((scores.argmax(1) == labels).mean())
    guessed = float(((np.bincount(fit.labels) / count) ** 2).sum())
    knowledge = (right - guessed) / (1 - guessed)
    if knowledge < LEAST_KNOWLEDGE or belief.noticed(scores) < LEAST_NOTICED:
        raise _TooLittleError(
            f"judged by all the others, {100 * right:.0f} % of the photos fall into their class "
            f"({100 * guessed:.0f} % would by chance), too few for wrong labels to stand out"
        )
    return belief


def _shown(scores: Floats, labels: Integers, scale: float) -> Floats:
    """Chance that a photo shows its given class, (n, 1)."""
    chances = softmax(scale * scores, axis=1)[np.arange(len(labels)), labels]
    return np.maximum(chances, 1e-300)[:, None]


def _mistaken(shown: Floats, class_count: int) -> Floats:
    """Chance that a photo shows another class and was given this one by mistake, (n, shares)."""
    return np.asarray(SHARES / (class_count - 1) * (1 - shown))
