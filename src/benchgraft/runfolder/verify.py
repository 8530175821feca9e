"""Check a run folder: every printed figure recomputed, every digest, and the freeze audit.

Five looks, each by itself: files against the seal (digests.json); report and tables against the ledger;
the ledger's accuracies against its own stored answers, its configuration against its digest; model files
against the ledger, tensor by tensor, frozen ones against those of the parent model.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from ..errors import RunFolderError, UserError
from ..files import digest_bytes, shipped_path, utf8_path
from .ledger import FILE_NAME as LEDGER
from .ledger import config_digest, dump_json, read
from .records import OriginRecord, RunRecord
from .runs import RunFolder, group, right_answers
from .seal import (
    FILE_NAME,
    REPORT_FILES,
    REPORT_HTML,
    RESULT_JSON,
    TABLES_JSON,
    UNCOVERED,
    covered,
    digests,
    read_seal,
)

Digests = dict[str, list[Any]]
"""Name of a tensor -> its shape and the SHA-256 of its bits."""
Remake = Callable[[Path], Mapping[str, str]]
"""A run folder -> name of each of its report's files -> what it would hold if it were made now.

Handed in, since the account of a run knows no report.
"""


@dataclass
class Verification:
    """What was checked, what could not be, and what differs."""

    checked: list[str] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """For people, the bad news last."""
        return [
            *(f"same: {line}" for line in self.checked),
            *(f"not checked: {line}" for line in self.unchecked),
            *(f"DIFFERENT: {line}" for line in self.differences),
        ]

    @property
    def is_of_the_report(self) -> bool:
        """Whether all that differs is made from the ledger, and can be made anew."""
        return all(line.startswith(REPORT_FILES) for line in self.differences)

    def look(self, what: str, found: Iterator[str]) -> None:
        """Take in the differences of one look, which ends at damage that cannot be read past."""
        differences: list[str] = []
        try:
            differences.extend(found)
        except RunFolderError as error:
            differences.append(str(error))
        self.differences += differences
        if not differences:
            self.checked.append(what)


def verify(folder: Path, remake: Remake) -> Verification:
    """All looks. Raises RunFolderError if there is no ledger at all."""
    if not (folder / LEDGER).is_file():
        read(folder)
    found = Verification()
    found.look("every file and every line of the ledger, by digests.json", _sealed(folder))
    try:
        runs = group(read(folder))
    except RunFolderError as error:
        found.differences.append(str(error))
        return found
    if (folder / RESULT_JSON).exists():
        found.look("report.html, made anew from result.json", _printed(folder, remake, (REPORT_HTML,)))
    elif any((folder / name).exists() for name in REPORT_FILES):
        found.look(
            "every figure of report.html, tables.md and tables.json, recomputed",
            _printed(folder, remake, REPORT_FILES),
        )
    else:
        found.unchecked.append(f"{', '.join(REPORT_FILES)}: none was made (benchgraft report {folder})")
    found.look("accuracies of all runs, from their stored answers", _accuracies(runs))
    found.look("the digest of the configuration", _configuration(runs))
    found.look(
        "weights of all model files, and their frozen tensors against the parent's",
        _models(folder, runs, found.unchecked),
    )
    found.unchecked += [
        f"{run.stage}: trained elsewhere ({run.given}), its time and accuracy are those of its own record"
        for run in runs.preparation
        if run.given
    ]
    found.unchecked += [
        f"{origin.origin}: what its making took, and on which photos, is not known" for origin in runs.origins
    ]
    found.unchecked += _not_covered(folder)
    return found


def _sealed(folder: Path) -> Iterator[str]:
    if not (folder / FILE_NAME).exists():
        yield f"{FILE_NAME} is missing: the command that made this folder did not end; give it again"
        return
    sealed, here = read_seal(folder), digests(folder)
    for name in sorted(sealed.files.keys() | here.files.keys()):
        if name not in here.files:
            yield f"{name} is missing"
        elif name in sealed.files and sealed.files[name] != here.files[name]:
            yield f"{name} has changed"
    for number, (then, now) in enumerate(zip(sealed.ledger_lines, here.ledger_lines, strict=False), start=1):
        if then != now:
            yield f"{LEDGER}, line {number} has changed"
    if len(sealed.ledger_lines) != len(here.ledger_lines):
        yield f"{LEDGER} has {len(here.ledger_lines)} lines, {len(sealed.ledger_lines)} when the run ended"


def _not_covered(folder: Path) -> list[str]:
    """Files that nothing is said about: working files, and what somebody has put here since."""
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    working = [f"{name} (a working file, no result)" for name in names if name.startswith(UNCOVERED)]
    try:
        sealed = read_seal(folder).files if (folder / FILE_NAME).exists() else {}
    except RunFolderError:
        return working
    later = set(covered(folder)) - set(sealed) if sealed else set()
    return working + [f"{name} (not there when the run ended)" for name in sorted(later)]


def _printed(folder: Path, remake: Remake, names: Sequence[str]) -> Iterator[str]:
    """The report's files against the same made anew."""
    there: dict[str, Any] = {}
    for name in names:
        try:
            text = (folder / name).read_text("utf-8")
            there[name] = json.loads(text) if name == TABLES_JSON else text
        except (OSError, ValueError) as error:
            yield f"{name} cannot be read: {error}"
    if (
        TABLES_JSON in names and TABLES_JSON not in there
    ):  # it has what the report was asked for; without it nothing is the same
        return
    for name, made in remake(folder).items():
        if name == TABLES_JSON:
            yield from _unequal(there[name], json.loads(made), name)
        elif name in there:
            yield from _unequal_lines(_without_drawings(there[name]), _without_drawings(made), name)


def _without_drawings(text: str) -> str:
    """Another version of the drawing library draws other paths; the figures told in words stay."""
    return re.sub(r"<svg .*?</svg>", "<svg>", text, flags=re.DOTALL)


def _unequal_lines(there: str, made: str, name: str) -> Iterator[str]:
    for number, (old, new) in enumerate(zip(there.splitlines(), made.splitlines(), strict=False), start=1):
        if old != new:
            yield f"{name}, line {number}: {old.strip()[:120]!r}, recomputed {new.strip()[:120]!r}"
            return
    if len(there.splitlines()) != len(made.splitlines()):
        yield f"{name} is longer or shorter than the same made anew"


def _unequal(there: Any, made: Any, where: str) -> Iterator[str]:
    """Leaves that differ; numbers may differ in their last digits, as between two machines."""
    if isinstance(there, dict) and isinstance(made, dict):
        for key in there.keys() | made.keys():
            yield from _unequal(
                there.get(key), made.get(key), f"{where}: {key}" if ":" not in where else f"{where}.{key}"
            )
    elif isinstance(there, list) and isinstance(made, list) and len(there) == len(made):
        for number, (old, new) in enumerate(zip(there, made, strict=True)):
            yield from _unequal(old, new, f"{where}[{number}]")
    elif isinstance(there, float) and isinstance(made, float):
        if not np.isclose(there, made, rtol=1e-9, atol=1e-12, equal_nan=True):
            yield f"{where} is {there!r}, recomputed {made!r}"
    elif there != made:
        yield f"{where} is {str(there)[:80]!r}, recomputed {str(made)[:80]!r}"


def _accuracies(folder: RunFolder) -> Iterator[str]:
    for run in _own_runs(folder):
        images = folder.images_of(run)
        if images is None or not run.predicted:
            yield f"{_name(run)}: no stored answers for its accuracy {run.accuracy}"
            continue
        right = float(right_answers(run, images).mean())
        if abs(right - run.accuracy) > 1e-6:  # the ledger has what a float32 tensor said
            yield f"{_name(run)}: accuracy {run.accuracy} in the ledger, {right} by its stored answers"


def _configuration(folder: RunFolder) -> Iterator[str]:
    record = folder.experiment
    if config_digest(record.config) != record.config_digest:
        yield f"{LEDGER}, line 1: the configuration does not have the digest that stands beside it"


def _models(folder: Path, runs: RunFolder, unchecked: list[str]) -> Iterator[str]:
    """Weights of every run's model file, and that what was frozen is the parent's bit for bit."""
    made_as: dict[str, set[str]] = {}
    for run in _own_runs(runs):  # a cold and a warm run share a file; on a card their last bits may differ
        made_as.setdefault(run.model_file, set()).add(run.model_digest)
    known: list[RunRecord | OriginRecord] = [*runs.origins, *runs.preparation, *_own_runs(runs)]
    by_digest = {made.model_digest: made for made in known}
    for run in _own_runs(runs):
        tensors = _tensors(folder / run.model_file)
        if isinstance(tensors, str):
            yield f"{run.model_file}: {tensors}"
            continue
        if _digest(tensors) not in made_as[run.model_file]:
            yield f"{run.model_file}: its weights are not those that the ledger tells of ({_name(run)})"
        if not run.frozen:
            continue
        frozen = {name: tensors[name][1] for name in run.frozen if name in tensors}
        if digest_bytes(dump_json(frozen).encode()) != run.frozen_digest:
            yield f"{run.model_file}: frozen tensors are not those that the ledger tells of ({_name(run)})"
        parent = by_digest.get(run.parent_digest or "")
        if parent is None:
            yield f"{_name(run)}: its parent model is not in the ledger"
            continue
        given = _given(parent)
        before = _tensors(_place(folder, parent))
        if given and (isinstance(before, str) or _digest(before) != parent.model_digest):
            line = f"{run.model_file} against its parent: {given} is not here, or is another one now"
            if line not in unchecked:  # cold and warm runs of a seed share their model file
                unchecked.append(line)
        elif isinstance(before, str):
            yield f"{_place(folder, parent).relative_to(folder)}: {before}"
        else:
            moved = [name for name in run.frozen if before.get(name) != tensors.get(name)]
            if moved:
                yield f"{run.model_file}: frozen tensors differ from the parent's: {', '.join(moved)}"


def _digest(tensors: Digests) -> str:
    """As the ledger has it of a whole model."""
    return digest_bytes(dump_json(tensors).encode())


def _own_runs(folder: RunFolder) -> list[RunRecord]:
    """Those carried out in this folder."""
    return [run for run in folder.runs if not run.given]


def _given(made: RunRecord | OriginRecord) -> str | None:
    """The file of a model that was not made in this folder."""
    return made.given if isinstance(made, RunRecord) else made.place or "a file of another folder"


def _place(folder: Path, made: RunRecord | OriginRecord) -> Path:
    given = _given(made)
    if isinstance(made, RunRecord) and given is None:
        return folder / made.model_file
    assert given is not None
    try:
        return shipped_path(given)
    except UserError:  # another version of the program shipped it
        return Path(given)


def _tensors(path: Path) -> Digests | str:
    """Of the network in a model file (`block.tensor`; others tell of images), or why it cannot be read."""
    try:
        with utf8_path(path) as place, safe_open(place, framework="np") as opened:
            names = [name for name in opened.keys() if "." in name]  # noqa: SIM118
            arrays = {name: opened.get_tensor(name) for name in names}
    except (SafetensorError, OSError) as error:
        return f"cannot be read: {error}"
    return {
        name: [list(array.shape), digest_bytes(np.ascontiguousarray(array).tobytes())]
        for name, array in arrays.items()
    }


def _name(run: RunRecord) -> str:
    return f"{run.arm or run.stage}, seed {run.seed}, {run.features}"
