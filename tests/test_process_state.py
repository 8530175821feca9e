"""Called from Python, nothing of the process is left changed, whether the call ends well or not."""

from __future__ import annotations

import gc
import importlib
import locale
import logging
import os
import pkgutil
import random
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
import torch
from photos import write_photos
from PIL import Image, ImageFile
from test_functions import CHAIN

import benchgraft
from benchgraft import adapt, compare, evaluate, export, load_runs, predict, prepare, shortcuts
from benchgraft.errors import UserError
from benchgraft.experiment.bench import make_bench


@pytest.fixture(scope="module", autouse=True)
def everything_imported() -> None:
    """What libraries change when they are imported is theirs."""
    for module in pkgutil.walk_packages(benchgraft.__path__, "benchgraft."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in ("onnx", "onnxruntime", "onnxscript", "pandas", "torch.onnx._internal.exporter._core"):
            pytest.importorskip(name, reason="extras [export], [notebook] are not installed")


def _state() -> dict[str, Any]:
    """All that a function could change of the process that calls it, and that can be read."""
    loggers = [logging.getLogger(), *(logging.getLogger(name) for name in logging.root.manager.loggerDict)]
    umask = os.umask(0)
    os.umask(umask)
    return {
        "threads of torch": (torch.get_num_threads(), torch.get_num_interop_threads()),
        "settings of torch": (
            torch.is_grad_enabled(),
            torch.is_inference_mode_enabled(),
            torch.get_default_dtype(),
            torch.get_default_device(),
            torch.are_deterministic_algorithms_enabled(),
            torch.get_float32_matmul_precision(),
            torch.backends.mkldnn.enabled,
        ),
        "methods of torch": {
            name: dict(vars(getattr(torch.optim.Optimizer, name))) for name in ("add_param_group", "step")
        },
        "random numbers": (
            torch.random.get_rng_state().tolist(),
            str(np.random.get_state()),
            random.getstate(),
        ),
        "errors of numpy": np.geterr(),
        "warnings": list(warnings.filters),
        "matplotlib": (dict(mpl.rcParams), mpl.get_backend(auto_select=False)),
        "pillow": (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES),
        "logging": {
            # Of its own loggers torch takes handlers away that nobody has asked for.
            log.name: (log.level, log.propagate, log.disabled, "torch" in log.name or list(log.handlers))
            for log in loggers
        },
        "environment": {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"},
        "folder": os.getcwd(),  # noqa: PTH109
        "umask": umask,
        "signals": {number: signal.getsignal(number) for number in signal.valid_signals()},
        "garbage": (gc.get_threshold(), gc.isenabled()),
        "streams": (sys.stdin, sys.stdout, sys.stderr),
        "hooks": (sys.excepthook, sys.displayhook, sys.unraisablehook),
        "paths": list(sys.path),
        "locale": locale.setlocale(locale.LC_ALL),
    }


@pytest.fixture
def unchanged(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Compares before and after; malloc's settings cannot be read, so nobody may touch them."""

    def touched() -> None:
        raise AssertionError("a function has changed the settings of malloc")

    monkeypatch.setattr(shortcuts, "keep_freed_memory", touched)
    before = _state()
    yield
    after = _state()
    # Loggers and what else is made at first use may be new.
    before["logging"] = {name: before["logging"].get(name, state) for name, state in after["logging"].items()}
    assert after == before


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos (photos/), others (new/), and a model of the first (m.safetensors) with its account (run/)."""
    folder = tmp_path_factory.mktemp("state")
    write_photos(folder / "photos", {"red": 40, "green": 40})
    write_photos(folder / "new", {"red": 80, "green": 80}, start=500)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("benchgraft.tasks.adapt.STEPS", 5)
        adapt(
            folder / "photos",
            folder / "m.safetensors",
            cache=folder / "cache",
            run_folder=folder / "run",
            parent="paper",
        )
    return folder


@pytest.fixture(autouse=True)
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("adapt.STEPS", "adapt.UPDATE_STEPS", "compare.COMPARED_STEPS"):
        monkeypatch.setattr(f"benchgraft.tasks.{name}", 5)


def _prepare(place: Path, out: Path, data: Path, **how: Any) -> None:
    (out / "tiny.toml").write_text(CHAIN)
    prepare(out / "tiny.toml", out / "p.safetensors", data=data, run_folder=out / "run", **how)


CALLS: dict[str, Callable[..., object]] = {
    "adapt": lambda place, out, _data, **how: adapt(
        place / "photos",
        out / "m.safetensors",
        run_folder=out / "run",
        profile=True,
        **how,
        parent="paper",
    ),
    "update": lambda place, out, _data, **how: adapt(
        place / "photos", out / "m", update=place / "m.safetensors", run_folder=out / "run", **how
    ),
    "compare": lambda place, out, _data, **how: compare(
        place / "photos", parent="paper", runs=1, run_folder=out / "run", **how
    ),
    "evaluate": lambda place, _out, _data, **how: evaluate(place / "m.safetensors", place / "new", **how),
    "prepare": _prepare,
}


@pytest.mark.parametrize("name", CALLS)
def test_function_leaves_the_process_as_it_was(
    name: str, place: Path, tmp_path: Path, synthetic_data: Path, unchanged: None
) -> None:
    threads = torch.get_num_threads() + 1
    CALLS[name](place, tmp_path, synthetic_data, cache=tmp_path / "cache", threads=threads)


@pytest.mark.parametrize("name", CALLS)
def test_function_that_fails_leaves_the_process_as_it_was(
    name: str, place: Path, tmp_path: Path, synthetic_data: Path, unchanged: None
) -> None:
    threads = torch.get_num_threads() + 1
    with pytest.raises(UserError):
        CALLS[name](place, tmp_path, synthetic_data, cache=tmp_path, threads=threads, device="abacus")


def test_threads_asked_for_are_those_computed_with(place: Path, tmp_path: Path) -> None:
    threads = torch.get_num_threads() + 2
    where = {"cache": tmp_path / "cache", "run_folder": tmp_path / "run"}
    adapt(place / "photos", tmp_path / "m", threads=threads, **where, parent="paper")
    runs = load_runs(tmp_path / "run").runs  # those of its ancestors come first
    assert runs.threads.tolist()[-1] == threads


@pytest.mark.parametrize("suffix", ["safetensors", "onnx"])
def test_answers_given_one_by_one_leave_the_process_as_it_was_in_between(
    suffix: str, place: Path, unchanged: None
) -> None:
    if not (place / f"m.{suffix}").exists():
        export(place / "m.safetensors")
    threads = torch.get_num_threads()
    answers = predict(place / f"m.{suffix}", place / "new", threads=threads + 1)
    assert torch.get_num_threads() == threads
    for _ in range(65):  # into the second batch
        next(answers)
        assert torch.get_num_threads() == threads
    answers.close()  # type: ignore[attr-defined]  # before the last one


def test_export_leaves_the_process_as_it_was(place: Path, tmp_path: Path, unchanged: None) -> None:
    export(place / "m.safetensors", tmp_path / "m.onnx", images=place / "new")


def test_tables_of_runs_leave_the_process_as_it_was(place: Path, unchanged: None) -> None:
    load_runs(place / "run")


def test_bench_for_runs_sets_the_threads_that_its_caller_puts_back(tmp_path: Path) -> None:
    from benchgraft.engines.device import threads_put_back

    before = torch.get_num_threads()
    with threads_put_back():
        bench = make_bench(tmp_path, tmp_path, "cpu", before + 1)
        assert bench.environment.threads == torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before
