"""An experiment file (TOML) as a checked Experiment: data sets, class rules, stages, arms.

A file may start from another one (`base = "paper"`): its tables are laid over those of the base, key by key.
Every name and key is checked; an unknown one is refused with the nearest valid one.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from ..config.choices import Damaged, Fit, Policy
from ..config.network import PAPER, NetworkSpec, of_settings
from ..data.classes import ClassRules
from ..data.names import printable, storable
from ..data.readers import Format
from ..errors import ConfigError, did_you_mean
from ..files import SHIPPED as SHIPPED
from ..files import shipped_path as shipped_path
from ..ledger import ExperimentRecord, config_digest, now
from ..training.loop import Recipe
from .expand import expand
from .network import check_networks


class HoldOut(BaseModel):
    """Whole varieties of a data set taken out: see data/varieties.py for what a variety is."""

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
    """What the leak gate (data/overlap.py) does with images to judge by that equal a training image, or look
    like one; None: there is no gate, and test images with the bytes of a training image are left out."""
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
    """A model that is there already: the stage is not trained."""
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


def experiment_record(experiment: Experiment, command: list[str]) -> ExperimentRecord:
    """First line of a ledger."""
    config = storable(experiment.model_dump(mode="json"))
    return ExperimentRecord(
        name=printable(experiment.name),
        protocol=experiment.protocol,
        config=config,
        config_digest=config_digest(config),
        arms=experiment.arms,
        command=[printable(word) for word in command],
        started=now(),
    )


def shipped_experiments() -> list[str]:
    """Names of the experiment files that come with the program."""
    names = [file.name for file in files(__package__).iterdir()]
    return sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml") and name[0] != "_")


def load(name: str, quick: bool = False) -> Experiment:
    """Read an experiment file: a path, or the name of a shipped one; quick: with its table `quick` laid over.

    Raises ConfigError: no such file, no TOML, unknown or wrong keys, names that nothing has.
    """
    table, text, path = _read(name)
    seen = [path]
    while "base" in table:
        base, base_text, base_path = _read(str(table.pop("base")), path.parent)
        if base_path in seen:
            raise ConfigError(f"{path}: its base leads back to itself", " -> ".join(map(str, seen)))
        seen.append(base_path)
        table, text = _merge(base, table), text + "\n" + base_text
    smaller = table.pop("quick", None)
    if quick:
        if smaller is None:
            raise ConfigError(f"{path} has no table [quick]", "run it without --quick, or with fewer --runs")
        table = _merge(table, smaller)
    try:
        table = expand(table, table.pop("each", {}))
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from None
    try:
        experiment = Experiment.model_validate(table)
    except ValidationError as error:
        raise ConfigError(*_explain(error.errors(), path, text)) from None
    _check_names(experiment, path)
    return experiment


def _read(name: str, beside: Path | None = None) -> tuple[dict[str, Any], str, Path]:
    path = Path(name)
    if name in shipped_experiments():
        path = Path(str(files(__package__))) / f"{name}.toml"
    elif beside and not path.is_absolute():
        path = beside / path
    try:
        text = path.read_text(encoding="utf-8")
        return tomllib.loads(text), text, path
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"cannot read the experiment file {name}: {getattr(error, 'strerror', None) or error}",
            f"shipped: {', '.join(shipped_experiments())}",
            did_you_mean(path.stem, shipped_experiments()),
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(
            f"{path} is not valid TOML: {error}", "mend that place, or name another experiment file"
        ) from None


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        if isinstance(value, Mapping) and isinstance(merged.get(key), Mapping):
            merged[key] = _merge(merged[key], value)
        else:
            merged[key] = value
    return merged


def _explain(errors: list[ErrorDetails], path: Path, text: str) -> list[str]:
    """One line for each error, the unknown keys with the nearest valid one."""
    lines = []
    for error in errors:
        place = [str(part) for part in error["loc"]]
        where = _line_of(text, place[-1])
        if error["type"] == "extra_forbidden":
            advice = did_you_mean(place[-1], _fields_at(place[:-1]))
            lines.append(f"{'.'.join(place)}: no such key{where}; {advice}")
        else:
            message = error["msg"].removeprefix("Value error, ")
            if error["type"] != "value_error":  # whose words are ours
                message = message.lower()
            lines.append(f"{'.'.join(place)}: {message}{where}, got {error['input']!r:.60}")
    return [f"{path}: {lines[0]}", *lines[1:]]


def _line_of(text: str, key: str) -> str:
    found = re.search(rf"^\s*(\[.*\b)?{re.escape(key)}\b", text, re.MULTILINE)
    return f" (line {text.count(chr(10), 0, found.end()) + 1})" if found else ""


def _fields_at(place: list[str]) -> list[str]:
    """Valid keys of the table at this place of the file."""
    model: type[BaseModel] = Experiment
    for part in place:
        field = model.model_fields.get(part)
        if field is None:
            continue  # a name the user chose: stages.NAME
        found = _model_in(field.annotation)
        if found is not None:
            model = found
    return [*model.model_fields, *(["base", "each", "quick"] if model is Experiment else [])]


def _model_in(annotation: Any) -> type[BaseModel] | None:
    candidates = [annotation, *get_args(annotation)]
    return next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), None)


def _check_names(experiment: Experiment, path: Path) -> None:
    """Every name that one table uses must be in another."""

    def need(name: str | None, known: Mapping[str, Any], where: str) -> None:
        if name is not None and name not in known:
            raise ConfigError(f'{path}: {where} = "{name}" names nothing', did_you_mean(name, known))

    for name, stage in experiment.stages.items():
        need(stage.data, experiment.data, f"stages.{name}.data")
        need(stage.classes, experiment.classes, f"stages.{name}.classes")
        need(stage.parent, experiment.stages, f"stages.{name}.parent")
        need(stage.network, {PAPER.name: PAPER, **experiment.networks}, f"stages.{name}.network")
        if stage.freeze and stage.parent is None and not stage.freeze_random:
            raise ConfigError(
                f"{path}: stages.{name}.freeze without a parent would freeze random weights",
                "name a parent, or write freeze = []; freeze_random = true where that is meant",
            )
    for arm, stage_name in experiment.arms.items():
        need(stage_name, experiment.stages, f"arms.{arm}")
    if experiment.study:
        for arm in experiment.study.points:
            need(arm, experiment.arms, "study.points")
        for step in experiment.study.steps:
            need(step.before, experiment.arms, f'study.steps, "{step.what}": before')
            need(step.after, experiment.arms, f'study.steps, "{step.what}": after')
    _refuse_circles(experiment, path)
    check_networks(experiment, str(path))


def _refuse_circles(experiment: Experiment, path: Path) -> None:
    for start in experiment.stages:
        seen, name = [start], experiment.stages[start].parent
        while name is not None:
            if name in seen:
                raise ConfigError(f"{path}: parents go round in a circle: {' -> '.join([*seen, name])}")
            seen.append(name)
            name = experiment.stages[name].parent
