"""The templates of pages, and what all of them use."""

from __future__ import annotations

import re

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from .blocks import Grid, Heading, Lines


def template(name: str) -> Template:
    """One of this folder, with what all of them use."""
    environment = Environment(
        loader=PackageLoader(__package__, "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["bound"] = _bound
    environment.tests["heading"] = lambda block: isinstance(block, Heading)
    environment.tests["grid"] = lambda block: isinstance(block, Grid)
    environment.tests["lines"] = lambda block: isinstance(block, Lines)
    return environment.get_template(name)


def _bound(text: str) -> str:
    """A number is not parted from its unit at the end of a line."""
    return re.sub(r"(\d) (s|min|%|points|to)(?!\w)", "\\1\N{NO-BREAK SPACE}\\2", text)
