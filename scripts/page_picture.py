"""The picture of the page in README: docs/page.png, of generated discs and nothing else.

    python scripts/page_picture.py        needs the extras dev and serve, and Chromium

Drops three classes of discs onto an empty folder, trains, and takes the picture down to its result.
"""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path

from PIL import Image

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
            page.evaluate("document.querySelector('#folder').textContent = 'my photos/'")
            page.evaluate("document.querySelector('#nav').style.position = 'static'")
            page.evaluate("scrollTo(0, 0)")
            page.wait_for_timeout(1000)
            box = page.locator("#result-bars").bounding_box()
            clip = {"x": 0, "y": 0, "width": 1100, "height": box["y"] + box["height"] + 30}
            shot = Image.open(io.BytesIO(page.screenshot(full_page=True, clip=clip)))
            small = io.BytesIO()
            shot.convert("RGB").quantize(128).save(small, "PNG", optimize=True)
            write_whole(ROOT / "docs" / "page.png", small.getvalue())


if __name__ == "__main__":
    main()
