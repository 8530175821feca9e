"""Search both arms' learning rate and epochs with the same budget, judged on validation alone.

python benchmarks/search_recipes.py --data DIR --parents RUN_FOLDER

RUN_FOLDER: a run folder of `paper` with stages 1 and 2 done. Prints validation accuracy and loss
after the last epoch; test accuracy is not looked at.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

import torch

from benchgraft.experiment import config
from benchgraft.experiment.images import open_data, stage_images
from benchgraft.experiment.stage import Bench, run_stage
from benchgraft.ledger import environment
from benchgraft.progress import NoProgress
from benchgraft.training.device import prepare_device

LEARNING_RATES = (0.02, 0.05, 0.1)
EPOCHS = (20, 40)
SEEDS = (0,)


def main() -> None:
    """The same grid for both arms."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--parents", type=Path, required=True)
    options = parser.parse_args()
    device = prepare_device("cpu", None)
    experiment = config.load("paper")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        shutil.copytree(options.parents / "models", folder / "models")
        env = environment(torch.get_num_threads(), "cpu")
        bench = Bench(folder, folder / "cache", device, env, NoProgress(), print)
        opened = open_data("fruits360", experiment.data["fruits360"], options.data, bench.cache, NoProgress())
        print("| stage | learning rate | epochs | validation accuracy | validation loss |")
        print("|---|---|---|---|---|")
        for name in ("stage3", "scratch"):
            images = stage_images(experiment, name, opened)
            for epochs in EPOCHS:
                for rate in LEARNING_RATES:
                    stage = experiment.stages[name]
                    stop = stage.recipe.stop.model_copy(update={"epochs": epochs})
                    recipe = stage.recipe.model_copy(update={"learning_rate": rate, "stop": stop})
                    stages = experiment.stages | {name: stage.model_copy(update={"recipe": recipe})}
                    changed = experiment.model_copy(update={"stages": stages})
                    runs = [run_stage(changed, name, "arm", seed, images, 0.0, bench) for seed in SEEDS]
                    accuracy = sum(run.validation_accuracy[-1] for run in runs) / len(runs)
                    loss = sum(run.validation_loss[-1] for run in runs) / len(runs)
                    print(f"| {name} | {rate} | {epochs} | {accuracy:.4f} | {loss:.4f} |", flush=True)


if __name__ == "__main__":
    main()
