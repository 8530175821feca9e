"""What an ONNX file of ours carries beside its graph, for whoever writes or reads one. No torch.

Metadata: class_names (JSON), image_size, fit, resampling, white_level, model_digest (of the model file's
weights), and file_digest: the SHA-256 of the whole file with STAND_IN in that digest's own place.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import ExportError
from ..files import digest_bytes
from ..photos.decode import FITS, RESAMPLINGS, Rule
from ..photos.grey import FULL_RANGE, LEVELS

INPUT, OUTPUT = "images", "probabilities"
FILE_DIGEST = "file_digest"
STAND_IN = "SHA-256 of this file with these words in its own place".ljust(64, ".")
"""As long as the digest, so that putting one for the other moves nothing in the file."""


@dataclass(frozen=True)
class OnnxCard:
    """What the file says about its model."""

    class_names: list[str]
    """In the order of the columns of the probabilities."""
    rule: Rule
    """How photos become the pixels that it takes."""
    model_digest: str


def to_metadata(card: OnnxCard) -> dict[str, str]:
    """The file's metadata before `seal`, which puts its digest in."""
    return {
        "class_names": json.dumps(card.class_names, ensure_ascii=False),
        "image_size": str(card.rule.size),
        "fit": card.rule.fit,
        "resampling": card.rule.resampling,
        "white_level": str(card.rule.white_level),
        "model_digest": card.model_digest,
        FILE_DIGEST: STAND_IN,
    }


def from_metadata(metadata: Mapping[str, str]) -> OnnxCard:
    """The opposite. Raises KeyError or ValueError where something is missing or senseless."""
    names = json.loads(metadata["class_names"])
    if not (isinstance(names, list) and names and all(isinstance(name, str) for name in names)):
        raise ValueError("class_names is no list of names")
    fit = FITS[FITS.index(metadata["fit"])]
    # Files of earlier versions state neither of these: all that there was is Lanczos and the full range.
    resampling = RESAMPLINGS[RESAMPLINGS.index(metadata.get("resampling", RESAMPLINGS[0]))]
    level = LEVELS[LEVELS.index(int(metadata.get("white_level", FULL_RANGE)))]
    rule = Rule(int(metadata["image_size"]), fit, resampling, level)
    return OnnxCard(names, rule, metadata["model_digest"])


def seal(content: bytes) -> bytes:
    """The content with its digest in place of STAND_IN. Raises ExportError if that stands there twice."""
    if content.count(STAND_IN.encode()) != 1:
        raise ExportError("a name in the model is the stand-in for the file's digest", "rename that class")
    return content.replace(STAND_IN.encode(), digest_bytes(content).encode())


def is_sealed(content: bytes, digest: str) -> bool:
    """Whether the content is, bit for bit, what was sealed with this digest."""
    if len(digest) != len(STAND_IN):  # an empty one would be found between all bytes
        return False
    return digest_bytes(content.replace(digest.encode(), STAND_IN.encode())) == digest
