"""Commands about data sets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import DataError
from .options import CacheOption

data_app = typer.Typer(no_args_is_help=True, help="Look at data sets.")


@data_app.command("check")
def data_check(
    folder: Annotated[Path, typer.Argument(help="CIFAR-100 (binary), Fruits-360, or class folders.")],
    cache_dir: CacheOption = None,
) -> None:
    """Say what a data set holds, and what is wrong with it. Example: benchgraft data check photos/"""
    from ..data.check import check
    from ..data.readers import guess_format, open_source
    from ..files import default_cache
    from ..progress import for_terminal

    found = check(open_source(guess_format(folder), folder), cache_dir or default_cache(), for_terminal())
    print("\n".join(found.lines()))
    if not found.is_usable:
        raise DataError(
            f"{folder} cannot be used as it is: {'; '.join(found.problems)}",
            "add images, or take out the classes named",
        )
