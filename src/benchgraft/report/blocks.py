"""What a page is made of, whatever it is printed on: headings, sentences and grids."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Heading:
    """The start of a section."""

    text: str


@dataclass(frozen=True)
class Lines:
    """Sentences, one to a line."""

    lines: list[str]


@dataclass(frozen=True)
class Grid:
    """A table; the columns named in `right` hold numbers."""

    columns: list[str]
    rows: list[list[str]]
    right: frozenset[int] = frozenset()


Block = Heading | Lines | Grid
