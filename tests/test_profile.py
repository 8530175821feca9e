"""`--profile`: the files are there, the parts add up, nothing else changes, and the folder verifies."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from photos import write_photos
from test_experiment import TINY
from typer.testing import CliRunner

from benchgraft import adapt
from benchgraft.cli import app
from benchgraft.networks import model_file
from benchgraft.runfolder.ledger import Ledger
from benchgraft.runfolder.profiling import Profile
from benchgraft.runfolder.records import RunRecord
from benchgraft.tasks.report import verify

FORWARD_OF_SCRATCH = ("conv2d_1", "batch_normalization_2", "max_pooling2d_3", "dense_3")


def _reproduce(place: Path, data: Path, name: str, *options: str) -> str:
    where = ["--data", str(data), "--out", str(place / name), "--cache-dir", str(place / f"{name}-cache")]
    result = CliRunner().invoke(app, ["reproduce", str(place / "tiny.toml"), *where, *options])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, synthetic_data: Path) -> tuple[Path, str]:
    """A folder with `plain` and `profiled`, the same experiment without and with --profile; what it said."""
    place = tmp_path_factory.mktemp("profile")
    (place / "tiny.toml").write_text(TINY)
    _reproduce(place, synthetic_data, "plain")
    return place, _reproduce(place, synthetic_data, "profiled", "--profile")


def _profile(folder: Path) -> Profile:
    return Profile.model_validate_json((folder / "profile.json").read_text(encoding="utf-8"))


def _runs(folder: Path) -> list[RunRecord]:
    return Ledger(folder).of_kind(RunRecord)


def test_a_profiled_run_gives_the_same_bits(made):
    place, _ = made
    pairs = list(zip(_runs(place / "plain"), _runs(place / "profiled"), strict=True))
    assert pairs
    for plain, profiled in pairs:
        assert plain.model_digest == profiled.model_digest
        assert (plain.loss, plain.validation_loss) == (profiled.loss, profiled.validation_loss)
        assert (plain.predicted, plain.confidence) == (profiled.predicted, profiled.confidence)
    assert not (place / "plain" / "profile.json").exists()


def test_its_phases_are_those_of_the_ledger_and_its_parts_add_up(made):
    folder = made[0] / "profiled"
    profile, runs = _profile(folder), _runs(folder)
    assert sum(stage.runs for stage in profile.stages) == len(runs)
    for stage in profile.stages:
        mine = [run for run in runs if (run.stage, run.features) == (stage.stage, stage.features)]
        for phase, seconds in stage.seconds.items():
            assert seconds == pytest.approx(sum(run.seconds.get(phase, 0.0) for run in mine))
        for phase, parts in stage.parts.items():
            assert sum(parts.values()) == pytest.approx(stage.seconds[phase], rel=0.01)
    whole = sum(run.total_seconds for run in runs) + sum(profile.decode_seconds.values())
    assert whole + profile.elsewhere == pytest.approx(profile.seconds)


def test_it_names_the_layers_that_trained_and_not_those_that_did_not(made):
    stages = {(stage.stage, stage.features): stage for stage in _profile(made[0] / "profiled").stages}
    scratch = stages["scratch", "none"].parts["train"]
    assert {f"{name} forward" for name in FORWARD_OF_SCRATCH} <= set(scratch)
    assert {f"{name} backward" for name in FORWARD_OF_SCRATCH} <= set(scratch)
    assert {"read batch", "loss", "update", "rest"} <= set(scratch)
    cold = stages["stage3", "computed"]
    assert "conv2d_4 forward" in cold.parts["features"]
    assert "conv2d_4 backward" not in cold.parts["train"]
    assert "dense_2 backward" in cold.parts["train"]


def test_it_is_said_and_left_where_verify_covers_it(made):
    place, said = made
    folder = place / "profiled"
    assert "## Where the time went" in said
    assert "conv2d_1 backward" in (folder / "profile.md").read_text(encoding="utf-8")
    found = verify(folder)
    assert found.differences == []
    assert not [line for line in found.unchecked if "profile" in line]


def test_a_command_that_finds_all_done_keeps_the_profile_that_is_there(made, synthetic_data):
    place, _ = made
    before = (place / "profiled" / "profile.json").read_bytes()
    said = _reproduce(place, synthetic_data, "profiled", "--profile")
    assert "no profile" in said
    assert (place / "profiled" / "profile.json").read_bytes() == before
    more = _reproduce(place, synthetic_data, "profiled", "--profile", "--runs", "2")
    assert "## Where the time went" in more
    assert (place / "profiled" / "profile.json").read_bytes() != before
    assert verify(place / "profiled").differences == []


def test_adapt_tells_it_on_stderr_and_its_json_stays_json(tmp_path):
    photos = write_photos(tmp_path / "photos", {"red": 40, "green": 40})
    where = [
        "--out",
        tmp_path / "m.safetensors",
        "--run-folder",
        tmp_path / "run",
        "--cache-dir",
        tmp_path / "c",
    ]
    result = CliRunner().invoke(
        app, ["adapt", *map(str, [photos, *where]), "--parent", "paper", "--profile", "--json"]
    )
    assert result.exit_code == 0, result.output
    json.loads(result.stdout)
    assert "Where the time went" in result.stderr
    profile = _profile(tmp_path / "run")
    assert profile.decode_seconds["photos"] > 0
    adapt(
        photos,
        tmp_path / "n.safetensors",
        run_folder=tmp_path / "again",
        cache=tmp_path / "c",
        parent="paper",
    )
    models = [model_file.read(tmp_path / f"{name}.safetensors").card.model_digest for name in "mn"]
    assert models[0] == models[1]
