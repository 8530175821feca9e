"""One contender, one question, in a process of its own: python worker.py MODULE QUESTION JOB.json OUT.json

Runs in the environment of the contender. The import of its packages is timed apart from its work. A job with
`trials` is carried out once with the settings of each of them.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = (
    "benchgraft", "fastai", "jax", "keras", "lightning", "numpy", "onnxruntime", "openvino", "pillow",
    "scikit-learn", "simplejpeg", "skorch", "tensorflow-cpu", "timm", "torch", "torchvision", "transformers",
)  # fmt: skip


def main() -> None:
    """Write what the contender's function returns, with its versions."""
    name, question, job, out = sys.argv[1:]
    start = time.perf_counter()
    module = import_module(f"contenders.{name}")
    imported = time.perf_counter() - start
    answer, given = getattr(module, question), json.loads(Path(job).read_text())
    if "trials" in given:
        result = {"trials": [answer(given | trial) for trial in given["trials"]]}
    else:
        result = answer(given)
    result |= {"import_seconds": imported, "versions": installed(PACKAGES)}
    Path(out).write_text(json.dumps(result))


def installed(packages: Iterable[str]) -> dict[str, str]:
    """Versions of those that are."""
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


if __name__ == "__main__":
    main()
