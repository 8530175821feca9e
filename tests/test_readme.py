"""What the README tells a new user to type is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer

import benchgraft
from benchgraft.cli import app

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = sorted(set(re.findall(r"(?:^    |`)benchgraft ([^`\n#]+)", TEXT, re.MULTILINE)))


def _parameters(words: list[str]) -> tuple[set[str], list[str]]:
    """(options that the command has, words after its name)."""
    command = typer.main.get_command(app)
    while hasattr(command, "commands"):
        assert words, "a command is missing"
        assert words[0] in command.commands, f"no command {words[0]}"
        command, words = command.commands[words[0]], words[1:]
    return {name for parameter in command.params for name in parameter.opts}, words


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_of_the_readme_exists_with_its_options(line):
    options, words = _parameters(line.split())
    used = {word for word in words if word.startswith("--")}
    assert used <= options


def test_the_map_of_modules_is_that_of_the_files():
    package = Path(benchgraft.__file__).parent
    told: dict[str, set[str]] = {"": set()}
    section = TEXT[TEXT.index("## Modules") :]
    for room, modules in re.findall(r"^\| ([^|]+?) \| [^|]+ \| ([^|]+) \|$", section, re.MULTILINE)[1:]:
        folder = room.strip("`/") if "/" in room else ""  # rooms of one file lie in the package itself
        told.setdefault(folder, set()).update(re.findall(r"`(\w+)`", modules))
    there: dict[str, set[str]] = {}
    for path in package.rglob("*.py"):
        if not path.stem.startswith("__"):
            there.setdefault(str(path.parent.relative_to(package)).strip("."), set()).add(path.stem)
    assert told == there


def test_every_file_that_the_readme_links_to_is_there():
    for target in re.findall(r"\]\(([^)#:]+)\)", TEXT):
        assert (ROOT / target).exists(), target


def test_public_names_are_those_stated():
    for name in benchgraft.__all__:
        assert callable(getattr(benchgraft, name))
    assert set(benchgraft.__all__) <= set(dir(benchgraft))
