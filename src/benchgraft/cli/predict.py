"""The command that answers what photos show."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from ..config.requests import PredictRequest
from ..errors import EXIT_FAULT
from ..names import listed, printable
from .options import Given, asks, one_of
from .output import print_error, say_aside, to_json

if TYPE_CHECKING:
    from ..tasks.predict import Prediction

FORMATS = ("table", "csv", "jsonl")


@asks(PredictRequest)
def predict(
    given: Given,
    format: Annotated[str, typer.Option(help=", ".join(FORMATS))] = "table",  # noqa: A002
    json: Annotated[bool, typer.Option("--json", help="The same as --format jsonl.")] = False,
) -> None:
    """Say what photos show. A photo that cannot be read gives a line on stderr; the rest goes on.

    On the CPU ONNX Runtime answers, for an ONNX file without importing PyTorch, for a model file from the
    second time on; a model file of the paper's network is answered by PyTorch.

    Exit codes: 0 every photo has an answer, 1 some could not be read, 2 bad input.

    Example: benchgraft predict photos.safetensors new/ --top 3 --format csv > answers.csv
    """
    from ..tasks.predict import Unreadable
    from ..tasks.predict import predict as run

    chosen = one_of("--format", "jsonl" if json else format, FORMATS)
    paths = _expanded(given.pop("paths"))
    answers = run(paths=paths, **given, say=lambda line: say_aside(f"note: {line}"))
    write = {"table": _table, "csv": _csv, "jsonl": _jsonl}[chosen]
    unreadable = 0

    def readable() -> Iterator[Prediction]:
        nonlocal unreadable
        for answer in answers:
            if isinstance(answer, Unreadable):
                unreadable += 1
                print_error(f"{answer.path}: {answer.reason}")
            else:
                yield answer

    for line in write(readable(), given["top"]):
        print(line)
    if unreadable:
        raise typer.Exit(EXIT_FAULT)


def _expanded(paths: Iterable[str]) -> Iterator[str]:
    for path in paths:
        if path == "-":
            yield from listed(getattr(sys.stdin, "buffer", None) or io.BytesIO())  # where there is no stdin
        else:
            yield path


def _table(answers: Iterator[Prediction], _top: int) -> Iterator[str]:
    for answer in answers:
        others = "".join(f", {name} {probability:.1%}" for name, probability in answer.top[1:])
        yield f"{printable(answer.path)}: {answer.class_name} {answer.probability:.1%}{others}"


def _csv(answers: Iterator[Prediction], top: int) -> Iterator[str]:
    more = [cell for place in range(2, top + 1) for cell in (f"class_{place}", f"probability_{place}")]
    yield _csv_line(["path", "class", "probability", *more])
    for answer in answers:
        rest = [cell for name, probability in answer.top[1:] for cell in (name, f"{probability:.6f}")]
        yield _csv_line([printable(answer.path), answer.class_name, f"{answer.probability:.6f}", *rest])


def _csv_line(cells: list[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(cells)
    return text.getvalue()


def _jsonl(answers: Iterator[Prediction], _top: int) -> Iterator[str]:
    for answer in answers:
        facts = {
            "path": printable(answer.path),
            "class": answer.class_name,
            "probability": round(answer.probability, 6),
            "top": {name: round(probability, 6) for name, probability in answer.top},
        }
        yield to_json(facts)
