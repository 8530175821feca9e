"""Where the figures come from: command, revision, seeds, and digests of config, data, images and weights."""

from __future__ import annotations

import shlex

from .part import Part
from .runs import RunFolder, Variant, variant


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


def provenance(folder: RunFolder) -> Provenance:
    """From the ledger alone."""
    runs = [*folder.preparation, *(run for arm in folder.arms.values() for run in arm.runs)]
    revisions = (run.environment.git_revision for run in runs)
    return Provenance(
        rerun=shlex.join(["benchgraft", *_elsewhere(folder.experiment.command[1:], folder.experiment.name)]),
        revisions=sorted({revision for revision in revisions if revision}),
        config_digest=folder.experiment.config_digest,
        seeds={arm.name: [run.seed for run in arm.once_a_seed] for arm in folder.arms.values()},
        data=[
            *(
                DataDigest(what=f"data set {data.name}", images=data.images, digest=data.store_key)
                for data in folder.data.values()
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
            Weights(
                stage=run.stage,
                arm=run.arm,
                seed=run.seed,
                variant=variant(run),
                model_file=run.model_file,
                model_digest=run.model_digest,
                parent_digest=run.parent_digest,
                frozen_tensors=len(run.frozen),
                frozen_digest=run.frozen_digest,
            )
            for run in runs
        ],
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
