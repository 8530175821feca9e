"""Folders in their official layouts -> samples. Opening lists names and sizes only; nothing is decoded."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

from ..errors import DataError, did_you_mean
from . import cifar100
from .decode import RULE_VERSION, Undecodable, decode
from .names import class_name as name_of_class
from .names import printable
from .scan import Ignored, ImageFile, list_folder, need_folder

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

FORMATS = ("cifar100", "fruits360", "folder")
Given = Literal["train", "test"]
_SIDES: dict[str, Given] = {"training": "train", "train": "train", "test": "test"}


@dataclass(frozen=True)
class Sample:
    """One image: where it is, what it shows, and on which side its data set puts it."""

    key: str
    """Path relative to the root, with / and on one line; for CIFAR "train.bin#00017"."""
    class_name: str
    given: Given | None
    path: Path
    offset: int | None = None
    """CIFAR: the byte in the file where the 3,072 pixel bytes begin."""
    file: ImageFile | None = None
    """As the folder listing showed it; None where an image is no file of its own."""


@dataclass
class Source:
    """A data set on disk, listed but not read."""

    format: str
    root: Path
    """Where the layout begins; may lie one level below the folder that was named."""
    signature: str
    """Over root, names, sizes and times of all files: equal means nothing changed since."""
    notes: list[str]
    """What was passed over (links, hidden and foreign files), in lines to print."""
    make_samples: Callable[[], list[Sample]] = field(repr=False)

    @cached_property
    def samples(self) -> list[Sample]:
        """Every image, sorted by key. Made when first asked for: reuse of a store never asks."""
        return self.make_samples()


def open_source(format: str, root: Path) -> Source:  # noqa: A002 - the word of the experiment files
    """List a data set. `format`: "cifar100" (binary version), "fruits360" or "folder" (of class folders).

    A root whose only fitting content lies one level deeper (as archives unpack) is opened there.
    Raises DataError: unknown format, missing, empty or unreadable folder, wrong layout.
    """
    root = Path(root)
    if format not in FORMATS:
        raise DataError(f'unknown data format "{format}"', did_you_mean(format, FORMATS))
    need_folder(root)
    if format == "cifar100":
        return _open_cifar100(root)
    return _open_fruits360(root) if format == "fruits360" else _open_folder(root)


def guess_format(root: Path) -> str:
    """The format whose layout `root` has; "folder" if none other fits. Raises DataError if it is missing."""
    root = Path(root)
    need_folder(root)
    if _descend(root, _has_cifar100) is not None:
        return "cifar100"
    return "fruits360" if _descend(root, _has_sides) is not None else "folder"


def _descend(root: Path, has_layout: Callable[[Path], bool]) -> Path | None:
    """`root`, or its one subfolder that has the layout; None if there is none or more than one."""
    if has_layout(root):
        return root
    below = [root / name for name in sorted(list_folder(str(root), Ignored())[0])]
    fitting = [folder for folder in below if has_layout(folder)]
    return fitting[0] if len(fitting) == 1 else None


def _has_cifar100(folder: Path) -> bool:
    # os.path, as Path.is_file() raises where the folder may not be searched.
    return any(os.path.isfile(folder / name) for name in cifar100.PARTS)  # noqa: PTH113


def _has_sides(folder: Path) -> bool:
    return {"train", "test"} <= set(_sides(folder).values())


def _sides(folder: Path) -> dict[str, Given]:
    names = list_folder(str(folder), Ignored())[0]
    return {name: _SIDES[name.lower()] for name in sorted(names) if name.lower() in _SIDES}


def _open_cifar100(root: Path) -> Source:
    folder = _descend(root, _has_cifar100) or root
    names, notes = cifar100.inspect(folder)
    facts = []
    for part in (*cifar100.PARTS, cifar100.NAMES):
        stat = (folder / part).stat()
        facts.append([part, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns])

    def make_samples() -> list[Sample]:
        samples = []
        for part, given in cifar100.PARTS.items():
            labels = cifar100.read(folder, part, names).labels
            path = folder / part
            samples += [
                Sample(cifar100.key(part, row), names[label], given, path, cifar100.pixel_offset(row))
                for row, label in enumerate(labels.tolist())
            ]
        return samples

    return Source("cifar100", folder, _signature("cifar100", folder, facts), notes, make_samples)


def _open_fruits360(root: Path) -> Source:
    folder = _descend(root, _has_sides)
    if folder is None:
        raise DataError(
            f"{root} has not the layout of Fruits-360: no folders Training and Test",
            *_what_is_there(root),
            'for a folder of class folders without a split, say format = "folder"',
        )
    ignored = Ignored()
    found: list[_Found] = []
    for name, given in _sides(folder).items():
        found += _class_files(folder / name, given, f"{name}/", ignored, depth=2)
    _name_by_leaf(found)
    return _source("fruits360", folder, found, ignored)


def _open_folder(root: Path) -> Source:
    ignored = Ignored()
    found = _class_files(root, None, "", ignored, depth=1)
    if not any(item.files for item in found) and _has_sides(root):
        raise DataError(
            f"{root} holds a split (training and test folders), not class folders",
            'say format = "fruits360", or name one of the two folders',
        )
    return _source("folder", root, found, ignored)


@dataclass
class _Found:
    """The image files of one class folder."""

    class_name: str
    given: Given | None
    prefix: str
    folder: Path
    files: list[ImageFile]


def _class_files(
    folder: Path, given: Given | None, prefix: str, ignored: Ignored, depth: int
) -> list[_Found]:
    """Class folders below `folder`, at most `depth` levels down; what lies elsewhere is ignored."""
    classes, loose = list_folder(str(folder), ignored)
    for file in loose:
        ignored.add("images outside class folders", str(folder / file.name))
    found = []
    for name in sorted(classes):
        path = folder / name
        below, files = list_folder(str(path), ignored)
        found.append(_Found(name, given, f"{prefix}{name}/", path, files))
        for deeper in sorted(below):
            if depth > 1:
                lost, files = list_folder(str(path / deeper), ignored)
                inner = f"{name}/{deeper}"
                found.append(_Found(inner, given, f"{prefix}{inner}/", path / deeper, files))
                for deepest in lost:
                    ignored.add("folders nested too deep", str(path / deeper / deepest))
            else:
                ignored.add("folders nested too deep", str(path / deeper))
    return found


def _name_by_leaf(found: list[_Found]) -> None:
    """Training/Apple/Apple 10 is class "Apple 10", unless two groups have a folder of that name."""
    groups: dict[str, set[str]] = {}
    for item in found:
        groups.setdefault(item.class_name.rpartition("/")[2], set()).add(item.class_name)
    for item in found:
        leaf = item.class_name.rpartition("/")[2]
        if len(groups[leaf]) == 1:
            item.class_name = leaf


def _source(format: str, root: Path, found: list[_Found], ignored: Ignored) -> Source:  # noqa: A002
    full = [item for item in found if item.files]
    notes = ignored.notes(root)
    if not full:
        raise DataError(
            f"{root} holds no images in class folders",
            *_what_is_there(root),
            *notes,
            "expected: one folder a class with .jpg, .png, .bmp, .webp, .gif or .tif files in it"
            + ("; links are not followed, copy the files" if ignored.kinds["links"] else ""),
        )
    names = {item.class_name for item in full}
    notes += [
        f"the class folder {printable(item.prefix)} holds no image"
        for item in found
        if not item.files and item.class_name in names | _leaves(found)
    ]
    for item in full:
        item.files.sort()  # the order of a folder listing is nobody's promise
    facts = [[item.prefix, item.files] for item in full]

    def make_samples() -> list[Sample]:
        samples = []
        for item in full:
            prefix, class_name = printable(item.prefix), name_of_class(item.class_name)
            samples += [
                Sample(
                    prefix + printable(file.name), class_name, item.given, item.folder / file.name, file=file
                )
                for file in item.files
            ]
        return sorted(samples, key=lambda sample: sample.key)

    return Source(format, root, _signature(format, root, facts), notes, make_samples)


def _leaves(found: list[_Found]) -> set[str]:
    """Class folders without subfolders: an empty one is worth a note, a group folder is not."""
    prefixes = {item.prefix.rstrip("/").rpartition("/")[0] + "/" for item in found}
    return {item.class_name for item in found if item.prefix not in prefixes}


def _signature(format: str, root: Path, facts: object) -> str:  # noqa: A002
    text = json.dumps([format, RULE_VERSION, str(root.resolve()), facts])
    return hashlib.sha256(text.encode()).hexdigest()


def _what_is_there(root: Path) -> list[str]:
    names = list_folder(str(root), Ignored())[0]
    if not names:
        return ["it holds no folders"]
    return ["it holds: " + ", ".join(map(printable, sorted(names)[:5])) + (" ..." if len(names) > 5 else "")]
