"""The command line: parse, call one function, print. One module a group of verbs.

Heavy imports stay inside the commands, so that `--help` answers at once.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable
from functools import cache
from importlib import import_module
from typing import Annotated, Any

import typer

from ..config.torchrun import this_seat
from ..errors import (
    EXIT_FAULT,
    EXIT_INTERRUPTED,
    EXIT_USER_ERROR,
    FrozenMovedError,
    Interrupted,
    UserError,
    WorkersError,
)
from ..shortcuts import collect_rarely, end_process, keep_freed_memory
from .command import Command, Group
from .output import print_error, take_any_letter

_MODULES = {
    "adapt": "adapt",
    "compare": "compare",
    "predict": "predict",
    "serve": "serve",
    "history": "history",
    "evaluate": "evaluate",
    "export": "export",
    "prepare": "prepare",
    "parents": "parents",
    "reproduce": "reproduce",
    "report": "report",
    "verify": "report",
    "model": "model",
    "data": "data",
    "cache": "cache",
}
"""Command -> the module that has it; in the order of the help text."""
_GROUPS = ("data", "cache")
_COMPUTING = ("adapt", "compare", "evaluate", "predict", "prepare", "reproduce", "serve")


def app_of(names: Iterable[str]) -> typer.Typer:
    """The command line with some of its commands: only their modules are imported."""
    made = typer.Typer(
        cls=Group,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        help="Train an image classifier from scratch, or transfer from an existing model? "
        "benchgraft measures both on the same images. Start with: benchgraft reproduce. Exit codes: 0 done, "
        "1 it ran and found something wrong (photos that cannot be read, differences, a problem in a data "
        "set), 2 bad input or no space, 130 interrupted.",
    )
    made.callback()(_options)
    for name in names:
        module = import_module(f".{_MODULES[name]}", __name__)
        if name in _GROUPS:
            made.add_typer(getattr(module, f"{name}_app"), name=name)
        else:
            made.command(cls=Command)(getattr(module, name))
    return made


@cache
def _whole_app() -> typer.Typer:
    return app_of(_MODULES)


def __getattr__(name: str) -> Any:
    """`app`, the command line with all its commands, made when it is first asked for."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _whole_app()


def program() -> None:
    """`main` as a process of its own, which ends with it."""
    code: str | int | None = 0
    try:
        main()
    except SystemExit as done:
        code = done.code
    if isinstance(code, str):
        sys.exit(code)
    end_process(code or 0)


def main() -> None:
    """Run the command line; a user's mistake, or the disk's, is one message on stderr and exit code 2."""
    collect_rarely()
    take_any_letter()
    try:
        _run()
    except UserError as error:
        if this_seat().local == 0 or isinstance(error, WorkersError):  # others happen to all of a machine
            print_error(error.what, *error.details)
        sys.exit(EXIT_USER_ERROR)
    except BrokenPipeError:  # `| head` has seen enough
        _forget_output()
        sys.exit(EXIT_FAULT)
    except OSError as error:
        where = error.filename or "the output of this command, or a file of it"
        print_error(
            f"cannot read or write {where}: {error.strerror or error}",
            "check the free space, the path and your permissions, then run again",
        )
        _forget_output()
        sys.exit(EXIT_USER_ERROR)
    except FrozenMovedError as error:
        print(f"fault of the program: {error}", file=sys.stderr)
        sys.exit(EXIT_FAULT)
    except (Interrupted, KeyboardInterrupt):
        if this_seat().is_first:
            print("stopped; run the same command again to continue", file=sys.stderr)
        sys.exit(EXIT_INTERRUPTED)


def _run() -> None:
    called = sys.argv[1:2]
    try:
        (app_of(called) if called and called[0] in _MODULES else _whole_app())()
    except SystemExit:
        sys.stdout.flush()  # now, while a full disk below it can be told of
        raise


def _forget_output() -> None:
    """Send what still waits for stdout nowhere: at its end the interpreter would try again, and complain."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"benchgraft {version('benchgraft')}")
        raise typer.Exit


def _options(
    context: typer.Context,
    version: Annotated[  # noqa: ARG001 - its callback prints it
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    workers = this_seat().count
    if workers > 1 and context.invoked_subcommand not in ("prepare", None):
        raise UserError(
            f"{context.invoked_subcommand} works in one process, and torchrun has started {workers}",
            "only prepare runs under torchrun; give this command without it",
        )
    if context.invoked_subcommand in _COMPUTING:
        keep_freed_memory()
