"""Inference engines on the ONNX file that `benchgraft export` writes (pixels in, probabilities out)."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from . import material

Answer = Callable[[np.ndarray], np.ndarray]


def _onnxruntime(path: Path) -> Answer:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda pixels: session.run(["probabilities"], {"images": pixels})[0]


def _openvino(path: Path) -> Answer:
    import openvino

    hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(str(path), "CPU", hints)
    return lambda pixels: compiled(pixels)[0]


def _benchgraft(path: Path) -> Answer:
    """What `predict` makes of an exported file."""
    from benchgraft.engines.engine import open_classifier

    return open_classifier(path, "cpu", None).probabilities


ENGINES = {"benchgraft": _benchgraft, "onnxruntime": _onnxruntime, "openvino": _openvino}


def forward(job: dict[str, Any]) -> dict[str, Any]:
    """Question 3: one call a batch; the engine uses all cores for it."""
    split = material.splits(job)
    pixels = split["test"].pixels[: job["images"]]
    answer = ENGINES[job["engine"]](Path(job["material"]) / "network.onnx")
    speed = {}
    for size in job["batches"]:
        parts = [pixels[start : start + size] for start in range(0, len(pixels), size)]
        for _ in range(2):
            start = time.perf_counter()
            for part in parts:
                answer(part)
            seconds = time.perf_counter() - start
        speed[str(size)] = len(pixels) / seconds
    answers = answer(material.examples(job, split["validation"]))
    difference = material.check_agreement(job, np.log(np.maximum(answers, 1e-30)))
    return {"images_per_second": speed, "difference": difference}
