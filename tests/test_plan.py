"""What `reproduce --dry-run` says is what the run then does."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from elsewhere import call
from photos import write_photos

from benchgraft.runfolder.ledger import Ledger
from benchgraft.runfolder.records import ImagesRecord, RunRecord

pytestmark = pytest.mark.usefixtures("one_thread")

# Images are chosen by content, with these probabilities; where a class takes so many at most, exactly.
EXPERIMENT = """
name = "tiny"
protocol = "like_for_like"
runs = 2
arms = { transfer = "third", scratch = "scratch" }
[data.cifar100]
format = "cifar100"
folder = "cifar-100-binary"
validation = 0.3
[data.fruits360]
format = "fruits360"
folder = "fruits-360"
validation = 0.3
[classes.apple_pear_noise]
rest = "noise"
train_per_class = 25
validation_per_class = 5
test_per_class = 8
rules = { apple = ["apple"], pear = ["pear"] }
[stages.first]
data = "cifar100"
recipe = { learning_rate = 0.01, batch_size = 32, stop = { epochs = 1 } }
[stages.second]
data = "fruits360"
parent = "first"
freeze = ["conv2d_1"]
recipe = { learning_rate = 0.01, batch_size = 64, stop = { epochs = 1 } }
[stages.third]
data = "fruits360"
classes = "apple_pear_noise"
parent = "second"
freeze = ["conv2d_*", "batch_normalization_*"]
recipe = { learning_rate = 0.01, batch_size = 32, stop = { epochs = 1, least_steps = 5 } }
[stages.scratch]
data = "fruits360"
classes = "apple_pear_noise"
recipe = { learning_rate = 0.01, batch_size = 32, stop = { epochs = 2 } }
"""
LINE = re.compile(
    r"  (?P<stage>\w+): (?:(?P<rounds>\d+) runs of arm (?P<arm>\w+)|(?P<times>once|\d+ times)); .*"
    r"about (?P<images>[\d,]+) training images of (?P<classes>[\d,]+) classes, at most (?P<epochs>\d+) epochs"
)


@dataclass(frozen=True)
class Line:
    """What one line of the plan says."""

    stage: str
    arm: str | None
    rounds: int
    """Of a preparation stage, how often it is trained."""
    images: int
    classes: int
    epochs: int


def _planned(words: str, capsys: pytest.CaptureFixture[str]) -> list[Line]:
    """Run the command in the present folder."""
    with pytest.raises(SystemExit) as ended:
        call(words.split())
    said = capsys.readouterr()
    assert ended.value.code == 0, said.err
    found = [LINE.match(line) for line in said.out.splitlines()]
    return [
        Line(
            m["stage"],
            m["arm"],
            int(m["rounds"] or (1 if m["times"] == "once" else m["times"].split()[0])),
            *(int(m[name].replace(",", "")) for name in ("images", "classes", "epochs")),
        )
        for m in found
        if m
    ]


@pytest.fixture
def here(
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    synthetic_data: Path,
) -> Path:
    """An empty present folder with an experiment file, and no cache but there."""
    # The command does not draw here, but `call` imports what does, and that makes a folder of its own.
    monkeypatch.setenv("MPLCONFIGDIR", str(tmp_path_factory.mktemp("matplotlib")))
    (tmp_path / "tiny.toml").write_text(EXPERIMENT)
    (tmp_path / "data").symlink_to(synthetic_data)
    monkeypatch.chdir(tmp_path)
    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    return tmp_path


def test_dry_run_says_what_the_run_does_and_writes_nothing(here, capsys):
    before = sorted(here.rglob("*"))
    planned = _planned("reproduce tiny.toml --data data --dry-run", capsys)
    assert sorted(here.rglob("*")) == before
    assert [line.stage for line in planned] == ["first", "second", "third", "scratch"]
    _planned("reproduce tiny.toml --data data", capsys)
    ledger = Ledger(here / "runs" / "tiny")
    images = {record.stage: record for record in ledger.of_kind(ImagesRecord)}
    runs = ledger.of_kind(RunRecord)
    assert {run.stage for run in runs} == {line.stage for line in planned}
    for line in planned:
        of_stage = [run for run in runs if run.stage == line.stage]
        assert {run.arm for run in of_stage} == {line.arm}
        assert len({run.seed for run in of_stage}) == line.rounds
        assert {run.epochs for run in of_stage} == {line.epochs}
        assert len(images[line.stage].class_names) == line.classes
        trained = sum(images[line.stage].counts["train"].values())
        assert {run.train_images for run in of_stage} == {trained}
        if line.arm:  # as many as the file says
            assert line.images == trained == 75
        else:  # each image with probability 0.7
            assert abs(line.images - trained) < 4 * math.sqrt(line.images * 0.3)


def test_dry_run_says_how_many_rounds_fit_in_the_time(here, capsys):
    text = EXPERIMENT.replace("runs = 2", "runs = 5\nminutes = 1e-6")
    (here / "tiny.toml").write_text(text.replace('"third", scratch = "scratch"', '"scratch"'))
    (planned,) = _planned("reproduce tiny.toml --data data --dry-run", capsys)
    _planned("reproduce tiny.toml --data data", capsys)
    assert planned.rounds == len(Ledger(here / "runs" / "tiny").of_kind(RunRecord)) == 3  # at least


def test_dry_run_counts_how_often_the_preparation_is_trained(here, capsys):
    planned = _planned("reproduce tiny.toml --data data --parents 2 --dry-run", capsys)
    assert {line.stage: line.rounds for line in planned if line.arm is None} == {"first": 2, "second": 2}


def test_dry_run_counts_images_of_a_data_set_with_validation_images_of_its_own(here, capsys):
    for side, count in (("Training", 40), ("Validation", 20), ("Test", 10)):
        write_photos(
            here / "own" / "fruits-360" / side,
            {"apple": count, "pear": count, "plum": count},
            start=len(side) * 100,
        )
    text = EXPERIMENT.replace('"third", scratch = "scratch"', '"scratch"').replace("25", "1000")
    (here / "tiny.toml").write_text(text)
    planned = _planned("reproduce tiny.toml --data own --dry-run", capsys)
    assert [line.images for line in planned] == [120]


@pytest.mark.parametrize("held", ["test", "nowhere"])
def test_dry_run_leaves_out_varieties_that_are_held_out(held, here, capsys):
    text = EXPERIMENT.replace('"third", scratch = "scratch"', '"scratch"').replace("25", "1000")
    rule = f'validation = 0.3\nhold_out = {{ fold = 0, of = 3, held = "{held}" }}\n[classes'
    (here / "tiny.toml").write_text(text.replace("validation = 0.3\n[classes", rule))
    (planned,) = _planned("reproduce tiny.toml --data data --dry-run", capsys)
    _planned("reproduce tiny.toml --data data --runs 1", capsys)
    (run,) = Ledger(here / "runs" / "tiny").of_kind(RunRecord)
    assert abs(planned.images - run.train_images) < 4 * math.sqrt(planned.images * 0.3)
