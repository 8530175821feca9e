"""The command line: parse, call one function, print. One module a group of verbs.

Heavy imports stay inside the commands, so that `--help` answers at once.
"""

from __future__ import annotations

import contextlib
import os
import sys
from typing import Annotated

import typer

from ..errors import EXIT_FAULT, EXIT_INTERRUPTED, EXIT_USER_ERROR, FrozenMovedError, Interrupted, UserError
from ..shortcuts import collect_rarely, keep_freed_memory
from .adapt import adapt
from .cache import cache_app
from .command import Command, Group
from .compare import compare
from .data import data_app
from .evaluate import evaluate
from .export import export
from .history import history
from .model import model
from .output import print_error, take_any_letter
from .parents import parents
from .predict import predict
from .prepare import prepare
from .report import report, verify
from .reproduce import reproduce
from .serve import serve

app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Train an image classifier from scratch, or transfer from an existing model? "
    "benchgraft measures both on the same images. Start with: benchgraft reproduce. Exit codes: 0 done, 1 it "
    "ran and found something wrong (photos that cannot be read, differences, a problem in a data set), 2 bad "
    "input or no space, 130 interrupted.",
)
for command in (
    adapt,
    compare,
    predict,
    serve,
    history,
    evaluate,
    export,
    prepare,
    parents,
    reproduce,
    report,
    verify,
    model,
):
    app.command(cls=Command)(command)
_COMPUTING = ("adapt", "compare", "evaluate", "predict", "prepare", "reproduce", "serve")
app.add_typer(data_app, name="data")
app.add_typer(cache_app, name="cache")


def main() -> None:
    """Run the command line; a user's mistake, or the disk's, is one message on stderr and exit code 2."""
    collect_rarely()
    take_any_letter()
    try:
        _run()
    except UserError as error:
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
        print("stopped; run the same command again to continue", file=sys.stderr)
        sys.exit(EXIT_INTERRUPTED)


def _run() -> None:
    try:
        app()
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


@app.callback()
def _options(
    context: typer.Context,
    version: Annotated[  # noqa: ARG001 - its callback prints it
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    if context.invoked_subcommand in _COMPUTING:
        keep_freed_memory()
