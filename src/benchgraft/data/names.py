"""File names as text that is safe to print and to store."""

from __future__ import annotations

import unicodedata


def class_name(folder: str) -> str:
    """The name of a class from its folder: printable, and composed (NFC), as macOS writes accents apart."""
    return unicodedata.normalize("NFC", printable(folder))


def printable(name: str) -> str:
    """The name with control characters and undecodable bytes written as escapes, so that it fits on one line.

    Keys and class names are made with it: they go to terminals, JSON and tables, where a newline, an escape
    sequence or a lone surrogate in a file name would do harm. Spaces, quotes and all letters stay.
    """
    if name.isprintable():
        return name
    whole = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in whole)
