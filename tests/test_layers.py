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
BASE = {"cache", "errors", "files", "ledger", "profiling", "progress"}
FIGURES = {"part", "statistics", "runfolder"}
MAY_IMPORT = {
    "errors": set(),
    "part": set(),
    "files": {"errors"},
    "ledger": {"errors", "files"},
    "cache": {"errors", "files"},
    "profiling": {"errors", "files", "ledger"},
    "progress": set(),
    "values": {"errors", "files"},
    "runfolder": {"errors", "files", "ledger"},
    "data": BASE,
    "requests": BASE | {"data", "values"},
    "statistics": {"part"},
    "model": BASE | {"data"},
    "training": BASE | {"data", "model"},
    "experiment": BASE | {"data", "model", "requests", "training"},
    "report": BASE | FIGURES | {"data"},
    "paper": {"errors"} | FIGURES | {"report"},
    "reporting": {"errors", "files", "ledger", "paper", "report", "runfolder"},
}
"""Room -> those that it may import.

Rooms that are not named here (the command line and what it calls) may import every room above.
"""
WITHOUT_TORCH = {"cache", "errors", "files", "ledger", "part", "profiling", "progress", "data"} | {
    "classifier",
    "onnx_card",
    "onnx_classifier",
    "paper",
    "prediction",
    "report",
    "reporting",
    "requests",
    "runfolder",
    "statistics",
    "values",
}


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


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_room_imports_only_rooms_before_it(path):
    room = _room(path)
    for line, name in _imports(path):
        parts = name.split(".")
        if parts[0] == "torch":
            assert room not in WITHOUT_TORCH, f"{path}:{line} imports torch"
        if parts[0] == "benchgraft" and len(parts) > 1 and parts[1] != room and room in MAY_IMPORT:
            assert parts[1] in MAY_IMPORT[room], f"{path}:{line} imports {name}"


@pytest.mark.parametrize("is_published", [True, False])
def test_the_papers_room_opens_for_its_comparison_alone(is_published):
    script = (
        "import sys, invented\n"
        "from benchgraft import reporting\n"
        "first, *rest = invented.whole_folder(2)\n"
        f"config = first.config | {{'published': {is_published}}}\n"
        "summary = reporting.summarise([first.model_copy(update={'config': config}), *rest])\n"
        "reporting.html(summary, {})\n"
        "reporting.markdown(summary)\n"
        "print('benchgraft.paper.published' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=Path(__file__).parent, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == str(is_published)
