"""From records to what is printed: means, factors, counts, and folders that are not finished."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import invented
import numpy as np
import pytest
from rich.console import Console

from benchgraft.errors import RunFolderError
from benchgraft.paper.comparison import PaperSummary
from benchgraft.report.blocks import terminal
from benchgraft.report.summary import Summary
from benchgraft.runfolder.ledger import Ledger, read
from benchgraft.runfolder.records import DataRecord, ExcludedImage, RunRecord
from benchgraft.tasks import report as reports
from benchgraft.tasks.report import summarise


def printed(summary: Summary, width: int = 100) -> str:
    """As a file or a pipe gets it."""
    output = io.StringIO()
    terminal(reports.blocks(summary), Console(file=output, width=width))
    return output.getvalue()


def flat(text: str) -> str:
    """Without line breaks, so that a wrapped sentence can be looked for."""
    return re.sub(r"\s+", " ", text)


@pytest.fixture(scope="module")
def finished() -> PaperSummary:
    return summarise(invented.whole_folder(10))


def test_tables_2_to_5_stand_beside_the_published_ones(finished: PaperSummary) -> None:
    assert [(table.number, table.stage) for table in finished.tables] == [
        (2, "scratch"),
        (3, "stage1"),
        (4, "stage2"),
        (5, "stage3"),
    ]
    text = printed(finished)
    for cell in ("117.00 min", "1449.70 min", "310.00 min", "8.13 min", "104.79 min", "300 s", "30.0 s"):
        assert cell in text


def test_a_seed_counts_once_for_accuracy_and_twice_for_time(finished: PaperSummary) -> None:
    table = finished.tables[3]
    assert len(table.rows) == 10
    assert table.accuracy is not None
    assert table.accuracy.runs == 10
    assert {name: spread.runs for name, spread in table.seconds.items()} == {"cold": 10, "warm": 10}


def test_two_runs_of_very_unequal_length_have_no_interval_below_zero() -> None:
    images = invented.fruit_images("scratch")
    runs = [invented.run(images, seconds=seconds, arm="scratch", seed=seconds) for seconds in (2, 40)]
    plain = invented.experiment({"scratch": "scratch"})
    study = {
        "question": "?",
        "x": None,
        "cumulative": False,
        "points": {"scratch": {"line": "one", "x": None}},
    }
    studied = plain.model_copy(update={"config": {**plain.config, "study": study}})
    summary, of_study = (summarise([record, images, *runs]) for record in (plain, studied))
    assert of_study.study is not None
    for found in (summary.tables[0].seconds["pixels"].mean, of_study.study.rows[0].seconds["pixels"]):
        assert found.value == pytest.approx(21)
        assert found.low is not None and 0 < found.low < 21
    for shown in (summary, of_study):
        assert not re.search(r"-\d[\d.]* (s|to)", printed(shown))


def test_factors_multiply_to_the_speed_up(finished: PaperSummary) -> None:
    assert [entry.variant for entry in finished.speedups] == ["cold", "warm"]
    for entry in finished.speedups:
        assert entry.epochs * entry.images_per_epoch * entry.cost_per_image == pytest.approx(
            entry.ratio.value
        )
    cold = finished.speedups[0]
    assert (cold.ratio.value, cold.epochs, cold.images_per_epoch) == pytest.approx((20 / 3, 20 / 25, 1.0))


def test_factors_multiply_to_the_speed_up_with_epochs_that_differ_from_run_to_run() -> None:
    records = [invented.experiment(), *invented.preparation()]
    scratch, transfer = invented.fruit_images("scratch"), invented.fruit_images("stage3")
    records += [scratch, transfer]
    for seed, epochs in enumerate((5, 9, 30)):
        records.append(invented.run(scratch, seconds=epochs * 1.1, arm="scratch", seed=seed, epochs=epochs))
        records.append(
            invented.run(
                transfer, seconds=3 + seed, arm="transfer", seed=seed, epochs=60 - epochs, features="computed"
            )
        )
    (entry,) = summarise(records).speedups
    assert entry.epochs * entry.images_per_epoch * entry.cost_per_image == pytest.approx(entry.ratio.value)


def test_interrupted_runs_are_marked_and_left_out_of_time_but_not_of_accuracy() -> None:
    records = invented.whole_folder(4)
    at = next(
        number
        for number, record in enumerate(records)
        if isinstance(record, RunRecord) and record.arm == "scratch"
    )
    records[at] = records[at].model_copy(update={"segments": 2, "seconds": {"train": 900.0}})
    summary = summarise(records)
    table = summary.tables[0]
    assert table.rows[0].is_resumed
    assert table.seconds["pixels"].runs == 3
    assert table.seconds["pixels"].high < 30
    assert table.accuracy is not None
    assert table.accuracy.runs == 4
    assert summary.speedups[0].scratch_runs == 3
    assert "scratch seed 0" in flat(printed(summary))
    assert "900 s*" in printed(summary) or "15.0 min*" in printed(summary)


def test_noise_taken_for_fruit_and_fruit_for_noise_are_counted() -> None:
    images = invented.fruit_images("scratch")
    labels = np.asarray(images.test.labels)
    said = labels.copy()
    said[np.flatnonzero(labels == 2)[:7]] = 0  # noise taken for apple
    said[np.flatnonzero(labels == 0)[:3]] = 2  # apple taken for noise
    said[np.flatnonzero(labels == 1)[:2]] = 0  # pear taken for apple
    run = invented.run(images, seconds=20, arm="scratch", predicted=[int(label) for label in said])
    (entry,) = summarise([invented.experiment(), images, run]).mistakes
    assert (entry.rest, entry.rest_images, entry.class_images) == ("noise", 160, 84)
    assert entry.classes == ["apple", "pear"]
    assert (entry.rest_taken_for_class, entry.class_taken_for_rest, entry.class_taken_for_other) == (7, 3, 2)


def test_labelled_images_are_those_of_every_stage_behind_the_model(finished: PaperSummary) -> None:
    by_arm = {entry.arm: entry for entry in finished.labelled}
    assert by_arm["scratch"].stages == {"scratch": 1020}
    assert by_arm["transfer"].stages == {"stage1": 500, "stage2": 300, "stage3": 1020}
    assert by_arm["transfer"].total == 1820


def test_break_even_is_given_cold_and_warm_with_its_interval(finished: PaperSummary) -> None:
    cold, warm = finished.paybacks
    assert (cold.variant, cold.break_even.first, warm.break_even.first) == ("cold", 20, 18)
    assert cold.preparation_seconds == pytest.approx(330)
    assert cold.break_even.low is not None
    assert cold.break_even.high is not None
    assert cold.break_even.low <= 20 <= cold.break_even.high
    assert cold.at_ten == pytest.approx((330 + 30) / 200)


def test_accuracy_difference_is_over_runs_and_over_source_classes(finished: PaperSummary) -> None:
    (entry,) = finished.accuracy
    assert entry.same_images
    assert entry.over_sources is not None
    assert (
        entry.over_runs.value == pytest.approx(entry.over_sources.value) == pytest.approx(0.0328, abs=0.0005)
    )
    for part in (entry.over_runs, entry.over_sources):
        assert (entry.together.standard_error or 0) > (part.standard_error or 0)


def test_equal_arms_are_not_told_apart() -> None:
    summary = summarise(invented.whole_folder(5, scratch_accuracy=0.95, transfer_accuracy=0.95))
    assert "These runs cannot tell which is more accurate" in flat(printed(summary))


def test_one_run_an_arm_prints_no_interval_and_says_so() -> None:
    summary = summarise(invented.whole_folder(1))
    text = flat(printed(summary))
    assert summary.speedups[0].ratio.low is None
    assert summary.accuracy[0].together.low is None
    assert "6.67x (one run an arm: no interval)" in text
    assert "One run here: no interval." in text
    assert "pays from retraining 21 on (one run an arm: no interval)" in text


def test_data_are_listed_as_measured_with_the_caveat_of_fruits_360(finished: PaperSummary) -> None:
    assert [(data.stage, data.classes, data.source_classes) for data in finished.data] == [
        ("stage1", 100, 100),
        ("stage2", 100, 100),
        ("scratch", 3, 61),
        ("stage3", 3, 61),
    ]
    text = flat(printed(finished))
    assert "same rotating fruit on both sides" in text
    assert "compare with care" in text
    assert "for this parent" in text


def test_images_left_out_are_counted() -> None:
    records = invented.whole_folder(2)
    out = [ExcludedImage(key=f"Test/{number}.jpg", reason="truncated") for number in range(3)]
    records = [
        record.model_copy(update={"excluded": out[:1], "dropped_from_test": out})
        if isinstance(record, DataRecord) and record.name == "fruits-360"
        else record
        for record in records
    ]
    text = flat(printed(summarise(records)))
    assert "Left out of fruits-360: 1 unreadable images; 3 images to validate or test on" in text
    assert "Left out of cifar-100" not in text


def test_caveat_of_fruits_360_is_not_printed_for_other_data() -> None:
    records = [
        record.model_copy(update={"format": "folder"})
        if getattr(record, "format", "") == "fruits360"
        else record
        for record in invented.whole_folder(2)
    ]
    assert "rotating fruit" not in flat(printed(summarise(records)))


def test_photos_of_another_subject_are_said_to_be_in_the_answer_and_in_place_of_the_caveat() -> None:
    of_fruit = invented.experiment()
    assert "not of fruit" not in flat(printed(summarise(invented.whole_folder(2))))
    of_cells = of_fruit.model_copy(update={"config": of_fruit.config | {"subject": "solar cells"}})
    summary = summarise([of_cells, *invented.whole_folder(2)[1:]])
    said = [line for line in summary.answer if "photos of solar cells, not of fruit" in line]
    assert len(said) == 1
    assert said[0] in summary.notes
    assert "compare with care" not in flat(printed(summary))
    assert summary.claims


def test_only_an_experiment_gives_the_published_side_and_says_that_nothing_is_here() -> None:
    summary = summarise([invented.experiment()])
    text = flat(printed(summary))
    assert [table.number for table in summary.tables] == [2, 3, 4, 5]
    assert text.count("Nothing measured here yet.") == 4
    assert "0 runs; the paper has 10" in text
    assert not (summary.speedups or summary.paybacks or summary.accuracy)
    assert reports.markdown(summary)


@pytest.mark.parametrize("length", range(1, 16))
def test_a_folder_stopped_after_any_record_can_be_summarised(length: int) -> None:
    summary = summarise(invented.whole_folder(3)[:length])
    assert printed(summary)
    assert summary.missing


def test_three_of_ten_planned_runs_are_said_to_be_three() -> None:
    records = invented.whole_folder(3)
    records[0] = records[0].model_copy(update={"config": {**invented.experiment().config, "runs": 10}})
    assert "scratch: 3 of 10 planned runs" in summarise(records).missing


def test_models_that_came_with_the_program_are_marked_everywhere() -> None:
    given = "shipped:stage1.safetensors"
    # as the program writes them: no images of their stages, no predictions
    shipped = [
        record.model_copy(update={"predicted": [], "confidence": []})
        for record in invented.preparation(given=given, cpu="Another CPU")
        if isinstance(record, RunRecord)
    ]
    records = [
        invented.experiment(),
        *shipped,
        *invented.paired_runs(3),
    ]
    summary = summarise(records)
    text = flat(printed(summary))
    assert "300 s+" in text
    assert f"+ Not trained here, timed where the model was made: {given}." in text
    assert f"stage1: not trained here, timed where the model was made ({given})" in text
    assert "timed on another machine" in text
    assert all(entry.other_machine for entry in summary.paybacks)
    assert not any(entry.other_machine for entry in summary.speedups)
    assert len(summary.machines) == 2


def test_no_preparation_at_all_leaves_out_break_even_and_says_so() -> None:
    summary = summarise([invented.experiment(), *invented.paired_runs(3)])
    assert summary.paybacks == []
    assert summary.speedups
    assert any("no break-even" in line for line in summary.missing)


def test_each_transfer_arm_has_its_own_table_5() -> None:
    arms = {"scratch": "scratch", "transfer_text": "stage3_text", "transfer_code": "stage3_code"}
    records: list[Any] = [invented.experiment(arms), *invented.preparation()]
    scratch = invented.fruit_images("scratch")
    records.append(scratch)
    for seed in range(3):
        records.append(invented.run(scratch, seconds=20 + seed, arm="scratch", seed=seed))
        for arm in ("transfer_text", "transfer_code"):
            images = invented.fruit_images(arms[arm])
            records += [images] if seed == 0 else []
            records.append(invented.run(images, seconds=5 + seed, arm=arm, seed=seed, parent="two"))
    summary = summarise(records)
    assert [(table.number, table.arm) for table in summary.tables if table.number == 5] == [
        (5, "transfer_text"),
        (5, "transfer_code"),
    ]
    assert [(entry.arm, entry.variant) for entry in summary.speedups] == [
        ("transfer_text", "pixels"),
        ("transfer_code", "pixels"),
    ]
    assert len(summary.accuracy) == 2
    assert "transfer_code: stage 3 took less time" in flat(printed(summary))


def test_preparation_is_ordered_by_parents_not_by_lines() -> None:
    records = invented.whole_folder(2)
    stages = [number for number, record in enumerate(records) if isinstance(record, RunRecord)][:2]
    records[stages[0]], records[stages[1]] = records[stages[1]], records[stages[0]]
    assert [table.stage for table in summarise(records).tables[1:3]] == ["stage1", "stage2"]


def test_arms_tested_on_different_images_are_said_to_be() -> None:
    records = invented.whole_folder(3)
    other = invented.fruit_images("scratch", per_source=5, digest="other")
    records = [record for record in records if getattr(record, "stage", "") != "scratch"]
    records.append(other)
    records += [
        invented.run(other, seconds=20 + seed, accuracy=0.9, arm="scratch", seed=seed) for seed in range(3)
    ]
    summary = summarise(records)
    assert not summary.accuracy[0].same_images
    assert "tested on different images" in flat(printed(summary))


def test_predictions_of_other_images_are_refused() -> None:
    images = invented.fruit_images("scratch")
    run = invented.run(images, seconds=20, arm="scratch", predicted=[0, 1])
    with pytest.raises(RunFolderError, match="2 predictions for 244 test images"):
        summarise([invented.experiment(), images, run])


def test_a_ledger_without_experiment_is_refused() -> None:
    with pytest.raises(RunFolderError, match="names no experiment"):
        summarise([])


@pytest.mark.parametrize("width", [80, 100])
def test_terminal_output_keeps_to_its_width_and_cuts_nothing(finished: Summary, width: int) -> None:
    text = printed(finished, width)
    assert max(len(line) for line in text.splitlines()) <= width
    assert "…" not in text
    assert "\x1b" not in text


def test_rows_of_tables_fit_one_line_at_100_columns(finished: PaperSummary) -> None:
    text = printed(finished)
    for row in ("run 10 ", "interval ", "range "):
        lines = [line for line in text.splitlines() if line.strip().startswith(row)]
        assert lines
        assert all("%" in line or "to" in line for line in lines)


def test_markdown_tables_have_as_many_cells_in_every_row(finished: PaperSummary) -> None:
    page = reports.markdown(finished)
    for block in page.split("\n\n"):
        if block.startswith("|"):
            assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1
    assert page.count("\n## ") >= 9


def test_terminal_and_markdown_say_the_same(finished: PaperSummary) -> None:
    page = reports.markdown(finished)
    for text in (entry.figure for entry in finished.claims):
        assert text in page
    for finding in finished.audit:
        assert finding.statement in page


def test_times_of_another_machine_have_one_wording_wherever_they_are_told() -> None:
    records = [invented.experiment(), *invented.preparation(), *invented.paired_runs(4)]
    elsewhere = invented.environment("Another CPU")
    summary = summarise(
        [
            record.model_copy(update={"environment": elsewhere})
            if isinstance(record, RunRecord) and record.arm == "transfer"
            else record
            for record in records
        ]
    )
    told = [*summary.answer, *(claim.figure for claim in summary.claims)]
    told = [line for line in told if "machine" in line]
    assert len(told) >= 5
    assert all("timed on another machine or with other threads, so not compared" in line for line in told)
    # beside the answer and the claims: the mark at the speed-up, and two break-evens
    text = flat(printed(summary, width=400))
    assert text.count("timed on another machine or with other threads, so not compared") == len(told) + 3


def test_json_is_the_whole_summary_and_standard(finished: PaperSummary) -> None:
    text = finished.model_dump_json()
    assert PaperSummary.model_validate_json(text) == finished
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def test_summary_is_made_from_the_run_folder_alone(tmp_path: Path, finished: PaperSummary) -> None:
    ledger = Ledger(tmp_path)
    for record in invented.whole_folder(10):
        ledger.append(record)
    assert summarise(read(tmp_path)) == finished
