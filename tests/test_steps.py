"""The steps of a study: each one's factor, what it is made of and its accuracy, against figures by hand."""

from __future__ import annotations

import math

import invented
import pytest
from scipy import stats

from benchgraft.report.blocks import Grid
from benchgraft.report.measured import study_blocks
from benchgraft.report.study import StudyStep
from benchgraft.runfolder.records import AnyRecord
from benchgraft.tasks.report import summarise

SECONDS = {"all": (100.0, 120.0), "few": (50.0, 60.0)}
KEPT = {"computed": (10.0, 12.0), "cached": (5.0, 6.0)}


def _folder(segments: int = 1, cpu: str = "Invented CPU") -> list[AnyRecord]:
    """`all`: 20 epochs on 1,020 images; `few`: 10 on 510; `kept`: 10 on 510, cold and warm."""
    begun = invented.experiment({"all": "all", "few": "few", "kept": "kept"})
    declared = [("fewer images", "all", "few"), ("kept", "few", "kept"), ("both", "all", "kept")]
    study = {
        "question": "Why?",
        "x": None,
        "cumulative": False,
        "points": {arm: {"line": arm, "x": None} for arm in begun.arms},
        "steps": [{"what": what, "before": before, "after": after} for what, before, after in declared],
    }
    records: list[AnyRecord] = [begun.model_copy(update={"config": {"published": False, "study": study}})]
    images = {"all": invented.fruit_images("all", digest="all")}
    for arm in ("few", "kept"):
        half = invented.fruit_images(arm, digest="few")
        counts = half.counts | {"train": dict.fromkeys(invented.FRUITS, 170)}
        images[arm] = half.model_copy(update={"counts": counts})
    records += images.values()
    for arm, times in SECONDS.items():
        for seed, seconds in enumerate(times):
            accuracy, epochs = (0.95, 20) if arm == "all" else (0.9, 10)
            options = {"accuracy": accuracy, "epochs": epochs, "arm": arm, "seed": seed}
            records.append(
                invented.run(images[arm], seconds=seconds, segments=segments, **options)  # type: ignore[arg-type]
            )
    for features, times in KEPT.items():
        for seed, seconds in enumerate(times):
            options = {"accuracy": 0.9, "epochs": 10, "arm": "kept", "seed": seed, "features": features}
            records.append(invented.run(images["kept"], seconds=seconds, cpu=cpu, **options))  # type: ignore[arg-type]
    return records


def _steps(records: list[AnyRecord]) -> dict[tuple[str, str], StudyStep]:
    found = summarise(records).study
    assert found is not None
    return {(step.what, step.after_variant): step for step in found.steps}


def test_a_step_is_the_ratio_of_mean_seconds_with_its_interval() -> None:
    step = _steps(_folder())["fewer images", "pixels"]
    assert (step.before_seconds, step.after_seconds) == (pytest.approx(110), pytest.approx(55))
    assert step.ratio.value == pytest.approx(2)
    # the variance of each mean is that of the runs by 2, relative to its square: 100 / 110^2 = 25 / 55^2
    half = stats.t.ppf(0.975, 2) * math.sqrt(2 * 100 / 110**2)
    assert step.ratio.low == pytest.approx(2 * math.exp(-half))
    assert step.ratio.high == pytest.approx(2 * math.exp(half))


def test_a_step_is_made_of_epochs_images_and_cost() -> None:
    step = _steps(_folder())["fewer images", "pixels"]
    # 20 against 10 epochs, 1,020 against 510 images, 110 / 20,400 against 55 / 5,100 seconds
    factors = (step.epochs, step.images_per_epoch, step.cost_per_image)
    assert factors == (pytest.approx(2), pytest.approx(2), pytest.approx(0.5))


def test_factors_of_steps_multiply_to_that_of_both() -> None:
    found = _steps(_folder())
    for kind, seconds in (("cold", 11), ("warm", 5.5)):
        product = found["fewer images", "pixels"].ratio.value * found["kept", kind].ratio.value
        assert found["both", kind].ratio.value == pytest.approx(product) == pytest.approx(110 / seconds)
    assert ("fewer images", "cold") not in found


def test_accuracy_of_a_step_is_after_minus_before_on_the_same_images() -> None:
    right = [round(0.95 * 244) / 244, round(0.9 * 244) / 244]
    step = _steps(_folder())["fewer images", "pixels"]
    assert step.accuracy is not None
    assert step.accuracy.value == pytest.approx(right[1] - right[0], abs=0.003)
    records = [
        record.model_copy(update={"test": record.test.model_copy(update={"keys": ["x"] * 244})})
        if record.kind == "images" and record.stage == "all"
        else record
        for record in _folder()
    ]
    assert _steps(records)["fewer images", "pixels"].accuracy is None


def test_a_step_without_whole_runs_on_both_sides_is_left_out() -> None:
    assert not _steps(_folder(segments=2))


def test_table_and_answer_tell_every_step() -> None:
    summary = summarise(_folder(cpu="Another CPU"))
    assert summary.study is not None
    grid = study_blocks(summary.study)[2]
    assert isinstance(grid, Grid)
    assert [row[0] for row in grid.rows] == [
        "fewer images", "kept, cold", "kept, warm", "both, cold", "both, warm",
    ]  # fmt: skip
    assert grid.rows[0][1:3] == ["110 s / 55.0 s", "2.00x (1.15 to 3.48)"]
    assert grid.rows[1][2].endswith("#")
    assert "fewer images: 2.00x (1.15 to 3.48) as fast, accuracy" in " ".join(summary.answer)
    assert "so not compared" in " ".join(summary.answer)
