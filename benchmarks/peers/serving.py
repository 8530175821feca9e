"""What both other services have in common: see benchmarks/serving.py."""

from __future__ import annotations

import io
import json
import os

import numpy as np
import onnxruntime
from PIL import Image


def opened(path: str) -> tuple[onnxruntime.InferenceSession, int, list[str]]:
    """The session, the side of the pictures that it takes, and the names of the classes."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = len(os.sched_getaffinity(0))
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    facts = session.get_modelmeta().custom_metadata_map
    return session, session.get_inputs()[0].shape[1], json.loads(facts["class_names"])


def pixels(raw: bytes, side: int) -> np.ndarray:
    """The middle square of a photo, uint8 (side, side, 3)."""
    image = Image.open(io.BytesIO(raw)).convert("RGB")
    short = min(image.size)
    left, top = (image.width - short) // 2, (image.height - short) // 2
    box = (left, top, left + short, top + short)
    return np.asarray(image.resize((side, side), Image.Resampling.BICUBIC, box))


def answer(row: np.ndarray, names: list[str]) -> dict[str, object]:
    """The likeliest class."""
    return {"class_name": names[int(row.argmax())], "probability": float(row.max())}
