"""Weights of timm's networks: what timm says of them, where it keeps them, and networks that hold them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlparse
from urllib.request import Request, urlopen

import timm
import torch
from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache
from timm.data.imagenet_info import ImageNetInfo, infer_imagenet_subset
from torch import Tensor, nn

from ..errors import ConfigError, ModelFileError, did_you_mean
from .weights import Weights, file_sha256, in_names_of_timm

_SECONDS = 5
"""At most so long is waited for a hub to answer at all."""


@dataclass(frozen=True)
class Stated:
    """What timm's configuration says of a network's weights."""

    hub: str | None
    """Repository on the Hugging Face hub."""
    files: tuple[str, ...]
    """Names that the weights may have there, the preferred first."""
    url: str | None
    licence: str | None
    classes: int
    """0: the network has no classifier."""

    @property
    def places(self) -> str:
        """Where the weights are to be had, in words."""
        hub = [f"{self.hub} ({' or '.join(self.files)}) on the Hugging Face hub"] if self.hub else []
        return " or ".join([*hub, *([self.url] if self.url else [])]) or "nowhere that timm knows"

    @property
    def in_torch_cache(self) -> Path:
        """Where torch keeps the file of the address."""
        assert self.url is not None
        return Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(self.url).path).name


def names() -> list[str]:
    """Of all networks that timm has."""
    found: list[str] = timm.list_models()
    return found


def stated(network: str) -> Stated:
    """Raises ConfigError for a name that timm does not have."""
    if not timm.is_model(network):
        raise ConfigError(f'timm has no network "{network}"', did_you_mean(network, timm.list_models()))
    try:
        config = timm.get_pretrained_cfg(network)
    except RuntimeError:
        name = network.partition(".")[0]
        tags = timm.list_pretrained(f"{name}.*")
        raise ConfigError(f'timm has no weights "{network}"', did_you_mean(network, tags)) from None
    if config is None:
        return Stated(None, (), None, None, 1000)
    named = config.hf_hub_filename
    files = (named,) if named else ("model.safetensors", "pytorch_model.bin")
    url = config.url if isinstance(config.url, str) else None
    return Stated(
        config.hf_hub_id, files if config.hf_hub_id else (), url, config.license, config.num_classes
    )


def cached_weights(network: str) -> Weights | None:
    """Of the hub's cache on this machine, or torch's."""
    facts = stated(network)
    for file in facts.files:
        found = try_to_load_from_cache(str(facts.hub), file)
        if isinstance(found, str):
            return _of_hub(found, facts)
    if facts.url and facts.in_torch_cache.is_file():
        return _of_url(facts)
    return None


def downloaded_weights(network: str) -> Weights | str:
    """From the hub, or the address that timm has; why not, in one line, where that fails."""
    facts = stated(network)
    why = "timm has no weights of it"
    if facts.hub:
        # The hub's own client tries again and again for a minute where there is no network.
        why = _why_silent(constants.ENDPOINT) or ""
        for file in () if why else facts.files:
            try:
                return _of_hub(hf_hub_download(facts.hub, file, etag_timeout=_SECONDS), facts)
            except Exception as error:  # of three libraries below it, each with its own
                why = _first_line(error)
    if facts.url:
        silent = _why_silent(facts.url)
        if silent is None:
            try:
                _fetch(facts.url, facts.in_torch_cache)
                return _of_url(facts)
            except (OSError, RuntimeError) as error:
                silent = _first_line(error)
        why = silent
    return why


def _why_silent(url: str) -> str | None:
    """Why nothing answers at an address; None where something does, whatever it says."""
    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    try:
        with urlopen(Request(url, method="HEAD"), timeout=_SECONDS):
            return None
    except HTTPError:
        return None
    except (OSError, ValueError) as error:
        return _first_line(error)


def _fetch(url: str, path: Path) -> None:
    """Checked by the beginning of the SHA-256 where the file's name has it, as torch's names do."""
    path.parent.mkdir(parents=True, exist_ok=True)
    named = torch.hub.HASH_REGEX.search(path.name)
    torch.hub.download_url_to_file(url, str(path), named[1] if named else None, progress=False)


def _of_hub(path: str, facts: Stated) -> Weights:
    return Weights(Path(path), file_sha256(Path(path)), f"the Hugging Face hub, {facts.hub}", None)


def _of_url(facts: Stated) -> Weights:
    return Weights(facts.in_torch_cache, file_sha256(facts.in_torch_cache), str(facts.url), None)


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0][:200] if text else type(error).__name__


def network_with(network: str, state: dict[str, Tensor], where: Path) -> tuple[nn.Module, int]:
    """timm's network with these tensors, each used, and how many classes it tells apart.

    A network without a classifier gets one of one class, to be replaced. Raises ModelFileError if the tensors
    are not those of the network.
    """
    facts = stated(network)
    state = in_names_of_timm(state, timm.create_model(network, pretrained=False).state_dict())
    classes = _classes(network, state, facts.classes)
    overlay: dict[str, Any] = {"state_dict": state, "num_classes": classes, "custom_load": False}
    try:
        made: nn.Module = timm.create_model(
            network, pretrained=True, num_classes=classes, pretrained_cfg_overlay=overlay
        )
    except (RuntimeError, KeyError, ValueError, AttributeError) as error:
        first, *rest = str(error).splitlines() or [type(error).__name__]
        raise ModelFileError(
            f"{where} does not hold the weights of timm's {network}: {first}",
            *(line.strip()[:200] for line in rest[:3]),
        ) from None
    if not classes:
        made.reset_classifier(1)  # type: ignore[operator]
    return made, max(1, classes)


def _classes(network: str, state: dict[str, Tensor], stated_classes: int) -> int:
    """As many as the classifier has rows, where the weights have one by timm's name for it."""
    config = timm.get_pretrained_cfg(network)
    name = config.classifier if config else None
    first = name[0] if isinstance(name, tuple | list) else name
    weight = state.get(f"{first}.weight")
    offset = (config.label_offset or 0) if config else 0
    return stated_classes if weight is None or offset else len(weight)


def class_names(classes: int) -> list[str] | None:
    """Of the ImageNet that has so many, each name once; None where that is none."""
    subset = infer_imagenet_subset({"num_classes": classes})
    if subset is None:
        return None
    info = ImageNetInfo(subset)
    names = [info.index_to_description(index).partition(",")[0] for index in range(classes)]
    often = Counter(names)
    labels: list[str] = info.label_names()  # type: ignore[no-untyped-call]
    return [
        name if often[name] == 1 else f"{name} ({label})" for name, label in zip(names, labels, strict=True)
    ]
