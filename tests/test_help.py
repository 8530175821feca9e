"""What help texts say is there to be read, and true."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from photos import write_photos
from typer.testing import CliRunner

from benchgraft.cli import app
from benchgraft.cli.command import Command, Group

WIDE = {"COLUMNS": "400", "TERM": "dumb", "NO_COLOR": "1"}


def commands(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command and group, with the words that call it."""
    yield words, command
    for name, below in getattr(command, "commands", {}).items():
        yield from commands(below, (*words, name))


ALL = dict(commands(typer.main.get_command(app)))


def shown(application: typer.Typer, *words: str) -> str:
    done = CliRunner().invoke(application, [*words, "--help"], env=WIDE)
    assert done.exit_code == 0
    return " ".join(re.sub(r"[│╭╮╰╯─]", " ", done.output).split())


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_no_help_text_loses_a_word(words: tuple[str, ...]) -> None:
    """Brackets above all, which rich takes for markup."""
    output = shown(app, *words)
    command = ALL[words]
    text = inspect.getdoc(command.callback) if words and not hasattr(command, "commands") else command.help
    texts = [text or "", *(parameter.help or "" for parameter in command.params)]
    for text in texts:
        for word in text.split():
            assert word in output, f"{word} of: {text}"


def test_text_in_brackets_is_shown_wherever_it_stands() -> None:
    scratch = typer.Typer(cls=Group, help="Group [group].")

    @scratch.command(cls=Command)
    def one(
        place: Annotated[str, typer.Argument(help="Argument [argument].")],
        option: Annotated[str, typer.Option(help="Option [option] [/b].")] = "",
    ) -> None:
        """Command pip install 'x[command]'."""

    @scratch.command(cls=Command)
    def other() -> None:
        """Other."""

    assert "x[command]" in shown(scratch) and "[group]" in shown(scratch)
    for text in ("x[command]", "[argument]", "[option] [/b]"):
        assert text in shown(scratch, "one")


CODES = {
    "adapt": (0, 2, 130),
    "compare": (0, 2, 130),
    "predict": (0, 1, 2),
    "evaluate": (0, 2),
    "export": (0, 2),
    "prepare": (0, 2, 130),
    "reproduce": (0, 2, 130),
    "report": (0, 2),
    "serve": (0, 2),
    "history": (0, 2),
    "verify": (0, 1, 2),
    "data check": (0, 1, 2),
    "": (0, 1, 2, 130),
}
"""As the tests of each command have them."""


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_exit_codes_are_stated_as_they_are(words: tuple[str, ...]) -> None:
    stated = re.search(r"Exit codes: (.*?)\.(?: |$)", shown(app, *words))
    codes = tuple(int(code) for code in re.findall(r"\b\d+\b", stated[1])) if stated else ()
    assert codes == CODES.get(" ".join(words), ())


def test_data_check_tells_a_bad_set_from_bad_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Findings and exit code 1, as of every command that ran and found something wrong."""
    from elsewhere import call

    def checked(folder: Path) -> tuple[object, str, str]:
        with pytest.raises(SystemExit) as ended:
            call(["data", "check", str(folder), "--cache-dir", str(tmp_path / "cache")])
        return (ended.value.code, *capsys.readouterr())

    bad = write_photos(tmp_path / "bad", {"red": 3, "green": 1})
    code, out, err = checked(bad)
    assert code == 1
    assert "problem: one image only in green: nothing to test on" in out.splitlines()
    assert err == (
        f"error: {bad} cannot be used as it is: one image only in green: nothing to test on\n"
        "  add images, or take out the classes named\n"
    )
    assert checked(write_photos(tmp_path / "good", {"red": 3, "green": 3}))[0] == 0
    code, out, err = checked(tmp_path / "nowhere")
    assert (code, out) == (2, "")
