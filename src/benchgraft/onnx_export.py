"""A model file as ONNX: uint8 photos in, probabilities out, compared with PyTorch before it is kept."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from .config.checking import checked
from .config.requests import ExportRequest
from .errors import DataError, ExportError
from .files import SHIPPED, write_kept
from .networks import model_file
from .networks.model_file import ModelFile
from .onnx_card import INPUT, OUTPUT, OnnxCard, seal, to_metadata
from .part import Part
from .photos.decode import Rule, decode
from .photos.formats import Undecodable
from .photos.scan import images_below
from .photos.synthetic import draw_varied
from .shortcuts import quiet_exporter

NEEDED = ("onnx", "onnxscript", "onnxruntime")
LARGEST_DIFFERENCE = 1e-4
CHECKED_PHOTOS = 200
OPSET = 18


class Exported(Part):
    """An ONNX file that was kept."""

    path: Path
    checked_photos: int
    largest_difference: float
    """Of any probability of any checked picture from PyTorch's."""
    kept: Path | None = None
    """Where the file is that was there before, if another was."""


class _Probabilities(nn.Module):
    """The network with softmax: what a program that knows nothing of training wants."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """uint8 (n, size, size, 3) to float32 (n, classes)."""
        return torch.softmax(self.network(images), 1)


def export(model: Path | str, out: Path | str | None = None, *, images: Path | str | None = None) -> Exported:
    """Write `out` (default: the model's name with .onnx) and compare it with PyTorch on pictures.

    The graph takes `images`, uint8 (n, size, size, 3) RGB, scales them itself and gives `probabilities`,
    float32 (n, classes); any n. Metadata: see onnx_card. `predict` takes the file for a model.
    images: folder of photos for the comparison, default generated pictures, always the same: shapes on white,
    clouds and noise of many colours.
    Raises ExportError: a package is missing, or the answers differ (nothing is kept then); StorageError.
    """
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise ExportError(
            f"export needs {', '.join(missing)}", "install them: pip install 'benchgraft[export]'"
        )
    request = checked(ExportRequest, model=model, out=out, images=images)
    file = model_file.read(request.model)
    target = request.out or Path(str(request.model).removeprefix(SHIPPED)).with_suffix(".onnx")
    size = file.card.network.side
    photos = _photos(request.images, file) if request.images else draw_varied(CHECKED_PHOTOS, size, seed=0)
    network = _Probabilities(model_file.load(file)).eval()
    content = _graph(network, photos[:2], file)
    difference = _difference(network, photos, content)
    kept = write_kept(target, content)
    return Exported(path=target, checked_photos=len(photos), largest_difference=difference, kept=kept)


def _photos(folder: Path, file: ModelFile) -> npt.NDArray[np.uint8]:
    """At most CHECKED_PHOTOS photos of the folder, evenly from all of them."""
    names = list(images_below(folder))
    rule, photos = _rule(file), []
    for name in names[:: max(1, len(names) // CHECKED_PHOTOS)][:CHECKED_PHOTOS]:
        try:
            photos.append(decode((folder / name).read_bytes(), rule)[0])
        except Undecodable:
            continue
    if len(photos) < 2:
        raise DataError(f"{folder} has no two photos to compare with", "name another folder with --images")
    return np.stack(photos)


def _rule(file: ModelFile) -> Rule:
    return Rule(file.card.network.side, file.card.fit, file.card.white_level)


def _graph(network: nn.Module, example: npt.NDArray[np.uint8], file: ModelFile) -> bytes:
    """The content of an ONNX file."""
    import onnx

    with quiet_exporter(), _environment_put_back():
        program: Any = torch.onnx.export(
            network,
            (torch.from_numpy(example),),
            dynamo=True,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes={"images": {0: torch.export.Dim("n")}},
            opset_version=OPSET,
            verbose=False,
        )
    proto = program.model_proto
    card = OnnxCard(file.card.class_names, _rule(file), file.card.model_digest)
    onnx.helper.set_model_props(proto, to_metadata(card))
    return seal(proto.SerializeToString())


@contextlib.contextmanager
def _environment_put_back() -> Iterator[None]:
    """Without what the exporter adds to it: where torch's compiler, which it loads, would keep its files."""
    before = set(os.environ)
    try:
        yield
    finally:
        for name in set(os.environ) - before:
            if name.startswith("TORCH"):
                del os.environ[name]


def _difference(network: nn.Module, photos: npt.NDArray[np.uint8], graph: bytes) -> float:
    """Largest difference of probabilities. Raises ExportError if it is too large, or any answer differs."""
    import onnxruntime

    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    ours, theirs = [], []
    for part in _parts(photos):
        with torch.no_grad():
            ours.append(network(torch.from_numpy(part)).numpy())
        theirs.append(session.run([OUTPUT], {INPUT: part})[0])
    first, second = np.concatenate(ours), np.concatenate(theirs)
    difference = float(np.abs(first - second).max())
    changed = int((first.argmax(1) != second.argmax(1)).sum())
    if changed or not difference <= LARGEST_DIFFERENCE:
        raise ExportError(
            f"the ONNX file answers otherwise than PyTorch: {changed} of {len(photos)} photos get another "
            f"class, probabilities differ by up to {difference:.1e}",
            "nothing was written; try other versions of torch, onnxscript and onnxruntime",
        )
    return difference


def _parts(photos: npt.NDArray[np.uint8]) -> Iterable[npt.NDArray[np.uint8]]:
    """Batches of several sizes, as the graph must take any."""
    yield photos[:1]
    yield from (photos[start : start + 64] for start in range(1, len(photos), 64))
