"""Numbers as people read them. Fractions become per cent and seconds get units here, and only here."""

from __future__ import annotations

from collections.abc import Callable

from .statistics import Estimate


def seconds(value: float) -> str:
    """Wall time: `0.84 s`, `12.3 s`, `315 s`; from 10 minutes on minutes, `24.2 min`."""
    if value >= 600:
        return f"{value / 60:.1f} min"
    if value >= 100:
        return f"{value:.0f} s"
    return f"{value:.1f} s" if value >= 10 else f"{value:.2f} s"


def per_cent(fraction: float) -> str:
    """An accuracy: `97.21 %`."""
    return f"{100 * fraction:.2f} %"


def points(fraction: float) -> str:
    """A difference of accuracies in percentage points, with its sign: `+1.43`."""
    return f"{100 * fraction:+.2f}"


def bare_points(fraction: float) -> str:
    """A difference in percentage points, a minus only where it is one: `1.43`, `-0.31`."""
    return f"{100 * fraction:.2f}"


def times(ratio: float) -> str:
    """A ratio: `12.4x`, `0.38x`, `120x`."""
    return f"{number(ratio)}x"


def number(value: float) -> str:
    """Three digits that count."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def bare_per_cent(fraction: float) -> str:
    """An accuracy in per cent without the sign, for a column that has it elsewhere: `97.21`."""
    return f"{100 * fraction:.2f}"


def estimate(value: Estimate, write: Callable[[float], str]) -> str:
    """A value with its interval, `12.4x (9.81 to 15.6)`, or with the reason for having none."""
    text = write(value.value)
    if value.low is None or value.high is None:
        return f"{text} ({value.why_none})" if value.why_none else text
    return f"{text} ({span(value.low, value.high, write, stated=unit(text))})"


def bounds(value: Estimate, write: Callable[[float], str]) -> str:
    """Only the interval, `19.4 to 20.6 s`; empty where there is none."""
    return span(value.low, value.high, write) if value.low is not None and value.high is not None else ""


def span(low: float, high: float, write: Callable[[float], str], *, stated: str = "") -> str:
    """From low to high, the unit written once where both have the same, and not at all where it is stated."""
    first, last = write(low), write(high)
    ending = unit(last)
    if unit(first) == ending:
        first = first.removesuffix(ending)
        last = last.removesuffix(ending) if ending == stated else last
    return f"{first} to {last}"


def unit(text: str) -> str:
    """What a written number ends with: ` s`, ` min`, ` %`, `x` or nothing."""
    return text[len(text.rstrip(" %abcdefghijklmnopqrstuvwxyz")) :]
