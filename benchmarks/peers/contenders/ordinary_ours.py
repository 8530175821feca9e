"""benchgraft on ordinary photos: the very command, in this process."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from pathlib import Path
from typing import Any

from .timeline import Timeline


def ordinary(job: dict[str, Any]) -> dict[str, Any]:
    """Seconds of the command, and what it says of its model; unlike others', they hold its test.

    Raises RuntimeError if it left photos out.
    """
    timeline, said = Timeline(started=job["started"]), io.StringIO()
    sys.argv = ["benchgraft", *job["command"]]
    with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
        from benchgraft.cli import main

        main()
    made = json.loads(said.getvalue())
    if made["images"] != job["counts"]:
        raise RuntimeError(f"{made['images']} photos instead of {job['counts']}")
    timeline.epoch(_on_validation(Path(job["run_folder"])))
    told = {key: made[key] for key in ("parent", "fit", "features_computed", "seconds", "verdict")}
    return timeline.result(made["accuracy"]["value"]) | told


def _on_validation(run_folder: Path) -> float:
    """Of the fit that is judged: the model written is then made with the validation photos, too."""
    records = [json.loads(line) for line in (run_folder / "ledger.jsonl").read_text().splitlines()]
    run = [record for record in records if record["kind"] == "run"][-1]
    return float(run["validation_accuracy"][run["kept_epoch"] - 1])
