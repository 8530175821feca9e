"""The command line: parse, call one function, print. Heavy imports stay inside the commands."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .errors import (
    EXIT_FAULT,
    EXIT_INTERRUPTED,
    EXIT_USER_ERROR,
    FrozenMovedError,
    Interrupted,
    UserError,
)

if TYPE_CHECKING:
    from .experiment.config import Experiment

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Train an image classifier from scratch, or transfer from a model that is there? "
    "benchgraft measures both on the same images. Start with: benchgraft reproduce",
)
data_app = typer.Typer(no_args_is_help=True, help="Look at data sets.")
app.add_typer(data_app, name="data")

CacheOption = Annotated[
    Path | None, typer.Option("--cache-dir", help="Stores and feature caches. Default: ~/.cache/benchgraft")
]


def main() -> None:
    """Run the command line; a user's mistake is one message on stderr and exit code 2."""
    try:
        app()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(EXIT_USER_ERROR)
    except FrozenMovedError as error:
        print(f"fault of the program: {error}", file=sys.stderr)
        sys.exit(EXIT_FAULT)
    except (Interrupted, KeyboardInterrupt):
        print("stopped; give the same command again to go on", file=sys.stderr)
        sys.exit(EXIT_INTERRUPTED)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"benchgraft {version('benchgraft')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command()
def reproduce(
    experiment: Annotated[
        str | None,
        typer.Argument(help="An experiment file, or a shipped one: paper (default with --data), embedded."),
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Folder with cifar-100-binary/ and fruits-360/.")] = None,
    out: Annotated[Path | None, typer.Option(help="Run folder. Default: runs/NAME")] = None,
    runs: Annotated[int | None, typer.Option(min=1, help="Runs of each arm.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the first run.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads. Default: all cores.")] = None,
    cache_dir: CacheOption = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Train the plain way.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would run, and stop.")] = False,
) -> None:
    """Run the paper's comparison: without --data its last step on the photos that come with the program.

    A run folder that was interrupted is continued by the same command.

    Example: benchgraft reproduce --data ~/data --out runs/paper
    """
    from .experiment import config

    loaded = config.load(experiment or ("paper" if data else "embedded"))
    changes = {key: value for key, value in (("runs", runs), ("seed", seed)) if value is not None}
    loaded = loaded.model_copy(update=changes)
    folder = out or Path("runs") / loaded.name
    if dry_run:
        _print_plan(loaded, folder)
        return
    _carry_out(loaded, data, folder, device, threads, _cache(cache_dir), not no_cache)
    _print_report(folder)


def _carry_out(
    experiment: Experiment,
    data: Path | None,
    folder: Path,
    device: str,
    threads: int | None,
    cache: Path,
    use_cache: bool,
) -> None:
    import torch

    from .experiment.compare import Comparison
    from .experiment.stage import Bench
    from .ledger import environment
    from .progress import for_terminal
    from .training.device import prepare_device

    chosen = prepare_device(device, threads)
    bench = Bench(
        folder=folder,
        cache=cache,
        device=chosen,
        environment=environment(torch.get_num_threads(), str(chosen)),
        progress=for_terminal(),
        say=lambda line: print(line, flush=True),
        use_cache=use_cache,
    )
    Comparison(experiment, data, bench).run(sys.argv)


def _print_plan(experiment: Experiment, folder: Path) -> None:
    """What would run, on what."""
    print(f"{experiment.name} ({experiment.protocol}): {experiment.about}\nrun folder: {folder}")
    for name, stage in experiment.stages.items():
        arms = [arm for arm, repeated in experiment.arms.items() if repeated == name]
        role = f"{experiment.runs} runs of arm {arms[0]}" if arms else "once"
        if stage.model_file:
            role = "comes with the program"
        stop = stage.recipe.stop
        print(
            f"  {name}: {role}; data {stage.data}, classes {stage.classes or 'all'}, "
            f"parent {stage.parent or 'none'}, at most {stop.epochs} epochs, "
            f"frozen: {' '.join(stage.freeze) or 'nothing'}"
        )


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="A run folder that reproduce has written.")],
    format: Annotated[str, typer.Option(help="text, md or json.")] = "text",  # noqa: A002
) -> None:
    """Print the tables of a run folder again. Example: benchgraft report runs/paper --format md"""
    from .errors import did_you_mean

    if format not in ("text", "md", "json"):
        raise UserError(f'--format "{format}" is unknown', did_you_mean(format, ["text", "md", "json"]))
    _print_report(folder, format)


def _print_report(folder: Path, format: str = "text") -> None:  # noqa: A002
    from rich.console import Console

    from .files import write_whole
    from .ledger import read
    from .report import render
    from .report.tables import summarise

    summary = summarise(read(folder))
    if format == "json":
        print(summary.model_dump_json(indent=2))
    elif format == "md":
        print(render.markdown(summary))
    else:
        width = None if sys.stdout.isatty() else 100
        render.terminal(summary, Console(width=width))
        if os.access(folder, os.W_OK):
            write_whole(folder / "tables.md", render.markdown(summary))
            write_whole(folder / "tables.json", summary.model_dump_json(indent=2))
            print(f"\nthe same as files: {folder}/tables.md, {folder}/tables.json")


@app.command()
def model(
    classes: Annotated[int, typer.Option(min=2, help="Number of classes.")] = 3,
    stage: Annotated[str | None, typer.Option(help="Mark what is frozen at this stage.")] = None,
    experiment: Annotated[str, typer.Option(help="The experiment that has the stage.")] = "paper",
) -> None:
    """Print table 1: layer, output shape, parameters, MFLOPs. Example: benchgraft model --stage stage3"""
    from .errors import did_you_mean
    from .experiment import config
    from .model.freeze import match_layers
    from .model.paper_cnn import PaperCNN, table

    network = PaperCNN(classes)
    frozen: list[str] = []
    if stage is not None:
        stages = config.load(experiment).stages
        if stage not in stages:
            raise UserError(f'--stage "{stage}" is not in {experiment}', did_you_mean(stage, stages))
        frozen = match_layers(network.layer_names, stages[stage].freeze)
    rows = table(network)
    print(f"{'layer':24}{'output':>14}{'parameters':>12}{'MFLOPs':>9}" + ("  frozen" if stage else ""))
    for row in rows:
        output = ", ".join(map(str, row.output))
        mark = "  yes" if row.name in frozen else ""
        print(f"{row.name:24}{output:>14}{row.parameters:>12,}{row.megaflops:>9.2f}{mark}")
    total = sum(row.parameters for row in rows)
    print(f"{'total':38}{total:>12,}{sum(row.megaflops for row in rows):>9.2f}")


@data_app.command("check")
def data_check(
    folder: Annotated[Path, typer.Argument(help="CIFAR-100 (binary), Fruits-360, or class folders.")],
    cache_dir: CacheOption = None,
) -> None:
    """Say what a data set holds, and what is wrong with it. Example: benchgraft data check photos/"""
    from .data.check import check
    from .data.readers import guess_format, open_source
    from .progress import for_terminal

    found = check(open_source(guess_format(folder), folder), _cache(cache_dir), for_terminal())
    print("\n".join(found.lines()))
    if not found.is_usable:
        raise typer.Exit(EXIT_USER_ERROR)


def _cache(chosen: Path | None) -> Path:
    if chosen is not None:
        return chosen
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "benchgraft"
