"""The command that makes a model from a folder of photos."""

from __future__ import annotations

from ..config.requests import AdaptRequest
from .options import Given, JsonOption, asks
from .output import print_blocks, print_json, say_aside


@asks(AdaptRequest)
def adapt(given: Given, json: JsonOption = False) -> None:
    """Train a model on a folder of labelled photos: model file, accuracy, and labels to check first.

    Run the same command again to continue after an interruption. Exit codes: 0 done, 2 bad input, no space or
    a refused regression, 130 interrupted.

    Example: benchgraft adapt photos/    then    benchgraft adapt photos/ --update photos.safetensors
    """
    from ..progress import for_terminal
    from ..report.answers import adapted_blocks
    from ..tasks.adapt import adapt as run

    result = run(**given, progress=for_terminal(), say=say_aside)
    if json:
        print_json(result)
    else:
        print_blocks(adapted_blocks(result))
