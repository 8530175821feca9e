"""Lightning without its words and files, for both questions that ask it."""

from __future__ import annotations

import logging
import warnings

import lightning


def trainer(epochs: int, seed: int) -> lightning.Trainer:
    """On the CPU, everything seeded."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    lightning.seed_everything(seed, verbose=False)
    return lightning.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
