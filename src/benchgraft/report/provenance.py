"""Where the figures come from: images, command, machines, seeds, and digests of config, data and weights."""

from __future__ import annotations

import shlex

from ..part import Part
from ..runfolder.records import DataRecord, Environment, ImagesRecord
from ..runfolder.runs import Arm, RunFolder, Variant, variant


class ClassData(Part):
    """One class of a stage: the source classes that its rule matched, and its images by split."""

    name: str
    sources: list[str]
    images: dict[str, int]


class StageData(Part):
    """The images of a stage as measured, which need not be the paper's edition."""

    stage: str
    data: str
    format: str | None
    classes: int
    source_classes: int
    images: dict[str, int]
    """Split -> images."""
    unusable: int
    """Images of the whole data set that could not be read and take part in nothing."""
    shared: int
    """Images of the whole data set not judged by, since training has them too, or ones that look alike."""
    unmatched: dict[str, int]
    """Source class that no rule takes -> its images."""
    matched: list[ClassData]


class LabelledImages(Part):
    """Labelled images that an arm's model was trained on, by stage."""

    arm: str
    stages: dict[str, int]
    total: int


class DataDigest(Part):
    """A data set, or the images of one stage of it."""

    what: str
    images: int
    digest: str


class Weights(Part):
    """The model of one run, and what in it was frozen."""

    stage: str
    arm: str | None
    seed: int
    variant: Variant
    model_file: str
    model_digest: str
    parent_digest: str | None
    frozen_tensors: int
    frozen_digest: str | None


class Provenance(Part):
    """All that is needed to make this folder again, and to see that it is the same."""

    rerun: str
    """The command that carries out this experiment again, into another folder, for a shell."""
    revisions: list[str]
    config_digest: str
    seeds: dict[str, list[int]]
    data: list[DataDigest]
    weights: list[Weights]


def stage_data(folder: RunFolder) -> list[StageData]:
    """Of every stage whose images are known."""
    return [_stage_data(folder, images) for images in folder.images]


def labelled(folder: RunFolder, arm: Arm) -> LabelledImages:
    """Behind one model of an arm that has a run."""
    stages = {run.stage: run.train_images for run in [*folder.chain(arm), arm.runs[0]]}
    return LabelledImages(arm=arm.name, stages=stages, total=sum(stages.values()))


def machines(folder: RunFolder) -> list[str]:
    """One line for each machine, with what was timed on it."""
    lines: dict[str, list[str]] = {}
    for run in folder.runs:
        names = lines.setdefault(_machine(run.environment), [])
        if run.stage not in names:
            names.append(run.stage)
    return [f"{line} ({', '.join(names)})" if len(lines) > 1 else line for line, names in lines.items()]


def provenance(folder: RunFolder) -> Provenance:
    """From the ledger alone."""
    names = [data.name for data in folder.stores]
    revisions = (run.environment.git_revision for run in folder.runs)
    return Provenance(
        rerun=shlex.join(["benchgraft", *_elsewhere(folder.experiment.command[1:], folder.experiment.name)]),
        revisions=sorted({revision for revision in revisions if revision}),
        config_digest=folder.experiment.config_digest,
        seeds={arm.name: [run.seed for run in arm.once_a_seed] for arm in folder.arms.values()},
        data=[
            *(
                DataDigest(what=_named(data, names), images=data.images, digest=data.store_key)
                for data in folder.stores
            ),
            *(
                DataDigest(
                    what=f"images of {images.stage}",
                    images=sum(sum(counts.values()) for counts in images.counts.values()),
                    digest=images.digest,
                )
                for images in folder.images
            ),
        ],
        weights=[
            Weights.of(run, variant=variant(run), frozen_tensors=len(run.frozen)) for run in folder.runs
        ],
    )


def _named(data: DataRecord, names: list[str]) -> str:
    """A data set; with the side of its pictures, and how they were scaled, where it was opened in several."""
    looks = f", {data.side} pixels, {data.resampling}" if names.count(data.name) > 1 else ""
    return f"data set {data.name}" + looks


def _stage_data(folder: RunFolder, images: ImagesRecord) -> StageData:
    data = folder.data.get(images.data)
    return StageData(
        stage=images.stage,
        data=images.data,
        format=data.format if data else None,
        classes=len(images.class_names),
        source_classes=len(set().union(*(set(names) for names in images.matched.values()))),
        images={split: sum(counts.values()) for split, counts in images.counts.items()},
        unusable=len(data.excluded) if data else 0,
        shared=len(data.dropped_from_test) if data else 0,
        unmatched=images.unmatched,
        matched=[
            ClassData(
                name=name,
                sources=images.matched.get(name, []),
                images={split: counts.get(name, 0) for split, counts in images.counts.items()},
            )
            for name in images.class_names
        ],
    )


def _machine(environment: Environment) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in sorted(environment.versions.items()))
    workers = f"{environment.workers} workers, each with " if environment.workers > 1 else ""
    return (
        (f"{environment.machine}: " if environment.machine else "")
        + f"{environment.cpu}, {workers}{environment.threads} of {environment.cores} cores, "
        f"{environment.device}; "
        f"{environment.system}; {versions}"
        + (f"; revision {environment.git_revision}" if environment.git_revision else "")
    )


def _elsewhere(command: list[str], name: str) -> list[str]:
    """The same command with another run folder: in its own one it would find everything done already.

    To `adapt` and `prepare` --out is the model file.
    """
    option = "--run-folder" if command[:1] in (["prepare"], ["adapt"]) else "--out"
    words, found = [], f"runs/{name.replace(' ', '-')}"
    rest = iter(command)
    for word in rest:
        if word == option:
            found = next(rest, found)
        elif word.startswith(f"{option}="):
            found = word.partition("=")[2]
        else:
            words.append(word)
    return [*words, option, f"{found.rstrip('/')}-again"]
