"""Write what peers are given: photos and pixels of the paper's last step, start weights, expected answers."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import torch
from contenders.material import CLASSES, SEEDS, SIDES

from benchgraft.config.network import PAPER
from benchgraft.experiment.images import keys_of, open_data, stage_images
from benchgraft.experiment.load import load
from benchgraft.files import shipped_path
from benchgraft.networks import model_file
from benchgraft.networks.build import build
from benchgraft.networks.contract import Input
from benchgraft.progress import NoProgress
from benchgraft.store.classes import StageImages
from benchgraft.tasks.export import export

STAGE = "stage3"
PARENT = "shipped:stage2.safetensors"
ANSWERED = 64


def export_material(data: Path, work: Path) -> None:
    """Fill `work`/material from DIR/fruits-360; the store that it needs is kept in `work`/stores."""
    out = work / "material"
    out.mkdir(parents=True, exist_ok=True)
    experiment = load("paper")
    opened = open_data("fruits360", experiment.data["fruits360"], data, work / "stores", NoProgress())
    images = stage_images(experiment, STAGE, opened)
    arrays = {}
    for split, rows in images.rows.items():
        arrays[f"{split}_pixels"] = np.asarray(images.store.pixels[rows])
        arrays[f"{split}_labels"] = images.labels[split]
    np.savez(out / "images.npz", **arrays)
    _export_files(images, data / "fruits-360", out / "photos")
    parent = model_file.read(shipped_path(PARENT))
    _export_network(parent, arrays["validation_pixels"][:ANSWERED], out)
    heads = {}
    for seed in range(SEEDS):
        model = model_file.start_from(parent, len(images.class_names), seed)
        heads[str(seed)] = model[-1].weight.detach().numpy()
        random = build(PAPER, len(images.class_names), seed).state_dict()
        np.savez(out / f"random-{seed}.npz", **{name: tensor.numpy() for name, tensor in random.items()})
    np.savez(out / "heads.npz", **heads)
    export(shipped_path(PARENT), out / "network.onnx")


def _export_files(images: StageImages, source: Path, out: Path) -> None:
    """Copy the JPEG files of training and validation to SIDE/CLASS/ROW.jpg, ROW their row in images.npz."""
    if tuple(images.class_names) != CLASSES:
        raise ValueError(f"the classes are {images.class_names}, not {CLASSES}")
    shutil.rmtree(out, ignore_errors=True)
    for split, side in SIDES.items():
        for name in CLASSES:
            (out / side / name).mkdir(parents=True)
        for row, (key, label) in enumerate(zip(keys_of(images, split), images.labels[split], strict=True)):
            shutil.copyfile(source / key, out / side / CLASSES[label] / f"{row:05}.jpg")


def _export_network(parent: model_file.ModelFile, pixels: np.ndarray, out: Path) -> None:
    model = model_file.load(parent).eval()
    np.savez(out / "weights.npz", **{name: t.numpy() for name, t in model.state_dict().items()})
    with torch.no_grad():
        np.save(out / "expected.npy", model(torch.from_numpy(pixels)).numpy())


def export_part(data: Path, work: Path, stage: str, count: int) -> None:
    """Write `count` training images of a stage of `paper`, enlarged to 100x100, to `work`/material/STAGE.npz.

    DIR holds cifar-100-binary/ and fruits-360/. Where the stage has fewer they come more than once.
    """
    out = work / "material" / f"{stage}.npz"
    experiment = load("paper")
    name = experiment.stages[stage].data
    opened = open_data(name, experiment.data[name], data, work / "stores", NoProgress())
    images = stage_images(experiment, stage, opened)
    order = np.random.default_rng(0).permutation(len(images.rows["train"]))
    chosen = np.resize(order, count)
    pixels = torch.from_numpy(np.asarray(images.store.pixels[images.rows["train"][chosen]]))
    scaled = ((Input(PAPER.input)(pixels) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1)
    np.savez(
        out,
        pixels=scaled.numpy(),
        labels=images.labels["train"][chosen],
        classes=len(images.class_names),
    )


def export_photos(data: Path, out: Path, count: int) -> int:
    """Copy about `count` JPEG files of Fruits-360's training folder, every n-th, once; how many there are."""
    if not out.exists():
        files = sorted((data / "fruits-360" / "Training").rglob("*.jpg"))
        for path in files[:: max(1, len(files) // count)][:count]:
            place = out / path.parent.name / path.name
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, place)
    return sum(1 for _ in out.rglob("*.jpg"))
