"""Data flows one way: who may import whom. Imports inside functions count."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import benchgraft

PACKAGE = Path(benchgraft.__file__).parent
GROUND = ["errors", "files", "names", "part", "parallel", "progress", "events"]
ROOMS = [
    *GROUND,
    "config",
    "runfolder",
    "cache",
    "photos",
    "store",
    "statistics",
    "shortcuts",
    "networks",
    "engines",
    "training",
    "experiment",
    "report",
    "paper",
    "tasks",
    "serve",
    "cli",
]
"""A room imports only rooms listed above it."""
NEVER = {
    "report": {"training", "experiment", "networks", "store", "cache"},
    "networks": {"photos", "store", "cache"},
}
"""And never these, though they are above it."""
WITHOUT_TORCH = {
    *GROUND,
    "config",
    "runfolder",
    "cache",
    "photos",
    "store",
    "statistics",
    "report",
    "paper",
    "tasks.report",
}
WITHOUT_TORCH |= {"engines.engine", "engines.card", "engines.onnx_", "tasks.predict"}
ALONE = {"timm": "networks.timm_", "onnxruntime": "engines", "ray": "experiment.jobs", "fastapi": "serve"}
"""Import -> the only place that may have it (the beginning of its name)."""
WITHOUT_ROOM = {"__init__", "__main__"}


def _room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def _imports(path: Path) -> Iterator[tuple[int, str]]:
    """(line, imported module with its full name)."""
    package = ["benchgraft", *path.relative_to(PACKAGE).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else []
            module = [*start, *([node.module] if node.module else [])]
            yield from ((node.lineno, ".".join([*module, alias.name])) for alias in node.names)


MODULES = sorted(PACKAGE.rglob("*.py"))


def test_every_room_is_named():
    assert {_room(path) for path in MODULES} == {*ROOMS, *WITHOUT_ROOM}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_room_imports_only_rooms_before_it(path):
    room = _room(path)
    name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
    allowed = {room, "__init__", *ROOMS[: ROOMS.index(room)]} if room in ROOMS else {*ROOMS}
    for line, imported in _imports(path):
        parts = imported.split(".")
        if parts[0] == "torch":
            assert not {room, name} & WITHOUT_TORCH, f"{path}:{line} imports torch"
        if parts[0] in ALONE:
            assert name.startswith(ALONE[parts[0]]), f"{path}:{line} imports {parts[0]}"
        if parts[0] == "benchgraft" and len(parts) > 1 and parts[1] in ROOMS:
            assert parts[1] in allowed - NEVER.get(room, set()), f"{path}:{line} imports {imported}"


@pytest.mark.parametrize("is_published", [True, False])
def test_the_papers_room_opens_for_its_comparison_alone(is_published):
    script = (
        "import sys, invented\n"
        "from benchgraft.tasks import report as reports\n"
        "first, *rest = invented.whole_folder(2)\n"
        f"config = first.config | {{'published': {is_published}}}\n"
        "summary = reports.summarise([first.model_copy(update={'config': config}), *rest])\n"
        "reports.html(summary, {})\n"
        "reports.markdown(summary)\n"
        "print('benchgraft.paper.published' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=Path(__file__).parent, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == str(is_published)
