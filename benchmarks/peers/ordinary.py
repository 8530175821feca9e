"""Question `ordinary`: retraining on ordinary photos, in a new process, everything counted.

Clothing (JPEG) and solar cells (PNG), the same split and the same ImageNet weights of EfficientNet-Lite0 for
all, the backbone frozen but where a library's own way is to train it too. The clock starts before the process
does and ends with a trained model; test photos are looked at after it (by benchgraft before: its command
tests). A contender that takes more than a minute runs once, the others in every round.
"""

from __future__ import annotations

import csv
import hashlib
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from rounds import HERE, Bench, Contender, run_rounds

sys.path.insert(0, str(HERE.parent))
from ordinary_photos import all_sets, copy_photos

from benchgraft.networks.parents import find_weights
from benchgraft.networks.timm_weights import network_with
from benchgraft.networks.weights import read_state

NETWORK = "tf_efficientnet_lite0"
SETS = ("clothing", "solar cells")
EPOCHS, MORE_EPOCHS = 5, 10
QUICK_MINUTES, QUICK_SHARE = 0.2, 24
MINUTES = 3.0
COLD, WARM = "benchgraft", "benchgraft, features kept"
BY_HAND = "features by hand + scikit-learn"
KERAS = "Keras 3 on TensorFlow (EfficientNetB0, random weights)"
KEPT_OF_PARENT = ("graphs", "parents")
"""Folders of the cache that hold nothing of the photos."""


def contenders(minutes: float = MINUTES) -> list[Contender]:
    """In the order of the table."""
    return [
        *_ours(minutes),
        Contender(BY_HAND, "ordinary_torch", {"way": "features", "workers": 0}),
        Contender(f"{BY_HAND}, 2 workers", "ordinary_torch", {"way": "features"}, rounds=1),
        Contender("timm + PyTorch", "ordinary_torch", {"way": "epochs"}, rounds=1),
        Contender("Lightning", "ordinary_lightning", rounds=1),
        Contender("Hugging Face Trainer", "ordinary_hf", rounds=1),
        Contender("fastai fine_tune", "ordinary_fastai", rounds=1),
        Contender(KERAS, "ordinary_keras", rounds=1),
    ]


def _ours(minutes: float) -> list[Contender]:
    """`cache`: what it holds before: what was made of the parent, all of the run before, or nothing."""
    named = ["--parent", "imagenet"]
    deeper = [*named, "--minutes", f"{minutes:g}"]
    ways: dict[str, tuple[str, list[str], int | None]] = {
        COLD: ("photos new", named, None),
        WARM: ("kept", named, None),
        "benchgraft, empty cache": ("empty", named, 1),
        "benchgraft, empty cache, all parents tried": ("empty", [], 1),
        f"benchgraft --minutes {minutes:g}, empty cache": ("empty", deeper, 1),
    }
    return [
        Contender(name, "ordinary_ours", {"cache": cache, "words": words}, is_ours=True, rounds=rounds)
        for name, (cache, words, rounds) in ways.items()
    ]


def measure(bench: Bench, data: Path, quick: bool) -> dict[str, Any]:
    """Rounds of all contenders on every set."""
    work = bench.work / "ordinary"
    weights = _weights(work)
    measured: dict[str, Any] = {"question": "ordinary", "epochs": 1 if quick else EPOCHS, "sets": {}}
    everyone = contenders(QUICK_MINUTES if quick else MINUTES)
    for name in SETS[:1] if quick else [name for name in SETS if bench.only in name]:
        photos = _photos(name, data, work, quick)
        manifest = photos.with_suffix(".csv")
        with manifest.open(newline="") as file:
            counts = Counter(side for side, *_ in csv.reader(file))
        facts = {"photos": str(photos), "weights": str(weights), "counts": counts}

        def job(contender: Contender, number: int, facts: dict[str, Any] = facts) -> dict[str, Any]:
            given = facts | _epochs(contender, quick) | {"seed": number}
            return given | _place(work, contender, Path(facts["photos"])) if contender.is_ours else given

        found = run_rounds(bench, everyone, "ordinary", job)
        digest = hashlib.sha256(manifest.read_bytes()).hexdigest()
        measured["sets"][name] = found | {"photos": counts, "manifest_sha256": digest}
    return measured | {key: found[key] for key in ("date", "machine", "rounds")}


def _epochs(contender: Contender, quick: bool) -> dict[str, int]:
    """By hand more are run, of which the first are those of the others."""
    most, early = (2, 1) if quick else (MORE_EPOCHS, EPOCHS)
    return {"epochs": most, "early": early} if contender.job.get("way") == "epochs" else {"epochs": early}


def _weights(work: Path) -> Path:
    """The state of timm's network, by its names, for whoever loads it."""
    import torch

    path = work / f"{NETWORK}.pt"
    if not path.exists():
        work.mkdir(parents=True, exist_ok=True)
        found = find_weights("imagenet", NETWORK, None, may_download=False)
        network, _ = network_with(NETWORK, read_state(found.path), found.path)
        torch.save(network.state_dict(), path)
    return path


def _photos(name: str, data: Path, work: Path, quick: bool) -> Path:
    """Folders train, validation and test of class folders; beside them, written last, who is where."""
    place = work / ("quick" if quick else name.replace(" ", "-"))
    manifest = place.with_suffix(".csv")
    if manifest.exists():
        return place
    (found,) = [each for each in all_sets() if each.name == name]
    deal = found.deal(data, work / "drawn", 0)
    if quick:
        deal = {key: deal[key] for key in sorted(deal)[::QUICK_SHARE]}
    copy_photos(deal, place)
    with manifest.open("w", newline="") as file:
        csv.writer(file).writerows(
            [*key.split("/"), hashlib.sha256((place / key).read_bytes()).hexdigest()] for key in sorted(deal)
        )
    return place


def _place(work: Path, contender: Contender, photos: Path) -> dict[str, Any]:
    """Where benchgraft works, with the cache as the contender has it; filled, where it must be, untimed."""
    cached = contender.job["cache"]
    place = work / "runs" / photos.name / cached.replace(" ", "-")
    if cached == "empty":
        shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True, exist_ok=True)
    words = ["adapt", str(photos), *contender.job["words"], "--overlap", "keep", "--json"]
    words += ["--cache-dir", str(place / "cache"), "--run-folder", str(place / "run")]
    words += ["--out", str(place / "m.safetensors")]
    if cached != "empty" and not (place / "cache").exists():
        subprocess.run([sys.executable, "-m", "benchgraft", *words], check=True, capture_output=True)
    if cached == "photos new":
        for folder in (place / "cache").iterdir():
            if folder.name not in KEPT_OF_PARENT:
                shutil.rmtree(folder)
    for old in (place / "run", place / "m.safetensors", place / "m.previous.safetensors"):
        shutil.rmtree(old) if old.is_dir() else old.unlink(missing_ok=True)
    return {"command": words, "run_folder": str(place / "run")}
