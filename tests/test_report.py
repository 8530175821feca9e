"""The page that people read: its answer, its figures, and that it needs nothing but itself."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import invented
import pytest
from typer.testing import CliRunner

from benchgraft.cli import app
from benchgraft.errors import RunFolderError
from benchgraft.report import page
from benchgraft.report.words import ordinal
from benchgraft.runfolder.ledger import THUMBNAILS, Ledger
from benchgraft.runfolder.records import AnyRecord, DataRecord, ImagesRecord, Thumbnails
from benchgraft.runfolder.seal import REPORT_FILES
from benchgraft.tasks import report as reports
from benchgraft.tasks.report import summarise


def folder_of(records: list[AnyRecord], folder: Path) -> Path:
    ledger = Ledger(folder)
    for record in records:
        ledger.append(record)
    return folder


def answer(records: list[AnyRecord]) -> str:
    return " ".join(summarise(records).answer)


@pytest.fixture(scope="module")
def twenty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = folder_of(invented.whole_folder(20), tmp_path_factory.mktemp("twenty") / "run")
    reports.write(folder)
    return folder


@pytest.fixture(scope="module")
def html(twenty: Path) -> str:
    return (twenty / "report.html").read_text("utf-8")


def test_answer_says_from_when_on_transfer_pays_how_fast_and_how_accurate_it_is() -> None:
    text = answer(invented.whole_folder(10))
    # 330 s of preparation, 17 s saved a retraining: 19.4, so the 20th
    assert text.startswith("Transfer pays from the 20th retraining on (95 % interval 19 to 21).")
    assert "A retraining takes 3.00 s instead of 20.0 s (6.67x, 95 % interval " in text
    assert re.search(
        r"Transfer is 3\.\d\d points more accurate \(\d\.\d\d to \d\.\d\d\) on frames of fruits", text
    )
    assert "for this parent" in text


def test_answer_claims_no_difference_where_the_interval_holds_none() -> None:
    text = answer(invented.whole_folder(10, scratch_accuracy=0.95, transfer_accuracy=0.951))
    assert "These runs cannot tell which is more accurate" in text
    assert "more accurate (" not in text
    assert "findings.md" not in text
    own = [
        record.model_copy(update={"format": "folder"}) if isinstance(record, DataRecord) else record
        for record in invented.whole_folder(10, scratch_accuracy=0.95, transfer_accuracy=0.951)
    ]
    assert "docs/findings.md" in answer(own)
    slow = answer(invented.whole_folder(10, cold_seconds=20.0, warm_seconds=None))
    assert "These runs cannot tell which is faster" in slow
    assert "These runs cannot tell whether transfer pays" in slow


def test_answer_claims_no_break_even_where_it_cannot_tell_which_is_faster() -> None:
    records = [invented.experiment(), *invented.preparation()]
    scratch, transfer = invented.fruit_images("scratch"), invented.fruit_images("stage3")
    records += [scratch, transfer]
    for seed, seconds in enumerate((0.63, 0.64, 1.6)):  # saved: above 0; ratio: perhaps 1
        records.append(invented.run(scratch, seconds=3.65 + seed / 20, arm="scratch", seed=seed))
        records.append(
            invented.run(
                transfer, seconds=seconds, arm="transfer", seed=seed, features="computed", parent="two"
            )
        )
    summary = summarise(records)
    assert summary.paybacks[0].break_even.high is not None
    assert summary.answer[0].startswith("These runs cannot tell whether transfer pays (from the 1")
    assert summary.answer[1].startswith("These runs cannot tell which is faster")
    assert not any(what == "pays from retraining" for what, _, _ in page.tiles(summary))


def test_answer_says_never_where_transfer_is_not_cheaper() -> None:
    text = answer(invented.whole_folder(10, cold_seconds=40.0))
    assert text.startswith("Transfer never pays")
    assert "A retraining takes longer by transfer" in text


def test_answer_of_one_run_an_arm_has_no_interval_and_says_so() -> None:
    text = answer(invented.whole_folder(1))
    assert text.startswith("These runs cannot tell when transfer pays")
    assert text.count("one run an arm") == 3
    assert "95 % interval" not in text


def test_answer_of_an_unfinished_folder_says_what_is_there() -> None:
    assert answer([invented.experiment(), *invented.preparation()]).startswith(
        "No answer yet: no run of either"
    )
    scratch = invented.fruit_images("scratch")
    records = [invented.experiment(), scratch, invented.run(scratch, seconds=1, arm="scratch")]
    assert answer(records).startswith("No answer yet: only scratch has runs")


def test_answer_gives_no_break_even_with_preparation_of_another_machine() -> None:
    records = [
        invented.experiment(),
        *invented.preparation(given="shipped:stage1.safetensors", cpu="Another CPU"),
        *invented.paired_runs(5),
    ]
    assert "Cannot say when transfer pays: its preparation was timed on another machine or" in answer(records)


@pytest.mark.parametrize(
    ("count", "text"),
    [(1, "1st"), (2, "2nd"), (3, "3rd"), (4, "4th"), (11, "11th"), (22, "22nd"), (1112, "1,112th")],
)
def test_ordinals(count: int, text: str) -> None:
    assert ordinal(count) == text


def test_page_is_one_small_file_that_asks_for_nothing_else(html: str, twenty: Path) -> None:
    assert (twenty / "report.html").stat().st_size < 3_000_000
    assert "<script" not in html
    addresses = re.findall(r"""(?:src|href)=["']([^"'#][^"']*)""", html)
    assert {address.partition(":")[0] for address in addresses} <= {"data"}
    assert not re.search(r"@import|url\((?!#)", html)


def test_every_figure_has_a_line_that_says_what_to_see_and_an_alternative_text(html: str) -> None:
    figures = re.findall(r"<figure id=\"([^\"]+)\">(.*?)</figure>", html, re.DOTALL)
    assert [name for name, _ in figures] == [
        "runs",
        "cost",
        "learning",
        "phases",
        "speed-up",
        "confusion",
        "blocks_paper_cnn",
    ]
    for _, text in figures:
        assert re.search(r'role="img" aria-label="[^"]{40,}"', text)
        assert "What to see." in text
        assert "<svg" in text


def test_ids_on_the_page_are_unique(html: str) -> None:
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids))


def test_page_names_every_layer_with_what_is_frozen_and_marks_what_is_said_of_the_paper(html: str) -> None:
    for text in ("conv2d_4", "batch_normalization_2", "dense_3"):
        assert text in html
    for mark in ("printed", "computed", "inferred"):
        assert f">{mark}</td>" in html
    assert "1/2249" in html
    assert "18.28" in html


def test_names_from_a_data_set_are_text_and_not_markup() -> None:
    images = invented.fruit_images("scratch").model_copy(update={"class_names": ["<b>a</b>", "$x$", "noise"]})
    run = invented.run(images, seconds=5.0, accuracy=0.9, arm="scratch")
    text = reports.html(summarise([invented.experiment(), images, run]), {})
    assert "<b>a</b>" not in text
    assert "&lt;b&gt;a&lt;/b&gt;" in text


def test_gallery_shows_stored_thumbnails_and_says_where_there_is_none(twenty: Path, html: str) -> None:
    assert "no picture stored" in html
    summary = summarise(invented.whole_folder(20))
    surest = summary.surest_mistakes[0]
    jpeg = base64.b64encode(b"not really a picture").decode()
    with_one = reports.html(summary, {surest.images_digest: {surest.key: jpeg}})
    assert with_one.count(f"data:image/jpeg;base64,{jpeg}") >= 1


def test_damaged_thumbnails_are_named(tmp_path: Path) -> None:
    folder = folder_of(invented.whole_folder(2), tmp_path)
    (folder / THUMBNAILS).mkdir()
    (folder / THUMBNAILS / "fruit.json").write_text(
        Thumbnails(images_digest="fruit", jpeg={}).model_dump_json()[:-3]
    )
    with pytest.raises(RunFolderError, match=r"fruit.json is damaged"):
        reports.write(folder)


def test_surest_mistakes_are_those_with_most_confidence_in_wrong_answers() -> None:
    images = invented.fruit_images("scratch")
    labels = images.test.labels
    runs: list[AnyRecord] = []
    for seed in range(2):
        said = list(labels)
        said[5] = (said[5] + 1) % 3  # wrong in both runs, not very sure
        if seed == 0:
            said[7] = (said[7] + 1) % 3  # wrong once, very sure
        confidence = [1.0] * len(labels)
        confidence[5], confidence[7] = 0.6, 0.99
        run = invented.run(images, seconds=5.0, arm="scratch", seed=seed, predicted=said)
        runs.append(run.model_copy(update={"confidence": confidence}))
    surest = summarise([invented.experiment(), images, *runs]).surest_mistakes
    assert [(entry.key, entry.runs_wrong) for entry in surest] == [
        (images.test.keys[5], 2),
        (images.test.keys[7], 1),
    ]
    assert surest[0].confidence == pytest.approx(0.6)


def test_confusion_is_counted_as_by_hand() -> None:
    images = invented.fruit_images("scratch", per_source=1)
    labels = images.test.labels
    said = [2 if place < 6 else label for place, label in enumerate(labels)]  # 6 of 12 apples become noise
    run = invented.run(images, seconds=5.0, arm="scratch", predicted=said)
    confusion = summarise([invented.experiment(), images, run]).confusions[0]
    assert confusion.counts == [[6, 0, 6], [0, 9, 0], [0, 0, 40]]
    assert [(pair.true, pair.said, pair.images) for pair in confusion.pairs] == [("apple", "noise", 6)]


def test_runs_that_never_reach_the_target_are_counted_as_such() -> None:
    learning = summarise(invented.whole_folder(4, scratch_accuracy=0.97, transfer_accuracy=0.94)).learning
    reached = {(entry.arm, entry.variant): entry for entry in learning.reached}
    assert learning.target == pytest.approx(0.97)
    assert reached[("transfer", "cold")].reached == 0
    assert reached[("transfer", "cold")].median_seconds is None
    assert reached[("scratch", "pixels")].reached == 2  # the target is the median


def test_network_shares_follow_table_1_and_the_ledgers_frozen_tensors() -> None:
    records = invented.whole_folder(2)
    frozen = ["conv2d_1.weight", "conv2d_1.bias", "batch_normalization_1.weight"]
    records = [
        r.model_copy(update={"frozen": frozen})
        if getattr(r, "stage", "") == "stage3" and r.kind == "run"
        else r
        for r in records
    ]
    [network] = summarise(records).networks
    first = network.blocks[0]
    # 5 x 5 x 3 x 16 weights at 48 x 48 places
    assert first.megaflops == pytest.approx(2 * 5 * 5 * 3 * 16 * 48 * 48 / 1e6)
    assert sum(block.share for block in network.blocks) == pytest.approx(1)
    stage = next(stage for stage in network.stages if stage.stage == "stage3")
    assert stage.frozen == ["conv2d_1", "batch_normalization_1"]
    assert stage.moving_statistics == ["batch_normalization_1"]
    assert stage.frozen_share == pytest.approx(first.share)


def test_report_command_writes_or_prints_every_format(tmp_path: Path) -> None:
    folder = folder_of(invented.whole_folder(3), tmp_path)
    run = CliRunner()
    results = {
        name: run.invoke(app, ["report", str(folder), "--format", name])
        for name in ("html", "md", "json", "csv", "text")
    }
    assert {result.exit_code for result in results.values()} == {0}
    assert (folder / "report.html").is_file()
    assert results["md"].stdout.startswith("# benchgraft")
    assert json.loads(results["json"].stdout)["answer"] == summarise(invented.whole_folder(3)).answer
    rows = list(csv.DictReader(io.StringIO(results["csv"].stdout)))
    assert len(rows) == 2 + 3 * 3
    assert float(rows[0]["seconds"]) == pytest.approx(300)
    assert summarise(invented.whole_folder(3)).answer[0][:40] in results["text"].stdout


def test_half_width_says_how_many_runs_it_takes(tmp_path: Path) -> None:
    folder = folder_of(invented.whole_folder(5), tmp_path)
    result = CliRunner().invoke(app, ["report", str(folder), "--format", "md", "--half-width", "0.1"])
    assert re.search(r"of \+-0\.1 points it takes [\d,]+ runs of each arm", result.stdout)


def test_help_stays_free_of_drawing_and_training_libraries() -> None:
    code = (
        "import sys; from benchgraft.cli import app; "
        "print(sorted({'torch', 'matplotlib', 'jinja2', 'scipy', 'pandas'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_equal_records_make_equal_files(tmp_path: Path) -> None:
    records: list[Any] = invented.whole_folder(3)
    folder = folder_of(records, tmp_path)
    summary = reports.write(folder)
    first = (folder / "report.html").read_bytes()
    reports.write(folder)
    assert (folder / "report.html").read_bytes() == first
    assert any(isinstance(record, ImagesRecord) for record in records)
    assert reports.texts(folder, summary).keys() == set(REPORT_FILES)


def test_rerun_takes_another_folder_since_its_own_one_has_everything_done() -> None:
    assert summarise(invented.whole_folder(3)).provenance.rerun == (
        f"benchgraft reproduce --data data --out runs/{invented.whole_folder(3)[0].name}-again"
    )
    for words, again in (
        (["compare", "my photos", "--out", "run/"], "compare 'my photos' --out run-again"),
        (["reproduce", "--out=a b", "--runs", "3"], "reproduce --runs 3 --out 'a b-again'"),
        (["adapt", "p", "--out", "m", "--run-folder", "r"], "adapt p --out m --run-folder r-again"),
    ):
        records = invented.whole_folder(1)
        records[0] = records[0].model_copy(update={"command": ["benchgraft", *words]})
        assert summarise(records).provenance.rerun == f"benchgraft {again}"


def test_tables_of_sentences_can_be_stacked_on_a_phone_and_all_are_named(html: str) -> None:
    pattern = r'<div class="table( stacked)?" tabindex="0" role="region" aria-label="([^"]+)">'
    tables = re.findall(pattern, html)
    stacked = {name for mark, name in tables if mark}
    assert {"Its claims", "How sure: intervals and tests"} <= stacked
    assert not any(name.startswith("Table ") for name in stacked)
    assert 'data-column="by the paper&#39;s own figures"' in html


def test_network_figure_says_how_much_of_the_arithmetic_each_stage_freezes(html: str) -> None:
    caption = html[html.index('id="blocks_paper_cnn"') :]
    caption = caption[caption.index("<figcaption>") : caption.index("</figcaption>")]
    assert re.search(r"of the arithmetic: .*stage3 \d+", caption)
