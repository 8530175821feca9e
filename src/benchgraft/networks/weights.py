"""Where the weights of a network of timm are: a file given, an installed package, timm's cache, a download.

No code of a file is run: safetensors hold none, and of torch's files only tensors are read.
"""

from __future__ import annotations

import hashlib
import pickle
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..config.parents import PACKAGES, Package, package_of
from ..errors import ModelFileError
from ..files import utf8_path

_HOLDERS = ("state_dict_ema", "model_ema", "state_dict", "model")
"""Names under which checkpoints of training programs keep the state of the network."""


@dataclass(frozen=True)
class Weights:
    """A file of weights that is here."""

    path: Path
    sha256: str
    source: str
    """In words."""
    package: Package | None
    """Of which this is the file, wherever it lies."""
    is_given: bool = False
    """By the user: then nothing but its tensors is known."""


def given_weights(path: Path) -> Weights:
    """Raises ModelFileError if there is no such file."""
    if not path.is_file():
        raise ModelFileError(f"no weights at {path}", "name a .safetensors file, or a state dict of torch")
    sha256 = file_sha256(path)
    package = next((package for package in PACKAGES if package.sha256 == sha256), None)
    if package:
        return Weights(path, sha256, f"the file of package {package.name}", package)
    return Weights(path, sha256, f"a file given, {path.name}", None, is_given=True)


def packaged_weights(network: str) -> Weights | None:
    """Of an installed package, which is not imported; None where none carries weights of this network.

    Raises ModelFileError if its file is not the one that is known.
    """
    package = package_of(network)
    if package is None:
        return None
    try:
        installed = metadata.distribution(package.name)
    except metadata.PackageNotFoundError:
        return None
    path = Path(str(installed.locate_file(package.file)))
    again = f"install it anew: pip install --force-reinstall {package.name}"
    if not path.is_file():
        raise ModelFileError(f"package {package.name} lacks its file {path}", again)
    sha256 = file_sha256(path)
    if sha256 != package.sha256:
        raise ModelFileError(
            f"{path} is not the file that is known of package {package.name}",
            f"its SHA-256 is {sha256}, known is {package.sha256}",
            again,
        )
    return Weights(path, sha256, f"package {package.name} {installed.version}", package)


def file_sha256(path: Path) -> str:
    """As 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_state(path: Path) -> dict[str, Tensor]:
    """Name -> tensor, of a safetensors file or a state dict of torch, also one within a checkpoint.

    Raises ModelFileError for a file that holds anything else, whose code, if it has any, is not run.
    """
    return _of_safetensors(path) if path.suffix == ".safetensors" else _of_torch(path)


def _of_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        with utf8_path(path) as place, safe_open(place, framework="pt") as opened:
            is_ours = "benchgraft" in (opened.metadata() or {})
            state = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ModelFileError(f"{path} is not a whole safetensors file: {error}", "copy it anew") from None
    if is_ours:
        raise ModelFileError(f"{path} is a model file, not bare weights", f"name it as --parent {path}")
    return state


def _of_torch(path: Path) -> dict[str, Tensor]:
    try:
        held: Any = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise ModelFileError(
            f"{path} holds something else than tensors, and reading that could run code of its own",
            "ask its maker for a safetensors file, or for the state dict alone",
        ) from None
    except (OSError, RuntimeError, EOFError, ValueError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelFileError(f"{path} cannot be read as weights: {first}", "copy it anew") from None
    for holder in _HOLDERS:
        if isinstance(held, dict) and isinstance(held.get(holder), dict):
            held = held[holder]
            break
    if not held or not isinstance(held, dict) or not all(isinstance(each, Tensor) for each in held.values()):
        raise ModelFileError(f"{path} is no state dict: names and their tensors", "save one with torch.save")
    return {str(name).removeprefix("module."): tensor for name, tensor in held.items()}


_OUTER = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2"}
_OUTER |= {"_fc": "classifier"}
_EXPANDING = {"_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2"}
_EXPANDING |= {"_project_conv": "conv_pwl", "_bn2": "bn3"}
_PLAIN = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}


def in_names_of_timm(state: Mapping[str, Tensor], wanted: Iterable[str]) -> dict[str, Tensor]:
    """The same tensors; those of efficientnet_pytorch, whose blocks are numbered through, as timm has them.

    wanted: names of timm's network, which tell its stages and how many blocks each has.
    """
    if "_conv_stem.weight" not in state:
        return dict(state)
    places = [re.match(r"blocks\.(\d+)\.(\d+)\.", name) for name in wanted]
    blocks = sorted({(int(place[1]), int(place[2])) for place in places if place})
    expanding = {name.split(".")[1] for name in state if name.endswith("._expand_conv.weight")}
    renamed = {}
    for name, tensor in state.items():
        layer, _, rest = name.partition(".")
        if layer == "_blocks":
            number, layer, rest = rest.split(".", 2)
            layers = _EXPANDING if number in expanding else _PLAIN
            where = "blocks.{}.{}.".format(*blocks[int(number)]) if int(number) < len(blocks) else ""
            renamed[f"{where}{layers.get(layer, layer)}.{rest}"] = tensor
        else:
            renamed[f"{_OUTER.get(layer, layer)}.{rest}"] = tensor
    return renamed
