"""More than the head: plans, what they repeat, when they are kept, and that nothing frozen moves."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from invented import TINY
from photos import write_photos
from torch.nn import functional
from typer.testing import CliRunner

from benchgraft import adapt, compare, predict
from benchgraft.cli import app
from benchgraft.config.network import NetworkSpec
from benchgraft.config.recipe import Augmentation
from benchgraft.errors import ConfigError, Interrupted, RequestError, UserError
from benchgraft.events import TaskAdvanced, TaskStarted
from benchgraft.experiment import deeper
from benchgraft.experiment.deeper import candidates, seconds_of
from benchgraft.experiment.folder import Start
from benchgraft.experiment.head import COLDEST, HOTTEST, begin_solved, calibrate
from benchgraft.experiment.inputs import Inputs
from benchgraft.files import shipped_path
from benchgraft.networks import model_file
from benchgraft.networks.build import build
from benchgraft.networks.contract import last_linear, split_at
from benchgraft.networks.cost import block_costs
from benchgraft.networks.freeze import tensor_digest
from benchgraft.networks.model_file import ModelCard, ModelFile, state_digest
from benchgraft.runfolder.ledger import Clock, Ledger
from benchgraft.runfolder.records import Depth, PlanRecord, RunRecord, VerdictRecord
from benchgraft.tasks.report import verify
from benchgraft.training.batches import make_view, rows_of
from benchgraft.training.evaluate import outputs
from benchgraft.training.logistic import start_head
from benchgraft.training.scaled_rows import Labelled

pytestmark = pytest.mark.usefixtures("one_thread")
FROM = "blocks_2"


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    return write_photos(tmp_path_factory.mktemp("deeper") / "photos", {"red": 24, "green": 24})


@pytest.fixture
def short(monkeypatch):
    """Few steps: what is looked for does not depend on their number."""
    monkeypatch.setattr(deeper, "EPOCHS", 4)
    monkeypatch.setattr(deeper, "LEAST_EPOCHS", 4)
    monkeypatch.setattr(deeper, "STEPS", 4)
    monkeypatch.setattr(deeper, "VIEWS", 2)


def _options(tiny: Path, place: Path, **more: object) -> dict:
    return {
        "parent": f"timm/{TINY}",
        "weights": tiny,
        "fit": "letterbox",
        "cache": place / "cache",
        "run_folder": place / "run",
    } | more


def _digests(run: Path) -> dict[str, str]:
    return {
        record.stage: record.model_digest for record in Ledger(run).of_kind(RunRecord) if not record.given
    }


@pytest.fixture
def trained(photos, tiny, tmp_path, short):
    made = adapt(photos, tmp_path / "m.safetensors", train_from=FROM, **_options(tiny, tmp_path))
    return tmp_path, made


def test_the_ledger_has_the_plan_both_runs_and_the_verdict_and_is_verified(trained, photos):
    place, made = trained
    ledger = Ledger(place / "run")
    [plan], [verdict] = ledger.of_kind(PlanRecord), ledger.of_kind(VerdictRecord)
    assert (plan.train_from, plan.epochs, plan.views) == (FROM, 4, 2)
    assert json.loads((place / "run" / "plan.json").read_text()) == plan.model_dump(mode="json")
    runs = {record.stage: record for record in ledger.of_kind(RunRecord) if not record.given}
    assert list(runs) == ["head", "adapt"]
    assert runs["adapt"].cut == "blocks_1" and runs["adapt"].trained_parameters > 10_000
    kept = runs["adapt" if verdict.kept_deeper else "head"]
    assert model_file.read(place / "m.safetensors").card.model_digest == kept.model_digest
    assert made.accuracy.value == kept.accuracy
    assert verify(place / "run").differences == []
    assert len(list(predict(place / "m.safetensors", photos / "red"))) == 24


def test_what_is_frozen_and_every_statistic_stay_as_the_parent_has_them(trained, tiny):
    place, _ = trained
    before = model_file.read(next((place / "cache" / "parents").glob("*.safetensors"))).state
    after = model_file.read(place / "run" / "models" / "adapt-seed0.safetensors").state
    moved = {
        name.split(".")[0] for name in before if tensor_digest(before[name]) != tensor_digest(after[name])
    }
    names = model_file.read_card(place / "m.safetensors").block_names
    assert moved == {name for name in names[names.index(FROM) :] if name not in ("pool", "act")} - {"pool"}
    statistics = [name for name in before if "running_" in name or "num_batches" in name]
    assert statistics
    assert all(tensor_digest(before[name]) == tensor_digest(after[name]) for name in statistics)


def test_killed_while_it_trains_it_ends_with_the_same_bits(trained, photos, tiny, monkeypatch):
    place, _ = trained
    monkeypatch.setattr("benchgraft.training.loop.CHECKPOINT_EVERY_SECONDS", 0.0)
    stop, training = threading.Event(), set()

    def listen(event: object) -> None:
        if isinstance(event, TaskStarted) and event.what == "train":
            training.add(event.task)
        if isinstance(event, TaskAdvanced) and event.task in training:
            stop.set()

    again = _options(tiny, place / "again", train_from=FROM)
    with pytest.raises(Interrupted):
        adapt(photos, place / "other.safetensors", listen=listen, cancel=stop, **again)
    assert list(_digests(place / "again" / "run")) == ["head"]
    assert list((place / "again" / "run" / "checkpoints").iterdir())
    adapt(photos, place / "other.safetensors", **again)
    assert _digests(place / "again" / "run") == _digests(place / "run")


def test_a_plan_is_carried_out_again_with_the_same_bits(trained, photos, tiny):
    place, _ = trained
    adapt(
        photos,
        place / "other.safetensors",
        plan=place / "run" / "plan.json",
        cache=place / "other",
        run_folder=place / "planned",
    )
    assert _digests(place / "planned") == _digests(place / "run")


def test_minutes_make_a_plan_that_the_same_command_takes_again(photos, tiny, tmp_path, short):
    options = _options(tiny, tmp_path, minutes=2)
    first = adapt(photos, tmp_path / "m.safetensors", **options)
    assert first.plan is not None and first.plan.minutes == 2
    assert first.plan.seconds is not None and first.plan.seconds < 120
    assert [depth.train_from for depth in first.plan.measured]
    digests = _digests(tmp_path / "run")
    again = adapt(photos, tmp_path / "m.safetensors", **options)
    assert again.plan == first.plan and _digests(tmp_path / "run") == digests


def test_minutes_that_are_too_few_leave_the_head_alone_and_that_is_told(photos, tiny, tmp_path, short):
    told: list[str] = []
    made = adapt(
        photos, tmp_path / "m.safetensors", say=told.append, **_options(tiny, tmp_path, minutes=0.01)
    )
    assert made.plan is None and made.verdict is None
    assert "note: only the head trains: 0.01 minutes are too few for more" in told
    assert list(_digests(tmp_path / "run")) == ["adapt"]


def test_a_block_that_there_is_not_is_told_with_those_that_there_are(photos, tiny, tmp_path):
    with pytest.raises(ConfigError, match='"blocks_9" is no block') as refused:
        adapt(photos, tmp_path / "m", **_options(tiny, tmp_path, train_from="blocks_9"))
    assert "blocks_2" in str(refused.value)
    (tmp_path / "p.json").write_text("{}")
    with pytest.raises(RequestError, match="is not a plan made by adapt"):
        adapt(photos, tmp_path / "m", plan=tmp_path / "p.json", cache=tmp_path / "cache")


@pytest.mark.parametrize("word", ["--freeze", "--freeze=stem"])
def test_the_old_name_of_the_option_answers_with_the_new_one(photos, word):
    for verb in ("adapt", "compare"):
        with pytest.raises(UserError, match="--freeze is no option any more") as refused:
            CliRunner().invoke(app, [verb, str(photos), word], catch_exceptions=False)
        assert "--train-from BLOCK" in str(refused.value)


# --- the parts ----------------------------------------------------------------------------------------------


def _inputs(seed: int = 0) -> Inputs:
    """A tiny network's last blocks over maps, three classes."""
    network = build(NetworkSpec(family="timm", name=TINY), 3, seed)
    rest = split_at(network, "blocks_1")[1]
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        side = split_at(network, "blocks_1")[0].eval()(torch.zeros(1, 160, 160, 3, dtype=torch.uint8)).shape
    maps = rng.normal(size=(90, side[2], side[3], side[1])).astype(np.float32)
    labels = rng.integers(3, size=90)
    maps += labels[:, None, None, None] * 0.5
    places = {"train": np.arange(60), "validation": np.arange(60, 80), "test": np.arange(80, 90)}
    rows = {
        split: rows_of(maps, index, labels[index], torch.device("cpu")) for split, index in places.items()
    }
    return Inputs(rest, rows, "computed", "blocks_1")


def test_training_starts_from_the_head_that_the_solver_finds_on_training_photos():
    inputs = _inputs()
    begin_solved(inputs, 32, False, Clock())
    body = torch.nn.Sequential(*list(inputs.module)[:-1])
    parts = [outputs(body, inputs.rows[split], 32).numpy() for split in ("train", "validation")]
    labels = torch.cat([inputs.rows[split].labels for split in ("train", "validation")]).numpy()
    weight, bias = start_head(
        Labelled(np.concatenate(parts), labels), np.arange(60), np.arange(60, 80), 3, is_balanced=False
    )
    layer = last_linear(inputs.module)
    assert torch.equal(layer.weight, weight) and torch.equal(layer.bias, bias)
    right = outputs(inputs.module, inputs.rows["train"], 32).argmax(1) == inputs.rows["train"].labels
    assert right.double().mean() > 0.8


def test_calibration_finds_the_smallest_log_loss_and_changes_no_answer():
    inputs = _inputs()
    begin_solved(inputs, 32, False, Clock())
    layer, rows = last_linear(inputs.module), inputs.rows["validation"]
    with torch.no_grad():
        layer.weight *= 3
        layer.bias *= 3
    before = outputs(inputs.module, rows, 32).double()
    found = calibrate(inputs, 32, False, Clock())
    after = outputs(inputs.module, rows, 32).double()
    assert torch.equal(before.argmax(1), after.argmax(1))
    tried = np.geomspace(COLDEST, HOTTEST, 400)
    losses = [float(functional.cross_entropy(before / t, rows.labels)) for t in tried]
    assert found.loss == pytest.approx(min(losses), abs=1e-4)
    assert float(functional.cross_entropy(after, rows.labels)) == pytest.approx(found.loss, abs=1e-4)


def test_a_zoomed_view_is_of_the_photo_alone_and_keeps_the_share_of_its_area():
    # Every pixel tells where it is, so that the part shown can be read off.
    ramp = np.zeros((6, 64, 64, 3), np.uint8)
    ramp[..., 0], ramp[..., 1] = np.arange(64)[None, None, :] * 3, np.arange(64)[None, :, None] * 3
    pixels, digests = torch.from_numpy(ramp), np.arange(6, dtype=np.uint64) * np.uint64(977)
    zoom = Augmentation(zoom=0.4, views=5)
    assert torch.equal(make_view(pixels, digests, zoom, 0), pixels)
    for view in range(1, 5):
        shown = make_view(pixels, digests, zoom, view)
        assert torch.equal(make_view(pixels[2:4], digests[2:4], zoom, view), shown[2:4])
        values = shown.numpy().astype(float)
        wide = (values[:, 32, -1, 0] - values[:, 32, 0, 0]) / (3 * 63)
        high = (values[:, -1, 32, 1] - values[:, 0, 32, 1]) / (3 * 63)
        assert (wide * high > 0.35).all() and (wide <= 1.02).all() and (high <= 1.02).all()
        assert (wide * high < 0.999).any()


def _start(name: str) -> Start:
    network = build(NetworkSpec(family="timm", name=name), 2, 0)
    card = ModelCard(
        stage="x",
        class_names=["a", "b"],
        network=network.spec,
        model_digest=state_digest(network),
        own_blocks=block_costs(network),
    )
    none = np.empty(0, np.uint64)
    return Start(name, ModelFile(Path(name), card, {}, none, none, none), "head")


def test_depths_that_are_tried_are_shares_of_the_work():
    assert candidates(_start("tf_efficientnet_lite0")) == ["blocks_4", "blocks_5", "blocks_6"]
    assert candidates(_start("resnet18")) == ["layer3", "layer4"]


def test_the_expected_seconds_are_those_of_views_steps_and_judging():
    depth = Depth(train_from="b", view_seconds=0.5, step_seconds=2.0, judge_seconds=0.25, map_bytes=1)
    counts = {"train": 128, "validation": 8, "test": 4}
    assert seconds_of(depth, 3, 10, counts) - seconds_of(depth, 2, 10, counts) == pytest.approx(64)
    more = seconds_of(depth, 2, 11, counts) - seconds_of(depth, 2, 10, counts)
    assert more == pytest.approx(2 * 2.0 + 8 * 0.25)


# --- compare ------------------------------------------------------------------------------------------------


def test_compare_takes_parents_and_depths_as_arms(photos, tiny, tmp_path, short, monkeypatch):
    monkeypatch.setattr("benchgraft.tasks.compare.COMPARED_STEPS", 2)
    told: list[str] = []
    made = compare(photos, **_options(tiny, tmp_path, train_from=FROM, runs=2, minutes=5), say=told.append)
    arms = [f"timm/{TINY}", f"timm/{TINY} from {FROM}", "scratch"]
    assert any(line.startswith(", ".join(arms) + ": about ") for line in told)
    assert made.summary.ways is not None
    assert {row.arm for row in made.summary.ways.rows} == set(arms)
    assert len(made.summary.ways.pairs) == 3
    assert verify(tmp_path / "run").differences == []
    with pytest.raises(RequestError, match="is no block of any parent"):
        compare(photos, **_options(tiny, tmp_path, train_from="blocks_9", runs=2))


def test_two_files_of_one_name_are_two_arms_and_the_command_that_repeats_names_every_depth(
    photos, tmp_path, monkeypatch
):
    monkeypatch.setattr("benchgraft.tasks.compare.COMPARED_STEPS", 2)
    files = [tmp_path / side / "m.safetensors" for side in ("one", "other")]
    for file, shipped in zip(files, ("stage1", "stage2"), strict=True):
        file.parent.mkdir()
        shutil.copy(shipped_path(f"shipped:{shipped}.safetensors"), file)
    where = {"cache": tmp_path / "cache", "run_folder": tmp_path / "run"}
    made = compare(photos, parent=files, train_from="conv2d_4", runs=1, **where)
    arms = {run.arm for run in Ledger(tmp_path / "run").of_kind(RunRecord)} - {None}
    names = ["one/m.safetensors", "other/m.safetensors"]
    assert arms == {"scratch", *names, *(f"{name} from conv2d_4" for name in names)}
    assert "--train-from conv2d_4" in made.summary.provenance.rerun


def test_scratch_may_have_another_network(photos, tmp_path, monkeypatch):
    monkeypatch.setattr("benchgraft.tasks.compare.COMPARED_STEPS", 2)
    where = {"cache": tmp_path / "cache", "run_folder": tmp_path / "run"}
    compare(photos, parent="paper", scratch_network=TINY, runs=1, **where)
    runs = {record.arm: record.network for record in Ledger(tmp_path / "run").of_kind(RunRecord)}
    assert runs["scratch"] == TINY and runs["transfer"] == "paper_cnn"
