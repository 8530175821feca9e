"""Question `ordinary`: retraining on ordinary photos, in a new process, everything counted.

Clothing (JPEG) and solar cells (PNG), the same split and the same ImageNet weights of EfficientNet-Lite0 for
all, the backbone frozen but where a library's own way is to train it too. The clock starts before the process
does and ends with a trained model; test photos are looked at after it. A contender that takes minutes runs
once, the others in every round.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
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
EPOCHS = 5
IMAGENET = ["--parent", "imagenet"]
OURS = {
    "benchgraft": {"cache": "photos new", "words": IMAGENET},
    "benchgraft, features kept": {"cache": "kept", "words": IMAGENET},
    "benchgraft, empty cache": {"cache": "empty", "words": IMAGENET},
    "benchgraft, empty cache, all parents tried": {"cache": "empty", "words": []},
    "benchgraft --minutes 3, empty cache": {"cache": "empty", "words": [*IMAGENET, "--minutes", "3"]},
}
"""What is in the cache before: what was made of the parent, all of the run before, or nothing."""
COLD, WARM = "benchgraft", "benchgraft, features kept"
BY_HAND = "features by hand + scikit-learn"
OFTEN = (COLD, WARM, BY_HAND)
"""Run in every round."""


def contenders() -> list[Contender]:
    """In the order of the table."""
    return [
        *(Contender(name, "ordinary_ours", job, is_ours=True) for name, job in OURS.items()),
        Contender(BY_HAND, "ordinary_torch", {"way": "features"}),
        Contender("timm + PyTorch", "ordinary_torch", {"way": "epochs"}),
        Contender("Lightning", "ordinary_lightning"),
        Contender("Hugging Face Trainer", "ordinary_hf"),
        Contender("fastai fine_tune", "ordinary_fastai"),
        Contender("Keras 3 on TensorFlow (EfficientNetB0, random weights)", "ordinary_keras"),
    ]


def measure(bench: Bench, data: Path, quick: bool) -> dict[str, Any]:
    """Every set: all contenders once, those of OFTEN in every round."""
    work = bench.work / "ordinary"
    weights = _weights(work)
    measured: dict[str, Any] = {"question": "ordinary", "sets": {}}
    for name in SETS[:1] if quick else SETS:
        photos = _photos(name, data, work, quick)
        facts = {"photos": str(photos), "weights": str(weights), "epochs": 1 if quick else EPOCHS}

        def job(contender: Contender, number: int, facts: dict[str, Any] = facts) -> dict[str, Any]:
            given, photos = facts | {"seed": number}, Path(facts["photos"])
            return given | _place(work, contender, photos) if contender.is_ours else given

        everyone, often = contenders(), [each for each in contenders() if each.name in OFTEN]
        first = run_rounds(_with_rounds(bench, 1), everyone, "ordinary", job)
        more = run_rounds(_with_rounds(bench, bench.rounds - 1), often, "ordinary", job)
        for who, results in more["results"].items():
            first["results"].setdefault(who, []).extend(results)
        first["photos"] = {side: len(list((photos / side).rglob("*.*"))) for side in _SIDES}
        measured["sets"][name] = first
    return measured | {key: first[key] for key in ("date", "machine")}


_SIDES = ("train", "validation", "test")


def _with_rounds(bench: Bench, rounds: int) -> Bench:
    return Bench(bench.peers, bench.work, rounds, bench.say)


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
    """Folders train, validation and test of class folders."""
    place = work / ("quick" if quick else name.replace(" ", "-"))
    if not place.exists():
        (found,) = [each for each in all_sets() if each.name == name]
        deal = found.deal(data, work / "drawn", 0)
        if quick:
            deal = {key: deal[key] for key in sorted(deal)[::12]}
        copy_photos(deal, place)
    return place


def _place(work: Path, contender: Contender, photos: Path) -> dict[str, Any]:
    """Where benchgraft works, with the cache as the contender has it; filled, where it must be, untimed."""
    place = work / "runs" / photos.name / contender.job["cache"].replace(" ", "-")
    if contender.job["cache"] == "empty":
        shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True, exist_ok=True)
    words = ["adapt", str(photos), *contender.job["words"], "--overlap", "keep", "--json"]
    words += ["--cache-dir", str(place / "cache"), "--run-folder", str(place / "run")]
    words += ["--out", str(place / "m.safetensors")]
    if contender.job["cache"] != "empty" and not (place / "cache").exists():
        subprocess.run([sys.executable, "-m", "benchgraft", *words], check=True, capture_output=True)
    if contender.job["cache"] == "photos new":
        for folder in ("stores", "features"):
            shutil.rmtree(place / "cache" / folder, ignore_errors=True)
    shutil.rmtree(place / "run", ignore_errors=True)
    return {"command": words}
