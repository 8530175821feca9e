"""The append-only account of a run folder: what ran, on what, and how long, by stage and phase.

One JSON object a line in `ledger.jsonl`. A line is written whole and synced when the thing that it tells of
is finished; a line torn by a crash is cut off when the ledger is next opened for writing. Training code only
measures (`Clock`); nothing here interprets. The record types are the format, see docs/formats.md.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from ..errors import RunFolderError
from ..files import digest_bytes, storage_errors

FILE_NAME = "ledger.jsonl"
SEAL = "digests.json"
"""Beside the ledger of a run that has ended: digests of all that it left."""
THUMBNAILS = "thumbnails"
"""Folder beside the ledger: for each digest of a stage's images one file of Thumbnails."""
T = TypeVar("T", bound="Record")
Phase = Literal["decode", "features", "train", "validate", "evaluate", "save", "other"]
"""What time goes into. `other` is what the total holds beyond the named phases, never a guess."""


class Record(BaseModel):
    """What every record has."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class Environment(Record):
    """The machine and the program that measured."""

    cpu: str
    cores: int
    threads: int
    device: str
    system: str
    versions: dict[str, str]
    git_revision: str | None


class ExperimentRecord(Record):
    """First line: the experiment that this run folder holds."""

    kind: Literal["experiment"] = "experiment"
    name: str
    protocol: Literal["like_for_like", "as_published"]
    config: dict[str, Any]
    config_digest: str
    arms: dict[str, str]
    """Arm -> the stage that it repeats. The arm called `scratch` is the rival of every other."""
    command: list[str]
    started: str


class ExcludedImage(Record):
    """One image that takes part in nothing, and why."""

    key: str
    reason: str


class DataRecord(Record):
    """A data set as opened."""

    kind: Literal["data"] = "data"
    name: str
    format: str
    store_key: str
    images: int
    excluded: list[ExcludedImage]
    dropped_from_test: list[ExcludedImage]
    """Images that are not judged by, each with the reason: test images with the bytes of a training or
    validation image; by the leak gate also validation images, and images that look like a training image."""
    decode_seconds: float
    """Time of this program's decoding; 0 where the store was there already."""
    decoded: int = 0
    """Images that were read and decoded now."""
    reused: int = 0
    """Images that were there already, in this store or the one before."""
    side: int | None = None
    """Of the stored images, in pixels; None in accounts of versions that had one size."""


class ImageList(Record):
    """Test images in the order of a run's predictions."""

    keys: list[str]
    sources: list[str]
    """Source class (for Fruits-360, the variety) of each image."""
    labels: list[int]


class ImagesRecord(Record):
    """The images of one stage: classes as matched, counts per split."""

    kind: Literal["images"] = "images"
    stage: str
    data: str
    digest: str
    """Over content, label and split of every image of the stage."""
    class_names: list[str]
    matched: dict[str, list[str]]
    """Class -> the source classes that its rule matched."""
    counts: dict[str, dict[str, int]]
    """Split -> class -> images."""
    test: ImageList
    unmatched: dict[str, int] = {}
    """Source class that no rule takes -> its images; they take part in nothing."""


class Attempt(Record):
    """A training of a run that diverged and gave nothing; its time is in that run's seconds."""

    learning_rate: float
    seconds: float
    """In training and validation."""
    reason: str


class BlockRecord(Record):
    """One block of a network."""

    name: str
    output: list[int]
    """Of one picture: width, height and filters; or tokens and features; or features."""
    parameters: int
    """Keras' count: all four vectors of a BatchNorm."""
    megaflops: float
    """For one picture, multiply and add counted as two; convolutions, dense layers and attention."""
    has_statistics: bool
    """Whether it keeps running statistics, as BatchNorms do."""


class RunRecord(Record):
    """One stage carried out once."""

    kind: Literal["run"] = "run"
    stage: str
    arm: str | None
    """None for a preparation stage, which is run once for all."""
    seed: int
    features: Literal["computed", "cached", "none"]
    """`computed`: cold, made in this run; `cached`: warm; `none`: trained from pixels."""
    cut: str | None
    """The layer whose outputs were cached."""
    engine: str | None = None
    """What computed the frozen prefix, and its version. None: PyTorch, or there was no such prefix."""
    features_computed: int = 0
    """Images (and views of images) whose features were computed in this run, not found in the cache."""
    seconds: dict[Phase, float]
    """By phase; their sum is the whole run from reading the parent model to the saved model file."""
    segments: int
    """More than 1 where the run was interrupted; time lost since the last checkpoint is not in `seconds`."""
    epochs: int
    steps: int
    images_seen: int
    """Training images shown, with repetition: steps x batch size."""
    train_images: int
    trained_parameters: int
    loss: list[float]
    """Mean training loss of each epoch."""
    validation_loss: list[float]
    validation_accuracy: list[float]
    kept_epoch: int
    """The epoch (from 1) whose weights were kept."""
    accuracy: float
    """Fraction of test images right; the test set is touched once, at the end."""
    predicted: list[int]
    confidence: list[float]
    """Probability of the predicted class, 4 decimals."""
    images_digest: str
    recipe: dict[str, Any]
    model_file: str
    model_digest: str
    parent_digest: str | None
    frozen: list[str]
    """Names of the frozen tensors and buffers."""
    frozen_digest: str | None
    """Over their bits, equal before and after, or the run would have failed."""
    network: str = "paper_cnn"
    """Its name; accounts of versions that had one do not say it."""
    blocks: list[BlockRecord] = []
    """Of the network; accounts of versions that had one do not say them."""
    given: str | None = None
    """Where the model came with the program instead of being trained in this folder."""
    diverged: list[Attempt] = []
    """Attempts before the one that gave the model. `seconds` hold theirs too; steps, epochs and losses are
    those of the last one, and `recipe` has its rate."""
    environment: Environment
    started: str
    finished: str

    @property
    def total_seconds(self) -> float:
        """Everything a user waits for in this run."""
        return sum(self.seconds.values())


class DivergedRecord(Record):
    """A run of an arm that gave no model, since each attempt diverged. It is not carried out again."""

    kind: Literal["diverged"] = "diverged"
    stage: str
    arm: str | None
    seed: int
    features: Literal["computed", "cached", "none"]
    diverged: list[Attempt]
    """All attempts; none where the run that this one builds on gave no model."""
    seconds: dict[Phase, float]
    """By phase, of all attempts together."""
    segments: int
    """As in a run."""
    images_digest: str
    environment: Environment
    started: str
    finished: str

    @property
    def total_seconds(self) -> float:
        """Everything a user has waited for in vain."""
        return sum(self.seconds.values())


class OriginRecord(Record):
    """A model from elsewhere that runs build on: what its making took, and on which images, is not known."""

    kind: Literal["origin"] = "origin"
    model_digest: str
    origin: str
    """Where it is from, in words."""
    place: str | None
    """Of its file; None where a model that was made of it was given, and it is not here itself."""


AnyRecord = Annotated[
    ExperimentRecord | DataRecord | ImagesRecord | RunRecord | DivergedRecord | OriginRecord,
    Field(discriminator="kind"),
]
_ADAPTER: TypeAdapter[AnyRecord] = TypeAdapter(AnyRecord)


class Thumbnails(Record):
    """Small pictures of the test images that were got wrong most surely: for the eye alone."""

    images_digest: str
    jpeg: dict[str, str]
    """Key of the image -> JPEG file in base64."""


class Ledger:
    """The ledger of one run folder. Reading needs no write permission; appending syncs to disk."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE_NAME
        self.records: list[AnyRecord] = read(folder) if self.path.exists() else []

    def append(self, record: AnyRecord) -> None:
        """Add one finished thing. Raises StorageError if it cannot be written; the ledger then stays."""
        line = record.model_dump_json().encode() + b"\n"
        with storage_errors(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as file:
                end = _whole_length(self.path)
                if file.tell() != end:
                    file.truncate(end)
                try:
                    file.write(line)
                    file.flush()
                    os.fsync(file.fileno())
                except OSError:
                    os.ftruncate(file.fileno(), end)
                    raise
        self.records.append(record)

    def of_kind(self, kind: type[T]) -> list[T]:
        """The records of one type, oldest first."""
        return [record for record in self.records if isinstance(record, kind)]


def read(folder: Path) -> list[AnyRecord]:
    """Every whole record of a run folder, oldest first. A torn last line is no record.

    Raises RunFolderError, naming the line, if a whole line cannot be read.
    """
    path = folder / FILE_NAME
    if not path.is_file():
        raise RunFolderError(f"{folder} holds no {FILE_NAME}", "name a folder that reproduce has written")
    lines = path.read_bytes()[: _whole_length(path)].splitlines()
    records = []
    for number, line in enumerate(lines, start=1):
        try:
            records.append(_ADAPTER.validate_json(line))
        except ValidationError as error:
            first = error.errors()[0]
            raise RunFolderError(
                f"{path}, line {number} is damaged: {'.'.join(map(str, first['loc']))}: {first['msg']}",
                "restore the file, or start anew in another folder with --out",
            ) from None
    return records


def _whole_length(path: Path) -> int:
    """Bytes up to and including the last line end."""
    return path.read_bytes().rfind(b"\n") + 1


class Clock:
    """Seconds by phase. Phases do not nest; `other` is the rest of the time since the clock was made."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._seconds: dict[Phase, float] = {}
        self._before = 0.0

    def add(self, before: dict[Phase, float]) -> None:
        """Time that an earlier, interrupted segment of the same run has measured."""
        for name, value in before.items():
            self._seconds[name] = self._seconds.get(name, 0.0) + value
        self._before += sum(before.values())

    @contextlib.contextmanager
    def phase(self, name: Phase) -> Iterator[None]:
        """Count the time of the block as this phase."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self._seconds[name] = self._seconds.get(name, 0.0) + time.perf_counter() - start

    def lap(self, name: str) -> None:
        """A part of the present phase has ended: told only where a profile is wanted, see `profiling`."""

    def seconds(self) -> dict[Phase, float]:
        """So far, `other` included; the values sum to the whole time."""
        named: dict[Phase, float] = {name: value for name, value in self._seconds.items() if name != "other"}
        whole = self._before + time.perf_counter() - self._started
        named["other"] = max(0.0, whole - sum(named.values()))
        return named


def environment(threads: int, device: str) -> Environment:
    """This machine and program, as they go with every result. `threads` and `device` are the run's."""
    import platform
    from importlib.metadata import version

    names = ("benchgraft", "torch", "numpy", "pillow", "scipy")
    return Environment(
        cpu=_cpu_name(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        threads=threads,
        device=device,
        system=f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        versions={name: version(name) for name in names},
        git_revision=_git_revision(),
    )


def _cpu_name() -> str:
    import platform

    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _git_revision() -> str | None:
    """Of the checkout that this package runs from, `+` where it was changed; None for an installed one."""
    import subprocess

    here = Path(__file__).resolve().parent
    if not (here.parents[1] / ".git").exists():
        return None
    try:
        head, changes = (
            subprocess.run(
                ["git", *words], cwd=here, capture_output=True, text=True, check=True, timeout=10
            ).stdout.strip()
            for words in (
                ["rev-parse", "--short=12", "HEAD"],
                ["status", "--porcelain", "--untracked-files=no"],
            )
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return head + ("+" if changes else "")


def now() -> str:
    """UTC, ISO 8601, whole seconds."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def dump_json(value: object) -> str:
    """JSON with sorted keys: the form that digests of configs are taken over."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def config_digest(config: dict[str, Any]) -> str:
    """Of all that an experiment is. How many runs is no part of it: a folder may be continued with more."""
    same = {key: value for key, value in config.items() if key not in ("runs", "minutes")}
    return digest_bytes(dump_json(same).encode())
