"""Data for the tests: real where it is to be had, else a small synthetic likeness."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from benchgraft.photos.synthetic import write_synthetic

settings.register_profile("no clock", deadline=None)  # a busy machine fails no test
settings.load_profile("no clock")

REPOSITORY = Path(__file__).resolve().parents[1]
PACKED = REPOSITORY.parent / "shared" / "data"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run folders without a name are left in the present folder: never in that of the repository."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of a network of timm's own tests (invented.TINY), as a file of timm's names."""
    import timm
    from invented import TINY
    from safetensors.torch import save_file

    place = tmp_path_factory.mktemp("tiny") / "tiny.safetensors"
    torch.manual_seed(3)
    save_file(timm.create_model(TINY).state_dict(), place)
    return place


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder with cifar-100-binary and fruits-360; skips, saying why, where they are not to be had."""
    named = os.environ.get("BENCHGRAFT_DATA")
    if named:
        folder = Path(named)
        if not _is_whole(folder):
            pytest.fail(f"BENCHGRAFT_DATA={named} must hold cifar-100-binary and fruits-360")
        return folder
    if not (PACKED / "unpack.py").is_file():
        pytest.skip("real data: BENCHGRAFT_DATA is not set and ../shared/data is not there")
    return _unpacked()


def _unpacked() -> Path:
    """Unpacked once for each user; a half-unpacked folder never gets the final name."""
    folder = Path(tempfile.gettempdir()) / f"benchgraft-real-data-{os.getuid()}"
    if not _is_whole(folder):
        with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
            whole = Path(temporary) / "whole"
            command = [sys.executable, str(PACKED / "unpack.py"), str(whole)]
            subprocess.run(command, check=True, capture_output=True)
            if not folder.exists():
                whole.rename(folder)
    return folder


def _is_whole(folder: Path) -> bool:
    return (folder / "cifar-100-binary" / "train.bin").is_file() and (folder / "fruits-360").is_dir()


@pytest.fixture(scope="session")
def solar_cells() -> Path:
    """Folder of the package elpv-dataset with labels.csv and images/; skips, saying why, without it."""
    found = find_spec("elpv_dataset")
    if found is None or not found.submodule_search_locations:
        pytest.skip("photos of solar cells: elpv-dataset is not installed: pip install 'benchgraft[sample]'")
    return Path(next(iter(found.submodule_search_locations))) / "data"


@pytest.fixture(scope="session")
def synthetic_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with a tiny cifar-100-binary and fruits-360 in the real layouts; not to be changed."""
    folder = tmp_path_factory.mktemp("synthetic")
    write_synthetic(folder, seed=0)
    return folder


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """For networks and sets so small that threads only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
