"""Networks of timm as chains of named blocks: timm's own modules and methods, called in the same order.

A family is known by its class in timm. What its `forward` does between modules is repeated here by a block
that holds the modules: dropout before the classifier is a function there, and so belongs to the head. A class
that is not known is taken as two blocks, backbone and head.
"""

from __future__ import annotations

import copy
import functools
import itertools
from collections.abc import Callable, Iterable
from typing import Any, get_args

import timm
import torch
from timm.layers.conv2d_same import Conv2dSame
from timm.layers.padding import get_same_padding
from torch import Tensor, nn

from ..config.network import InputSpec, Interpolation, NetworkSpec
from ..errors import ConfigError, did_you_mean
from .contract import Head, Network, channels_last

Blocks = list[tuple[str, nn.Module]]


class Embedding(nn.Module):
    """Patches, class token and positions of a vision transformer: timm's method, on the same tensors."""

    def __init__(self, vit: Any) -> None:
        super().__init__()
        self._embed = type(vit)._pos_embed
        _share(self, vit, "patch_embed cls_token reg_token pos_embed pos_drop patch_drop norm_pre")
        _share(self, vit, "dynamic_img_size no_embed_class num_prefix_tokens")

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, side, side) to tokens (N, T, C)."""
        vit: Any = self
        tokens: Tensor = vit.norm_pre(vit.patch_drop(self._embed(vit, vit.patch_embed(x))))
        return tokens


class Pooling(nn.Module):
    """The tokens of a vision transformer as one row of features: timm's method."""

    def __init__(self, vit: Any) -> None:
        super().__init__()
        self._pool = type(vit).pool
        _share(self, vit, "norm attn_pool fc_norm global_pool pool_include_prefix num_prefix_tokens")

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (N, T, C) to (N, C)."""
        vit: Any = self
        features: Tensor = vit.fc_norm(self._pool(vit, vit.norm(x)))
        return features


class Backbone(nn.Module):
    """All of a network but its classifier, where nothing more is known of it."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, side, side) to what the classifier takes."""
        features: Tensor = self.model(x)
        return features


def _share(block: nn.Module, model: Any, names: str) -> None:
    for name in names.split():
        setattr(block, name, getattr(model, name, None))


def resolved(spec: NetworkSpec) -> NetworkSpec:
    """With the input of timm's own configuration, and whether the chain of its blocks is exact.

    Raises ConfigError for a name that timm does not have, or options that the network does not take.
    """
    if spec.input is not None and spec.has_blocks is not None:
        return spec
    if not timm.is_model(spec.name):
        raise ConfigError(f'timm has no network "{spec.name}"', did_you_mean(spec.name, timm.list_models()))
    spec = spec.model_copy(update={"input": spec.input or _own_input(spec)})
    return spec.model_copy(update={"has_blocks": _is_exact(spec.model_dump_json())})


def _own_input(spec: NetworkSpec) -> InputSpec:
    config = timm.get_pretrained_cfg(spec.name)
    if config is None:
        raise ConfigError(
            f'timm says nothing of the input of "{spec.name}"', "state side, mean and std: input.side = ..."
        )
    wanted = config.interpolation
    known = wanted if wanted in get_args(Interpolation) else "bicubic"
    return InputSpec.model_validate(
        {
            "side": spec.options.get("img_size", config.input_size[-1]),
            "mean": config.mean,
            "std": config.std,
            "interpolation": known,
            "resampling": known,
        }
    )


def create(spec: NetworkSpec, class_count: int, seed: int = 0) -> nn.Module:
    """timm's own network, in training mode, its random weights a pure function of the seed.

    Raises ConfigError for options that it does not take.
    """
    options: dict[str, Any] = {**spec.options, "num_classes": class_count}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            made: nn.Module = timm.create_model(spec.name, pretrained=False, **options)
        except (TypeError, ValueError, RuntimeError, AssertionError) as error:
            raise ConfigError(f"timm cannot make {spec.name} with {spec.options}: {error}") from None
    return made


def chain(spec: NetworkSpec, class_count: int, seed: int) -> Blocks:
    """The blocks of a new network."""
    return _blocks_as(spec, create(spec, class_count, seed))


def as_network(spec: NetworkSpec, model: nn.Module, class_count: int) -> Network:
    """A network of timm as a chain, with the tensors that it has. spec: with its input."""
    return channels_last(Network(spec, _blocks_as(spec, model), class_count))


def _blocks_as(spec: NetworkSpec, model: nn.Module) -> Blocks:
    return blocks_of(model) if spec.has_blocks else _two_blocks(model)


def blocks_of(model: nn.Module) -> Blocks:
    """The chain of a network of timm, which shares its tensors."""
    return _FAMILIES.get(type(model).__name__, _two_blocks)(model)


@functools.cache
def _is_exact(described: str) -> bool:
    """Whether the chain has every tensor once, and gives what the network gives, in both modes, bit for bit.

    A class of timm has many variants, of which not all were read when its blocks were written down.
    """
    spec = NetworkSpec.model_validate_json(described)
    model = create(spec, 2)
    chained = copy.deepcopy(model)
    try:
        whole = [id(tensor) for tensor in itertools.chain(chained.parameters(), chained.buffers())]
        blocks = blocks_of(chained)
        tensors = [id(t) for _, block in blocks for t in itertools.chain(block.parameters(), block.buffers())]
        if sorted(tensors) != sorted(whole):
            return False
        return all(_same(model.train(mode), blocks, spec.side) for mode in (False, True))
    except (AttributeError, TypeError, RuntimeError):
        return False


def _same(model: nn.Module, blocks: Blocks, side: int) -> bool:
    """Whether network and chain, in the mode in which the network is, agree on two pictures of noise."""
    chained = nn.Sequential(*(block for _, block in blocks)).train(model.training)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        x = torch.randn(2, 3, side, side)
        answers = []
        for each in (model, chained):
            torch.manual_seed(1)
            answers.append(each(x))
    return torch.equal(*answers)


def with_fixed_padding(layers: nn.Sequential, pixels: Tensor) -> nn.Sequential:
    """A copy in which "same" padding is a number for pictures of this size, and not worked out at each pass.

    The same bits. A traced graph would work it out as well, in five places of an EfficientNet, and run a
    quarter slower for it. pixels: uint8 (n, side, side, 3).
    """
    copied = copy.deepcopy(layers)
    pads: dict[str, tuple[int, int, int, int]] = {}

    def note(name: str, conv: nn.Conv2d, x: Tensor) -> None:
        pads[name] = same_padding(conv, x)

    same = {name: conv for name, conv in copied.named_modules() if isinstance(conv, Conv2dSame)}
    for name, conv in same.items():
        conv.register_forward_pre_hook(lambda conv, given, name=name: note(name, conv, given[0]))
    with torch.no_grad():
        copied(pixels)
    for name, conv in same.items():
        plain = nn.Conv2d(1, 1, 1)
        plain.__dict__.update({key: value for key, value in conv.__dict__.items() if "hooks" not in key})
        copied.set_submodule(name, nn.Sequential(nn.ZeroPad2d(pads[name]), plain))
    return copied


def same_padding(conv: nn.Conv2d, images: Tensor) -> tuple[int, int, int, int]:
    """Columns to the left and right, and lines above and below, that "same" padding adds to these images."""
    high, wide = (
        get_same_padding(size, kernel, stride, dilation)
        for size, kernel, stride, dilation in zip(
            images.shape[-2:], conv.kernel_size, conv.stride, conv.dilation, strict=True
        )
    )
    return wide // 2, wide - wide // 2, high // 2, high - high // 2


def _numbered(name: str, parts: Iterable[nn.Module]) -> Blocks:
    return [(f"{name}_{number}", part) for number, part in enumerate(parts)]


def _efficientnet(model: Any) -> Blocks:
    return [
        ("stem", nn.Sequential(model.conv_stem, model.bn1)),
        *_numbered("blocks", model.blocks),
        ("features", nn.Sequential(model.conv_head, model.bn2)),
        ("pool", model.global_pool),
        ("head", Head(model.classifier, model.drop_rate)),
    ]


def _mobilenetv3(model: Any) -> Blocks:
    pooled = [model.global_pool, model.conv_head, model.norm_head, model.act2, model.flatten]
    return [
        ("stem", nn.Sequential(model.conv_stem, model.bn1)),
        *_numbered("blocks", model.blocks),
        ("pool", nn.Sequential(*pooled)),
        ("head", Head(model.classifier, model.drop_rate)),
    ]


def _resnet(model: Any) -> Blocks:
    return [
        ("stem", nn.Sequential(model.conv1, model.bn1, model.act1, model.maxpool)),
        *((f"layer{number}", getattr(model, f"layer{number}")) for number in (1, 2, 3, 4)),
        ("pool", model.global_pool),
        ("head", Head(model.fc, float(model.drop_rate))),
    ]


def _convnext(model: Any) -> Blocks:
    head = model.head
    pooled = [model.norm_pre, head.global_pool, head.norm, head.flatten, head.pre_logits]
    return [
        ("stem", model.stem),
        *_numbered("stages", model.stages),
        ("pool", nn.Sequential(*pooled)),
        ("head", Head(head.fc, head.drop.p)),
    ]


def _vision_transformer(model: Any) -> Blocks:
    return [
        ("embed", Embedding(model)),
        *_numbered("blocks", model.blocks),
        ("pool", Pooling(model)),
        ("head", Head(model.head, model.head_drop.p)),
    ]


def _two_blocks(model: Any) -> Blocks:
    """Its classifier is taken out of it; dropout before that stays in the backbone."""
    classifier = model.get_classifier()
    name = next((name for name, module in model.named_modules() if module is classifier), None)
    if name is None or not isinstance(classifier, nn.Linear):
        raise ConfigError(
            f"the classifier of {type(model).__name__} is no linear layer: it cannot be a parent"
        )
    holder, _, attribute = name.rpartition(".")
    setattr(model.get_submodule(holder), attribute, nn.Identity())
    return [("backbone", Backbone(model)), ("head", Head(classifier, 0.0))]


_FAMILIES: dict[str, Callable[[Any], Blocks]] = {
    "EfficientNet": _efficientnet,
    "MobileNetV3": _mobilenetv3,
    "ResNet": _resnet,
    "ConvNeXt": _convnext,
    "VisionTransformer": _vision_transformer,
}
