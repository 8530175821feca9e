"""A model file: weights, class names, and how they came about, in one safetensors file. No pickle.

The file holds the state of the network and one JSON text `benchgraft` with a ModelCard. A network that was
trained here has a history too: in the card, and as arrays `trained_on` (the first 8 bytes of the SHA-256 of
every image that took part in training, this stage's and its parents'), `trained_on_perceptual` (their
perceptual hashes) and `tested_on` (the first 8 bytes of the SHA-256 of this stage's test images). One from
elsewhere has none, and then nothing is known of its photos, nor of what its training took.

Files of format 1 have no perceptual hashes, those before format 3 no white level, those before format 4 are
of the paper's network and always have a history.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import torch
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ..config.choices import Fit
from ..config.frame import Frame
from ..config.network import NetworkSpec, of_settings
from ..errors import ModelFileError, did_you_mean
from ..files import digest_bytes, shipped_path, utf8_path, write_whole
from ..names import class_name, resolve_renames
from ..runfolder.ledger import dump_json
from ..runfolder.records import BlockRecord
from .build import block_names, build
from .contract import Network, draw_head
from .dormant import dormant_network
from .freeze import tensor_digest

FORMAT = 4
TRAINED_ON = "trained_on"
TRAINED_ON_PERCEPTUAL = "trained_on_perceptual"
TESTED_ON = "tested_on"
NONE: npt.NDArray[np.uint64] = np.empty(0, np.uint64)


class ModelCard(BaseModel):
    """What a model file says about its model."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    format: int = FORMAT
    stage: str
    class_names: Annotated[list[str], AfterValidator(lambda names: [class_name(name) for name in names])]
    fit: Fit = "letterbox"
    """How a photo of another shape is brought to the square that the network takes."""
    white_level: int = Field(default=65535, ge=255, le=65535)
    """The value of 16-bit grey that becomes 255: one for the photos trained on and those to answer."""
    group_by: str | None = None
    """What kept photos of one object on one side of the split; an update must do the same."""
    network: NetworkSpec
    model_digest: str
    """Over every tensor of the network, see state_digest."""
    record: dict[str, Any] | None = None
    """The ledger record of the training run, without its predictions; None: the model is from elsewhere."""
    ancestors: list[dict[str, Any]] = []
    """The same of its parent and that one's parents, the first stage first: what its making has cost."""
    origin: str | None = None
    """Where the first of its line is from, if that has no record: then what was before is not known."""
    own_blocks: list[BlockRecord] = []
    """Of the network, where no record says them."""

    @property
    def frame(self) -> Frame:
        """What photos are brought to for it."""
        return self.network.frame(self.fit)

    @property
    def history(self) -> list[dict[str, Any]]:
        """All records that there are, the first stage first."""
        return [*self.ancestors, *([self.record] if self.record else [])]

    @functools.cached_property
    def blocks(self) -> list[BlockRecord]:
        """Of the network, with its own head; none where the file is of a version that did not say them."""
        said = (self.record or {}).get("blocks", [])
        return self.own_blocks or [BlockRecord.model_validate(block) for block in said]

    @property
    def block_names(self) -> Sequence[str]:
        """In order. Built once a process to know them, where the file does not say."""
        return [block.name for block in self.blocks] or block_names(self.network)

    @model_validator(mode="before")
    @classmethod
    def _of_earlier_formats(cls, card: Any) -> Any:
        if not isinstance(card, dict) or card.get("format", FORMAT) >= 4:
            return card
        kept = {name: value for name, value in card.items() if name != "image_size"}
        return kept | {"network": of_settings(card.get("network", {}))}


@dataclass(frozen=True)
class ModelFile:
    """A model file as read."""

    path: Path
    card: ModelCard
    state: dict[str, Tensor]
    trained_on: npt.NDArray[np.uint64]
    """Content digests of all training images that are known, its parents' among them, sorted."""
    tested_on: npt.NDArray[np.uint64]
    """Content digests of the test images that its accuracy was measured on, sorted."""
    trained_on_perceptual: npt.NDArray[np.uint64]
    """Perceptual hashes of the training images, sorted; none in a file of format 1."""


def state_digest(network: Network) -> str:
    """SHA-256 over name, shape and bits of every parameter and buffer."""
    return _digest_of(network.state_dict())


def _digest_of(state: Mapping[str, Tensor]) -> str:
    parts = {name: [list(t.shape), tensor_digest(t)] for name, t in state.items()}
    return digest_bytes(dump_json(parts).encode())


def write(
    path: Path,
    network: Network,
    card: ModelCard,
    trained_on: npt.NDArray[np.uint64] = NONE,
    tested_on: npt.NDArray[np.uint64] = NONE,
    trained_on_perceptual: npt.NDArray[np.uint64] = NONE,
) -> None:
    """Write whole or not at all. Raises StorageError.

    The digests and hashes, uint64 (n,) each, may come in any order and more than once.
    """
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    of_images = {
        TRAINED_ON: trained_on,
        TESTED_ON: tested_on,
        TRAINED_ON_PERCEPTUAL: trained_on_perceptual,
    }
    for name, digests in of_images.items():
        state[name] = torch.from_numpy(np.unique(digests).view(np.int64))
    write_whole(path, save(state, {"benchgraft": card.model_dump_json()}))


def read(path: Path) -> ModelFile:
    """Raises ModelFileError if it is missing, no model file of ours, damaged, or of a newer format.

    path: of the file, or `shipped:NAME` for one that comes with the program.
    """
    path = shipped_path(str(path))
    card, state = _content(path, with_tensors=True)
    none = torch.empty(0, dtype=torch.int64)
    trained_on, tested_on, perceptual = (
        state.pop(name, none).numpy().view(np.uint64)
        for name in (TRAINED_ON, TESTED_ON, TRAINED_ON_PERCEPTUAL)
    )
    return ModelFile(path, card, state, trained_on, tested_on, perceptual)


def read_card(path: Path) -> ModelCard:
    """What the file says about its model, without reading the weights. Path and errors as in `read`."""
    return _content(shipped_path(str(path)), with_tensors=False)[0]


def _content(path: Path, with_tensors: bool) -> tuple[ModelCard, dict[str, Tensor]]:
    if not path.is_file():
        raise ModelFileError(
            f"no model file at {path}", "name a .safetensors file that benchgraft has written"
        )
    try:
        with utf8_path(path) as place, safe_open(place, framework="pt") as opened:
            text = (opened.metadata() or {}).get("benchgraft")
            names = list(opened.keys()) if with_tensors else []
            state = {name: opened.get_tensor(name) for name in names}
    except (SafetensorError, OSError) as error:
        if path.suffix.lower() == ".onnx":
            raise ModelFileError(
                f"{path} is an ONNX file, which only predict takes",
                "name the .safetensors file that it was exported from",
            ) from None
        raise ModelFileError(
            f"{path} is not a whole safetensors file: {error}", "copy it anew, or make it again"
        ) from None
    if text is None:
        raise ModelFileError(
            f"{path} was not written by benchgraft", "make one with: benchgraft reproduce --data DIR"
        )
    return _card(path, text), state


def _card(path: Path, text: str) -> ModelCard:
    raw = json.loads(text)
    if raw.get("format", 0) > FORMAT:
        raise ModelFileError(f"{path} has format {raw['format']}; this version reads up to {FORMAT}")
    try:
        return ModelCard.model_validate(raw)
    except ValidationError as error:
        raise ModelFileError(f"{path} has a damaged description: {error.errors()[0]['msg']}") from None


def load(file: ModelFile, is_dormant: bool = False) -> Network:
    """The network of a model file, bit for bit. Raises ModelFileError if weights and description disagree.

    is_dormant: nothing but its head is to train, see dormant.py.
    """
    network = _new_network(file, len(file.card.class_names), None, None, is_dormant)
    _copy_state(network, file, file.state)
    refuse_damage(file)
    return network


def _new_network(
    file: ModelFile, class_count: int, seed: int | None, spec: NetworkSpec | None, is_dormant: bool
) -> Network:
    """As `build`; one that may sleep where nothing but its head is to train, and the file says its blocks."""
    card = file.card
    if not (is_dormant and spec is None and card.network.family == "timm" and card.blocks):
        return build(spec or card.network, class_count, seed)
    network = dormant_network(card.network, list(card.block_names), file.state, class_count)
    if seed is not None:
        draw_head(network, seed)
    return network


def start_from(
    file: ModelFile,
    class_count: int,
    seed: int,
    spec: NetworkSpec | None = None,
    carried: Mapping[int, int] | None = None,
    is_dormant: bool = False,
) -> Network:
    """A network with everything of the parent model but its head, which is new for `class_count` classes.

    spec: of the new network, where its options are others than the parent's. carried: row of the new head ->
    row of the parent's that it starts as, see carried_rows. is_dormant: as in load.
    """
    refuse_damage(file)
    network = _new_network(file, class_count, seed, spec, is_dormant)
    head = f"{network.head_name}."
    backbone = {name: tensor for name, tensor in file.state.items() if not name.startswith(head)}
    new_head = {name: tensor for name, tensor in network.state_dict().items() if name.startswith(head)}
    for name, tensor in new_head.items():
        for new, old in (carried or {}).items():
            tensor[new] = file.state[name][old]
    _copy_state(network, file, {**backbone, **new_head})
    return network


def carried_rows(
    old_names: Sequence[str], new_names: Sequence[str], rename: Mapping[str, str] | None = None
) -> dict[int, int]:
    """Row of the new head -> row of the old one, by class name. rename: old name -> new name.

    Names are compared as `class_name` has them.
    Raises ModelFileError if a name to be renamed is not the old model's, or its new name is no class now.
    """
    renamed = resolve_renames(rename or {}, old_names)
    here = [class_name(name) for name in new_names]
    for old, new in renamed.items():
        if new not in here:
            raise ModelFileError(
                f'cannot rename "{old}" to "{new}": no such class', did_you_mean(new, new_names)
            )
    row_of = {renamed.get(name) or class_name(name): row for row, name in enumerate(old_names)}
    return {row: row_of[name] for row, name in enumerate(here) if name in row_of}


def refuse_damage(file: ModelFile) -> None:
    """Raises ModelFileError if the weights are not those that the file states."""
    if _digest_of(file.state) != file.card.model_digest:
        raise ModelFileError(f"{file.path} is damaged: its weights do not have the digest that it states")


def _copy_state(network: Network, file: ModelFile, state: dict[str, Tensor]) -> None:
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        first, *rest = str(error).splitlines()
        raise ModelFileError(
            f"{file.path} does not fit the network: {first}", *map(str.strip, rest)
        ) from None
