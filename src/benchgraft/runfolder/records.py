"""What the account of a run folder is made of: one kind of record for each thing that it tells of.

The records are the format of the ledger, see docs/formats.md.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from ..config.choices import Fit, Resampling

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
    """Of each worker."""
    workers: int = 1
    """Processes that trained together; of a run that was interrupted, those that ended it."""
    device: str
    """Of the first worker."""
    system: str
    versions: dict[str, str]
    git_revision: str | None
    machine: str | None = None
    """Of several, which one: the name of a host of a cluster. None: the one that kept the account."""


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
    resampling: Resampling = "lanczos"
    """How photos were scaled to it."""


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
    """The block whose outputs were cached."""
    engine: str | None = None
    """What computed the frozen prefix, and its version. None: there was no such prefix, or, in accounts of
    versions that did not say, PyTorch."""
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
    penalty: float | None = None
    """Of a head that was solved instead of trained by batches: losses and accuracies on validation are then
    those of the penalties tried, from strong to weak, and steps are those of the solver over all photos."""
    temperature: float | None = None
    """What the head was divided by after training, where that was calibrated."""
    calibrated_loss: float | None = None
    """Log loss on validation photos after that, in nats, weighted as in training."""
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


class TriedParent(Record):
    """A parent that was tried on a sample of the photos, each judged by a fit without it."""

    parent: str
    fit: Fit
    balanced_accuracy: float
    error: float
    """Squared error over all classes, mean over classes: 0 for certainty."""
    difference: float
    """Of its error to the smallest one, by the same photos."""
    standard_error: float
    """Of the difference."""
    megaflops: float
    """For one photo."""
    seconds: float
    """That trying it took, decoding included."""


class ChoiceRecord(Record):
    """Which parent was taken for a folder of photos, and what else was tried."""

    kind: Literal["choice"] = "choice"
    parent: str
    fit: Fit
    photos: int
    """Of the sample."""
    tried: list[TriedParent]
    not_tried: dict[str, str] = {}
    """Parent that is installed -> why it was left out."""
    seconds: float
    """All of it; little where the cache had it."""


class Depth(Record):
    """From where on a network may train, and what that takes: measured on a batch of the photos."""

    train_from: str
    view_seconds: float
    """For one view of one photo: to make it, and to compute what is frozen."""
    step_seconds: float
    """For one step over a batch."""
    judge_seconds: float
    """For one photo, by what trains, in inference mode."""
    map_bytes: int
    """What is kept of one view of one photo."""


PLAN_FILE = "plan.json"


class PlanRecord(Record):
    """How more than the head is trained, fixed before it is."""

    kind: Literal["plan"] = "plan"
    parent: str
    weights: str | None = None
    fit: Fit
    train_from: str
    views: int
    epochs: int
    seconds: float | None
    """That training is expected to take, by what was measured."""
    minutes: float | None
    """That were given for all; None: the block was named, and nothing was measured."""
    measured: list[Depth] = []


class VerdictRecord(Record):
    """Whether training more than the head paid, judged by validation photos alone."""

    kind: Literal["verdict"] = "verdict"
    kept_deeper: bool
    head_loss: float
    """Log loss of the head alone, in nats, fitted on training photos alone."""
    deeper_loss: float
    """Of what trained more, calibrated."""
    difference: float
    """Of the second to the first, photo by photo."""
    standard_error: float | None
    """Of the difference; None: one photo has none."""
    bar: float
    """So many standard errors below zero it must be, and more photos right, where few train; 0: many do, and
    either is enough."""
    head_accuracy: float
    deeper_accuracy: float
    """On the same photos."""
    photos: int
    """To validate on."""


AnyRecord = Annotated[
    ExperimentRecord
    | DataRecord
    | ImagesRecord
    | RunRecord
    | DivergedRecord
    | OriginRecord
    | ChoiceRecord
    | PlanRecord
    | VerdictRecord,
    Field(discriminator="kind"),
]


class Thumbnails(Record):
    """Small pictures of the test images that were got wrong most surely: for the eye alone."""

    images_digest: str
    jpeg: dict[str, str]
    """Key of the image -> JPEG file in base64."""
