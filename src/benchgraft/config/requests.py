"""What may be asked of each task: one object a task, with every word about it in one place.

A new option is written here, and for type checkers in options.py, which a test binds to this.

Arguments of the functions, options of the commands and the command that repeats a run are read off these
classes (`words`); `checked` builds one of values that people gave. Only values are looked at here: what lies
behind a path is the task's to find out. Pydantic is imported when a request is checked, not before, so that
`--help`, which reads all of this, answers at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from .choices import Damaged, Fit, Policy, ReportFormat
from .given import (
    ABlock,
    AFile,
    AModel,
    AName,
    AParent,
    APath,
    CacheFolder,
    Count,
    Expression,
    Fraction,
    LabelTable,
    Listener,
    Minutes,
    Parents,
    Paths,
    Points,
    Port,
    Renames,
    Seed,
    Shower,
    Teller,
    Text,
    Texts,
    Token,
)
from .words import Argument, Option


@dataclass(frozen=True, kw_only=True)
class Request:
    """What every request has. Values must have their type: no "yes" for True."""

    __pydantic_config__: ClassVar = {"extra": "forbid", "strict": True}


@dataclass(frozen=True, kw_only=True)
class DeviceRequest(Request):
    """One that runs a network."""

    device: Annotated[str, Option("auto, cpu, cuda or mps.")] = "auto"
    threads: Annotated[Count | None, Option("CPU threads. Default: all cores.")] = None


@dataclass(frozen=True, kw_only=True)
class StoreRequest(DeviceRequest):
    """One that decodes photos into a store."""

    cache: CacheFolder | None = None
    progress: Shower | None = None
    """None shows nothing."""
    listen: Listener | None = None
    """Takes each event of what goes on: see benchgraft.events."""
    cancel: Token | None = None
    """When it is set, from whichever thread, the task ends with Interrupted, as after Ctrl-C; the same call
    goes on later."""


@dataclass(frozen=True, kw_only=True)
class RunRequest(StoreRequest):
    """One that trains and leaves a run folder."""

    run_folder: APath | None = None
    """A run that was interrupted goes on in its folder."""
    profile: Annotated[
        bool, Option("Say where the time went, block by block (profile.md in the run folder).")
    ] = False
    say: Teller | None = None
    """Takes lines of what goes on."""


@dataclass(frozen=True, kw_only=True)
class ClusterRequest(RunRequest):
    """One whose work a Ray cluster may do. Raises ValueError for values that do not go together."""

    cluster: Annotated[
        Text | None,
        Option("Let a Ray cluster do the work: auto for the one that this machine is in, or its address."),
    ] = None
    """Runs of `compare` and `reproduce`; for `adapt` the features of photos. Needs the extra `cluster`;
    docs/cluster.md says how one is started. None: all takes place here."""
    shared: Annotated[
        Text | None,
        Option("With --cluster: folder, or address of fsspec, by which machines get photos and models."),
    ] = None
    """Without one a machine takes photos that lie there under the same path, or gets them through Ray."""

    def __post_init__(self) -> None:
        if self.cluster is None and self.shared is not None:
            raise ValueError("shared needs cluster: it is where the machines of one get their files")
        if self.cluster is not None and self.profile:
            raise ValueError("profile and cluster exclude each other: a profile is of one machine")


@dataclass(frozen=True, kw_only=True)
class PhotosRequest(RunRequest):
    """One that trains on a folder of photos."""

    folder: Annotated[APath, Argument("Folder of class folders (one a class).")]
    weights: Annotated[
        APath | None,
        Option("File with the parent's weights: safetensors, or a torch state dict. Default: found for you."),
    ] = None
    """For a parent by name whose network is timm's; networks/weights.py says where they are found."""
    seed: Annotated[Seed, Option("Random seed for the head and the order of photos.")] = 0
    fit: Annotated[
        Fit | None,
        Option("Photos to squares: letterbox (default), stretch, crop, or center (the middle 87.5 %)."),
    ] = None
    """How they are brought to the model's input; an update keeps the rule of its model."""
    damaged: Annotated[
        Damaged, Option("What to do with photos that cannot be read: exclude (and list them) or refuse.")
    ] = "exclude"
    group_by: Annotated[
        Expression | None,
        Option("Regex on file names: photos with the same match go into the same split."),
    ] = None
    """Searched in names, class folder and all: what belongs together is on one side of the split, and
    resampled together by the interval of the accuracy."""
    labels: LabelTable | None = None
    overlap: Annotated[
        Policy,
        Option(
            "What to do with test photos that the model has already seen in training: refuse, drop-test, "
            "drop-near (near-copies too) or keep."
        ),
    ] = "refuse"
    """Seen: by bytes or pixels, by the parent too, and by validation photos as well. Photos that only look
    alike are told, and left out by "drop-near"."""


RENAMED = {
    "freeze": "name the first block that trains: train_from, on the command line --train-from BLOCK; those "
    "before it are frozen"
}
"""Option of earlier versions -> what takes its place."""
_OF_NO_NETWORK = "weights needs parent: name the network that they are of, as in timm/resnet18"
_PLANNED = ("parent", "weights", "fit", "train_from", "minutes", "update")


@dataclass(frozen=True, kw_only=True)
class AdaptRequest(PhotosRequest, ClusterRequest):
    """For `adapt`. Raises ValueError for values that do not go together."""

    parent: Annotated[
        AParent | None,
        Option(
            "Model to transfer from: a name (see: benchgraft parents) or a model file. Default: a trial "
            "picks the best of those installed."
        ),
    ] = None
    """None tries each on some of the photos, see experiment/choice.py."""
    train_from: Annotated[
        ABlock | None,
        Option(
            "Train the parent from this block on; earlier blocks stay frozen (see: benchgraft parents NAME). "
            "Default: only its head (paper: its dense layers)."
        ),
    ] = None
    """The blocks before it are frozen."""
    fit: Annotated[
        Fit | None,
        Option(
            "How to make photos square: letterbox, stretch, crop, or center (middle 87.5 %). Default: the "
            "same trial picks letterbox or a crop."
        ),
    ] = None
    """For the paper's own parents letterbox, without a trial; an update keeps the rule of its model."""
    out: Annotated[
        AFile | None, Option("Model file to write. Default: FOLDER.safetensors, or the updated one.")
    ] = None
    """In the present folder. A file that is there is kept as NAME.previous.safetensors; a model of other
    photos is never replaced but where `out` names it."""
    minutes: Annotated[
        Minutes,
        Option("Train deeper than the head, as far as this many minutes allow; kept only if it helps."),
    ] = 0.0
    """By a plan that is fixed before training, from a short measurement: see experiment/deeper.py. Whether it
    pays is judged by the validation photos."""
    plan: Annotated[
        APath | None, Option("Repeat the plan of an earlier run (plan.json in its run folder).")
    ] = None
    """In place of parent, fit, train_from and minutes; on as many threads and the same photos it gives the
    same bits."""
    update: Annotated[AModel | None, Option("Model file to update with the photos in the folder.")] = None
    """One that `adapt` wrote for an earlier state of the folder; it is the parent then."""
    rename: Annotated[Renames | None, Option("With --update: a renamed class, as OLD=NEW.")] = None
    """Class name in the old model -> its name now."""
    refuse_regression: Annotated[bool, Option("Keep the old file if the new model is worse.")] = False
    """In any class or in all together, beyond noise."""
    run_folder: Annotated[
        APath | None, Option("Folder for records and checkpoints of the run. Default: runs/adapt-FOLDER")
    ] = None
    """Of this one run; the default gets a number behind it where another run has that folder."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.weights is not None and self.parent is None:
            raise ValueError(_OF_NO_NETWORK)
        if self.update is not None and self.parent is not None:
            raise ValueError("parent and update exclude each other: an updated model is its own parent")
        if self.update is None and self.parent is None and self.train_from is not None:
            raise ValueError("train_from needs parent: block names are those of one network")
        if self.update is not None and self.minutes:
            raise ValueError("minutes and update exclude each other: an update fits the head to what is new")
        given = [name for name in _PLANNED if getattr(self, name) not in (None, 0.0)]
        if self.plan is not None and given:
            raise ValueError(f"{given[0]} and plan exclude each other: the plan says it")
        if self.update is None and self.rename:
            raise ValueError("rename needs update: it says what a class of the old model is called now")
        if self.update is None and self.refuse_regression:
            raise ValueError("refuse_regression needs update: it compares the new model with the old one")


@dataclass(frozen=True, kw_only=True)
class CompareRequest(PhotosRequest, ClusterRequest):
    """For `compare`."""

    parent: Annotated[
        Parents | None,
        Option(
            "Model to transfer from: a name (see: benchgraft parents) or a model file. Give it several times "
            "for several arms. Default: imagenet."
        ),
    ] = None
    """None: the head of it alone and some blocks more are two arms; of CIFAR-100 the paper's."""
    train_from: Annotated[
        Texts | None,
        Option("Add an arm that trains the parent from this block on (see: benchgraft parents NAME)."),
    ] = None
    """Of each parent that has such a block, beside the arm in which its head trains."""
    scratch_network: Annotated[
        Text | None, Option("Network of timm to train from scratch. Default: the paper's small one.")
    ] = None
    minutes: Annotated[Minutes, Option("Do fewer runs if all would take longer, but at least three.")] = 15.0
    fit: Annotated[
        Fit | None,
        Option(
            "How to make photos square: letterbox, stretch, crop, or center (middle 87.5 %). Default: a "
            "trial picks it for the first parent, as in adapt."
        ),
    ] = None
    runs: Annotated[Count, Option("Runs of each arm.")] = 5
    seed: Annotated[Seed, Option("Seed of the first run.")] = 0
    run_folder: Annotated[
        APath | None, Option("Run folder. Default: runs/compare-FOLDER", ("--out", "--run-folder"))
    ] = None
    command: Texts | None = None
    """What the report says that the runs were made by. Default: the command line that does the same."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.weights is not None and self.parent is None:
            raise ValueError(_OF_NO_NETWORK)
        if self.weights is not None and len(self.parent or ()) > 1:
            raise ValueError("weights are of one network: name one parent")


@dataclass(frozen=True, kw_only=True)
class PrepareRequest(RunRequest):
    """For `prepare`."""

    experiment: Annotated[AName, Argument("An experiment file, or a shipped one: paper.")]
    stage: Annotated[str | None, Option("The stage to end with. Default: the parent of the arms.")] = None
    data: Annotated[APath | None, Option("Folder with the data sets of the file.")] = None
    out: Annotated[AFile | None, Option("Model file to write. Default: STAGE.safetensors")] = None
    """In the present folder; a file that is there is kept as STAGE.previous.safetensors."""
    run_folder: Annotated[APath | None, Option("Run folder. Default: runs/prepare-NAME")] = None
    seed: Annotated[Seed | None, Option("Seed of the stages.")] = None
    """None: the file's."""
    command: Texts | None = None
    """For the account. Default: the command line that does the same."""


@dataclass(frozen=True, kw_only=True)
class ReproduceRequest(ClusterRequest):
    """For the command `reproduce`."""

    experiment: Annotated[
        AName | None, Argument("A file, or a name: paper (default with --data), solar-cells (without).")
    ] = None
    data: Annotated[APath | None, Option("Folder with cifar-100-binary/ and fruits-360/.")] = None
    run_folder: Annotated[
        APath | None, Option("Run folder. Default: runs/NAME", ("--out", "--run-folder"))
    ] = None
    runs: Annotated[Count | None, Option("Runs of each arm.")] = None
    parents: Annotated[
        Count | None, Option("How many times to train the preparation; runs take turns on the results.")
    ] = None
    seed: Annotated[Seed | None, Option("Seed of the first run.")] = None
    no_cache: Annotated[bool, Option("Train the plain way.")] = False
    quick: Annotated[bool, Option("Run the smaller version that the experiment file has.")] = False


@dataclass(frozen=True, kw_only=True)
class ParentsRequest(DeviceRequest):
    """For `parents`."""

    name: Annotated[
        AParent | None,
        Argument("One alone: a name, timm/NAME or a model file. Default: all that have a name."),
    ] = None
    measure: Annotated[bool, Option("Measure photos a second on this machine.")] = False


@dataclass(frozen=True, kw_only=True)
class PredictRequest(DeviceRequest):
    """For `predict`."""

    model: Annotated[AModel, Argument("Model file, or the ONNX file (.onnx) exported from it.")]
    paths: Annotated[
        Paths,
        Argument("Photos, folders, or - to read a list from stdin (one per line, or NUL between them)."),
    ]
    """Of several each is checked when its turn comes: there may be many."""
    top: Annotated[Count, Option("How many classes to list for each photo.")] = 1
    unsure_below: Annotated[Fraction, Option("Answer `unsure` where the probability is below this.")] = 0.0
    say: Teller | None = None
    """Takes, after the last answer, a line for each kind of thing passed over in folders, or that looks
    like a mistake in photos."""


@dataclass(frozen=True, kw_only=True)
class ServeRequest(DeviceRequest):
    """For the command `serve`."""

    what: Annotated[
        Texts | None,
        Argument(
            "Folder of photos (default: the current folder). With --api: model files, or ONNX files exported "
            "from them; NAME=FILE sets the name of a model."
        ),
    ] = None
    """Of models without a name the file's counts; the first answers where a question names none."""
    api: Annotated[bool, Option("Serve models to other programs, without the page.")] = False
    open: Annotated[bool, Option("Open the page in a browser.")] = False
    cache: CacheFolder | None = None
    port: Annotated[Port, Option("Port to answer on; 0 takes a free one.")] = 8000
    host: Annotated[
        Text, Option("Address to listen on. Default: only this machine; others have to send a token.")
    ] = "127.0.0.1"
    queue: Annotated[
        Count, Option("With --api: photos that may wait for their answer; requests beyond that get 429.")
    ] = 512


@dataclass(frozen=True, kw_only=True)
class EvaluateRequest(StoreRequest):
    """For `evaluate`."""

    model: Annotated[AModel, Argument("Model file.")]
    folder: Annotated[APath, Argument("Folder of class folders (one a class).")]
    labels: LabelTable | None = None
    include_trained: Annotated[bool, Option("Count photos too that the model was trained on.")] = False
    run_folder: Annotated[
        APath | None,
        Option("Where the page is left. Default: runs/evaluate-FOLDER", ("--out", "--run-folder")),
    ] = None


@dataclass(frozen=True, kw_only=True)
class ExportRequest(Request):
    """For `export`."""

    model: Annotated[AModel, Argument("Model file.")]
    out: Annotated[AFile | None, Option("File to write. Default: the model's name, .onnx")] = None
    images: Annotated[APath | None, Option("Photos to compare on. Default: generated pictures.")] = None


@dataclass(frozen=True, kw_only=True)
class ReportRequest(Request):
    """For the command `report`."""

    folder: Annotated[APath, Argument("A run folder that reproduce has written.")]
    format: Annotated[ReportFormat, Option("text, html, md, json, csv")] = "text"
    half_width: Annotated[
        Points | None, Option("Say how many runs give an accuracy interval of +- so many points.")
    ] = None
