"""Where a command's time went, as tables: shown when it ends, and left beside the ledger."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..files import lock, write_whole
from ..runfolder.profiling import NoProfiler, Profile, Profiler, StageProfile
from ..runfolder.records import Environment, Phase
from ..runfolder.runs import VARIANT_OF
from ..runfolder.seal import reseal
from . import words
from .blocks import Block, Grid, Heading, Lines, markdown, numbers

PROFILE_MD, PROFILE_JSON = "profile.md", "profile.json"
SHOWN_SHARE = 0.02
"""Parts below this share of their phase are in the file alone."""
PHASES: tuple[Phase, ...] = ("decode", "features", "train", "validate", "evaluate", "save", "other")


def leave_profile(
    folder: Path, profiler: NoProfiler, environment: Environment, say: Callable[[str], None]
) -> None:
    """Write both files into the run folder, in place of an earlier command's, and say what matters of them.

    Does nothing where no profile is wanted. A folder that is sealed takes their digests in. Raises
    StorageError, and RunFolderError if another process works there.
    """
    if not isinstance(profiler, Profiler):
        return
    profile = profiler.profile(environment)
    if profile is None:
        say("no profile: every run of this command was done before")
        return
    with lock(folder):
        write_whole(folder / PROFILE_MD, markdown(blocks(profile)) + "\n")
        write_whole(folder / PROFILE_JSON, profile.model_dump_json(indent=1) + "\n")
        reseal(folder, (PROFILE_MD, PROFILE_JSON))
    for line in markdown(blocks(profile, SHOWN_SHARE)).splitlines():
        say(line)
    say("")
    say(f"all of it: {folder / PROFILE_MD} (also {PROFILE_JSON})")


def blocks(profile: Profile, least: float = 0.0) -> list[Block]:
    """A table of phases, then one of the parts of `features` and `train` for each stage.

    least: share of its phase that a part must have to be told.
    """
    found: list[Block] = [Heading("Where the time went"), _phases(profile)]
    for stage in profile.stages:
        for phase in ("features", "train"):
            if parts := stage.parts.get(phase):
                told = f"{_name(stage)}, {phase}: {words.seconds(sum(parts.values()))} in {stage.runs} runs"
                found += [Lines([told]), _parts(parts, least)]
    if any(stage.is_resumed for stage in profile.stages):
        told = "Runs that were interrupted: what was measured before has no parts and is in `rest`."
        found.append(Lines([told]))
    return found


def _phases(profile: Profile) -> Grid:
    """Seconds of all runs of a stage; shares are of the command's wall time."""
    whole = profile.seconds

    def row(name: str, runs: str, seconds: dict[Phase, float], total: float) -> list[str]:
        cells = [f"{seconds[phase]:.2f}" if phase in seconds else "" for phase in PHASES]
        return [name, runs, *cells, f"{total:.2f}", f"{total / whole:.0%}"]

    columns = ["stage", "runs", *PHASES, "all", "share"]
    rows = [
        *(
            row(f"photos of {data} into a store", "once", {"decode": seconds}, seconds)
            for data, seconds in profile.decode_seconds.items()
        ),
        *(
            row(_name(stage), f"{stage.runs}", stage.seconds, sum(stage.seconds.values()))
            for stage in profile.stages
        ),
        row("report and the rest", "", {}, profile.elsewhere),
        row("the command", "", {}, whole),
    ]
    return numbers(columns, rows)


def _parts(parts: dict[str, float], least: float) -> Grid:
    """The longest part first."""
    total = sum(parts.values())
    rows = [
        [name, f"{seconds:.3f}", f"{seconds / total if total else 0:.1%}"]
        for name, seconds in sorted(parts.items(), key=lambda part: -part[1])
        if seconds >= least * total
    ]
    return numbers(["part", "seconds", "share"], rows)


def _name(stage: StageProfile) -> str:
    arm = "" if stage.arm in (None, stage.stage) else f"{stage.arm}: "
    return words.named(f"{arm}{stage.stage}", VARIANT_OF[stage.features])
