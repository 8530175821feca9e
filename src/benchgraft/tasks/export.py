"""A model file as ONNX: uint8 photos in, probabilities out, compared with PyTorch before it is kept."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..config.checking import checked
from ..config.requests import ExportRequest
from ..engines.engine import Engine
from ..engines.graph import NEEDED
from ..engines.onnx_ import OnnxEngine
from ..engines.whole import EXAMPLES, graph_of_model, rule_of_model, torch_engine
from ..errors import DataError, ExportError
from ..files import SHIPPED, write_kept
from ..networks import model_file
from ..networks.model_file import ModelFile
from ..part import Result
from ..photos.decode import decode
from ..photos.formats import Undecodable
from ..photos.scan import images_below
from ..photos.synthetic import draw_varied

LARGEST_DIFFERENCE = 1e-4
CHECKED_PHOTOS = 200


class Exported(Result):
    """An ONNX file that was kept."""

    path: Path
    checked_photos: int
    largest_difference: float
    """Of any probability of any checked picture from PyTorch's."""
    kept: Path | None = None
    """Where the file is that was there before, if another was."""


def export(model: Path | str, out: Path | str | None = None, *, images: Path | str | None = None) -> Exported:
    """Write `out` (default: the model's name with .onnx) and compare it with PyTorch on pictures.

    The graph takes `images`, uint8 (n, size, size, 3) RGB, scales them itself and gives `probabilities`,
    float32 (n, classes); any n. Metadata: see engines.card. `predict` takes the file for a model.
    images: folder of photos for the comparison, default generated pictures, always the same: shapes on white,
    clouds and noise of many colours.
    Raises ExportError: a package is missing, or the answers differ (nothing is kept then); StorageError.
    """
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise ExportError(f"export needs {', '.join(missing)}", f"pip install {' '.join(missing)}")
    request = checked(ExportRequest, model=model, out=out, images=images)
    file = model_file.read(request.model)
    target = request.out or Path(str(request.model).removeprefix(SHIPPED)).with_suffix(".onnx")
    size = file.card.network.side
    photos = _photos(request.images, file) if request.images else draw_varied(CHECKED_PHOTOS, size, seed=0)
    network = model_file.load(file)
    example = photos[np.arange(EXAMPLES) % len(photos)]
    content = graph_of_model(file, network, example, None)[0]
    difference = _difference(torch_engine(network), OnnxEngine(content), photos)
    kept = write_kept(target, content)
    return Exported(path=target, checked_photos=len(photos), largest_difference=difference, kept=kept)


def _photos(folder: Path, file: ModelFile) -> npt.NDArray[np.uint8]:
    """At most CHECKED_PHOTOS photos of the folder, evenly from all of them."""
    names = list(images_below(folder))
    rule, photos = rule_of_model(file), []
    for name in names[:: max(1, len(names) // CHECKED_PHOTOS)][:CHECKED_PHOTOS]:
        try:
            photos.append(decode((folder / name).read_bytes(), rule)[0])
        except Undecodable:
            continue
    if len(photos) < 2:
        raise DataError(f"{folder} has no two photos to compare with", "name another folder with --images")
    return np.stack(photos)


def _difference(ours: Engine, theirs: Engine, photos: npt.NDArray[np.uint8]) -> float:
    """Largest difference of probabilities. Raises ExportError if it is too large, or any answer differs."""
    first, second = (
        np.concatenate([engine.compute(part) for part in _parts(photos)]) for engine in (ours, theirs)
    )
    difference = float(np.abs(first - second).max())
    changed = int((first.argmax(1) != second.argmax(1)).sum())
    if changed or not difference <= LARGEST_DIFFERENCE:
        raise ExportError(
            f"the ONNX file answers differently from PyTorch: {changed} of {len(photos)} photos get another "
            f"class, probabilities differ by up to {difference:.1e}",
            "nothing was written; try other versions of torch, onnxscript and onnxruntime",
        )
    return difference


def _parts(photos: npt.NDArray[np.uint8]) -> Iterator[npt.NDArray[np.uint8]]:
    """Batches of several sizes, as the graph must take any."""
    yield photos[:1]
    yield from (photos[start : start + 64] for start in range(1, len(photos), 64))
