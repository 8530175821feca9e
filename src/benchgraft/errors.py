"""Every error that a user can cause, as one tree.

UserError                what, where, what to do; the command prints it and ends with exit code 2
├── RequestError         a value that a task cannot be asked for
├── ConfigError          an experiment file that cannot be used
├── DataError            a data set that cannot be read, or images that may not be used together
├── ModelFileError       a model file that cannot be read or does not fit
├── DivergedError        training whose loss is no number any more
├── RunFolderError       a run folder that is locked, damaged or of another experiment
├── ExportError          a model that cannot be exported, or answers otherwise then
├── RegressionError      an updated model that is worse, where that was to be refused
├── WorkersError         one of several workers that cannot take part, or has ended
└── StorageError         a disk that is full or a folder that cannot be written
FrozenMovedError         a frozen tensor changed: a fault of the program, never of the user; exit code 1
Interrupted              the user asked to stop; what was done is kept; exit code 130
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

EXIT_USER_ERROR = 2
EXIT_FAULT = 1
EXIT_INTERRUPTED = 130


class UserError(Exception):
    """A mistake the user can mend: one line of what and where, then lines of detail and advice."""

    def __init__(self, what: str, *details: str) -> None:
        super().__init__(what)
        self.what = what
        self.details = details

    def __str__(self) -> str:
        return "\n  ".join([self.what, *self.details])


class RequestError(UserError):
    """A value that a task cannot be asked for, or two that do not go together."""


class ConfigError(UserError):
    """An experiment file that cannot be used."""


class DataError(UserError):
    """A data set that cannot be read, or images that may not be used together."""


class ModelFileError(UserError):
    """A model file that cannot be read or does not fit."""


class DivergedError(UserError):
    """Training whose loss is no number any more."""


class RunFolderError(UserError):
    """A run folder that is locked, damaged or of another experiment."""


class RegressionError(UserError):
    """An updated model that is worse than the old one, where the user asked to refuse that."""


class WorkersError(UserError):
    """One of the workers of a command that cannot take part, or has ended."""


class ExportError(UserError):
    """A model that cannot be written in another format, or answers otherwise there."""


class StorageError(UserError):
    """A disk that is full or a folder that cannot be written."""


class FrozenMovedError(Exception):
    """A tensor or buffer declared frozen changed during training."""


class Interrupted(Exception):  # noqa: N818 - not an error: the user asked for it
    """The user asked to stop; the checkpoint is on disk."""


def did_you_mean(wrong: str, valid: Iterable[str]) -> str:
    """Advice for an unknown name: the nearest valid one, and all of them where they are few."""
    names = sorted(valid)
    near = get_close_matches(wrong.lower(), [name.lower() for name in names], n=3, cutoff=0.5)
    nearest = [name for wanted in near for name in names if name.lower() == wanted]
    if nearest:
        return "did you mean " + " or ".join(f'"{name}"' for name in nearest) + "?"
    return "valid: " + ", ".join(names[:20]) + (" ..." if len(names) > 20 else "")
