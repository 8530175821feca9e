"""Measure benchgraft and its peers side by side; write JSON, Markdown and a picture into benchmarks/results.

python benchmarks/peers/run.py --data DIR --python PEERS_PYTHON [QUESTION ...] [--rounds 5]
python benchmarks/peers/run.py --data DIR --python PEERS_PYTHON paper --ours RUN_FOLDER

Questions: retrain, files, ordinary, scratch, train, forward, decode (default: all of them). DIR holds
fruits-360/, for `ordinary` clothing/ and for `paper` cifar-100-binary/ too; RUN_FOLDER is one of
`reproduce --data DIR`.
`--search` chooses the recipes of `retrain` anew (recipes.json); `--quick` is a smoke run of two rounds whose
figures say nothing and which writes nothing into benchmarks/results; `--draw` makes tables and pictures again
from the JSON that is there.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import draw
import files
import ordinary
import paper
import retrain
import scratch
import speed
from export_material import export_material
from rounds import HERE, Bench

RESULTS = HERE.parent / "results"
QUESTIONS = {
    "retrain": retrain.measure,
    "files": files.measure,
    "ordinary": ordinary.measure,
    "scratch": scratch.measure,
    "train": speed.measure_training,
    "forward": speed.measure_forward,
    "decode": speed.measure_decoding,
}


def main() -> None:
    """All questions, or those named."""
    options = _options()
    questions = _questions(options.ours)
    unknown = set(options.questions) - set(questions)
    if unknown and not options.draw:
        raise SystemExit(f"no such question: {', '.join(unknown)}; there are {', '.join(questions)}")
    if options.draw:
        draw.draw_all(options.out)
        return
    work = options.work.resolve()
    out = work / "quick" if options.quick else options.out
    out.mkdir(parents=True, exist_ok=True)
    bench = Bench(options.python, work, 2 if options.quick else options.rounds, _say, options.only)
    export_material(options.data, work)
    if options.search:
        retrain.search(bench, options.data)
        return
    for question in options.questions or questions:
        start = time.perf_counter()
        measured = questions[question](bench, options.data, options.quick)
        path = out / f"{question}.json"
        if options.only and path.exists():  # sets that are not asked for keep what they have
            measured["sets"] = json.loads(path.read_text())["sets"] | measured["sets"]
        path.write_text(json.dumps(measured, indent=1) + "\n")
        _say(f"{question}: {time.perf_counter() - start:.0f} s")
    draw.draw_all(out)


def _questions(ours: Path | None) -> dict[str, Callable[[Bench, Path, bool], dict[str, Any]]]:
    """Name -> what measures it; `paper` needs benchgraft's own run folder."""
    if ours is None:
        return QUESTIONS
    return QUESTIONS | {"paper": partial(paper.measure, ours=ours)}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("questions", nargs="*", metavar="QUESTION", help="default: all")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--python", required=True, help="of the peers' environment")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--work", type=Path, default=Path("build/peers"))
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--ours", type=Path, metavar="RUN_FOLDER", help="adds the question paper")
    parser.add_argument(
        "--only", default="", metavar="WORD", help="of `ordinary`: sets with this in the name"
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--search", action="store_true")
    parser.add_argument("--draw", action="store_true")
    return parser.parse_args()


def _say(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)


if __name__ == "__main__":
    main()
