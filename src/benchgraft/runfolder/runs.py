"""The records of a run folder, grouped: arms and their runs, the preparation chain, the images of a stage."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..errors import RunFolderError
from .records import (
    AnyRecord,
    DataRecord,
    DivergedRecord,
    ExperimentRecord,
    ImagesRecord,
    OriginRecord,
    RunRecord,
)

SCRATCH = "scratch"
Variant = Literal["cold", "warm", "pixels"]
VARIANTS: tuple[Variant, ...] = ("cold", "warm", "pixels")
VARIANT_OF: dict[str, Variant] = {"computed": "cold", "cached": "warm", "none": "pixels"}


@dataclass(frozen=True)
class Arm:
    """One arm's runs, oldest first."""

    name: str
    stage: str
    runs: tuple[RunRecord, ...]
    diverged: tuple[DivergedRecord, ...] = ()
    """Runs that gave no model, by seed."""

    @property
    def once_a_seed(self) -> list[RunRecord]:
        """One run for each seed: cold and warm runs of a seed have the same predictions and count once."""
        firsts: dict[int, RunRecord] = {}
        for run in sorted(self.runs, key=lambda run: VARIANTS.index(variant(run))):
            firsts.setdefault(run.seed, run)
        return [firsts[seed] for seed in sorted(firsts)]

    def of(self, wanted: Variant) -> list[RunRecord]:
        """The runs of one variant, by seed."""
        return sorted((run for run in self.runs if variant(run) == wanted), key=lambda run: run.seed)

    def timed(self, wanted: Variant) -> list[RunRecord]:
        """Those whose time counts: an interrupted run lost time that its record does not hold."""
        return [run for run in self.of(wanted) if run.segments == 1]


@dataclass(frozen=True)
class RunFolder:
    """Everything that a ledger tells."""

    experiment: ExperimentRecord
    data: dict[str, DataRecord]
    images: tuple[ImagesRecord, ...]
    preparation: tuple[RunRecord, ...]
    """From the first stage to the parent of the transfer arms."""
    arms: dict[str, Arm]
    origins: tuple[OriginRecord, ...] = ()
    """Models from elsewhere that runs build on."""
    stores: tuple[DataRecord, ...] = ()
    """Every data set as opened: of one name several, where networks take pictures of several sizes."""

    @property
    def is_of_the_paper(self) -> bool:
        """Whether the paper's printed figures belong beside these."""
        return bool(self.experiment.config.get("published", True))

    @property
    def runs(self) -> list[RunRecord]:
        """All that gave a model: preparation first, then arm by arm."""
        return [*self.preparation, *(run for arm in self.arms.values() for run in arm.runs)]

    @property
    def scratch(self) -> Arm | None:
        """The arm that is every other's rival."""
        return self.arms.get(SCRATCH)

    @property
    def rivals(self) -> list[Arm]:
        """The transfer arms."""
        return [arm for arm in self.arms.values() if arm.name != SCRATCH]

    def images_of(self, run: RunRecord) -> ImagesRecord | None:
        """What a run was trained and tested on; by digest, else by stage."""
        by_digest = [images for images in self.images if images.digest == run.images_digest]
        by_stage = [images for images in self.images if images.stage == run.stage]
        same = [images for images in by_digest if images.stage == run.stage]
        return next(iter(same + by_digest + by_stage), None)

    def chain(self, arm: Arm) -> list[RunRecord]:
        """The preparation that this arm's runs stand on, first stage first; empty for a random start, and for
        a parent from elsewhere."""
        first = arm.runs[0].parent_digest if arm.runs else None
        if first is None or any(each.model_digest == first for each in self.origins):
            return []
        found = _ancestors(arm.runs[0], self.preparation)
        return found or list(self.preparation)

    def origin(self, arm: Arm) -> OriginRecord | None:
        """The model from elsewhere that this arm's line of models begins with, if it does."""
        first = next(iter([*self.chain(arm), *arm.runs]), None)
        return next(
            (each for each in self.origins if first and each.model_digest == first.parent_digest), None
        )


def variant(run: RunRecord | DivergedRecord) -> Variant:
    """How the features of a run came about."""
    return VARIANT_OF[run.features]


def group(records: Sequence[AnyRecord]) -> RunFolder:
    """Group records. Raises RunFolderError where none says what the experiment is."""
    experiment = next((record for record in records if isinstance(record, ExperimentRecord)), None)
    if experiment is None:
        raise RunFolderError(
            "the ledger names no experiment",
            "name a folder that reproduce has written, or start it anew with --out",
        )
    runs = [record for record in records if isinstance(record, RunRecord)]
    diverged = sorted(
        (record for record in records if isinstance(record, DivergedRecord)), key=lambda run: run.seed
    )
    stores = tuple(record for record in records if isinstance(record, DataRecord))
    arms = {
        name: Arm(
            name,
            stage,
            tuple(run for run in runs if run.arm == name),
            tuple(run for run in diverged if run.arm == name),
        )
        for name, stage in experiment.arms.items()
    }
    return RunFolder(
        experiment=experiment,
        data={record.name: record for record in stores},
        images=tuple(record for record in records if isinstance(record, ImagesRecord)),
        preparation=_ordered([run for run in runs if run.arm is None]),
        arms=arms,
        origins=tuple(record for record in records if isinstance(record, OriginRecord)),
        stores=stores,
    )


def right_answers(run: RunRecord, images: ImagesRecord) -> npt.NDArray[np.float64]:
    """1.0 for each test image that a run got right, else 0.0; shape (images,).

    Raises RunFolderError if the predictions are not of these images.
    """
    if len(run.predicted) != len(images.test.labels):
        raise RunFolderError(
            f"stage {run.stage}, seed {run.seed}: {len(run.predicted)} predictions for "
            f"{len(images.test.labels)} test images",
            "the ledger is damaged or holds two experiments; start anew in another folder with --out",
        )
    right: npt.NDArray[np.bool_] = np.asarray(run.predicted) == np.asarray(images.test.labels)
    return right.astype(np.float64)


def rest_class(config: dict[str, Any], class_names: Iterable[str]) -> str | None:
    """The class that takes all that no rule names (the paper's `noise`), if these classes have one."""
    rests = set(_values_of("rest", config))
    return next((name for name in class_names if name in rests), None)


def _values_of(key: str, value: Any) -> Iterator[str]:
    """Every string under this key, at any depth of a config."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name == key and isinstance(inner, str):
                yield inner
            else:
                yield from _values_of(key, inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _values_of(key, inner)


def _ancestors(run: RunRecord, preparation: Sequence[RunRecord]) -> list[RunRecord]:
    by_digest = {candidate.model_digest: candidate for candidate in preparation}
    found: list[RunRecord] = []
    digest = run.parent_digest
    while digest in by_digest and by_digest[digest] not in found:
        found.insert(0, by_digest[digest])
        digest = found[0].parent_digest
    return found


def _ordered(preparation: list[RunRecord]) -> tuple[RunRecord, ...]:
    """Parents before children; stages that no digest ties together stay in the order of the ledger."""
    chains = [[*_ancestors(run, preparation), run] for run in preparation]
    longest = max(chains, key=len, default=[])
    return tuple(longest if len(longest) == len(preparation) else preparation)
