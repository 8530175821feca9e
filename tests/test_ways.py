"""Which of several ways: scratch and transfer from two parents, on invented runs."""

from __future__ import annotations

from typing import Any

import invented
import numpy as np
import pytest
from invented import class_images, fruit_images, run

from benchgraft.report.page import tiles
from benchgraft.report.ways import Ways, stake
from benchgraft.runfolder.records import AnyRecord, ImagesRecord, OriginRecord
from benchgraft.statistics.estimates import Estimate, mean_interval
from benchgraft.tasks import report as reports
from benchgraft.tasks.report import summarise

ARMS = {"scratch": "scratch", "transfer": "stage3", "imagenet": "head"}
STAGES = {
    "stage2": {"model_file": "shipped:stage2.safetensors"},
    "parent": {"model_file": "imagenet"},
    "stage3": {"parent": "stage2"},
    "head": {"parent": "parent"},
    "scratch": {},
}


def _cells(stage: str, photos: int = 400) -> ImagesRecord:
    """Two classes that are their own source classes: nothing is known of which photos belong together."""
    images = fruit_images(stage)
    labels = [number % 2 for number in range(photos)]
    test = images.test.model_copy(
        update={
            "keys": [f"{number}.png" for number in range(photos)],
            "labels": labels,
            "sources": [("good", "bad")[label] for label in labels],
        }
    )
    classes = {"class_names": ["good", "bad"], "matched": {"good": ["good"], "bad": ["bad"]}}
    return images.model_copy(update={"test": test, **classes, "digest": "cells"})


def _folder(
    seeds: int,
    seconds: tuple[float, float, float, float, float] = (6.0, 0.5, 0.4, 5.0, 0.5),
    accuracy: tuple[float, float, float] = (0.72, 0.74, 0.86),
    images_of: Any = _cells,
) -> list[AnyRecord]:
    """seconds: of scratch, then cold and warm of transfer and of imagenet; accuracy: of the three."""
    experiment = invented.experiment(ARMS)
    config = {**experiment.config, "stages": STAGES, "published": False}
    images = {arm: images_of(stage) for arm, stage in ARMS.items()}
    records: list[AnyRecord] = [
        experiment.model_copy(update={"config": config}),
        *invented.preparation(given="shipped:stage2.safetensors"),
        OriginRecord(model_digest="net", origin="weights from elsewhere", place="imagenet.safetensors"),
        *images.values(),
    ]
    for seed in range(seeds):
        wobble = 1 + 0.02 * ((seed * 7) % 5 - 2)
        shift = 0.005 * ((seed * 3) % 4 - 1.5)

        def add(arm: str, took: float, right: float, draw: int, **options: Any) -> None:
            said = invented.answers(images[arm], right, draw)
            records.append(
                run(images[arm], seconds=took, arm=arm, seed=seed, predicted=said, epochs=9, **options)  # noqa: B023
            )

        add("scratch", seconds[0] * wobble, accuracy[0] + shift, 100 + seed)
        for features, took in (("computed", seconds[1]), ("cached", seconds[2])):
            add("transfer", took * wobble, accuracy[1] - shift, 200 + seed, features=features, parent="two")
        for features, took in (("computed", seconds[3]), ("cached", seconds[4])):
            add("imagenet", took * wobble, accuracy[2], 3, features=features, parent="net", model="head")
    return records


def _ways(records: list[AnyRecord]) -> Ways:
    found = summarise(records).ways
    assert found is not None
    return found


def test_the_first_sentence_says_which_one_and_from_when_on() -> None:
    summary = summarise(_folder(6))
    assert summary.answer[0].startswith(
        "Transfer from parent imagenet gets the most test photos right, 86.00 %"
    )
    assert "and it pays against training from scratch from the 1st retraining on; " in summary.answer[0]
    told = " ".join(summary.answer)
    assert "On other photos too transfer from parent imagenet is more accurate than transfer from" in told
    assert "from parent paper by +12" in told
    assert "A retraining takes 0.50 s (0.40 s again on the same photos) by transfer from parent paper" in told
    assert (
        "Transfer from parent paper is the quickest, and it pays against training from scratch from the"
        in told
    )
    assert "How long imagenet took to make is not known, and not counted." in told
    assert "The runs of an arm all start from one parent model: this holds for these parents." in told


def test_the_preparation_of_the_papers_parent_is_no_cost_of_the_other() -> None:
    found = _ways(_folder(5))
    paper, imagenet, scratch = found.row("transfer"), found.row("imagenet"), found.row("scratch")
    assert (paper.parent, paper.preparation_seconds) == ("paper", pytest.approx(330))
    assert (imagenet.parent, imagenet.trained_on) == ("imagenet", "ImageNet-1k")
    assert (imagenet.preparation_seconds, scratch.parent) == (None, None)
    assert paper.pays_first is not None and imagenet.pays_first is not None
    assert paper.pays_first.first == 60  # 330 / (6 - 0.5)
    assert imagenet.pays_first.first == 1
    assert [entry.arm for entry in summarise(_folder(6)).paybacks] == ["transfer", "transfer"]


def test_an_arm_that_is_slow_once_pays_by_its_kept_features() -> None:
    records = _folder(6, seconds=(6.0, 0.5, 0.4, 26.0, 1.0))
    again = _ways(records).row("imagenet").pays_again
    assert again is not None and again.first == 5  # (26 - 1) / (6 - 1)
    assert (
        "it takes longer than training from scratch, but on the same photos again it pays from the 5th "
        "retraining on" in summarise(records).answer[0]
    )


def test_arms_that_cannot_be_told_apart_are_named_and_the_quickest_with_them() -> None:
    summary = summarise(_folder(6, accuracy=(0.72, 0.861, 0.86)))
    assert summary.answer[0].startswith(
        "Transfer from parent paper takes the least time of those that may be best"
    )
    assert summary.answer[1].startswith("These runs cannot tell which gets the most test photos right")
    assert "training from scratch (" not in summary.answer[1]


def test_the_first_sentence_has_the_price_of_a_wrong_decision_and_what_would_change_it() -> None:
    summary = summarise(_folder(10, accuracy=(0.70, 0.83, 0.86)))
    first, found = summary.answer[0], summary.ways
    assert found is not None
    taken, rival = found.row("imagenet"), found.row("transfer")
    pair = found.pair("imagenet", "transfer")
    assert pair.beyond.low is not None and pair.beyond.high is not None
    assert (
        f"if that is wrong, it costs at most {-100 * pair.beyond.low:.1f} points, against transfer" in first
    )
    told = stake(found, taken, rival)
    assert told is not None and told.photos is not None
    assert f"about {told.photos:,} test photos in place of 400" in first
    assert first.endswith("; two other parents not tried: imagenet-lite2 and cifar100.")
    # With so many photos and the same runs the interval would end at no difference.
    assert pair.here.low is not None and pair.here.high is not None
    by_runs = (pair.here.high - pair.here.low) / 2
    whole = (pair.beyond.high - pair.beyond.low) / 2
    half = np.sqrt(by_runs**2 + (whole**2 - by_runs**2) * 400 / told.photos)
    assert half == pytest.approx(abs(pair.beyond.value), rel=0.01)


def test_more_runs_are_asked_for_only_where_they_would_tell() -> None:
    found = _ways(_folder(4, accuracy=(0.70, 0.80, 0.86)))
    pair = found.pair("imagenet", "transfer")
    far = pair.model_copy(update={"here": _estimate(0.03, 0.04), "beyond": _estimate(0.03, 0.041)})
    near = pair.model_copy(update={"here": _estimate(0.02, 0.04), "beyond": _estimate(0.02, 0.1)})
    for changed, runs in ((far, True), (near, False)):
        others = [other for other in found.pairs if other is not pair]
        told = stake(
            found.model_copy(update={"pairs": [changed, *others]}),
            found.row("imagenet"),
            found.row("transfer"),
        )
        assert told is not None and (told.runs is not None) == runs
        # Of runs alone that vary by 0.04: 4 * 0.04^2 / (0.03^2 - (0.041^2 - 0.04^2))
        assert told.runs == (8 if runs else None)
        assert told.photos is None


def _estimate(value: float, half: float) -> Estimate:
    return mean_interval([value, value]).model_copy(update={"low": value - half, "high": value + half})


def test_more_accurate_on_these_photos_alone_is_said_to_be_that() -> None:
    found = _ways(records := _folder(10, accuracy=(0.70, 0.83, 0.86)))
    pair = found.pair("transfer", "imagenet")
    assert pair.here.differs_from(0.0) and not pair.beyond.differs_from(0.0)
    assert any(
        line.startswith(
            "400 test photos are too few to tell whether transfer from parent imagenet is more accurate than "
            "transfer from parent paper"
        )
        and line.endswith("on other photos too.")
        for line in summarise(records).answer
    )


def test_one_run_an_arm_tells_nothing() -> None:
    first = summarise(_folder(1)).answer[0]
    assert first.startswith("One run per arm is not enough to tell which one gets the most")


def test_pairs_are_of_one_seed_and_wider_for_three_of_them() -> None:
    records = _folder(6)
    pair = _ways(records).pair("transfer", "scratch")
    assert pair.seconds_first is not None
    # Both slow down by the same in a round: what is left is the ratio itself.
    assert pair.seconds_first.value == pytest.approx(0.5 / 6)
    assert pair.seconds_first.standard_error == pytest.approx(0, abs=1e-9)
    accuracy = {
        arm: [r.accuracy for r in records if getattr(r, "arm", None) == arm and r.kind == "run"]
        for arm in ("scratch", "transfer")
    }
    apart = np.subtract(accuracy["transfer"][::2], accuracy["scratch"])
    half = (pair.here.high - pair.here.low) / 2  # type: ignore[operator]
    t_98 = 3.5341  # two-sided 1 - 0.05 / 3, 5 degrees of freedom (tables)
    assert half == pytest.approx(t_98 * apart.std(ddof=1) / np.sqrt(6), rel=1e-3)


def test_with_many_source_classes_these_are_what_other_photos_are_told_by() -> None:
    found = _ways(_folder(4, accuracy=(0.8, 0.85, 0.97), images_of=fruit_images))
    assert not found.by_photo
    assert "source classes" in found.rows[0].accuracy.method


def test_many_classes_that_are_their_own_source_classes_are_no_others_of_their_kind() -> None:
    """What another draw of the classes would give nobody asks: photos are drawn, each for itself."""
    records = _folder(4, images_of=lambda stage: class_images(stage, "clothes", 12, 30))
    summary = summarise(records)
    assert summary.ways is not None and summary.ways.by_photo
    assert "over photos" in summary.ways.rows[0].accuracy.method
    pair = summary.ways.pair("imagenet", "scratch")
    assert pair.beyond.low is not None and pair.beyond.high is not None
    apart = (pair.beyond.high - pair.beyond.low) / 2
    # 360 photos, of which the two arms answer a quarter differently: some five points, and three pairs.
    assert 0.03 < apart < 0.1
    assert all(entry.by_photo for entry in summary.accuracy)
    assert summary.accuracy[0].together.method == "runs and photos together"


def test_two_arms_two_recipes_on_one_parent_and_arms_on_other_photos_have_no_such_answer() -> None:
    assert summarise(invented.whole_folder(3)).ways is None
    assert "ways" not in summarise(invented.whole_folder(3)).model_dump()
    same_parent = [
        record.model_copy(update={"parent_digest": "two"})
        if getattr(record, "arm", None) == "imagenet"
        else record
        for record in _folder(3)
    ]
    assert summarise(same_parent).ways is None
    sizes = {"scratch": 300, "stage3": 400, "head": 400}
    assert summarise(_folder(3, images_of=lambda stage: _cells(stage, sizes[stage]))).ways is None


def test_the_paper_says_nothing_of_a_parent_from_elsewhere() -> None:
    first, *rest = _folder(3)
    config = {**first.config, "published": True}  # type: ignore[union-attr]
    summary = summarise([first.model_copy(update={"config": config}), *rest])
    assert {claim["arm"] for claim in summary.model_dump()["claims"]} == {None, "transfer"}
    titles = [table.title for table in summary.tables]
    assert titles[-1] == "Runs of arm imagenet" and len(titles) == 5
    assert "Runs of arm imagenet" in reports.markdown(summary)
    assert '"number": 5' in summary.model_dump_json(indent=1)


def test_the_page_has_a_tile_for_each_arm_and_the_table_of_all() -> None:
    summary = summarise(_folder(6))
    assert [what for what, _, _ in tiles(summary)] == [
        "transfer from parent imagenet",
        "transfer from parent paper",
        "training from scratch",
    ]
    page = " ".join(reports.html(summary, {}).split())
    assert "Which one" in page
    assert "Bonferroni: 98.3 % each" in page
    assert "All runs of imagenet gave the same model: no seed matters there." in page


def test_factors_are_left_out_where_a_head_was_solved() -> None:
    records = [
        record.model_copy(update={"penalty": 1.0, "epochs": 0})
        if getattr(record, "arm", "") == "imagenet"
        else record
        for record in _folder(3)
    ]
    summary = summarise(records)
    factors = {entry.arm: entry.epochs for entry in summary.speedups}
    assert factors == {"transfer": pytest.approx(1.0), "imagenet": None}
    assert "imagenet" not in {curve.arm for curve in summary.learning.curves}
    assert "imagenet, cold" in reports.markdown(summary)
    assert reports.html(summary, {})
