"""Draw the README's picture from a run folder: python scripts/readme_picture.py runs/paper

Writes docs/result.svg: seconds and accuracy of every run of both arms.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from benchgraft.report.drawing import Picture
from benchgraft.report.figures import runs
from benchgraft.runfolder.ledger import read
from benchgraft.tasks.report import summarise

COLOUR = re.compile(r"var\(--[\w-]+, (#[0-9a-f]+)\)")
TARGET = Path(__file__).resolve().parents[1] / "docs" / "result.svg"


def on_white(picture: Picture) -> str:
    """The figure as a file of its own: white ground, colours that need no style sheet."""
    ground = '<rect width="100%" height="100%" fill="#fff"/>'
    return COLOUR.sub(r"\1", picture.svg).replace(">", f">{ground}", 1)


def main() -> None:
    """One figure of the report, as a file of its own on a white ground."""
    picture = runs(summarise(read(Path(sys.argv[1]))))
    if picture is None:
        sys.exit("these runs make no picture yet")
    TARGET.write_text(on_white(picture), encoding="utf-8")
    print(f"{TARGET}: {picture.title}")


if __name__ == "__main__":
    main()
