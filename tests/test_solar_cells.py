"""Photos of solar cells from a package: its layout, and the paper's last step on them."""

from __future__ import annotations

import shutil
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from photos import write_cells
from typer.testing import CliRunner

from benchgraft.cli import app, main
from benchgraft.config.network import PAPER, InputSpec, NetworkSpec
from benchgraft.errors import ConfigError, DataError
from benchgraft.experiment.bench import make_bench
from benchgraft.experiment.images import judged_as, open_data, open_stage, package_folder
from benchgraft.experiment.load import load
from benchgraft.photos.readers import guess_format, open_source
from benchgraft.runfolder.ledger import Ledger
from benchgraft.runfolder.records import DataRecord, ImagesRecord, OriginRecord, RunRecord
from benchgraft.store.store import open_store
from benchgraft.tasks.report import verify

TINY = """
base = "solar-cells"
name = "few-cells"
runs = 1
[classes.functional_defective]
train_per_class = 24
validation_per_class = 4
test_per_class = 6
[stages]
stage3.recipe = { batch_size = 32, stop = { epochs = 1 } }
scratch.recipe = { batch_size = 32, stop = { epochs = 1 } }
"""
NEAR = ("0354", "0355", "0949", "0927")
"""Photos of which two pairs are nearly the same picture at 100 pixels and at 224, or at one of them only."""
COUNTS = {0.0: 60, 1.0: 60, 0.3333333333333333: 7, 0.6666666666666666: 3}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all: what is made of the parent is made once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def cells(tmp_path: Path) -> Path:
    return write_cells(tmp_path / "cells", {0.0: 3, 1.0: 2, 0.3333333333333333: 1, 0.6666666666666666: 1})


def test_classes_are_the_certain_probabilities_and_each_uncertain_one(cells: Path) -> None:
    source = open_source("elpv", cells)
    assert {sample.key: sample.class_name for sample in source.samples} == {
        "images/cell0001.png": "functional",
        "images/cell0002.png": "functional",
        "images/cell0003.png": "functional",
        "images/cell0004.png": "defective",
        "images/cell0005.png": "defective",
        "images/cell0006.png": "uncertain 0.33",
        "images/cell0007.png": "uncertain 0.67",
    }
    assert {sample.given for sample in source.samples} == {None}
    assert source.notes == []


def test_the_folder_and_the_one_above_it_are_known_by_their_layout(cells: Path) -> None:
    assert guess_format(cells) == guess_format(cells.parent) == "elpv"
    assert open_source("elpv", cells.parent).root == cells
    result = CliRunner().invoke(
        app, ["data", "check", str(cells), "--cache-dir", str(cells.parent / "cache")]
    )
    assert "elpv, 7 images of 100 x 100 in 4 classes" in result.output


def test_class_folders_beside_another_labels_csv_stay_class_folders(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("file,class\na/0.png,a\n")
    for name in ("a", "b"):
        write_cells(tmp_path / name, {0.0: 1})
    assert guess_format(tmp_path) == "folder"


@pytest.mark.parametrize(
    "line",
    [
        "images/cell0001.png",
        "images/cell0001.png 1.5 mono",
        "images/cell0001.png nan mono",
        "images/cell0001.png high mono",
        "/images/cell0001.png 0.0 mono",
        "../cells/images/cell0001.png 0.0 mono",
    ],
)
def test_a_line_that_is_no_label_is_named(cells: Path, line: str) -> None:
    lines = (cells / "labels.csv").read_text().splitlines()
    (cells / "labels.csv").write_text("\n".join([*lines[:2], line, *lines[3:]]))
    with pytest.raises(DataError, match=r"labels\.csv, line 3: '.*' is no path, probability"):
        open_source("elpv", cells)


def test_a_photo_named_twice_is_refused(cells: Path) -> None:
    with (cells / "labels.csv").open("a") as file:
        file.write("images/cell0001.png 1.0 mono\n")
    with pytest.raises(DataError, match=r"line 8: images/cell0001\.png is named twice"):
        open_source("elpv", cells)


def test_photos_that_are_not_there_links_and_photos_without_a_label_are_counted(cells: Path) -> None:
    (cells / "images" / "cell0001.png").unlink()
    (cells / "images" / "cell0002.png").rename(cells / "elsewhere.png")
    (cells / "images" / "cell0002.png").symlink_to(cells / "elsewhere.png")
    shutil.copy(cells / "images" / "cell0003.png", cells / "images" / "more.png")
    source = open_source("elpv", cells)
    assert len(source.samples) == 5
    assert source.notes == [
        "1 link ignored, such as images/cell0002.png",
        "2 photos named in labels.csv that are not there as plain files ignored, such as images/cell0001.png",
        "1 photo without a label ignored, such as images/more.png",
    ]


def test_another_label_moves_a_photo_without_decoding_it_again(cells: Path) -> None:
    cache = cells.parent / "cache"
    assert open_store(open_source("elpv", cells), cache).decoded == 7
    assert open_store(open_source("elpv", cells), cache).decode_seconds == 0
    text = (cells / "labels.csv").read_text()
    (cells / "labels.csv").write_text(text.replace("cell0001.png  0.0", "cell0001.png  1.0"))
    store = open_store(open_source("elpv", cells), cache)
    assert (store.decoded, store.reused) == (0, 7)
    assert store.class_names[store.labels[0]] == "defective"


def test_the_package_holds_what_its_description_says(solar_cells: Path) -> None:
    assert package_folder("elpv_dataset") == solar_cells
    source = open_source(guess_format(solar_cells), solar_cells)
    assert Counter(sample.class_name for sample in source.samples) == {
        "functional": 1508,
        "defective": 715,
        "uncertain 0.33": 295,
        "uncertain 0.67": 106,
    }
    assert source.notes == []


def test_the_experiment_runs_on_the_package_without_data(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site"
    write_cells(site / "elpv_dataset" / "data", COUNTS, copies=20)
    (site / "elpv_dataset" / "__init__.py").write_text("raise RuntimeError('not to be imported')\n")
    folder = _reproduce(tmp_path, site, cache, monkeypatch)
    ledger = Ledger(folder)
    small, large = ledger.of_kind(DataRecord)
    assert (small.side, large.side) == (100, 224)
    assert small.dropped_from_test == large.dropped_from_test != []
    assert all("nearly the same picture as the" in image.reason for image in small.dropped_from_test)
    runs = ledger.of_kind(RunRecord)
    assert {run.arm for run in runs} == {None, "transfer", "scratch", "imagenet"}
    assert [run.features for run in runs if run.arm == "imagenet"] == ["computed", "cached"]
    (origin,) = ledger.of_kind(OriginRecord)
    assert "efficientnet_lite0" in origin.origin
    assert {run.parent_digest for run in runs if run.arm == "imagenet"} == {origin.model_digest}
    assert len({images.digest for images in ledger.of_kind(ImagesRecord)}) == 1
    for images in ledger.of_kind(ImagesRecord):
        assert images.class_names == ["functional", "defective"]
        assert images.counts["train"] == {"functional": 24, "defective": 24}
        assert images.unmatched == {"uncertain 0.33": 7, "uncertain 0.67": 3}
        assert set(images.test.sources) == {"functional", "defective"}
    assert verify(folder).differences == []


def test_the_report_says_what_the_photos_show_and_judges_the_papers_claims(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, solar_cells: Path
) -> None:
    site = tmp_path / "site" / "elpv_dataset" / "data"
    (site / "images").mkdir(parents=True)
    lines = (solar_cells / "labels.csv").read_text().splitlines(keepends=True)[::16]
    (site / "labels.csv").write_text("".join(lines))
    for line in lines:
        shutil.copy(solar_cells / line.split()[0], site / "images")
    (site.parent / "__init__.py").touch()
    folder = _reproduce(tmp_path, site.parents[1], cache, monkeypatch)
    text = " ".join((folder / "tables.md").read_text().split())
    assert "photos of solar cells, not of fruit" in text
    assert "which solar module a cell is from" in text
    assert "it took about 12 times less" in text
    assert "as no rule names their class" in text
    assert "rotating fruit" not in text
    assert "One run per arm is not enough to tell which one gets the most test photos right" in text
    for row in (
        "| imagenet | ",
        "| transfer | ",
        "| scratch | ",
        "starts from imagenet, trained on ImageNet-1k",
    ):
        assert row in text
    assert "How long imagenet took to make is not known, and not counted." in text


@pytest.mark.parametrize("words", [["reproduce"], ["reproduce", "--dry-run"]])
def test_without_the_package_one_line_says_what_to_install(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("benchgraft.experiment.images.find_spec", lambda _name: None)
    monkeypatch.setattr(sys, "argv", ["benchgraft", *words])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr()
    assert ended.value.code == 2
    assert said.err == (
        "error: these photos come with the package elpv_dataset, which is not installed: "
        "pip install 'benchgraft[sample]'\n"
    )
    assert not list(tmp_path.rglob("ledger.jsonl"))


def test_arms_of_two_sizes_are_tested_on_the_same_photos_though_the_gate_sees_them_differently(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, solar_cells: Path
) -> None:
    site = tmp_path / "site" / "elpv_dataset"
    shutil.copytree(solar_cells, site / "data", ignore=lambda *_: ["images"])
    (site / "data" / "images").mkdir()
    (site / "__init__.py").touch()
    lines = (solar_cells / "labels.csv").read_text().splitlines(keepends=True)
    near = [line for line in lines if line.split()[0][-8:-4] in NEAR]
    kept = [*near, *lines[::40]]
    (site / "data" / "labels.csv").write_text("".join(dict.fromkeys(kept)))
    for line in kept:
        shutil.copy(solar_cells / line.split()[0], site / "data" / "images")
    monkeypatch.syspath_prepend(site.parent)
    (tmp_path / "few.toml").write_text(TINY)
    experiment, bench = load(str(tmp_path / "few.toml")), make_bench(tmp_path / "run", tmp_path / "c")
    alone = [
        open_data("solar_cells", experiment.data["solar_cells"], None, bench.cache, bench.events, network)
        for network in (PAPER, NetworkSpec(input=InputSpec(side=224)))
    ]
    assert alone[0].dropped.images != alone[1].dropped.images
    opened = [open_stage(experiment, stage, None, bench) for stage in ("stage3", "imagenet_head")]
    assert [data.store.size for data, _, _ in opened] == [100, 224]
    assert opened[0][0].dropped.images == opened[1][0].dropped.images == alone[0].dropped.images
    assert opened[0][1].digest == opened[1][1].digest
    with pytest.raises(DataError, match="does not hold the same images at 224 pixels as at 100"):
        changed = replace(alone[0], store=replace(alone[0].store, keys=alone[0].store.keys[::-1]))
        judged_as(alone[1], changed)


@pytest.mark.parametrize(
    ("parent", "said"),
    [
        ("imagnet", 'no parent is called "imagnet", and no model file\n  did you mean "imagenet"'),
        ("timm/resnet18", 'parent "timm/resnet18": the weights of resnet18 are not here'),
    ],
)
def test_a_parent_that_is_not_there_is_said_before_anything_is_begun(
    parent: str,
    said: str,
    cells: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("benchgraft.networks.timm_weights.cached_weights", lambda _name: None)
    monkeypatch.setattr("benchgraft.networks.timm_weights.downloaded_weights", lambda _name: "no network")
    text = TINY.replace("[stages]", f'[stages]\nimagenet.model_file = "{parent}"')
    if parent != "imagnet":
        text += 'imagenet_head.freeze = ["stem", "layer*", "pool"]\n'
    (tmp_path / "few.toml").write_text(text)
    monkeypatch.setattr(sys, "argv", ["benchgraft", "reproduce", "few.toml"])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.rglob("ledger.jsonl"))


def test_blocks_of_a_named_parent_are_checked_without_its_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchgraft.networks.parents.find_weights", lambda *_: pytest.fail("looked for"))
    (tmp_path / "few.toml").write_text(TINY + 'imagenet_head.freeze = ["conv2d_*"]\n')
    with pytest.raises(ConfigError, match=r"stages\.imagenet_head\.freeze.*conv2d_\*"):
        load(str(tmp_path / "few.toml"))


def _reproduce(place: Path, site: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The run folder of the tiny experiment, where the package lies in `site`."""
    monkeypatch.syspath_prepend(site)
    (place / "few.toml").write_text(TINY)
    assert load(str(place / "few.toml")).data["solar_cells"].folder == "package:elpv_dataset"
    words = [
        "reproduce",
        str(place / "few.toml"),
        "--out",
        str(place / "run"),
        "--cache-dir",
        str(cache),
    ]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    return place / "run"
