"""An experiment file (TOML), read and checked.

A file may start from another one (`base = "paper"`): its tables are laid over those of the base, key by key.
Every name and key is checked; an unknown one is refused with the nearest valid one.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from ..errors import ConfigError, did_you_mean
from .expand import expand
from .experiment import Experiment
from .network import PAPER


def shipped_experiments() -> list[str]:
    """Names of the experiment files that come with the program."""
    names = [file.name for file in files(__package__).iterdir()]
    return sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml") and name[0] != "_")


def read(name: str, quick: bool = False) -> Experiment:
    """Read an experiment file: a path, or the name of a shipped one; quick: with its table `quick` laid over.

    Raises ConfigError: no such file, no TOML, unknown or wrong keys, names that nothing has.
    """
    table, text, path = _read(name)
    seen = [path]
    while "base" in table:
        base, base_text, base_path = _read(str(table.pop("base")), path.parent)
        if base_path in seen:
            raise ConfigError(f"{path}: its base leads back to itself", " -> ".join(map(str, seen)))
        seen.append(base_path)
        table, text = _merge(base, table), text + "\n" + base_text
    smaller = table.pop("quick", None)
    if quick:
        if smaller is None:
            raise ConfigError(f"{path} has no table [quick]", "run it without --quick, or with fewer --runs")
        table = _merge(table, smaller)
    try:
        table = expand(table, table.pop("each", {}))
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from None
    try:
        experiment = Experiment.model_validate(table)
    except ValidationError as error:
        raise ConfigError(*_explain(error.errors(), path, text)) from None
    _check_names(experiment, path)
    return experiment


def _read(name: str, beside: Path | None = None) -> tuple[dict[str, Any], str, Path]:
    path = Path(name)
    if name in shipped_experiments():
        path = Path(str(files(__package__))) / f"{name}.toml"
    elif beside and not path.is_absolute():
        path = beside / path
    try:
        text = path.read_text(encoding="utf-8")
        return tomllib.loads(text), text, path
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"cannot read the experiment file {name}: {getattr(error, 'strerror', None) or error}",
            f"shipped: {', '.join(shipped_experiments())}",
            did_you_mean(path.stem, shipped_experiments()),
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(
            f"{path} is not valid TOML: {error}", "mend that place, or name another experiment file"
        ) from None


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        if isinstance(value, Mapping) and isinstance(merged.get(key), Mapping):
            merged[key] = _merge(merged[key], value)
        else:
            merged[key] = value
    return merged


def _explain(errors: list[ErrorDetails], path: Path, text: str) -> list[str]:
    """One line for each error, the unknown keys with the nearest valid one."""
    lines = []
    for error in errors:
        place = [str(part) for part in error["loc"]]
        where = _line_of(text, place[-1])
        if error["type"] == "extra_forbidden":
            advice = did_you_mean(place[-1], _fields_at(place[:-1]))
            lines.append(f"{'.'.join(place)}: no such key{where}; {advice}")
        else:
            message = error["msg"].removeprefix("Value error, ")
            if error["type"] != "value_error":  # whose words are ours
                message = message.lower()
            lines.append(f"{'.'.join(place)}: {message}{where}, got {error['input']!r:.60}")
    return [f"{path}: {lines[0]}", *lines[1:]]


def _line_of(text: str, key: str) -> str:
    found = re.search(rf"^\s*(\[.*\b)?{re.escape(key)}\b", text, re.MULTILINE)
    return f" (line {text.count(chr(10), 0, found.end()) + 1})" if found else ""


def _fields_at(place: list[str]) -> list[str]:
    """Valid keys of the table at this place of the file."""
    model: type[BaseModel] = Experiment
    for part in place:
        field = model.model_fields.get(part)
        if field is None:
            continue  # a name the user chose: stages.NAME
        found = _model_in(field.annotation)
        if found is not None:
            model = found
    return [*model.model_fields, *(["base", "each", "quick"] if model is Experiment else [])]


def _model_in(annotation: Any) -> type[BaseModel] | None:
    candidates = [annotation, *get_args(annotation)]
    return next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), None)


def _check_names(experiment: Experiment, path: Path) -> None:
    """Every name that one table uses must be in another."""

    def need(name: str | None, known: Mapping[str, Any], where: str) -> None:
        if name is not None and name not in known:
            raise ConfigError(f'{path}: {where} = "{name}" names nothing', did_you_mean(name, known))

    for name, stage in experiment.stages.items():
        need(stage.data, experiment.data, f"stages.{name}.data")
        need(stage.classes, experiment.classes, f"stages.{name}.classes")
        need(stage.parent, experiment.stages, f"stages.{name}.parent")
        need(stage.network, {PAPER.name: PAPER, **experiment.networks}, f"stages.{name}.network")
        if stage.freeze and stage.parent is None and not stage.freeze_random:
            raise ConfigError(
                f"{path}: stages.{name}.freeze without a parent would freeze random weights",
                "name a parent, or write freeze = []; freeze_random = true where that is meant",
            )
    for arm, stage_name in experiment.arms.items():
        need(stage_name, experiment.stages, f"arms.{arm}")
    if experiment.study:
        for arm in experiment.study.points:
            need(arm, experiment.arms, "study.points")
        for step in experiment.study.steps:
            need(step.before, experiment.arms, f'study.steps, "{step.what}": before')
            need(step.after, experiment.arms, f'study.steps, "{step.what}": after')
    _refuse_circles(experiment, path)


def _refuse_circles(experiment: Experiment, path: Path) -> None:
    for start in experiment.stages:
        seen, name = [start], experiment.stages[start].parent
        while name is not None:
            if name in seen:
                raise ConfigError(f"{path}: parents go round in a circle: {' -> '.join([*seen, name])}")
            seen.append(name)
            name = experiment.stages[name].parent
