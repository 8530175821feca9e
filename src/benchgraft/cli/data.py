"""Commands about data sets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..config.requests import PhotosRequest
from ..errors import EXIT_FAULT
from .command import Command, Group
from .options import CacheOption, help_of
from .output import print_error, print_lines, say

data_app = typer.Typer(cls=Group, no_args_is_help=True, help="Look at data sets.")


@data_app.command("check", cls=Command)
def data_check(
    folder: Annotated[Path, typer.Argument(help="CIFAR-100 (binary), Fruits-360, elpv, or class folders.")],
    labels: Annotated[Path | None, typer.Option(help=help_of(PhotosRequest, "labels"))] = None,
    cache_dir: CacheOption = None,
) -> None:
    """Say what a data set holds, and what is wrong with it.

    Exit codes: 0 it can be used, 1 it cannot as it is, 2 bad input or no space.

    Example: benchgraft data check photos/
    """
    from ..files import default_cache
    from ..photos.readers import guess_format, open_source
    from ..progress import for_terminal
    from ..tasks.check import check

    found = check(
        open_source(guess_format(folder), folder, labels), cache_dir or default_cache(), for_terminal()
    )
    print_lines(found.lines())
    if not found.is_usable:
        print_error(
            f"{folder} cannot be used as it is: {'; '.join(found.problems)}",
            "add images, or take out the classes named",
        )
        raise typer.Exit(EXIT_FAULT)


@data_app.command("fetch", cls=Command)
def data_fetch(
    name: Annotated[str, typer.Argument(help="cifar100 or fruits360.")],
    out: Annotated[Path, typer.Option(help="Where the data set's folder is put.")] = Path("data"),
) -> None:
    """Download a data set from its official address, check it and unpack it. An interrupted one is resumed.

    CIFAR-100 (169 MB) is checked by its published MD5. Fruits-360 has no official digest: its layout is
    checked, and the SHA-256 of the archive is printed. Example: benchgraft data fetch cifar100
    """
    from ..photos.fetch import fetch
    from ..progress import for_terminal

    fetched = fetch(name, out, for_terminal())
    if fetched.sha256 is None:
        say(f"{fetched.folder} is already there; nothing was done")
        return
    print_lines([*fetched.source.notes, f"{fetched.folder}: {len(fetched.source.samples):,} images"])
    digest = "MD5 as published" if fetched.has_official_digest else "no official digest exists"
    say(f"archive: SHA-256 {fetched.sha256} ({digest})")
