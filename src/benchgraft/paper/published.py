"""What the paper prints: published.toml, checked."""

from __future__ import annotations

import tomllib
from functools import lru_cache
from importlib.resources import files
from typing import Literal

from ..part import Part


class PublishedTable(Part):
    """One of the tables 2 to 5: minutes and accuracy (a fraction) of every run."""

    title: str
    minutes: list[float]
    accuracy: list[float]
    mean_minutes: float | None = None
    mean_accuracy: float | None = None


class Layer(Part):
    """A row of table 1."""

    name: str
    output: list[int]
    """Width, height and filters, or units."""
    parameters: int


class ModelTable(Part):
    """Table 1."""

    total_parameters: int
    layers: list[Layer]


class PublishedClaims(Part):
    """The sizes that the paper claims."""

    stage_2_times_less: float
    stage_3_times_less: float
    accuracy_points: float


class Published(Part):
    """Everything in published.toml."""

    status: Literal["printed"]
    claims: PublishedClaims
    table_1: ModelTable
    table_2: PublishedTable
    table_3: PublishedTable
    table_4: PublishedTable
    table_5: PublishedTable


@lru_cache
def published() -> Published:
    """The paper's printed figures."""
    return Published.model_validate(
        tomllib.loads(files(__package__).joinpath("published.toml").read_text("utf-8"))
    )


def preparation_minutes() -> float:
    """Stages 1 and 2, as printed."""
    return published().table_3.minutes[0] + published().table_4.minutes[0]
