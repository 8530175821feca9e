"""Runs that diverge: tried again by one rule, an outcome of their arm where that does not help."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from photos import write_photos
from torch import nn

from benchgraft import adapt, compare, prepare
from benchgraft.config.recipe import Recipe, Stop
from benchgraft.errors import DivergedError
from benchgraft.events import Events
from benchgraft.experiment import attempts, folder
from benchgraft.networks import model_file
from benchgraft.runfolder import tidy
from benchgraft.runfolder.ledger import Clock, Ledger
from benchgraft.runfolder.records import DivergedRecord, RunRecord
from benchgraft.tasks.report import verify
from benchgraft.training import loop
from benchgraft.training.batches import Rows
from benchgraft.training.checkpoint import Checkpoint

ABSURD = 1e30
RATE = 1.0
CHAIN = """
base = "paper"
name = "tiny"
runs = 1
[data.cifar100]
validation = 0.3
[stages]
stage1.recipe = { learning_rate = 1e30, stop = { epochs = 1 } }
"""


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos(tmp_path_factory.mktemp("photos") / "photos", {"red": 40, "green": 40})


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchgraft.tasks.compare.COMPARED_STEPS", 5)
    monkeypatch.setattr("benchgraft.tasks.adapt.STEPS", 5)


def _absurd(monkeypatch: pytest.MonkeyPatch, arm: str, saved_by_second: bool = False) -> None:
    """This arm diverges, each time or at first."""
    monkeypatch.setattr(folder, "LEARNING_RATES", folder.LEARNING_RATES | {arm: ABSURD})
    if saved_by_second:
        monkeypatch.setattr(attempts, "SLOWER", 0.02 / ABSURD)


def _diverge_at(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """Every attempt to train the whole network with this seed diverges."""

    def fit(task, *rest):
        if task.seed == seed and not task.frozen.blocks:
            raise DivergedError("the loss is nan in epoch 1")
        return loop.fit(task, *rest)

    monkeypatch.setattr(attempts, "fit", fit)


def test_compare_answers_where_one_run_gives_no_model_and_a_resume_does_nothing_more(
    photos, tmp_path, monkeypatch
):
    _diverge_at(monkeypatch, seed=1)
    told: list[str] = []
    where = {"runs": 3, "cache": tmp_path / "cache", "run_folder": tmp_path / "run"}
    made = compare(photos, parent="paper", **where, say=told.append)
    ledger = Ledger(tmp_path / "run")
    (gone,) = ledger.of_kind(DivergedRecord)
    assert (gone.stage, gone.arm, gone.seed, len(gone.diverged)) == ("scratch", "scratch", 1, 3)
    assert [attempt.learning_rate for attempt in gone.diverged] == [0.05, 0.025, 0.0125]
    assert gone.total_seconds > 0
    assert sorted(r.seed for r in ledger.of_kind(RunRecord) if r.arm == "scratch") == [0, 2]
    assert sum(r.arm == "transfer" for r in ledger.of_kind(RunRecord)) == 6
    assert made.summary.speedups[0].scratch_runs == 2
    assert "1 of 3 runs of scratch gave no model" in " ".join(made.summary.answer)
    assert "No answer yet" not in " ".join(made.summary.answer)
    assert "scratch: no model of seed 1" in made.summary.missing
    assert any("scratch, seed 1: training diverged (the loss is nan in epoch 1)" in line for line in told)
    assert not list((tmp_path / "run").glob("checkpoints/*"))
    assert verify(tmp_path / "run").differences == []
    before = ledger.path.read_bytes()
    compare(photos, parent="paper", **where)
    assert ledger.path.read_bytes() == before
    rows = [row for row in tidy.run_rows(ledger.records) if row["arm"] == "scratch"]
    assert [row["accuracy"] is None for row in rows] == [False, False, True]


def test_compare_ends_well_where_no_scratch_run_gives_a_model(photos, tmp_path, monkeypatch):
    _absurd(monkeypatch, "scratch")
    made = compare(photos, parent="paper", runs=2, cache=tmp_path / "cache", run_folder=tmp_path / "run")
    assert "No run of scratch gave a model, of 2" in " ".join(made.summary.answer)
    assert not any("planned runs" in line for line in made.summary.missing)
    assert (tmp_path / "run" / "report.html").is_file()
    assert verify(tmp_path / "run").differences == []


def test_a_second_attempt_is_counted_told_and_the_same_cold_and_warm(photos, tmp_path, monkeypatch):
    _absurd(monkeypatch, "transfer", saved_by_second=True)
    made = compare(photos, parent="paper", runs=1, cache=tmp_path / "cache", run_folder=tmp_path / "run")
    runs = [run for run in Ledger(tmp_path / "run").of_kind(RunRecord) if run.arm == "transfer"]
    cold, warm = sorted(runs, key=lambda run: run.features == "cached")
    assert (cold.features, warm.features) == ("computed", "cached")
    assert cold.model_digest == warm.model_digest
    for run in (cold, warm):
        assert [attempt.learning_rate for attempt in run.diverged] == [ABSURD]
        assert run.recipe["learning_rate"] == pytest.approx(0.02)
        assert 0 < run.diverged[0].seconds < run.seconds["train"] + run.seconds["validate"]
    notes = " ".join(made.summary.notes)
    assert "1 of 1 runs of transfer diverged at first; tried again with half the learning rate" in notes
    of_arm = {table.arm: table.rows[0].retries for table in made.summary.tables if table.arm}
    assert of_arm == {"scratch": 0, "transfer": 1}


def test_a_second_attempt_gives_the_weights_of_a_run_that_began_with_its_rate(photos, tmp_path, monkeypatch):
    _absurd(monkeypatch, "transfer", saved_by_second=True)
    rate = ABSURD * attempts.SLOWER
    digests = []
    for name in ("again", "at once"):
        done = adapt(
            photos,
            tmp_path / name,
            cache=tmp_path / "cache",
            run_folder=tmp_path / f"run {name}",
            parent="paper",
        )
        digests.append(model_file.read(tmp_path / name).card.model_digest)
        assert any("diverged at first" in note for note in done.notes) == (name == "again")
        monkeypatch.setattr(folder, "LEARNING_RATES", folder.LEARNING_RATES | {"transfer": rate})
    assert digests[0] == digests[1]


@pytest.mark.parametrize("step", [0, 2])
def test_a_run_killed_in_its_second_attempt_goes_on_in_that_attempt(photos, tmp_path, monkeypatch, step):
    _absurd(monkeypatch, "transfer", saved_by_second=True)
    cache = tmp_path / "cache"
    adapt(photos, tmp_path / "whole", cache=cache, run_folder=tmp_path / "run of whole", parent="paper")
    again = {"out": tmp_path / "killed", "cache": tmp_path / "other", "run_folder": tmp_path / "run"}
    with monkeypatch.context() as killed:
        killed.setattr(loop, "CHECKPOINT_EVERY_SECONDS", 0.0)
        save = loop._Run.save

        def save_and_die(run):
            save(run)
            if run.position.diverged and run.position.step == step:
                raise KeyboardInterrupt

        killed.setattr(loop._Run, "save", save_and_die)
        with pytest.raises(KeyboardInterrupt):
            adapt(photos, **again, parent="paper")
    told: list[str] = []
    adapt(photos, **again, say=told.append, parent="paper")
    (whole,), (gone_on,) = (
        [run for run in Ledger(tmp_path / name).of_kind(RunRecord) if not run.given]
        for name in ("run of whole", "run")
    )
    assert gone_on.model_digest == whole.model_digest
    assert gone_on.loss == whole.loss
    assert (gone_on.segments, len(gone_on.diverged)) == (2, 1)
    assert not any("training diverged" in line for line in told)


def test_a_preparation_that_gives_no_model_ends_with_the_key_to_change(synthetic_data, tmp_path):
    (tmp_path / "tiny.toml").write_text(CHAIN)
    where = {"data": synthetic_data, "cache": tmp_path / "cache", "run_folder": tmp_path / "run"}
    with pytest.raises(DivergedError) as caught:
        prepare(tmp_path / "tiny.toml", tmp_path / "m", stage="stage1", **where)
    assert str(caught.value).startswith(
        "stage1, seed 0: training diverged 3 times (learning rates 1e+30, 5e+29"
    )
    assert "lower stages.stage1.recipe.learning_rate (1e+30)" in str(caught.value)
    assert not Ledger(tmp_path / "run").of_kind(DivergedRecord)


def test_adapt_that_gives_no_model_says_what_its_user_can_change(photos, tmp_path, monkeypatch):
    _absurd(monkeypatch, "transfer")
    with pytest.raises(DivergedError) as caught:
        adapt(photos, tmp_path / "m", cache=tmp_path / "cache", run_folder=tmp_path / "run", parent="paper")
    assert "--seed" in str(caught.value)
    assert "learning_rate" not in str(caught.value)
    assert not (tmp_path / "m").exists()


def _rows(inputs: torch.Tensor) -> Rows:
    count = len(inputs)
    return Rows(inputs, torch.arange(count)[None], torch.arange(count) % 2, torch.device("cpu"))


class _NothingFrozen:
    def __init__(self, module: nn.Module) -> None:
        self._module = module

    def train(self) -> None:
        self._module.train()


@pytest.mark.parametrize("clip", [None, 1.0])
@pytest.mark.parametrize(
    ("broken", "told"),
    [("gradient", "loss is nan"), ("last gradient", "validation loss is nan"), ("weight", "not finite")],
)
def test_what_is_not_finite_any_more_is_noticed_wherever_it_is(tmp_path, broken, told, clip):
    module = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    rows = _rows(torch.rand(64, 4))
    steps = []

    def spoil(gradient: torch.Tensor) -> torch.Tensor:
        steps.append(1)
        at = {"gradient": 1, "last gradient": 4}.get(broken)
        return gradient * torch.nan if len(steps) == at else gradient

    module[2].weight.register_hook(spoil)
    if broken == "weight":  # which ReLU turns into 0
        with torch.no_grad():
            module[0].bias[0] = -torch.inf
        module[0].bias.requires_grad_(False)
    with pytest.raises(DivergedError, match=told):
        _fit(module, rows, tmp_path / "checkpoint", clip=clip, stop=Stop(epochs=2))


def test_clipping_scales_a_gradient_down_to_its_norm_and_leaves_a_smaller_one_as_it_is(tmp_path):
    moved = {}
    for clip in (None, 0.05, 1e3):
        torch.manual_seed(0)
        module = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        before = nn.utils.parameters_to_vector(module.parameters()).clone()
        rows = _rows(torch.rand(32, 4, generator=torch.Generator().manual_seed(0)))
        _fit(module, rows, tmp_path / "c", momentum=0, schedule="constant", clip=clip, stop=Stop(epochs=1))
        moved[clip] = nn.utils.parameters_to_vector(module.parameters()) - before
    assert torch.equal(moved[None], moved[1e3])
    assert moved[0.05].norm().item() == pytest.approx(RATE * 0.05, rel=1e-3)
    assert torch.allclose(moved[0.05] / moved[0.05].norm(), moved[None] / moved[None].norm(), atol=1e-4)


def test_a_recipe_without_clipping_is_written_as_before_there_was_any():
    plain = Recipe(learning_rate=0.1, stop=Stop(epochs=1))
    assert "clip" not in plain.model_dump()
    assert "clip" not in plain.model_dump_json()
    clipped = plain.model_copy(update={"clip": 2.0})
    assert Recipe.model_validate(clipped.model_dump()) == clipped


def _fit(module: nn.Sequential, rows: Rows, checkpoint: Path, **recipe: object) -> None:
    recipe = Recipe(learning_rate=RATE, batch_size=32, **recipe)
    task = loop.Task("any, seed 0", module, _NothingFrozen(module), rows, rows, recipe, 0)
    loop.fit(task, Clock(), Checkpoint(checkpoint, "any"), Events())
