"""Tables in Markdown, and what stands in their cells."""

from __future__ import annotations

from collections.abc import Sequence


def table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Markdown."""
    rows = [header, ["---"] * len(header), *lines]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def number(value: float | None, digits: int = 2) -> str:
    """With so many decimals."""
    return "not reached" if value is None else f"{value:,.{digits}f}"


def ratio(value: float | None, ours: float | None) -> str:
    """How many times as long as benchgraft's; below 1 the peer wins."""
    if not value or not ours:
        return ""
    return f"{value / ours:.1f}x" + (" (peer wins)" if value < ours else "")
