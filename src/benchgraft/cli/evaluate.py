"""The command that judges a model on labelled photos."""

from __future__ import annotations

from ..config.requests import EvaluateRequest
from .options import Given, JsonOption, asks
from .output import print_blocks, print_json


@asks(EvaluateRequest)
def evaluate(given: Given, json: JsonOption = False) -> None:
    """Test a model: accuracy with intervals, precision and recall by class, confusion, calibration, mistakes.

    Photos that the model was trained on are counted and left out. Exit codes: 0 done, 2 bad input or no
    space.

    Example: benchgraft evaluate photos.safetensors other-photos/
    """
    from ..progress import for_terminal
    from ..report.answers import evaluated_blocks
    from ..tasks.evaluate import evaluate as run

    found = run(**given, progress=for_terminal())
    if json:
        print_json(found)
    else:
        print_blocks(evaluated_blocks(found))
