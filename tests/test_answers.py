"""What `adapt` and `evaluate` answer, as blocks: the same for a terminal and for a page."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from benchgraft.report.answers import (
    Adapted,
    ClassChange,
    ClassFigures,
    ClassResult,
    EvaluationReport,
    Mistake,
    Suspect,
    Threshold,
    adapted_blocks,
    evaluated_blocks,
)
from benchgraft.report.blocks import Block, Grid, Heading, Lines, markdown, terminal
from benchgraft.runfolder.records import ChoiceRecord, ExcludedImage, TriedParent
from benchgraft.statistics.proportions import proportion


def _printed(blocks: list[Block]) -> str:
    output = io.StringIO()
    terminal(blocks, Console(file=output, width=1000))
    return output.getvalue()


@pytest.fixture
def adapted() -> Adapted:
    names = ("green", "red\nred")
    return Adapted(
        model=Path("m.safetensors"),
        accuracy=proportion(9, 10),
        balanced_accuracy=0.9,
        commonest=("green", 0.5),
        parent="imagenet",
        fit="crop",
        choice=ChoiceRecord(
            parent="imagenet",
            fit="crop",
            photos=256,
            tried=[
                TriedParent(
                    parent=parent,
                    fit="crop",
                    balanced_accuracy=0.9 - difference,
                    error=0.2 + difference,
                    difference=difference,
                    standard_error=0.01,
                    megaflops=100.0,
                    seconds=1.0,
                )
                for parent, difference in (("paper", 0.3), ("imagenet", 0.0))
            ],
            seconds=2.0,
        ),
        classes=[
            ClassResult(name=name, train_images=1000, test_images=5, recall=proportion(4, 5))
            for name in names
        ]
        + [ClassResult(name="new", train_images=3, test_images=0, recall=None)],
        confusion=[[4, 1, 0], [1, 4, 0], [0, 0, 0]],
        mistakes=[Mistake(key="a.png", given="green", predicted="red", confidence=0.9)],
        thresholds=[Threshold(below=0.5, answered=0.9, right=None)],
        images={"train": 2003, "validation": 4, "test": 10},
        excluded=[ExcludedImage(key=f"{number}.png", reason="damaged") for number in range(5)],
        dropped_from_test=[],
        decode_seconds=1.0,
        decoded=2017,
        features_computed=2017,
        epochs=7,
        seconds={"train": 2.0, "save": 0.001},
        suspects=[
            Suspect(key=f"{number}.png", given="green", likelier="red", probability=0.9)
            for number in range(12)
        ],
        notes=["all is well"],
        changes=[
            ClassChange(name=name, images=100, right_before=95, right_after=95 - lost, lost=lost, won=0, p=p)
            for name, lost, p in ((None, 1, 0.5), ("green", 9, 0.001))
        ],
    )


def test_adapt_answers_with_its_accuracy_first_and_the_time_last(adapted: Adapted) -> None:
    blocks = adapted_blocks(adapted)
    first, last = blocks[0], blocks[-1]
    assert isinstance(first, Lines) and isinstance(last, Lines)
    assert first.lines[0].startswith("m.safetensors: 90.00 % (")
    assert first.lines[0].endswith('mean over classes 90.00 %; always "green": 50.00 %')
    assert last.lines == ["5.00 s: trying parents 2.00 s, decoding photos 1.00 s, train 2.00 s; 7 epochs"]


def test_classes_stand_in_a_table_untested_ones_too(adapted: Adapted) -> None:
    grid, tried = [block for block in adapted_blocks(adapted) if isinstance(block, Grid)]
    assert [row[0] for row in tried.rows] == ["imagenet", "paper"]  # the best first
    assert [row[:3] for row in grid.rows] == [
        ["green", "1,000", "5"],
        ["red\nred", "1,000", "5"],
        ["new", "3", "0"],
    ]
    assert grid.rows[2][3] == "not tested"


def test_a_class_that_got_worse_is_named_once_more(adapted: Adapted) -> None:
    text = _printed(adapted_blocks(adapted))
    assert 'WORSE beyond noise: class "green": 95 of 100 right before, 86 after' in text
    assert "WORSE beyond noise: all classes" not in text


def test_the_first_ten_doubtful_labels_are_shown_and_the_others_counted(adapted: Adapted) -> None:
    text = _printed(adapted_blocks(adapted))
    assert "Labels to check first, each wrong with a chance of 60 % or more (12 of 2,017 photos)" in text
    assert text.count("given green, looks like red; 90 % likely wrong") == 10
    assert "and 2 more: --json" in text
    assert "left out, and 2 more: damaged" in text


def test_a_line_break_in_a_class_name_breaks_no_line_of_a_terminal(adapted: Adapted) -> None:
    text = _printed(adapted_blocks(adapted))
    assert "red\\nred" in text and "red\nred" not in text


def _report(classes: int) -> EvaluationReport:
    names = [f"class{number}" for number in range(classes)]
    return EvaluationReport(
        model=Path("m.safetensors"),
        folder=Path("photos"),
        photos=10 * classes,
        accuracy=proportion(9 * classes, 10 * classes),
        balanced_accuracy=0.9,
        classes=[
            ClassFigures(name=name, photos=10, recall=proportion(9, 10), precision=None) for name in names
        ],
        confusion=[[9 if row == column else 0 for column in range(classes)] for row in range(classes)],
        calibration=[],
        calibration_error=0.02,
        mistakes=[Mistake(key="7.png", given="class0", predicted="class1", confidence=0.876)],
        unknown_classes={"other": 1},
        trained_on=3,
        excluded=[],
        notes=[],
    )


@pytest.mark.parametrize(("classes", "has_matrix"), [(12, True), (13, False)])
def test_a_confusion_matrix_is_shown_while_it_can_be_read(classes: int, has_matrix: bool) -> None:
    blocks = evaluated_blocks(_report(classes))
    headings = [block.text for block in blocks if isinstance(block, Heading)]
    assert ("Given class (row) and answer (column)" in headings) == has_matrix
    assert headings[-1] == "Most confident mistakes"


def test_evaluate_says_the_same_on_a_terminal_and_as_markdown() -> None:
    blocks = evaluated_blocks(_report(2))
    for text in (_printed(blocks), markdown(blocks)):
        assert "right of 20 photos; mean over classes 90.00 %; calibration error 2.00 %" in text
        assert "left out: 3 photos that the model was trained on" in text
        assert 'left out, because the model does not know these classes: "other" (1 photo)' in text
        assert "7.png: given class0, answer class1 (87.6%)" in text
        assert "class1" in text and "none" in text


def test_near_copies_are_one_reason_of_which_a_few_are_named(adapted: Adapted) -> None:
    excluded = [
        ExcludedImage(key=f"b/{n}.jpg", reason=f"nearly the same picture as the train image a/{n}.jpg")
        for n in range(9)
    ]
    shown = _printed(adapted_blocks(adapted.model_copy(update={"dropped_from_test": excluded})))
    assert shown.count("left out b/") == 3
    assert "left out, and 6 more: nearly the same picture as the train image" in shown
