"""Tables of an experiment file that stand for several: a key with `{n}` is one for each value of `each.n`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_PLACE = re.compile(r"\{(\w+)(\.before)?\}")
_LEFT_OUT = object()


def expand(table: Mapping[str, Any], each: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    """The table with every key that holds `{name}` written once for each value of `each[name]`.

    In what stands under such a key `{name}` is the value, and `{name.before}` the value before it: an entry
    that asks for one before the first is left out. A key that is written out wins over the copies.
    Raises ValueError for a name that `each` does not have.
    """
    copies: dict[str, Any] = {}
    written: dict[str, Any] = {}
    for key, value in table.items():
        name = _name_in(key, each)
        if name is None:
            written[key] = expand(value, each) if isinstance(value, Mapping) else value
            continue
        for filling in _fillings(name, each[name]):
            copies[str(_filled(key, filling))] = _filled(value, filling)
    return copies | written


def _name_in(key: str, each: Mapping[str, Sequence[Any]]) -> str | None:
    found = _PLACE.search(key)
    if found is None:
        return None
    if found[1] not in each:
        raise ValueError(f'"{key}" asks for each.{found[1]}, which is not there')
    return found[1]


def _fillings(name: str, values: Sequence[Any]) -> Iterator[dict[str, Any]]:
    for place, value in enumerate(values):
        yield {f"{{{name}}}": value, f"{{{name}.before}}": values[place - 1] if place else _LEFT_OUT}


def _filled(value: Any, filling: Mapping[str, Any]) -> Any:
    if isinstance(value, Mapping):
        entries = {_filled(key, filling): _filled(inner, filling) for key, inner in value.items()}
        return {key: inner for key, inner in entries.items() if inner is not _LEFT_OUT}
    if isinstance(value, list):
        return [_filled(inner, filling) for inner in value]
    if not isinstance(value, str):
        return value
    if value in filling:
        return filling[value]
    for place, part in filling.items():
        if place in value:
            if part is _LEFT_OUT:
                return part
            value = value.replace(place, str(part))
    return value
