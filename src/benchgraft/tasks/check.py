"""What a data set holds and what is wrong with it, for `benchgraft data check`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..photos.readers import Source
from ..photos.scan import SHOWN, some
from ..progress import Progress
from ..runfolder.records import ExcludedImage
from ..store.findings import equal_rows
from ..store.sides import GIVEN, GIVEN_VALIDATION, NOT_GIVEN, SPLITS
from ..store.store import Store, open_store


@dataclass(frozen=True)
class CheckReport:
    """The findings. Groups of duplicates are lists of keys of byte-equal images."""

    format: str
    root: Path
    size: int
    images: int
    counts: dict[str, dict[str, int]]
    """Source class -> "train", "test", "not split", and "validation" where it is given -> usable images."""
    excluded: list[ExcludedImage]
    conversions: dict[str, int]
    duplicates_across: list[list[str]]
    """Groups on both given sides: these images leave the test set."""
    duplicates_within: list[list[str]]
    """Groups on one side."""
    conflicts: list[list[str]]
    """Groups whose images are in different classes (in one of the lists above too)."""
    single_image_classes: list[str]
    one_sided_classes: list[str]
    """Classes with images on one given side only."""
    notes: list[str]

    @property
    def problems(self) -> list[str]:
        """Why the data set cannot be used as it is; empty if it can."""
        found = []
        if len(self.counts) < 2:
            found.append(f"only one class: {', '.join(self.counts)}; two or more are needed")
        empty = [name for name, sides in self.counts.items() if not sum(sides.values())]
        if empty:
            found.append(f"no usable image in {some(empty)}")
        if self.single_image_classes:
            found.append(f"one image only in {some(self.single_image_classes)}: nothing to test on")
        return found

    @property
    def is_usable(self) -> bool:
        """Whether every class can be trained and tested on."""
        return not self.problems

    def lines(self) -> list[str]:
        """The report as text: totals, classes, then findings."""
        sides = [
            name for name in (*SPLITS, "not split") if any(side.get(name) for side in self.counts.values())
        ]
        lines = [
            f"{self.root}: {self.format}, {self.images:,} images of {self.size} x {self.size}"
            f" in {len(self.counts)} classes"
        ]
        width = max(map(len, self.counts), default=0)
        for name, counts in self.counts.items():
            lines.append(f"  {name:{width}}  " + "  ".join(f"{counts.get(s, 0):6,} {s}" for s in sides))
        lines += _group(f"{len(self.excluded):,} images left out", self._excluded_lines())
        lines += _group("converted", [f"{count:,} {name}" for name, count in self.conversions.items()])
        lines += _group(
            f"{len(self.duplicates_across):,} groups of equal images on both sides (left out of test)",
            [" = ".join(keys) for keys in self.duplicates_across],
        )
        lines += _group(
            f"{len(self.duplicates_within):,} groups of equal images on one side",
            [" = ".join(keys) for keys in self.duplicates_within],
        )
        lines += _group(
            f"{len(self.conflicts):,} groups of equal images in different classes",
            [" = ".join(keys) for keys in self.conflicts],
        )
        lines += _group("classes on one side only", self.one_sided_classes)
        lines += [f"note: {note}" for note in self.notes]
        lines += [f"problem: {problem}" for problem in self.problems] or ["usable"]
        return lines

    def _excluded_lines(self) -> list[str]:
        return [f"{item.key}: {item.reason}" for item in self.excluded]


def check(source: Source, cache: Path, progress: Progress | None = None) -> CheckReport:
    """Open the store of `source` (building it for the default network, for later runs to find) and look.

    Raises what open_store raises.
    """
    store = open_store(source, cache, progress=progress)
    counts = _counts(store)
    across, within, conflicts = _duplicates(store)
    sides_of = {name: [side for side in SPLITS if of.get(side)] for name, of in counts.items()}
    is_split = bool((store.given != NOT_GIVEN).any())
    return CheckReport(
        format=store.format,
        root=source.root,
        size=store.size,
        images=len(store),
        counts=counts,
        excluded=store.excluded,
        conversions=store.conversions,
        duplicates_across=across,
        duplicates_within=within,
        conflicts=conflicts,
        single_image_classes=[name for name, of in counts.items() if sum(of.values()) == 1],
        one_sided_classes=[name for name, sides in sides_of.items() if is_split and len(sides) == 1],
        notes=store.notes,
    )


def _counts(store: Store) -> dict[str, dict[str, int]]:
    names = {code: name or "not split" for name, code in GIVEN.items()}
    if not (store.given == GIVEN_VALIDATION).any():
        del names[GIVEN_VALIDATION]
    table = {}
    for label, name in enumerate(store.class_names):
        given = store.given[store.labels == label]
        table[name] = {side: int((given == number).sum()) for number, side in names.items()}
    return table


def _duplicates(store: Store) -> tuple[list[list[str]], list[list[str]], list[list[str]]]:
    across: list[list[str]] = []
    within: list[list[str]] = []
    conflicts: list[list[str]] = []
    for rows in equal_rows(store):
        keys = [store.keys[row] for row in rows.tolist()]
        (across if len(set(store.given[rows].tolist())) > 1 else within).append(keys)
        if len(set(store.labels[rows].tolist())) > 1:
            conflicts.append(keys)
    return sorted(across), sorted(within), sorted(conflicts)


def _group(title: str, items: list[str]) -> list[str]:
    if not items:
        return []
    more = [f"  ... and {len(items) - SHOWN:,} more"] if len(items) > SHOWN else []
    return [f"{title}:", *(f"  {item}" for item in items[:SHOWN]), *more]
