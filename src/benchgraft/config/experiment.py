"""What an experiment is: data sets, class rules, networks, stages, arms."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from ..names import class_name
from .choices import Damaged, Fit, Format, Policy
from .network import PAPER, NetworkSpec, of_settings
from .recipe import Recipe


class HoldOut(BaseModel):
    """Whole varieties of a data set taken out: see store/varieties.py for what a variety is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    fold: int = Field(ge=0)
    """Which part of the varieties is held out, from 0."""
    of: int = Field(ge=2)
    """Into how many parts the varieties are dealt."""
    held: Literal["test", "nowhere"]
    """test: all images of the held-out varieties are the test set, and nothing else is; nowhere: they take
    part in nothing."""


class DataConfig(BaseModel):
    """One data set."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Format
    folder: str
    """Below the --data folder; or `shipped:NAME`; or `package:NAME`, the data of an installed package."""
    validation: float = Field(default=0.1, gt=0, lt=1)
    """Fraction of the training images that validate, chosen by content hash: the same in every stage."""
    fit: Fit = "letterbox"
    """How a photo that is not square is brought to the size of the store."""
    damaged: Damaged = "exclude"
    """Whether images that cannot be read are named and left out, or end the run."""
    group_by: str | None = None
    """Regular expression searched in an image's key: images for which it finds the same (frames of one
    object) stay on one side of the split."""
    keep_overlap: bool = False
    """Whether images may be judged by that were trained on before; the figures are then worth less."""
    overlap: Policy | None = None
    """What the leak gate (store/overlap.py) does with images to judge by that equal a training image, or look
    like one; None: there is no gate, and test images with the bytes of a training image are left out."""
    labels: str | None = None
    """Table of what its photos show (photos/table.py), by an absolute path; None: that of the folder, if it
    has one."""
    leave_out: dict[str, str] = {}
    """Keys of images that are not to be judged by -> why; for the ledger."""
    test: float = Field(default=0.0, ge=0, lt=1)
    """Fraction that tests, where the data set does not say itself."""
    every_class_trains: bool = False
    """For a user's own photos: a class whose images all fell to validation and test gives them to training,
    and no class need be in every split."""
    hold_out: HoldOut | None = None
    """Varieties that no training sees."""

    @property
    def may_keep_overlap(self) -> bool:
        """Whether images may be judged by that were trained on, however that is said."""
        return self.keep_overlap or self.overlap == "keep"


Count = Annotated[int, Field(ge=1)]


class ClassRules(BaseModel):
    """Which source classes make up a class, and how many of its images a stage takes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rules: dict[str, list[str]] = {}
    """Class -> words or phrases of source class names. Empty: every source class is a class of its own."""
    rest: str | None = None
    """Class of every source class that no rule matches; None leaves those out."""
    train_per_class: Count | None = None
    """At most so many training images a class, drawn evenly over its source classes; None takes all."""
    validation_per_class: Count | None = None
    test_per_class: Count | None = None
    draw_seed: int = 0

    @field_validator("rules")
    @classmethod
    def _named_as_elsewhere(cls, rules: dict[str, list[str]]) -> dict[str, list[str]]:
        named = {class_name(name): phrases for name, phrases in rules.items()}
        if len(named) < len(rules):
            raise ValueError("two of these names are one, written in two ways")
        return named

    @field_validator("rest")
    @classmethod
    def _rest_as_elsewhere(cls, rest: str | None) -> str | None:
        return None if rest is None else class_name(rest)

    def per_class(self, split: str) -> int | None:
        """The limit for "train", "validation" or "test"."""
        return {
            "train": self.train_per_class,
            "validation": self.validation_per_class,
            "test": self.test_per_class,
        }[split]


class Stage(BaseModel):
    """One training on one data set."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    data: str
    classes: str | None = None
    """Name of the class rules; None: every class of the data set."""
    network: str | None = None
    """Name of the network; None: its parent's, or without one the paper's."""
    parent: str | None = None
    """The stage whose model this one starts from; None: random weights."""
    model_file: str | None = None
    """A model that is there already: the stage is not trained. A path, `shipped:NAME`, or the name of a
    parent (config/parents.py), such as `imagenet` or `timm/NAME`."""
    freeze: list[str] = []
    """Patterns of block names. Their weights never move."""
    freeze_random: bool = False
    """Says that freezing random weights, for want of a parent, is meant: a control."""
    carry_over: bool = False
    """Whether output rows of classes that the parent has too start as the parent's; all others start anew."""
    rename: dict[str, str] = {}
    """Name of a class in the parent -> its name here, for carry_over."""
    frozen_statistics: bool = True
    """Whether frozen BatchNorms keep their running statistics too; False: they move, as in much code."""
    cache: Literal["shared", "own", "off"] = "shared"
    """shared: features are computed by a cold run and read by a warm one. own: a seed's runs share their
    features, and each computes those that no stage before it has. off: every run trains from pixels."""
    recipe: Recipe


class Point(BaseModel):
    """Where an arm stands in the study's table and figure."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    line: str
    """Arms of one line are one curve, or one group of rows."""
    x: float | None = None


class Step(BaseModel):
    """One change between two arms of a study, whose factor is worked out."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    what: str
    """What changes."""
    before: str
    """Arm without the change."""
    after: str
    """Arm with it."""


class Study(BaseModel):
    """An experiment of more than two arms that answers a question of its own: how its answer is laid out."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    question: str
    x: str | None = None
    """What the axis counts; None: the arms have no order."""
    cumulative: bool = False
    """Whether the seconds of a line add up along the axis, as those of retrainings that follow each other."""
    pooled: bool = False
    """Whether the arms of a line are parts of one figure (folds), to be shown as their mean."""
    points: dict[str, Point]
    """Arm -> its place."""
    steps: list[Step] = []
    """Changes from arm to arm, told with the factor of each."""


class Experiment(BaseModel):
    """A whole experiment."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    protocol: Literal["like_for_like", "as_published"]
    about: str = ""
    published: bool = False
    """Whether this is the paper's comparison, so that its printed figures and claims are put beside it."""
    subject: str = ""
    """What the photos show where that is not the paper's fruit: the report then says so."""
    seed: int = 0
    runs: int = Field(default=10, ge=1)
    """Runs of each arm, seeds seed, seed + 1, ..."""
    parents: int = Field(default=1, ge=1)
    """How often the preparation is trained, with seeds seed, seed + 1, ...; run k builds on parent k modulo
    parents. With one parent all that is said of transfer holds for that parent only."""
    minutes: float | None = None
    """No further round of runs is begun that would end after so many minutes of runs; at least three are."""
    networks: dict[str, NetworkSpec] = {}
    """Name -> network; a stage that starts from random weights and names none takes that of the paper, or
    the one that is called paper_cnn here."""
    data: dict[str, DataConfig]
    classes: dict[str, ClassRules] = {}
    stages: dict[str, Stage]
    arms: dict[str, str]
    """Arm -> the stage that it repeats; what that stage builds on is preparation, done once, but where it is
    an arm's stage itself: then a run builds on that arm's run of the same seed."""
    study: Study | None = None

    @model_validator(mode="before")
    @classmethod
    def _of_one_network(cls, table: Any) -> Any:
        """Earlier versions had one network for all stages, the paper's, with settings."""
        if isinstance(table, dict) and "network" in table:
            rest = {key: value for key, value in table.items() if key != "network"}
            as_now = of_settings(table["network"])
            ours = {PAPER.name: as_now.model_dump()} if as_now != PAPER else {}
            return rest | {"networks": {**ours, **table.get("networks", {})}}
        return table

    def chain(self, stage: str) -> list[str]:
        """The stages that a stage builds on, oldest first, itself last."""
        parent = self.stages[stage].parent
        return [*(self.chain(parent) if parent else []), stage]

    def arm_of(self, stage: str | None) -> str | None:
        """The arm that repeats this stage, None for preparation."""
        return next((arm for arm, repeated in self.arms.items() if repeated == stage), None)

    def parent_seed(self, seed: int) -> int:
        """Seed of the preparation that a run of this seed builds on."""
        return self.seed + (seed - self.seed) % self.parents

    @property
    def preparation(self) -> list[str]:
        """Stages that are run once, in order."""
        stages = [name for stage in self.arms.values() for name in self.chain(stage)]
        return [name for name in dict.fromkeys(stages) if self.arm_of(name) is None]
