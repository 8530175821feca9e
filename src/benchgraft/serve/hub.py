"""What happens, sent on to every page that listens, as server-sent events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Any

from ..names import storable

STILL_HERE = 15.0
"""Seconds without a word after which a line is sent that says nothing, so that the connection stays."""
MOST_WAITING = 1000
"""Events that a page may be behind; the oldest are left out then, as newer ones say more."""
Told = tuple[str, Mapping[str, Any]]


class Hub:
    """Takes events from any thread; pages come and go."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pages: set[asyncio.Queue[Told | None]] = set()
        self._is_closed = False

    def tell(self, name: str, facts: Mapping[str, Any]) -> None:
        """Send it to all that listen."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._put, (name, facts))

    def close(self) -> None:
        """End all streams: for the end of the program, in the loop's thread."""
        self._is_closed = True
        self._put(None)

    async def stream(self, before: Callable[[], Iterable[Told]]) -> AsyncIterator[bytes]:
        """Lines for one page: first what was told before it came; asked for when nothing can be missed."""
        self._loop = asyncio.get_running_loop()
        mine: asyncio.Queue[Told | None] = asyncio.Queue(MOST_WAITING)
        self._pages.add(mine)
        try:
            yield b": here\n\n"
            for told in before():
                yield _lines(told)
            while not self._is_closed:
                try:
                    told_now = await asyncio.wait_for(mine.get(), STILL_HERE)
                except TimeoutError:
                    yield b": still here\n\n"
                    continue
                if told_now is None:
                    return
                yield _lines(told_now)
        finally:
            self._pages.discard(mine)

    def _put(self, told: Told | None) -> None:
        for page in self._pages:
            if page.full():
                page.get_nowait()
            page.put_nowait(told)


def _lines(told: Told) -> bytes:
    name, facts = told
    return f"event: {name}\ndata: {json.dumps(storable(dict(facts)))}\n\n".encode()
