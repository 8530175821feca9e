"""The house stays small enough to be read: bounds on modules, functions and signatures."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import benchgraft

PACKAGE = Path(benchgraft.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
MODULE_LINES, FUNCTION_LINES, PARAMETERS = 400, 60, 8
FRONTS = {"cli"}
"""A command's own list of options is as long as it is."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


def _name(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def _functions(path: Path) -> list[Function]:
    return [
        node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, Function)
    ]


def _parameters(function: Function) -> int:
    """How many a caller sees."""
    given = function.args
    named = [each.arg for each in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    return len(named) - (named[:1] in (["self"], ["cls"])) + bool(given.vararg) + bool(given.kwarg)


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_a_module_and_its_functions_can_be_read_at_one_sitting(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MODULE_LINES
    for function in _functions(path):
        assert function.end_lineno is not None
        assert function.end_lineno - function.lineno < FUNCTION_LINES, function.name


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_a_signature_can_be_remembered(path: Path) -> None:
    if _name(path).split("/")[0] in FRONTS:
        return
    for function in _functions(path):
        assert _parameters(function) <= PARAMETERS, function.name
