"""The picture of the page in README: docs/page.png, of generated discs and nothing else.

    python scripts/page_picture.py        needs the extras dev and serve, and Chromium

Drops three classes of discs onto an empty folder, trains, and takes the picture at its result.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from benchgraft.files import write_whole

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Take it."""
    sys.path.insert(0, str(ROOT / "tests"))
    from photos import write_discs
    from test_page_browser import PLANTED, opened_page, running

    with tempfile.TemporaryDirectory() as place:
        discs = write_discs(Path(place) / "discs", classes=3, count=60)
        for right, wrong, name in PLANTED:
            (discs / right / name).rename(discs / wrong / f"of {right} {name}")
        folder = Path(place) / "my photos"
        folder.mkdir()
        size = {"viewport": {"width": 1100, "height": 1000}, "device_scale_factor": 1}
        with running(folder, Path(place) / "cache") as (address, _), opened_page(address, **size) as page:
            page.set_input_files("#folder-input", discs)
            page.wait_for_selector("#notices :text('180 photos added')")
            page.click("#train-start")
            page.wait_for_selector("#result-all:not([hidden])", timeout=300_000)
            page.evaluate("document.querySelector('#notices').hidden = true")
            page.evaluate("document.querySelector('#result').scrollIntoView()")
            page.wait_for_timeout(1000)
            write_whole(ROOT / "docs" / "page.png", page.screenshot())


if __name__ == "__main__":
    main()
