"""A network from its description: its family makes the chain.

A new family is a module beside timm_.py, a word in config.network.NetworkSpec, and a branch here; the version
of its library belongs into the key of features (engines/prefix.py), and its layers that do the same in both
modes into freeze.py.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

from pydantic import ValidationError

from ..config.network import PAPER, NetworkSpec
from ..errors import ConfigError
from . import paper_cnn
from .contract import Network, channels_last, draw_head


def resolved(spec: NetworkSpec) -> NetworkSpec:
    """The description with its input, as its family has it.

    Raises ConfigError for a name or options that the family does not know.
    """
    if spec.family == "timm":
        from . import timm_  # importing timm takes a second

        return timm_.resolved(spec)
    if spec.name != "paper_cnn":
        raise ConfigError(f'family paper_cnn has no network "{spec.name}"', "it has one: paper_cnn")
    try:
        paper_cnn.PaperOptions.model_validate(spec.options)
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(
            f"options of paper_cnn: {first['loc'][0]}: {first['msg'].lower()}",
            f"its options: {', '.join(paper_cnn.PaperOptions.model_fields)}",
        ) from None
    return spec.model_copy(update={"input": spec.input or PAPER.input, "has_blocks": True})


def build(spec: NetworkSpec, class_count: int, seed: int | None) -> Network:
    """A new network, in channels-last memory, its weights a pure function of the seed; None: to be filled.

    Raises ConfigError as `resolved` does.
    """
    spec = resolved(spec)
    if spec.family == "timm":
        from . import timm_

        network = Network(spec, timm_.chain(spec, class_count, seed or 0), class_count)
    else:
        network = Network(spec, paper_cnn.chain(spec, class_count), class_count)
    if seed is not None:
        if spec.family == "paper_cnn":
            paper_cnn.initialize(network, seed)
        draw_head(network, seed)
    return channels_last(network)


def block_names(spec: NetworkSpec) -> Sequence[str]:
    """Of the network described, in order; built once a process to know them.

    Raises ConfigError as `resolved` does.
    """
    return _names_of(spec.model_dump_json())


@functools.cache
def _names_of(described: str) -> tuple[str, ...]:
    return tuple(build(NetworkSpec.model_validate_json(described), 2, None).block_names)
