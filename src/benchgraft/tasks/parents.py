"""What there is to transfer from: parents by name, where their weights are, and what they take to run."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Unpack

import torch

from ..config.checking import checked
from ..config.network import NetworkSpec
from ..config.options import ParentsOptions
from ..config.parents import PARENTS, Parent, is_name, network_of
from ..config.requests import ParentsRequest
from ..engines.device import prepare_device, threads_put_back, wait_for
from ..errors import ModelFileError
from ..files import shipped_path
from ..networks import model_file
from ..networks.build import build
from ..networks.contract import Network, in_inference_order, split_at
from ..networks.cost import megaflops
from ..networks.parents import find_weights, parent_place, spec_of
from ..networks.weights import Weights
from ..part import Part, Result

BATCH = 32
TIMED = 3


class ParentFacts(Part):
    """One parent."""

    name: str
    network: str
    trained_on: str | None
    """None: not stated."""
    is_here: bool
    """Whether its weights are on this machine."""
    source: str
    """Of its weights, or, where they are not here, what to do."""
    licence: str | None
    """Of the weights; None: not stated."""
    stated_by: str | None
    """Who says so."""
    bytes: int | None
    """Of the file of weights."""
    side: int
    """Of the pictures it takes, in pixels."""
    megaflops: float
    """For one picture, multiply and add counted as two."""
    blocks: list[str]
    has_blocks: bool
    """False: no chain of its blocks is known, so that it is two, backbone and head, and frozen as a whole."""
    photos_a_second: float | None
    """Features of the last block before the head on this machine, 32 photos at a time; None: not measured."""


class Parents(Result):
    """What `parents` has found."""

    parents: list[ParentFacts]
    batch: int = BATCH
    device: str
    threads: int


@threads_put_back()
def parents(name: Path | str | None = None, **options: Unpack[ParentsOptions]) -> Parents:
    """Parents that have a name, or the one of this name (also timm/NAME, or a model file). Fetches nothing.

    Options, and what they are where they are left out: see ParentsRequest in benchgraft.config.requests.
    Raises ConfigError for a network that timm does not have, ModelFileError for a file that is no model.
    """
    request = checked(ParentsRequest, name=name, **options)
    device = prepare_device(request.device, request.threads)
    names = [request.name] if request.name else list(PARENTS)
    return Parents(
        parents=[_facts(each, device if request.measure else None) for each in names],
        device=str(device),
        threads=torch.get_num_threads(),
    )


def _facts(name: str, device: torch.device | None) -> ParentFacts:
    """device: to measure on; None: nothing is measured."""
    network = network_of(name) if is_name(name) else None
    return _of_timm(name, network, device) if network else _of_file(name, device)


def _of_timm(name: str, network: str, device: torch.device | None) -> ParentFacts:
    known = PARENTS.get(name)
    from ..networks import timm_weights  # importing timm takes a second

    facts = timm_weights.stated(network)
    found: Weights | None = None
    try:
        found = find_weights(name, network, None, may_download=False)
        source = found.source
    except ModelFileError as error:
        source = "; ".join(error.details)
    package = found.package if found else None
    licence, stated_by = (package.licence, package.stated_by) if package else (facts.licence, "timm")
    return ParentFacts(
        name=name,
        network=network,
        trained_on=known.trained_on if known else None,
        is_here=found is not None,
        source=source,
        licence=licence,
        stated_by=stated_by if licence else None,
        bytes=found.path.stat().st_size if found else None,
        **_of_network(spec_of(network, found), device),
    )


def _of_file(name: str, device: torch.device | None) -> ParentFacts:
    place = Path(parent_place(name, None, Path()))
    card = model_file.read_card(place)
    known = PARENTS.get(name, Parent(name, ""))
    return ParentFacts(
        name=name,
        network=card.network.name,
        trained_on=known.trained_on or None,
        is_here=True,
        source=card.origin or ("comes with the program" if name in PARENTS else "a model file"),
        licence=known.licence,
        stated_by=known.stated_by,
        bytes=shipped_path(str(place)).stat().st_size,
        **_of_network(card.network, device),
    )


def _of_network(spec: NetworkSpec, device: torch.device | None) -> dict[str, Any]:
    network = build(spec, 1000, None if device is None else 0)
    return {
        "side": spec.side,
        "megaflops": megaflops(network),
        "blocks": network.block_names,
        "has_blocks": len(network.block_names) > 2,
        "photos_a_second": None if device is None else _rate(network, device),
    }


@torch.no_grad()
def _rate(network: Network, device: torch.device) -> float:
    """Photos a second, the best of a few batches; random weights take as long as any."""
    prefix, _ = split_at(network.to(device).eval(), network.block_names[-2])
    layers = in_inference_order(prefix)
    side = network.spec.side
    photos = torch.randint(0, 256, (BATCH, side, side, 3), dtype=torch.uint8).to(device)
    layers(photos)
    seconds = []
    for _ in range(TIMED):
        wait_for(device)
        started = time.perf_counter()
        layers(photos)
        wait_for(device)
        seconds.append(time.perf_counter() - started)
    return BATCH / min(seconds)
