"""Long tasks say how far they are; short ones and pipes are spared."""

from __future__ import annotations

import io

import pytest

from benchgraft.progress import BarProgress, PlainProgress, for_terminal


def test_short_tasks_print_nothing() -> None:
    for make in (PlainProgress, BarProgress):
        stream = io.StringIO()
        with make(stream).track(3, "decode images") as advance:
            advance(3)
        assert stream.getvalue() == ""


def test_long_tasks_print_a_line_now_and_then_and_one_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter(range(100))
    monkeypatch.setattr("time.monotonic", lambda: float(next(moments)))
    stream = io.StringIO()
    with PlainProgress(stream, every=5).track(20, "read images") as advance:
        for _ in range(20):
            advance(1)
    lines = stream.getvalue().splitlines()
    assert lines[0] == "read images: 2 of 20, 18 s left"
    assert lines[-1] == "read images: 20 of 20 in 21.0 s"
    assert len(lines) == 5


def test_bar_survives_a_second_bar_and_an_error() -> None:
    stream = io.StringIO()
    with pytest.raises(RuntimeError), BarProgress(stream).track(2, "[outer]") as outer:
        outer(1)
        with BarProgress(stream).track(1, "inner") as inner:
            inner(1)
        raise RuntimeError


def test_pipes_get_plain_lines_and_terminals_a_bar() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    assert isinstance(for_terminal(io.StringIO()), PlainProgress)
    assert isinstance(for_terminal(Terminal()), BarProgress)
