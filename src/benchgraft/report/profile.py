"""Where a command's time went, as tables: shown when it ends, and left beside the ledger."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from ..files import lock, write_whole
from ..runfolder.ledger import Environment, Phase
from ..runfolder.profiling import NoProfiler, Profile, Profiler, StageProfile
from . import units
from .seal import reseal

PROFILE_MD, PROFILE_JSON = "profile.md", "profile.json"
SHOWN_SHARE = 0.02
"""Parts below this share of their phase are in the file alone."""
PHASES: tuple[Phase, ...] = ("decode", "features", "train", "validate", "evaluate", "save", "other")
MODES = {"computed": "cold", "cached": "warm", "none": "from pixels"}


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
        write_whole(folder / PROFILE_MD, "\n".join(lines(profile)) + "\n")
        write_whole(folder / PROFILE_JSON, profile.model_dump_json(indent=1) + "\n")
        reseal(folder, (PROFILE_MD, PROFILE_JSON))
    for line in lines(profile, SHOWN_SHARE):
        say(line)
    say("")
    say(f"all of it: {folder / PROFILE_MD} (also {PROFILE_JSON})")


def lines(profile: Profile, least: float = 0.0) -> list[str]:
    """Markdown: a table of phases, then one of the parts of `features` and `train` for each stage.

    least: share of its phase that a part must have to be told.
    """
    text = ["## Where the time went", "", *_phases(profile)]
    for stage in profile.stages:
        for phase in ("features", "train"):
            parts = stage.parts.get(phase)
            if parts:
                text += ["", *_parts(stage, phase, parts, least)]
    if any(stage.is_resumed for stage in profile.stages):
        text += ["", "Runs that were interrupted: what was measured before has no parts and is in `rest`."]
    return text


def _phases(profile: Profile) -> Iterator[str]:
    """Seconds of all runs of a stage; shares are of the command's wall time."""
    yield "| stage | runs | " + " | ".join(PHASES) + " | all | share |"
    yield "|---|---:" + "|---:" * (len(PHASES) + 2) + "|"
    whole = profile.seconds
    for data, seconds in profile.decode_seconds.items():
        yield _row(f"photos of {data} into a store", "once", {"decode": seconds}, seconds, whole)
    for stage in profile.stages:
        yield _row(_name(stage), str(stage.runs), stage.seconds, sum(stage.seconds.values()), whole)
    yield _row("report and the rest", "", {}, profile.elsewhere, whole)
    yield _row("the command", "", {}, whole, whole)


def _row(name: str, runs: str, seconds: dict[Phase, float], total: float, whole: float) -> str:
    cells = [f"{seconds[phase]:.2f}" if phase in seconds else "" for phase in PHASES]
    return "| " + " | ".join([name, runs, *cells, f"{total:.2f}", f"{total / whole:.0%}"]) + " |"


def _parts(stage: StageProfile, phase: Phase, parts: dict[str, float], least: float) -> Iterator[str]:
    """The longest part first."""
    total = sum(parts.values())
    yield f"{_name(stage)}, {phase}: {units.seconds(total)} in {stage.runs} runs"
    yield ""
    yield "| part | seconds | share |"
    yield "|---|---:|---:|"
    for name, seconds in sorted(parts.items(), key=lambda part: -part[1]):
        if seconds >= least * total:
            yield f"| {name} | {seconds:.3f} | {seconds / total if total else 0:.1%} |"


def _name(stage: StageProfile) -> str:
    arm = "" if stage.arm in (None, stage.stage) else f"{stage.arm}: "
    return f"{arm}{stage.stage}, {MODES[stage.features]}"
