"""The command that compares both arms on a user's own photos."""

from __future__ import annotations

from ..config.requests import CompareRequest
from .options import Given, JsonOption, asks
from .output import print_json, say, say_aside
from .report import print_finished


@asks(CompareRequest)
def compare(given: Given, json: JsonOption = False) -> None:
    """Train from scratch and by transfer on the same photos, and report which pays, and how soon.

    Run the same command again to continue after an interruption. Exit codes: 0 done, 2 bad input or no
    space, 130 interrupted.

    Example: benchgraft compare photos/ --runs 5
    """
    from ..progress import for_terminal
    from ..tasks.compare import compare as run

    made = run(**given, progress=for_terminal(), say=say_aside if json else say)
    if json:
        print_json(made)
    else:
        print_finished(made.run_folder, made.summary)
