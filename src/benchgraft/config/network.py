"""Which network, described so that it can be built again: the family that builds it, and what it takes in."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from .choices import Fit, Resampling
from .frame import Frame

Interpolation = Literal["bilinear", "bicubic"]
Option = bool | int | float | str


class InputSpec(BaseModel):
    """What a network takes: square pictures of uint8 RGB, which its first layer scales and normalizes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    side: int = Field(ge=1, le=1024)
    """In pixels."""
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    """Of each channel of pixels from 0 to 1, taken away."""
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    """What is left is divided by it."""
    interpolation: Interpolation = "bilinear"
    """How the first layer brings a picture of another size to `side`."""
    resampling: Resampling = "lanczos"
    """How a photo is scaled to `side` where it is read."""


class NetworkSpec(BaseModel):
    """Enough to build a network again, but for its weights."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    family: Literal["paper_cnn", "timm"] = "paper_cnn"
    name: str = "paper_cnn"
    """Within the family."""
    input: InputSpec | None = None
    """None: what the family says; a network that was built has it always."""
    options: dict[str, Option] = {}
    """What the family leaves open: see its module in networks/."""
    has_blocks: bool | None = None
    """False: no exact chain of its blocks is known, and it is taken as two, backbone and head. None: to be
    found out; a network that was built says it."""

    @property
    def side(self) -> int:
        """Of its pictures, in pixels; only of a network that was built."""
        assert self.input is not None
        return self.input.side

    def frame(self, fit: Fit) -> Frame:
        """Of its pictures; only of a network that was built."""
        assert self.input is not None
        return Frame(self.input.side, fit, self.input.resampling)


PAPER = NetworkSpec(input=InputSpec(side=100), has_blocks=True)
"""The paper's network (table 1), the default everywhere."""
PAPER_FRAME = PAPER.frame("letterbox")

_DEFAULTS = {"batch_norm_momentum": 0.1, "batch_norm_epsilon": 1e-5}


def of_settings(settings: dict[str, float]) -> NetworkSpec:
    """The paper's network as files before format 4, and accounts of their time, describe it."""
    options: dict[str, Option] = {
        name: value for name, value in settings.items() if value != _DEFAULTS.get(name)
    }
    return PAPER.model_copy(update={"options": options})
