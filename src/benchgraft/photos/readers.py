"""Folders in their official layouts -> samples. Opening lists names and sizes only; nothing is decoded."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path, PurePosixPath
from typing import NamedTuple, get_args

from ..config.choices import Format
from ..errors import DataError, did_you_mean
from ..names import class_name as name_of_class
from ..names import printable
from . import cifar100, elpv
from .decode import RULE_VERSION, decode
from .formats import Undecodable
from .scan import (
    ABSENT,
    LINKS,
    UNLABELLED,
    Given,
    Ignored,
    ImageFile,
    Scan,
    folders_in,
    group_classes,
    list_folder,
    need_folder,
    photos,
)
from .table import Table, find_table, read_table

__all__ = [
    "FORMATS",
    "Given",
    "Sample",
    "Source",
    "Undecodable",
    "decode",
    "guess_format",
    "open_source",
]

FORMATS: tuple[Format, ...] = get_args(Format)
_SIDES: dict[str, Given] = {
    "training": "train",
    "train": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "test": "test",
}


_HAVE, _ARE = ("has", "have"), ("is", "are")


class NothingLeftError(DataError):
    """A folder without photos in class folders, or whose table takes all of them out."""


class Sample(NamedTuple):  # not a dataclass, and paths as text: there are hundreds of thousands of them
    """One image: where it is, what it shows, and on which side its data set puts it."""

    key: str
    """Path relative to the root, with / and on one line; for CIFAR "train.bin#00017"."""
    class_name: str
    given: Given | None
    place: str
    """Of its file, as the file system has it."""
    offset: int | None = None
    """CIFAR: the byte in the file where the 3,072 pixel bytes begin."""
    file: ImageFile | None = None
    """As the folder listing showed it; None where an image is no file of its own."""

    @property
    def path(self) -> Path:
        """Of its file."""
        return Path(self.place)


@dataclass
class Source:
    """A data set on disk, listed but not read."""

    format: Format
    root: Path
    """Where the layout begins; may lie one level below the folder that was named."""
    signature: str
    """Over root, names, sizes and times of all files: equal means nothing changed since."""
    notes: list[str]
    """What was passed over (links, hidden and foreign files), in lines to print."""
    make_samples: Callable[[], list[Sample]] = field(repr=False)
    groups: dict[str, str] = field(default_factory=dict, repr=False)
    """Key of an image -> its group, of those that have one by a table: such stay on one side of the split."""
    out: list[Sample] = field(default_factory=list, repr=False)
    """Images that a table takes out, as their folders have them."""

    @cached_property
    def samples(self) -> list[Sample]:
        """Every image, sorted by key. Made when first asked for: reuse of a store never asks."""
        return self.make_samples()


def open_source(
    format: str,  # noqa: A002 - the word of the experiment files
    root: Path,
    labels: Path | None = None,
    *,
    use_table: bool = True,
) -> Source:
    """List a data set.

    labels: a table (table.py) of what photos show; default that of the folder, if it has one. use_table:
    False takes photos for what their folders say.

    `format`: "cifar100" (the binary version), "split" (class folders in folders train, test, validation, by
    any of their usual names), "fruits360" (the same, of that data set), "folder" (of class folders) or "elpv"
    (photos of solar cells with labels.csv).

    A root whose only fitting content lies one level deeper (as archives unpack) is opened there.
    Raises DataError: unknown format, missing, empty or unreadable folder, wrong layout.
    """
    root = Path(root)
    if format not in FORMATS:
        raise DataError(f'unknown data format "{format}"', did_you_mean(format, FORMATS))
    need_folder(root)
    found = (labels or find_table(root)) if use_table else None
    table = read_table(found) if found else None
    openers: dict[str, Callable[[Path], Source]] = {
        "cifar100": _open_cifar100,
        "fruits360": partial(_open_split, "fruits360"),
        "split": partial(_open_split, "split"),
        "folder": partial(_open_folder, loose=table.photos if table else ()),
        "elpv": _open_elpv,
    }
    source = openers[format](root)
    return _labelled(source, table) if table else source


def guess_format(root: Path) -> Format:
    """The format whose layout `root` has; "folder" if none other fits. Raises DataError if it is missing."""
    root = Path(root)
    need_folder(root)
    if _find_cifar100(root) is not None:
        return "cifar100"
    if _descend(root, elpv.has_layout) is not None:
        return "elpv"
    return "split" if _descend(root, _has_sides) is not None else "folder"


def _descend(root: Path, has_layout: Callable[[Path], bool]) -> Path | None:
    """`root`, or its one subfolder that has the layout; None if there is none or more than one."""
    if has_layout(root):
        return root
    below = [root / name for name in sorted(list_folder(str(root), Ignored())[0])]
    fitting = [folder for folder in below if has_layout(folder)]
    return fitting[0] if len(fitting) == 1 else None


def _find_cifar100(root: Path) -> Path | None:
    """The folder of a CIFAR-100, the binary version before the Python version, which opening it refuses."""
    return _descend(root, cifar100.has_layout) or _descend(root, cifar100.is_python_version)


def _has_sides(folder: Path) -> bool:
    sides = set(split_folders(folder).values())
    return "train" in sides and len(sides) > 1


def split_folders(folder: Path) -> dict[str, Given]:
    """Name -> side, of the folders in it that hold the sides of a split."""
    return {name: _SIDES[name.lower()] for name in sorted(folders_in(folder, _SIDES))}


def _open_cifar100(root: Path) -> Source:
    folder = _find_cifar100(root) or root
    _, notes = cifar100.inspect(folder)
    facts = []
    for name in (*cifar100.PARTS, cifar100.NAMES):
        stat = (folder / name).stat()
        facts.append([name, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns])

    def make_samples() -> list[Sample]:
        samples = []
        for name, given, names, part in cifar100.load(folder):
            place = str(folder / name)
            samples += [
                Sample(cifar100.key(name, row), names[label], given, place, cifar100.pixel_offset(row))
                for row, label in enumerate(part.labels.tolist())
            ]
        return samples

    return Source("cifar100", folder, _signature("cifar100", folder, facts), notes, make_samples)


def _open_split(format: Format, root: Path) -> Source:  # noqa: A002
    folder = _descend(root, _has_sides)
    if folder is None:
        raise DataError(
            f"{root} holds no split: no folders Training and Test (or Validation)",
            *_what_is_there(root),
            'for a folder of class folders without a split, say format = "folder"',
        )
    scan, sides = Scan(), split_folders(folder)
    scan.add_beside(folder, sides)
    for name, given in sides.items():
        scan.add(folder / name, given, f"{name}/")
    group_classes(scan.found)
    return _source(format, folder, scan)


def _open_folder(root: Path, loose: Collection[str]) -> Source:
    scan = Scan(loose=loose)
    scan.add(root, None, "")
    if _has_sides(root) and not any(item.files for item in scan.found if len(item.inside) == 1):
        raise DataError(
            f"{root} holds a split (training and test folders), not class folders",
            'say format = "split", or name one of the two folders',
        )
    return _source("folder", root, scan)


def _source(format: Format, root: Path, scan: Scan) -> Source:  # noqa: A002
    full = [item for item in scan.found if item.files]
    notes = scan.notes(root)
    if not full:
        raise NothingLeftError(
            f"{root} holds no images in class folders",
            *_what_is_there(root),
            *notes,
            "expected: one folder a class with .jpg, .png, .heic, .webp, .tif, .bmp or .gif files in it"
            + (
                "; links are not followed, copy the files" if scan.ignored.kinds[LINKS] or scan.linked else ""
            ),
        )
    facts = [[item.prefix, item.files] for item in full]

    def make_samples() -> list[Sample]:
        samples = []
        for item in full:
            prefix, class_name = printable(item.prefix), name_of_class(item.class_name)
            inside = os.path.join(item.folder, "")  # noqa: PTH118 - with a separator at its end
            samples += [
                Sample(
                    prefix + printable(file.name),
                    class_name,
                    item.given,
                    inside + file.name,
                    file=file,
                )
                for file in item.files
            ]
        return sorted(samples, key=lambda sample: sample.key)

    return Source(format, root, _signature(format, root, facts), notes, make_samples)


def _labelled(source: Source, table: Table) -> Source:
    """With what a table says. Raises DataError where it leaves nothing."""
    table = table.for_photos(sample.key for sample in source.samples)
    samples, out, groups, moved = [], [], {}, 0
    for sample in source.samples:
        said = table.of(sample.key)
        if said.label == "":
            out.append(sample)
            continue
        name = said.label or sample.class_name
        moved += name != sample.class_name != ""
        if said.group:
            groups[sample.key] = said.group
        samples.append(sample._replace(class_name=name, given=said.split or sample.given))
    shown = printable(str(table.path))
    if not samples:
        raise NothingLeftError(
            f"{shown} takes all {len(source.samples):,} photos out", "give some of them a label"
        )
    absent = table.absent
    notes = [
        *(
            [f"{photos(moved)} {_HAVE[moved > 1]} by {shown} another class than their folder"]
            if moved
            else []
        ),
        *([f"{photos(len(out))} {_ARE[len(out) > 1]} taken out by {shown}"] if out else []),
        *([f"{shown} names {photos(len(absent))} not there, such as {absent[0]}"] if absent else []),
    ]
    return Source(
        source.format,
        source.root,
        hashlib.sha256(f"{source.signature} {table.digest}".encode()).hexdigest(),
        [*source.notes, *notes],
        lambda: samples,
        groups,
        out,
    )


def _open_elpv(root: Path) -> Source:
    folder = _descend(root, elpv.has_layout) or root
    labels = elpv.read_labels(folder)
    stat = (folder / elpv.LABELS).stat()
    ignored = Ignored()
    found: dict[str, ImageFile] = {}
    facts: list[object] = [[elpv.LABELS, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]]
    for place in sorted({str(label.path.parent) for label in labels}):
        if (folder / place).resolve() != folder.resolve() / place or not (folder / place).is_dir():
            continue  # its photos are told below, as not there: links are not followed
        listing = list_folder(str(folder / place), ignored)
        for name in listing.links:
            ignored.add(LINKS, str(folder / place / name))
        facts.append([place, sorted(listing.files)])
        found |= {str(PurePosixPath(place) / file.name): file for file in listing.files}
    class_of = {str(label.path): label.class_name for label in labels}
    for path in sorted(class_of.keys() - found.keys()):
        ignored.add(ABSENT, str(folder / path))
    for path in sorted(found.keys() - class_of.keys()):
        ignored.add(UNLABELLED, str(folder / path))
    paths = sorted(class_of.keys() & found.keys())
    if not paths:
        raise DataError(f"{folder} holds no photo that {elpv.LABELS} names", *ignored.notes(folder))

    def make_samples() -> list[Sample]:
        return [
            Sample(printable(path), class_of[path], None, str(folder / path), file=found[path])
            for path in paths
        ]

    return Source("elpv", folder, _signature("elpv", folder, facts), ignored.notes(folder), make_samples)


def _signature(format: str, root: Path, facts: object) -> str:  # noqa: A002
    text = json.dumps([format, RULE_VERSION, str(root.resolve()), facts])
    return hashlib.sha256(text.encode()).hexdigest()


def _what_is_there(root: Path) -> list[str]:
    names = list_folder(str(root), Ignored())[0]
    if not names:
        return ["it holds no folders"]
    return ["it holds: " + ", ".join(map(printable, sorted(names)[:5])) + (" ..." if len(names) > 5 else "")]
