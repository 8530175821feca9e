"""The square that photos are brought to. Apart from networks: who only decodes need not load pydantic."""

from __future__ import annotations

from dataclasses import dataclass

from .choices import Fit, Resampling


@dataclass(frozen=True)
class Frame:
    """The square that photos are brought to, as a network takes them."""

    size: int
    """Of its side, in pixels."""
    fit: Fit = "letterbox"
    """How a photo that is not square is brought to it."""
    resampling: Resampling = "lanczos"
    """How pixels are scaled."""
