"""Photos of solar cells, each with a probability of a defect, as the package `elpv-dataset` lays them out.

`labels.csv` has a line a photo, in columns parted by white space: path, probability, kind of cell. The
package's own code is not imported: it decodes every photo before it gives the first label.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ..errors import DataError
from ..names import printable

LABELS = "labels.csv"
_LONGEST_LINE = 4096
_CERTAIN = {0.0: "functional", 1.0: "defective"}


@dataclass(frozen=True)
class Label:
    """A line of `labels.csv`."""

    path: PurePosixPath
    """Relative to the folder that holds the file."""
    class_name: str


def class_of(probability: float) -> str:
    """`functional` (0), `defective` (1), or `uncertain 0.33` and the like for what lies between."""
    return _CERTAIN.get(probability) or f"uncertain {probability:.2f}"


def has_layout(folder: Path) -> bool:
    """Whether `labels.csv` is there and its first line is a label of a photo that is there too."""
    try:
        with (folder / LABELS).open(encoding="utf-8-sig") as file:
            label = _parse(file.readline(_LONGEST_LINE), "")
        return (folder / label.path).is_file()
    except (OSError, ValueError, DataError):
        return False


def read_labels(folder: Path) -> list[Label]:
    """Every label, in the order of the file. Raises DataError: unreadable, a line that is none, a repeat."""
    path = folder / LABELS
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"cannot read {printable(str(path))}: {getattr(error, 'strerror', None) or 'it is no text'}",
            "name the folder that holds labels.csv and images/, or install the package again",
        ) from None
    labels = list(_lines(text, printable(str(path))))
    if not labels:
        raise DataError(f"{printable(str(path))} is empty", "install the package again")
    return labels


def _lines(text: str, name: str) -> Iterator[Label]:
    seen: set[PurePosixPath] = set()
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        label = _parse(line, f"{name}, line {number}")
        if label.path in seen:
            raise DataError(f"{name}, line {number}: {label.path} is named twice", "keep one of the lines")
        seen.add(label.path)
        yield label


def _parse(line: str, where: str) -> Label:
    try:
        name, text, _ = line.split()
        path, probability = PurePosixPath(name), float(text)
        is_label = 0 <= probability <= 1 and not path.is_absolute() and ".." not in path.parts
    except ValueError:
        is_label = False
    if not is_label:
        raise DataError(
            f"{where}: {printable(line.strip())[:60]!r} is no path, probability from 0 to 1 and kind of cell",
            "mend the line, or install the package again",
        )
    return Label(path, class_of(probability))
