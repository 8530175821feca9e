"""Class rules on names, and the balanced draw: rows and labels of one stage, without copying a pixel."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ..config.experiment import ClassRules
from ..errors import ConfigError, DataError, did_you_mean
from ..names import composed
from .mixing import mixed
from .sides import SPLITS
from .split import Sides
from .store import Store

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class StageImages:
    """The images of one stage: views into a store."""

    store: Store
    class_names: list[str]
    """In the order of the rules, the rest last; without rules the source names, sorted."""
    matched: dict[str, list[str]]
    """Class -> source classes."""
    rows: dict[str, Rows]
    """"train", "validation", "test" -> int64 (n,) rows of the store, ascending."""
    labels: dict[str, Rows]
    """The same keys -> int64 (n,), index into class_names."""
    digest: str
    """Over content, label and split of every row, and the class names."""
    notes: list[str]
    """Classes that have fewer images than asked for."""
    unmatched: dict[str, int] = field(default_factory=dict)
    """Source class that no rule takes -> its images; they take part in nothing."""

    @property
    def sources(self) -> list[str]:
        """Source class of each test image."""
        return [self.store.class_names[label] for label in self.store.labels[self.rows["test"]].tolist()]

    @property
    def keys(self) -> list[str]:
        """Key of each test image."""
        return [self.store.keys[row] for row in self.rows["test"].tolist()]

    def counts(self) -> dict[str, dict[str, int]]:
        """Split -> class -> images."""
        return {
            split: dict(
                zip(
                    self.class_names,
                    np.bincount(labels, minlength=len(self.class_names)).tolist(),
                    strict=True,
                )
            )
            for split, labels in self.labels.items()
        }

    def summary(self) -> list[str]:
        """Lines to print: each class with its source classes and its images, then the notes."""
        counts = self.counts()
        width = max(len(name) for name in self.class_names)
        lines = []
        for name in self.class_names:
            numbers = ", ".join(f"{counts[split][name]:,} {split}" for split in SPLITS)
            sources = self.matched[name]
            lines.append(f"{name:{width}}  {numbers}  <- {len(sources)}: {_first_names(sources)}")
        if self.unmatched:
            lines.append(
                f"{sum(self.unmatched.values()):,} images are left out, as no rule names their class: "
                + _first_names([f"{name} ({count:,})" for name, count in self.unmatched.items()])
            )
        return lines + self.notes


def _first_names(names: list[str]) -> str:
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")


def words(name: str) -> list[str]:
    """The words of a name: maximal runs of letters, or of digits, folded to lower case.

    "Apple 10" -> apple, 10; "lawn_mower" -> lawn, mower; "Pineapple" is one word. Any script; combining marks
    belong to their letter.
    """
    found: list[str] = []
    last = ""
    for character in composed(name).casefold():
        category = unicodedata.category(character)[0]
        kind = "letter" if category in "LM" else "digit" if category == "N" else ""
        if kind and kind == last:
            found[-1] += character
        elif kind:
            found.append(character)
        last = kind
    return found


def match(class_names: Sequence[str], rules: ClassRules) -> dict[str, list[str]]:
    """Class -> its source classes, in the order of the rules, the rest last.

    A phrase matches where its words stand in a name whole and in a row, in any case.
    Raises ConfigError: a rule or a phrase that matches nothing (with near names), a source class that two
    classes claim, a rest without rules or with nothing left for it.
    """
    if not rules.rules:
        if rules.rest is not None:
            raise ConfigError(
                f'rest = "{rules.rest}", but there are no rules that leave anything over',
                'add rules such as apple = ["apple"], or drop rest',
            )
        return {name: [name] for name in sorted(class_names)}
    if rules.rest in rules.rules:
        raise ConfigError(f'"{rules.rest}" is both a rule and the rest', "give one of them another name")
    claims: dict[str, tuple[str, str]] = {}
    matched: dict[str, list[str]] = {name: [] for name in rules.rules}
    name_words = {name: words(name) for name in sorted(class_names)}
    for class_name, phrases in rules.rules.items():
        if not phrases:
            raise ConfigError(f'class "{class_name}" has an empty rule', f'write {class_name} = ["a word"]')
        for phrase in phrases:
            _claim(class_name, phrase, name_words, claims, matched)
    if rules.rest is not None:
        matched[rules.rest] = [name for name in name_words if name not in claims]
        if not matched[rules.rest]:
            raise ConfigError(f'rest = "{rules.rest}": the rules leave no class over', "drop rest")
    return {name: sorted(sources) for name, sources in matched.items()}


def _claim(
    class_name: str,
    phrase: str,
    name_words: dict[str, list[str]],
    claims: dict[str, tuple[str, str]],
    matched: dict[str, list[str]],
) -> None:
    wanted = words(phrase)
    hits = [name for name, have in name_words.items() if wanted and _holds(have, wanted)]
    if not hits:
        known = {word for have in name_words.values() for word in have}
        near = did_you_mean(phrase, known if len(wanted) == 1 else name_words)
        raise ConfigError(f'class rule {class_name} = ["{phrase}"] matches no class of the data set', near)
    for name in hits:
        owner, first = claims.setdefault(name, (class_name, phrase))
        if owner != class_name:
            raise ConfigError(
                f'"{name}" is claimed by two classes: {owner} = ["{first}"] and {class_name} = ["{phrase}"]',
                "use longer phrases, so that each name fits one class",
            )
        if name not in matched[class_name]:
            matched[class_name].append(name)


def _holds(have: list[str], wanted: list[str]) -> bool:
    return any(have[start : start + len(wanted)] == wanted for start in range(len(have) - len(wanted) + 1))


def select(
    store: Store,
    sides: Sides,
    rules: ClassRules,
    need_every_split: bool = True,
    without: Collection[str] = (),
) -> StageImages:
    """The images of a stage: `sides` (split.assign, after split.drop_shared) narrowed by the rules.

    The draw of k images takes evenly from the source classes of a class; which ones is decided by a hash of
    content and draw_seed, so that added images change few of those drawn.
    need_every_split: refuse a class that is missing from a split that others have, or has one image only;
    False asks for training images alone. without: source classes that are to be as if they were not there.
    Raises ConfigError as `match`; DataError: fewer than two classes, a class with too few images.
    """
    matched = match([name for name in store.class_names if name not in without], rules)
    names = list(matched)
    if len(names) < 2:
        raise DataError(
            f"only one class: {', '.join(names)}", "two or more are needed to tell them apart", *store.notes
        )
    label_of = np.full(len(store.class_names), -1, np.int64)
    for label, name in enumerate(names):
        label_of[[store.class_names.index(source) for source in matched[name]]] = label
    labels = label_of[store.labels]
    order = _draw_order(store.digests, rules.draw_seed)
    rows: dict[str, Rows] = {}
    notes: list[str] = []
    for split, side in SPLITS.items():
        inside = np.flatnonzero((sides == side) & (labels >= 0))
        rows[split] = _draw(store, inside, labels, order, names, split, rules.per_class(split), notes)
    stage_labels = {split: labels[chosen] for split, chosen in rows.items()}
    _refuse_gaps(names, stage_labels, need_every_split)
    digest = _digest(names, store, rows, stage_labels)
    unmatched = _unmatched(store, label_of, without)
    return StageImages(store, names, matched, rows, stage_labels, digest, notes, unmatched)


def _unmatched(store: Store, label_of: Rows, without: Collection[str]) -> dict[str, int]:
    """Images of each source class that has no label and is not taken out for another reason."""
    counts = np.bincount(store.labels, minlength=len(store.class_names)).tolist()
    return {
        name: count
        for name, count, label in zip(store.class_names, counts, label_of.tolist(), strict=True)
        if label < 0 and name not in without
    }


def _draw(
    store: Store,
    inside: Rows,
    labels: Rows,
    order: npt.NDArray[np.uint64],
    names: list[str],
    split: str,
    limit: int | None,
    notes: list[str],
) -> Rows:
    if limit is None:
        return inside
    chosen = []
    for label, name in enumerate(names):
        rows = inside[labels[inside] == label]
        if 0 < len(rows) < limit:
            notes.append(
                f"{name} has {len(rows):,} {split} images, not the {limit:,} asked for: all are taken"
            )
        chosen.append(_spread(rows, store.labels[rows], order[rows], limit))
    return np.sort(np.concatenate(chosen))


def _spread(rows: Rows, sources: npt.NDArray[np.int32], order: npt.NDArray[np.uint64], limit: int) -> Rows:
    """Up to `limit` rows, as evenly over the sources as their sizes allow.

    Round by round every source gives its next image in hash order; the last, incomplete round goes to the
    sources whose next image hashes lowest.
    """
    by_source = np.lexsort((rows, order, sources))
    ranked = sources[by_source]
    rounds = np.arange(len(rows)) - np.searchsorted(ranked, ranked, side="left")
    final = np.lexsort((order[by_source], rounds))[:limit]
    return rows[by_source][final]


def _draw_order(digests: npt.NDArray[np.uint64], seed: int) -> npt.NDArray[np.uint64]:
    """A number for each image that is random but fixed by its content and the seed."""
    salt = np.uint64(int.from_bytes(hashlib.sha256(f"draw {seed}".encode()).digest()[:8], "big"))
    return mixed(digests ^ salt)


def _refuse_gaps(names: list[str], labels: dict[str, Rows], need_every_split: bool) -> None:
    counts = {split: np.bincount(labels[split], minlength=len(names)) for split in SPLITS}
    for label, name in enumerate(names):
        have = {split: int(counts[split][label]) for split in SPLITS}
        told = ", ".join(f"{number:,} {split}" for split, number in have.items())
        if sum(have.values()) <= (1 if need_every_split else 0):
            raise DataError(
                f'class "{name}" has {"one image" if sum(have.values()) else "no images"}',
                "add images of it, or leave the class out",
            )
        for split in SPLITS:
            needed = split == "train" or (need_every_split and counts[split].any())
            if have[split] == 0 and needed:
                raise DataError(
                    f'class "{name}" has no {split} image ({told})',
                    "add images of it, raise the share of that split, or leave the class out",
                )


def _digest(names: list[str], store: Store, rows: dict[str, Rows], labels: dict[str, Rows]) -> str:
    sha = hashlib.sha256(json.dumps(names).encode())
    for split in SPLITS:
        sha.update(f"{split} {len(rows[split])} ".encode())
        sha.update(store.digests[rows[split]].tobytes() + labels[split].tobytes())
    return sha.hexdigest()
