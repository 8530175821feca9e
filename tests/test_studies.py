"""The studies of docs/findings.md: declared by templates, run to the end, held-out varieties, own caches."""

from __future__ import annotations

import html
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from benchgraft.config.expand import expand
from benchgraft.config.experiment import Experiment
from benchgraft.config.recipe import Stop
from benchgraft.errors import ConfigError
from benchgraft.experiment.bench import OWN_CACHE, Bench
from benchgraft.experiment.images import open_data, stage_images
from benchgraft.experiment.load import load
from benchgraft.experiment.rounds import Comparison
from benchgraft.progress import NoProgress
from benchgraft.runfolder.ledger import Ledger, RunRecord, environment
from benchgraft.store.varieties import held_out, variety
from benchgraft.tasks import report as reports
from benchgraft.tasks.report import summarise

STUDIES = [
    "as-published",
    "freeze-depth",
    "growth",
    "how-many-images",
    "same-labels",
    "unseen-varieties",
    "what-pays",
]


def _tiny(experiment: Experiment) -> Experiment:
    """One epoch, few images, a share of validation that a tiny data set has images for, two folds."""
    stages = {}
    for name, stage in experiment.stages.items():
        stop = stage.recipe.stop.model_copy(update={"epochs": 1, "least_steps": None})
        recipe = stage.recipe.model_copy(update={"stop": stop, "batch_size": 32})
        stages[name] = stage.model_copy(update={"recipe": recipe})
    data = {}
    for name, settings in experiment.data.items():
        rule = settings.hold_out.model_copy(update={"of": 2}) if settings.hold_out else None
        data[name] = settings.model_copy(update={"validation": 0.3, "hold_out": rule, "keep_overlap": True})
    return experiment.model_copy(update={"runs": 1, "stages": stages, "data": data})


def _run(
    experiment: Experiment, folder: Path, data: Path, cuts: dict[str, str | None] | None = None
) -> Ledger:
    """cuts: which to take instead of measuring; with one epoch none pays."""
    env = environment(torch.get_num_threads(), "cpu")
    bench = Bench(folder / "run", folder / "cache", torch.device("cpu"), env, chosen_cuts=cuts or {})
    return Comparison(experiment, data, bench).run([])


@pytest.fixture(scope="module")
def grown(tmp_path_factory, synthetic_data) -> Ledger:
    """The tiny growth study, not to be changed."""
    return _run(_tiny(load("growth", quick=True)), tmp_path_factory.mktemp("grown"), synthetic_data)


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_runs_to_its_table_and_page(name, tmp_path, synthetic_data):
    ledger = _run(_tiny(load(name, quick=True)), tmp_path, synthetic_data)
    summary = summarise(ledger.records)
    declared = load(name, quick=True).study
    assert summary.study is not None
    assert {arm for row in summary.study.rows for arm in row.arms} == set(declared.points)
    assert html.escape(declared.question) in reports.html(summary, {}).replace("&#39;", "&#x27;")
    assert not (tmp_path / "run" / OWN_CACHE).exists()


def test_growth_featurises_only_the_photos_that_no_batch_before_had(tmp_path, synthetic_data):
    experiment = _tiny(load("growth", quick=True))
    counts = {"first_100": 6, "first_200": 12}
    classes = {
        name: rules.model_copy(update={"train_per_class": counts.get(name, 9)})
        for name, rules in experiment.classes.items()
    }
    experiment = experiment.model_copy(update={"classes": classes})
    cuts = dict.fromkeys(("frozen_100", "frozen_200"), "max_pooling2d_3")
    ledger = _run(experiment, tmp_path, synthetic_data, cuts)
    runs = {run.arm: run for run in ledger.of_kind(RunRecord)}
    first, second = runs["frozen_100"], runs["frozen_200"]
    assert second.features_computed == second.train_images - first.train_images > 0
    assert runs["continued_200"].parent_digest == runs["continued_100"].model_digest


def test_every_seed_takes_the_batches_in_their_order(tmp_path, synthetic_data):
    experiment = _tiny(load("growth", quick=True)).model_copy(update={"runs": 2})
    ledger = _run(experiment, tmp_path, synthetic_data)
    order = [(run.seed, run.arm) for run in ledger.of_kind(RunRecord) if "frozen" in (run.arm or "")[:6]]
    assert order == [(0, "frozen_100"), (0, "frozen_200"), (1, "frozen_100"), (1, "frozen_200")]


def test_cumulative_seconds_are_those_of_all_retrainings_so_far(grown):
    runs = {run.arm: run for run in grown.of_kind(RunRecord)}
    rows = {(row.line, row.x): row for row in summarise(grown.records).study.rows}
    both = runs["scratch_100"].total_seconds + runs["scratch_200"].total_seconds
    assert rows["scratch anew", 200.0].seconds["pixels"].value == pytest.approx(both)


@pytest.mark.parametrize("name", ["growth", "what-pays"])
def test_a_study_that_was_interrupted_throughout_has_its_report_without_times(name, tmp_path, synthetic_data):
    ledger = _run(_tiny(load(name, quick=True)), tmp_path, synthetic_data)
    resumed = [
        record.model_copy(update={"segments": 2}) if isinstance(record, RunRecord) else record
        for record in ledger.records
    ]
    summary = summarise(resumed)
    assert not any(row.seconds for row in summary.study.rows)
    assert "every run was interrupted" in " ".join(summary.answer)
    reports.html(summary, {})


def test_time_that_an_interrupted_retraining_lost_is_in_no_sum(grown):
    resumed = [
        record.model_copy(update={"segments": 2})
        if isinstance(record, RunRecord) and record.arm == "scratch_100"
        else record
        for record in grown.records
    ]
    rows = {(row.line, row.x): row for row in summarise(resumed).study.rows}
    assert not rows["scratch anew", 200.0].seconds
    assert rows["own model continued", 200.0].seconds


def test_growth_misses_neither_a_scratch_arm_nor_warm_runs(grown):
    told = " ".join(summarise(grown.records).missing)
    assert "no arm called" not in told
    assert "cold and warm" not in told


def test_no_training_sees_a_held_out_variety_and_they_alone_are_the_test_set(tmp_path, synthetic_data):
    experiment = _tiny(load("unseen-varieties", quick=True))
    images = {}
    for stage in ("stage2_0", "transfer_0"):
        data = experiment.stages[stage].data
        opened = open_data(data, experiment.data[data], synthetic_data, tmp_path / "cache", NoProgress())
        images[stage] = stage_images(experiment, stage, opened)
    names = images["transfer_0"].store.class_names
    held = {name for name, is_held in zip(names, held_out(names, 0, 2), strict=True) if is_held}
    assert held
    for found in images.values():
        for split in ("train", "validation"):
            assert not held & {names[label] for label in found.store.labels[found.rows[split]]}
    assert set(images["transfer_0"].sources) == held
    assert not held & set(images["stage2_0"].class_names)


def test_names_that_differ_in_numbers_are_one_variety_and_never_parted():
    names = ["Apple Red 1", "Apple Red 2", "Apple 10", "Apple Golden 3", "Pear", "Pear 2", "Pear Abate"]
    assert variety("Apple Red 3") == "apple red"
    folds = np.array([held_out(names, fold, 2) for fold in range(2)])
    assert (folds.sum(axis=0) == 1).all()
    assert folds[0][0] == folds[0][1]
    assert folds[0][4] == folds[0][5]
    assert folds[0][4] != folds[0][6]  # kinds are spread over the folds


def test_each_value_makes_a_copy_and_written_keys_win():
    table = {
        "stages": {
            "grow_{n}": {"parent": "grow_{n.before}", "count": "{n}", "words": ["a {n}"]},
            "grow_2": {"parent": "me"},
        }
    }
    assert expand(table, {"n": [1, 2, 3]})["stages"] == {
        "grow_1": {"count": 1, "words": ["a 1"]},
        "grow_2": {"parent": "me"},
        "grow_3": {"parent": "grow_2", "count": 3, "words": ["a 3"]},
    }


def test_few_images_are_trained_for_as_many_steps_as_the_recipe_promises(tmp_path, synthetic_data):
    experiment = _tiny(load("how-many-images", quick=True))
    stop = Stop(epochs=2, least_steps=5)
    stages = {
        name: stage.model_copy(update={"recipe": stage.recipe.model_copy(update={"stop": stop})})
        for name, stage in experiment.stages.items()
    }
    counts = {"first_10": 3, "first_100": 40}  # with three classes one step an epoch, and three
    classes = {
        name: rules.model_copy(update={"train_per_class": counts.get(name)})
        for name, rules in experiment.classes.items()
    }
    experiment = experiment.model_copy(update={"stages": stages, "classes": classes})
    runs = {run.arm: run for run in _run(experiment, tmp_path, synthetic_data).of_kind(RunRecord) if run.arm}
    for arm in ("transfer", "scratch"):
        few, many = runs[f"{arm}_10"], runs[f"{arm}_100"]
        assert (few.epochs, few.steps) == (5, 5)
        assert many.train_images >= 64
        assert many.epochs == max(2, math.ceil(5 / (many.train_images // 32)))


@pytest.mark.parametrize(("per_epoch", "epochs"), [(1, 360), (7, 52), (18, 20), (50, 20)])
def test_epochs_of_a_least_number_of_steps(per_epoch, epochs):
    assert Stop(epochs=20, least_steps=360).epochs_of(per_epoch) == epochs
    assert Stop(epochs=20).epochs_of(per_epoch) == 20


def test_both_arms_of_how_many_images_stop_alike():
    stops = [
        stage.recipe.stop
        for name, stage in load("how-many-images").stages.items()
        if name.startswith(("transfer_", "scratch_"))
    ]
    assert len(stops) == 14
    assert {(stop.epochs, stop.least_steps) for stop in stops} == {(20, 360)}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[stages.scratch.recipe.stop]\nleast_steps = 0", r"least_steps: .*or equal to 1.*got 0"),
        ("[stages.scratch.recipe.stop]\nleast_step = 9", r"no such key.*least_steps"),
        (
            "[stages.scratch.recipe.stop]\nleast_steps = 9\npatience = 3",
            r"stages\.scratch\.recipe\.stop: least_steps promises a length that patience may cut short",
        ),
        (
            '[study]\nquestion = "?"\npoints = {}\n'
            'steps = [{ what = "more", before = "scratch", after = "transfr" }]',
            r'study\.steps, "more": after = "transfr" names nothing.*transfer',
        ),
        (
            '[study]\nquestion = "?"\npoints = {}\nsteps = [{ what = "more", befor = "scratch" }]',
            r"study\.steps\.0\.befor.*no such key.*before",
        ),
    ],
)
def test_wrong_lengths_and_steps_are_refused_by_name(text, told, tmp_path):
    path = tmp_path / "wrong.toml"
    path.write_text(f'base = "paper"\n{text}\n')
    with pytest.raises(ConfigError) as error:
        load(str(path))
    assert re.search(told, "\n".join([error.value.what, *error.value.details]), re.DOTALL)


def test_a_template_without_its_values_and_a_file_without_quick_are_refused(tmp_path):
    path = tmp_path / "wrong.toml"
    path.write_text('base = "paper"\n[arms]\n"t_{m}" = "stage3"\n')
    with pytest.raises(ConfigError, match=r"each\.m"):
        load(str(path))
    with pytest.raises(ConfigError, match="quick"):
        load("paper", quick=True)
