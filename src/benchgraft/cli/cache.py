"""Commands about the cache of decoded photos and features."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from ..errors import UserError
from .command import Command, Group
from .options import CacheOption
from .output import print_json, say

cache_app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    help="Look at decoded photos and features kept for the next run, or remove them. Nothing in the cache is "
    "needed. Above 20 GB (environment variable BENCHGRAFT_CACHE_GB) the longest unused entries are removed.",
)


@cache_app.command("list", cls=Command)
def cache_list(
    cache_dir: CacheOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """List what the cache holds, longest unused first. Example: benchgraft cache list"""
    from ..cache import beside, entries, limit_bytes, megabytes

    cache = _folder(cache_dir)
    found = entries(cache)
    total, others = sum(entry.bytes for entry in found), beside(cache)
    if as_json:
        rows = [
            {
                "kind": entry.kind,
                "key": entry.key,
                "folder": entry.folder,
                "images": entry.images,
                "bytes": entry.bytes,
                "last_used": datetime.fromtimestamp(entry.last_used, UTC).isoformat(timespec="seconds"),
                "in_use": entry.is_held,
            }
            for entry in found
        ]
        facts = {"cache": cache, "limit_bytes": limit_bytes(), "bytes": total, "entries": rows}
        facts["beside"] = others
        print_json(facts)
        return
    for entry in found:
        used = datetime.fromtimestamp(entry.last_used).astimezone().strftime("%Y-%m-%d %H:%M")
        images = "damaged" if entry.images is None else f"{entry.images:,} images"
        images = {"graphs": "a network", "parcels": "files for jobs"}.get(entry.kind, images)
        in_use = "  in use" if entry.is_held else ""
        say(f"{entry.kind:8}  {entry.key[:12]}  {images:>16}  {megabytes(entry.bytes):>12}  {used}{in_use}")
    say(f"{len(found):,} entries, {megabytes(total)} of {megabytes(limit_bytes())} in {cache}")
    if others:
        shown = ", ".join(f"{name}/ {megabytes(count)}" for name, count in others.items())
        say(f"beside them, not cleared: {shown}")


@cache_app.command("clear", cls=Command)
def cache_clear(
    older_than: Annotated[
        str, typer.Option(metavar="DAYS", help="Only what was not used for so many days, as in 30d.")
    ] = "0d",
    cache_dir: CacheOption = None,
) -> None:
    """Remove what no running process uses. Example: benchgraft cache clear --older-than 30d"""
    from ..cache import clear, entries

    days = _days(older_than)
    cache = _folder(cache_dir)
    removed = clear(cache, days)
    freed, kept = sum(entry.bytes for entry in removed), len(entries(cache))
    say(f"removed {len(removed):,} entries of {cache}: {freed:,} bytes freed, {kept:,} entries kept")


def _days(text: str) -> float:
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)?d?", text):
        raise UserError(f'--older-than "{text}" is no number of days', "name one, as in 30d")
    return float(text.removesuffix("d"))


def _folder(cache_dir: Path | None) -> Path:
    from ..files import default_cache

    return cache_dir or default_cache()
