"""The command that lists the models of a project, and goes back to one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import JsonOption
from .output import print_blocks, say, to_json


def history(
    folder: Annotated[Path, typer.Argument(help="Folder of photos on which serve has worked.")] = Path(),
    use: Annotated[int | None, typer.Option(min=1, help="Go back to this model.")] = None,
    json: JsonOption = False,
) -> None:
    """List the models that the page has made of a folder, the newest first; the one in use is marked.

    Nothing is ever lost by going back. Exit codes: 0 done, 2 bad input.

    Example: benchgraft history photos/ --use 2
    """
    from ..errors import DataError
    from ..photos.scan import PROJECT
    from ..report.blocks import numbers
    from ..report.words import estimate, per_cent
    from ..serve.history import History

    kept = History(folder / PROJECT)
    if not kept.numbers():
        raise DataError(f"{folder} has no models of its own", "make one: benchgraft serve FOLDER")
    if use is not None:
        kept.choose(use)
        if not json:
            say(f"model {use} is in use: {kept.model(use)}")
    current = kept.current()
    found = [kept.read(number) for number in reversed(kept.numbers())]
    if json:
        print(to_json([each.row(current) | {"file": kept.model(each.number)} for each in found]))
        return
    rows = [
        [
            f"{each.number}{' (in use)' if each.number == current else ''}",
            each.date[:16].replace("T", " "),
            estimate(each.result.accuracy, per_cent),
            f"{each.photos:,}",
            Path(each.result.parent).name,
        ]
        for each in found
    ]
    print_blocks([numbers(["model", "made", "right", "photos", "from"], rows)])
