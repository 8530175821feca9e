"""benchgraft on ordinary photos: the very command, in this process."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from typing import Any

from .timeline import Timeline


def ordinary(job: dict[str, Any]) -> dict[str, Any]:
    """Seconds of the command, and what it says of its model."""
    timeline, said = Timeline(started=job["started"]), io.StringIO()
    sys.argv = ["benchgraft", *job["command"]]
    with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
        from benchgraft.cli import main

        main()
    made = json.loads(said.getvalue())
    timeline.epoch(float("nan"))  # its last fit takes the validation photos in
    told = {"parent": made["parent"], "seconds": made["seconds"], "tested": made["images"]["test"]}
    return timeline.result(made["accuracy"]["value"]) | told
