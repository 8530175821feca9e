"""The account of a run folder as experiments write it: each thing is told once, however often it goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ..config.experiment import Experiment
from ..errors import RunFolderError
from ..files import write_whole
from ..names import printable, storable
from ..networks import model_file
from ..runfolder.ledger import FILE_NAME, Ledger, config_digest, now
from ..runfolder.records import (
    PLAN_FILE,
    ChoiceRecord,
    DataRecord,
    ExperimentRecord,
    ImagesRecord,
    OriginRecord,
    PlanRecord,
    RunRecord,
    VerdictRecord,
)
from ..store.classes import StageImages
from .images import OpenedData, images_record


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


class Account:
    """The ledger of one run folder."""

    def __init__(self, folder: Path) -> None:
        """Raises RunFolderError for a damaged ledger."""
        self._folder = folder
        self.ledger = Ledger(folder)

    def begin(self, experiment: Experiment, command: list[str]) -> None:
        """First line of a new ledger. Raises RunFolderError if it has that of another experiment."""
        there = self.ledger.of_kind(ExperimentRecord)
        if there:
            _refuse_another(there[0], experiment, self._folder)
        else:
            self.ledger.append(experiment_record(experiment, command))

    def take(self, given: str) -> model_file.ModelCard:
        """Tell of a model that is there already, with all that is known of what its making took.

        Whatever it was where it was made, such as an arm of `adapt`, it is preparation here.
        """
        card = model_file.read_card(Path(given))
        self._tell_origin(card, given)
        known = {run.model_digest for run in self.ledger.of_kind(RunRecord)}
        for facts in card.history:
            if facts["model_digest"] not in known:
                here: dict[str, Any] = {
                    "arm": None,
                    "predicted": [],
                    "confidence": [],
                    "given": printable(given),
                }
                self.ledger.append(RunRecord.model_validate(facts | here))
        return card

    def _tell_origin(self, card: model_file.ModelCard, given: str) -> None:
        """Tell of the model from elsewhere that a line of models begins with, once."""
        first = card.history[0]["parent_digest"] if card.history else card.model_digest
        if first is None or any(told.model_digest == first for told in self.ledger.of_kind(OriginRecord)):
            return
        if card.origin or not card.history:
            origin = printable(card.origin or "not stated")
            place = None if card.history else printable(given)
            self.ledger.append(OriginRecord(model_digest=first, origin=origin, place=place))

    def tell_once(self, record: ChoiceRecord | PlanRecord | VerdictRecord) -> None:
        """Tell what there is one of; a plan as a file to do it again by, too."""
        if self.ledger.of_kind(type(record)):
            return
        if isinstance(record, PlanRecord):
            write_whole(self._folder / PLAN_FILE, record.model_dump_json(indent=1) + "\n")
        self.ledger.append(record)

    def finished(self, stage: str) -> RunRecord | None:
        """The run of a stage that was carried out here, if its model is still there."""
        for run in self.ledger.of_kind(RunRecord):
            path = self._folder / run.model_file
            is_here = run.stage == stage and not run.given and path.is_file()
            if is_here and model_file.read_card(path).model_digest == run.model_digest:
                return run
        return None

    def tell_data(self, opened: OpenedData) -> bool:
        """Tell of a data set as opened; whether it was told of now."""
        told = [record for record in self.ledger.of_kind(DataRecord) if record.name == opened.name]
        frame = opened.store.frame
        here = (frame.size, frame.resampling)
        if any(record.side is None or (record.side, record.resampling) == here for record in told):
            return False
        self.ledger.append(opened.record())
        return True

    def tell_images(self, stage: str, data: str, images: StageImages) -> bool:
        """Tell of the images of a stage; whether that was done now.

        Raises RunFolderError if the folder was begun with others.
        """
        there = [record for record in self.ledger.of_kind(ImagesRecord) if record.stage == stage]
        if not there:
            self.ledger.append(images_record(stage, data, images))
        elif there[0].digest != images.digest:
            raise RunFolderError(
                f"the images of {stage} are not those that {self._folder} was begun with",
                "put the data set back as it was, or start anew in another folder with --out",
            )
        return not there


def _refuse_another(there: ExperimentRecord, experiment: Experiment, folder: Path) -> None:
    """Raises RunFolderError if a folder was begun with another experiment, or with other settings of it.

    Meanings are compared, not digests: settings that came later have a default that means what was before.
    """
    begun = _begun(there)
    if begun is None:
        raise RunFolderError(
            f"{folder} was begun with settings that this version cannot read: begin anew with --out FOLDER"
        )
    if _meaning(begun) != _meaning(experiment):
        raise RunFolderError(
            f'{folder} holds another experiment ("{there.name}", or other settings of it)',
            "continue it with the file it was begun with, or choose another folder with --out",
        )


def _meaning(experiment: Experiment) -> dict[str, Any]:
    """All that figures depend on. How many runs is no part of it: a folder may be continued with more."""
    return experiment.model_dump(mode="json", exclude={"runs", "minutes", "about"})


def _begun(there: ExperimentRecord) -> Experiment | None:
    """The experiment of a folder; None if this version cannot read its settings."""
    try:
        return Experiment.model_validate(there.config)
    except ValidationError:
        return None


def choose_place(named: Path | None, default: Path, is_open: Callable[[Path], bool]) -> Path:
    """The run folder for one run that shares it with no other: the one named, else `default`, `default`-2 ...

    The first that holds no account, or one that `is_open` says is this very run's.
    Raises RunFolderError if the one named holds another.
    """
    for place in [named] if named else _numbered(default):
        if not (place / FILE_NAME).exists() or is_open(place):
            return place
    raise RunFolderError(
        f"{named} holds the account of another run", "choose another folder with --run-folder, or remove it"
    )


def _numbered(default: Path) -> Iterator[Path]:
    yield default
    for number in count(2):
        yield default.with_name(f"{default.name}-{number}")


def is_this_run(
    place: Path, experiment: Experiment, stage: str, images: StageImages, parent: model_file.ModelCard
) -> bool:
    """Whether a folder holds this experiment, on these images and from this parent, as far as it has come.

    A parent's line of models is told model by model, before any images: it may have been stopped within it.
    """
    try:
        ledger = Account(place).ledger
    except RunFolderError:
        return False
    there = ledger.of_kind(ExperimentRecord)
    begun = _begun(there[0]) if there else None
    told = [record.digest for record in ledger.of_kind(ImagesRecord) if record.stage == stage]
    parents = [run.model_digest for run in ledger.of_kind(RunRecord) if run.given]
    parents += [told.model_digest for told in ledger.of_kind(OriginRecord)]
    first = [parent.history[0]["parent_digest"]] if parent.history else []
    line = {*(record["model_digest"] for record in parent.history), *first}
    return (
        begun is not None
        and _meaning(begun) == _meaning(experiment)
        and told in ([], [images.digest])
        and (parent.model_digest in parents or (not told and set(parents) <= line))
    )
