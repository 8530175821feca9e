"""Options of the functions, for type checkers: the fields of the requests, with all the types that are taken.

What each of them means, and its default, stands at the field of the request; a test holds both to each other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypedDict

from ..events import Cancel, Listen
from ..progress import Progress
from .choices import Damaged, Fit, Policy


class DeviceOptions(TypedDict, total=False):
    """Of whatever runs a network."""

    device: str
    threads: int | None


class PredictOptions(DeviceOptions, total=False):
    """For `predict`: see PredictRequest."""

    top: int
    unsure_below: float
    say: Callable[[str], None] | None


class ParentsOptions(DeviceOptions, total=False):
    """For `parents`: see ParentsRequest."""

    measure: bool


class StoreOptions(DeviceOptions, total=False):
    """Of what decodes photos into a store."""

    cache: Path | str | None
    progress: Progress | None
    listen: Listen | None
    cancel: Cancel | None


class EvaluateOptions(StoreOptions, total=False):
    """For `evaluate`: see EvaluateRequest."""

    include_trained: bool
    run_folder: Path | str | None
    labels: Path | str | None


class RunOptions(StoreOptions, total=False):
    """Of what trains and leaves a run folder."""

    run_folder: Path | str | None
    profile: bool
    say: Callable[[str], None] | None


class ClusterOptions(RunOptions, total=False):
    """Of what may run on a cluster."""

    cluster: str | None
    shared: str | None


class PhotosOptions(RunOptions, total=False):
    """Of what trains on a folder of photos."""

    weights: Path | str | None
    seed: int
    fit: Fit | None
    damaged: Damaged
    group_by: str | None
    labels: Path | str | None
    overlap: Policy


class AdaptOptions(PhotosOptions, ClusterOptions, total=False):
    """For `adapt`: see AdaptRequest."""

    parent: Path | str | None
    train_from: str | None
    minutes: float
    plan: Path | str | None
    update: Path | str | None
    rename: Mapping[str, str] | Sequence[str] | None
    refuse_regression: bool


class CompareOptions(PhotosOptions, ClusterOptions, total=False):
    """For `compare`: see CompareRequest."""

    parent: Sequence[Path | str] | Path | str | None
    train_from: Sequence[str] | str | None
    scratch_network: str | None
    minutes: float
    runs: int
    command: Sequence[str] | str | None


class PrepareOptions(RunOptions, total=False):
    """For `prepare`: see PrepareRequest."""

    stage: str | None
    data: Path | str | None
    seed: int | None
    command: Sequence[str] | str | None
