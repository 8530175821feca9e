"""The command that trains a parent model through a chain of stages."""

from __future__ import annotations

from ..config.requests import PrepareRequest
from .options import Given, JsonOption, asks
from .output import print_json, say, say_aside


@asks(PrepareRequest)
def prepare(given: Given, json: JsonOption = False) -> None:
    """Train a parent model: each stage of a chain once, the paper's or one's own, into one model file.

    Run the same command again to continue after an interruption. Under torchrun several workers train
    together, and any number of them may continue. Exit codes: 0 done, 2 bad input or no space, 130
    interrupted.

    Example: benchgraft prepare paper --data DIR --out parent.safetensors
    """
    from ..config.torchrun import this_seat
    from ..progress import for_terminal
    from ..tasks.prepare import prepare as run

    made = run(**given, progress=for_terminal(), say=say_aside if json else say)
    if not this_seat().is_first:
        return
    if json:
        print_json(made)
    else:
        say(str(made.model))
