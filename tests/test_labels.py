"""Labels in a table: photos stay where they are, and every command takes them for what the table says."""

from __future__ import annotations

from pathlib import Path

import pytest
from photos import write_photos
from typer.testing import CliRunner

from benchgraft import adapt, compare, evaluate
from benchgraft.cli import app
from benchgraft.errors import DataError
from benchgraft.networks import model_file
from benchgraft.photos.readers import Source, guess_format, open_source
from benchgraft.photos.table import FILE, PROJECT, find_table, read_table
from benchgraft.runfolder.ledger import Ledger
from benchgraft.runfolder.records import ImagesRecord


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return write_photos(tmp_path / "photos", {"red": 12, "green": 12, "blue": 12})


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """Enough to train on."""
    return write_photos(tmp_path / "many", {"red": 40, "green": 40, "blue": 40})


def _write(folder: Path, text: str) -> Path:
    place = folder / PROJECT / FILE
    place.parent.mkdir(exist_ok=True)
    place.write_text(text)
    return place


def _opened(folder: Path, labels: Path | None = None) -> tuple[dict[str, str], Source]:
    source = open_source(guess_format(folder), folder, labels)
    return {sample.key: sample.class_name for sample in source.samples}, source


def test_the_table_of_the_folder_is_read_and_the_photos_stay(photos: Path) -> None:
    before = sorted(path.read_bytes() for path in photos.rglob("*.png"))
    _write(
        photos, "path,label\nred/0000.png,blue\ngreen/0001.png,\nblue/,navy\nblue/0002.png,sky\nno.png,x\n"
    )
    classes, source = _opened(photos)
    assert classes["red/0000.png"] == "blue"
    assert "green/0001.png" not in classes and len(classes) == 35
    assert classes["blue/0003.png"] == "navy" and classes["blue/0002.png"] == "sky"
    place = photos / PROJECT / FILE
    assert source.notes == [
        f"13 photos have by {place} another class than their folder",
        f"1 photo is taken out by {place}",
        f"{place} names 1 photo not there, such as no.png",
    ]
    assert sorted(path.read_bytes() for path in photos.rglob("*.png")) == before


def test_what_stands_below_mends_what_stands_above(photos: Path) -> None:
    _write(
        photos,
        "path,label,split,group\nred/0000.png,a,test,one\nred/,b,,\nred/0001.png,c,train,two\n"
        "red/0001.png,d,,\ngreen/0000.png,,,\ngreen/0000.png,green,,\n",
    )
    classes, source = _opened(photos)
    assert (classes["red/0000.png"], classes["red/0001.png"]) == ("b", "d")
    assert classes["green/0000.png"] == "green"
    given = {sample.key: sample.given for sample in source.samples}
    assert (given["red/0000.png"], given["red/0001.png"], given["red/0002.png"]) == ("test", "train", None)
    assert source.groups == {"red/0000.png": "one", "red/0001.png": "two"}


def test_another_table_is_another_data_set_and_the_same_one_is_the_same(photos: Path) -> None:
    plain = _opened(photos)[1].signature
    _write(photos, "path,label\nred/0000.png,blue\n")
    mended = _opened(photos)[1].signature
    _write(photos, "path,label\nred/0000.png,green\n")
    assert len({plain, mended, _opened(photos)[1].signature}) == 3
    _write(photos, "path,label\nred/0000.png,blue\n")
    assert _opened(photos)[1].signature == mended


def test_a_folder_without_class_folders_is_read_by_a_table(many: Path, tmp_path: Path) -> None:
    flat = tmp_path / "flat"
    flat.mkdir()
    rows = ["path,label,split"]
    for name in ("red", "green"):
        for number in range(40):
            path = flat / f"{name}{number}.png"
            path.write_bytes((many / name / f"{number:04}.png").read_bytes())
            rows.append(f"{path.name},{name},{'test' if number < 10 else ''}")
    table = tmp_path / "table.csv"
    table.write_text("\n".join(rows[:-1]) + "\n")
    classes, source = _opened(flat, table)
    assert len(classes) == 79 and classes["red0.png"] == "red"
    assert source.notes == ["1 image outside class folders ignored, such as green39.png"]
    options = {"cache": tmp_path / "cache", "parent": "paper", "labels": table}
    made = adapt(flat, tmp_path / "m.safetensors", run_folder=tmp_path / "run", **options)
    assert [entry.name for entry in made.classes] == ["green", "red"]
    [images] = Ledger(tmp_path / "run").of_kind(ImagesRecord)
    assert {f"{name}{number}.png" for name in ("red", "green") for number in range(10)} <= set(
        images.test.keys
    )


def test_photos_of_one_group_are_on_one_side_and_the_interval_knows(many: Path, tmp_path: Path) -> None:
    keys = list(_opened(many)[0])
    lines = [f"{key},{key.split('/')[0]},,object {number // 3}" for number, key in enumerate(keys)]
    _write(many, "\n".join(["path,label,split,group", *lines]))
    options = {"cache": tmp_path / "cache", "parent": "paper"}
    made = adapt(many, tmp_path / "m.safetensors", run_folder=tmp_path / "run", **options)
    [images] = Ledger(tmp_path / "run").of_kind(ImagesRecord)
    numbers = sorted(keys.index(key) for key in images.test.keys)
    assert len(numbers) % 3 == 0 and all(number // 3 in {n // 3 for n in numbers} for number in numbers)
    assert "source classes" in made.accuracy.method


def test_mended_labels_reach_a_model_that_is_updated_and_its_judge(many: Path, tmp_path: Path) -> None:
    options = {"cache": tmp_path / "cache"}
    model = tmp_path / "m.safetensors"
    adapt(many, model, parent="paper", run_folder=tmp_path / "one", **options)
    _write(many, "path,label\nblue/,\n")
    adapt(many, model, update=model, run_folder=tmp_path / "two", **options)
    assert model_file.read_card(model).class_names == ["green", "red"]
    judged = evaluate(model, many, include_trained=True, **options)
    assert judged.photos == 80
    _write(many, "path,label\nblue/,red\n")
    assert evaluate(model, many, include_trained=True, **options).photos == 120


def test_both_arms_of_a_comparison_have_the_labels_of_the_table(many: Path, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("path,label\nblue/,\n")
    found = compare(
        many, parent="paper", runs=1, labels=table, cache=tmp_path / "cache", run_folder=tmp_path / "run"
    )
    records = Ledger(tmp_path / "run").of_kind(ImagesRecord)
    assert {tuple(record.class_names) for record in records} == {("green", "red")}
    command = found.summary.command
    assert command[command.index("--labels") + 1] == str(table)


def test_data_check_reads_it_too(photos: Path, tmp_path: Path) -> None:
    _write(photos, "path,label\nblue/,\n")
    told = CliRunner().invoke(app, ["data", "check", str(photos), "--cache-dir", str(tmp_path / "cache")])
    assert told.exit_code == 0 and "12 photos are taken out by" in told.output
    assert PROJECT not in told.output.replace(str(photos / PROJECT), "")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "the first line of .* is empty"),
        ("file,class\na,b\n", "the first line of .* is file,class"),
        ("path,path,label\n", "the first line of"),
        ("path,label\na,b,c\n", "line 2: 3 cells, but 2 columns"),
        ("path,label\n/etc/passwd,b\n", 'line 2: "/etc/passwd" is no path below'),
        ("path,label\nred/../../a,b\n", "is no path below"),
        ("path,label\n,b\n", 'line 2: "" is no path below'),
        ("path,label,split\n\nred/0000.png,b,tset\n", 'line 3: split "tset" is unknown'),
        ('path,label\n"a,b\n', "is no CSV file"),
        (
            "path,label\n" + "".join(f"{name}/,\n" for name in ("red", "green", "blue")),
            "takes all 36 photos out",
        ),
    ],
)
def test_a_table_that_cannot_be_is_one_error(photos: Path, text: str, told: str) -> None:
    _write(photos, text)
    with pytest.raises(DataError, match=told):
        _opened(photos)


def test_tables_of_spreadsheets_are_read(photos: Path) -> None:
    place = photos / PROJECT / FILE
    place.parent.mkdir()
    place.write_bytes('\ufeffPath,Label\r\nred\\0000.png," Größe, M "\r\n'.encode())
    classes, _ = _opened(photos)
    assert classes["red/0000.png"] == "Größe, M"
    place.write_bytes(b"path,label\nred/0000.png,\xff\n")
    with pytest.raises(DataError, match="it is no UTF-8 text"):
        _opened(photos)
    assert find_table(photos) == place
    with pytest.raises(DataError, match="cannot read the labels"):
        read_table(photos / "none.csv")
