"""The cache is listed, cleared and kept to its limit, and never loses what a process uses."""

from __future__ import annotations

import errno
import gc
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from photos import write_photos
from typer.testing import CliRunner

from benchgraft import adapt
from benchgraft.cache import GB, LIMIT_VARIABLE, clear, entries, hold, limit_bytes, make_room
from benchgraft.cli import app
from benchgraft.errors import ConfigError, StorageError, UserError
from benchgraft.photos.readers import open_source
from benchgraft.store.store import open_store

DAY = 86_400
HOLDER = """
import sys, time, numpy
from pathlib import Path
from benchgraft.cache import hold
array = numpy.zeros(1)
hold(Path(sys.argv[1]), array)
print("held", flush=True)
time.sleep(60)
"""


def _entry(cache: Path, kind: str, number: int, days: float, images: int = 3) -> Path:
    """A made-up entry last used so many days ago."""
    folder = cache / kind / ("f" * 64 if kind == "features" else "") / f"{number:064x}"
    folder.mkdir(parents=True)
    np.save(folder / ("ids.npy" if kind == "features" else "labels.npy"), np.zeros(images))
    marker = folder / ("features.json" if kind == "features" else "store.json")
    marker.write_text(" " * 10_000)
    os.utime(marker, (time.time() - days * DAY,) * 2)
    return folder


def _left(cache: Path) -> list[Path]:
    return [entry.folder for entry in entries(cache)]


def test_entries_are_listed_longest_unused_first_with_images_and_bytes(tmp_path):
    new = _entry(tmp_path, "stores", 1, 1)
    old = _entry(tmp_path, "features", 2, 5, images=7)
    (tmp_path / "stores" / "seen").mkdir()
    first, second = entries(tmp_path)
    assert (first.folder, first.kind, first.images) == (old, "features", 7)
    assert (second.folder, second.kind, second.images) == (new, "stores", 3)
    assert second.bytes == sum(path.stat().st_size for path in new.iterdir())


def test_the_limit_removes_longest_unused_entries_only_until_it_fits(tmp_path, caplog):
    folders = [_entry(tmp_path, "stores", number, days=9 - number) for number in range(4)]
    size = entries(tmp_path)[0].bytes
    make_room(tmp_path, 2 * size)
    make_room(tmp_path, 2 * size)
    assert _left(tmp_path) == folders[2:]
    (line,) = caplog.messages
    assert folders[0].name[:12] in line


def test_the_limit_spares_what_was_just_made(tmp_path):
    old, new = _entry(tmp_path, "stores", 1, days=1), _entry(tmp_path, "features", 2, days=0)
    make_room(tmp_path, 0)
    assert _left(tmp_path) == [new]
    assert not old.exists()


def test_what_this_process_has_mapped_is_never_removed_and_counts_as_used_now(tmp_path):
    held, other = _entry(tmp_path, "stores", 1, 9), _entry(tmp_path, "features", 2, 5)
    array = np.zeros(1)
    hold(held, array)
    assert _left(tmp_path) == [other, held]
    make_room(tmp_path, 0)
    assert _left(tmp_path) == [held]
    del array
    gc.collect()
    os.utime(held / "store.json", (0, 0))
    make_room(tmp_path, 0)
    assert _left(tmp_path) == []
    assert not other.parent.exists()


def test_what_another_process_has_mapped_is_not_cleared_until_it_ends(tmp_path):
    folder = _entry(tmp_path, "stores", 1, 9)
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(folder)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert clear(tmp_path) == []
        process.kill()
        process.wait()
    assert [entry.folder for entry in clear(tmp_path)] == [folder]


def test_opening_a_store_marks_it_used_and_a_removed_one_is_built_again(tmp_path, synthetic_data):
    source = open_source("cifar100", synthetic_data / "cifar-100-binary")
    key = open_store(source, tmp_path).key
    gc.collect()
    marker = tmp_path / "stores" / key / "store.json"
    os.utime(marker, (0, 0))
    store = open_store(source, tmp_path)
    assert marker.stat().st_mtime > time.time() - 60
    assert clear(tmp_path) == []
    del store
    gc.collect()
    assert len(clear(tmp_path)) == 1
    assert open_store(source, tmp_path).key == key


def test_a_command_that_makes_a_store_says_in_one_line_on_stderr_what_it_pushed_out(tmp_path):
    photos = write_photos(tmp_path / "photos", {"red": 30, "green": 30})
    made = adapt(
        photos, tmp_path / "m", cache=tmp_path / "other", run_folder=tmp_path / "run", parent="paper"
    )
    old = _entry(tmp_path / "cache", "features", 1, 9)
    command = ["evaluate", str(made.model), str(photos), "--include-trained", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "benchgraft", *command, "--cache-dir", str(tmp_path / "cache")],
        env=os.environ | {LIMIT_VARIABLE: "0"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout)["photos"] == 60
    (line,) = done.stderr.splitlines()
    assert line.startswith("note: ")
    assert old.name[:12] in line
    (store,) = entries(tmp_path / "cache")
    assert store.kind == "stores"


def test_an_entry_that_may_not_be_removed_does_not_end_the_run_but_a_clear(tmp_path, monkeypatch):
    folder = _entry(tmp_path, "stores", 1, 9)

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "rename", refuse)
    make_room(tmp_path, 0)
    with pytest.raises(StorageError, match="Permission denied") as caught:
        clear(tmp_path)
    assert "--cache-dir" in str(caught.value)
    assert _left(tmp_path) == [folder]


def test_a_wrong_limit_is_told_before_anything_is_built(tmp_path, synthetic_data, monkeypatch):
    monkeypatch.setenv(LIMIT_VARIABLE, "much")
    with pytest.raises(ConfigError, match=LIMIT_VARIABLE):
        open_store(open_source("cifar100", synthetic_data / "cifar-100-binary"), tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_the_limit_comes_from_the_environment(monkeypatch):
    monkeypatch.delenv(LIMIT_VARIABLE, raising=False)
    assert limit_bytes() == 20 * GB
    monkeypatch.setenv(LIMIT_VARIABLE, "0.5")
    assert limit_bytes() == GB // 2
    for wrong in ("much", "-1", "nan", "inf"):
        monkeypatch.setenv(LIMIT_VARIABLE, wrong)
        with pytest.raises(ConfigError, match=LIMIT_VARIABLE):
            limit_bytes()


def _run(cache: Path, *words: str) -> str:
    result = CliRunner().invoke(app, ["cache", *words, "--cache-dir", str(cache)])
    assert result.exit_code == 0, result.output
    return result.output


def test_the_commands_list_and_clear_by_age(tmp_path):
    old, new = _entry(tmp_path, "features", 1, 40), _entry(tmp_path, "stores", 2, 2)
    assert "2 entries" in _run(tmp_path, "list")
    listed = json.loads(_run(tmp_path, "list", "--json"))
    assert [entry["folder"] for entry in listed["entries"]] == [str(old), str(new)]
    assert listed["bytes"] == sum(entry["bytes"] for entry in listed["entries"])
    freed = f"{listed['entries'][0]['bytes']:,} bytes freed"
    assert freed in _run(tmp_path, "clear", "--older-than", "30d")
    assert _left(tmp_path) == [new]
    assert "removed 1 entries" in _run(tmp_path, "clear")
    assert "0 entries" in _run(tmp_path / "nowhere", "list")


def test_what_lies_beside_entries_is_told_and_left(tmp_path):
    _entry(tmp_path, "stores", 1, 1)
    (tmp_path / "parents").mkdir()
    (tmp_path / "parents" / "one.safetensors").write_bytes(bytes(2_500_000))
    told = CliRunner().invoke(app, ["cache", "list", "--cache-dir", str(tmp_path)]).output
    assert told.splitlines()[-1] == "beside them, not cleared: parents/ 2.5 MB"
    assert CliRunner().invoke(app, ["cache", "clear", "--cache-dir", str(tmp_path)]).exit_code == 0
    assert (tmp_path / "parents" / "one.safetensors").exists()


@pytest.mark.parametrize("days", ["-1", "nan", "30h"])
def test_an_age_that_is_no_number_of_days_is_refused(tmp_path, days):
    folder = _entry(tmp_path, "stores", 1, 40)
    result = CliRunner().invoke(app, ["cache", "clear", "--older-than", days, "--cache-dir", str(tmp_path)])
    assert isinstance(result.exception, UserError)
    assert "30d" in str(result.exception)
    assert _left(tmp_path) == [folder]


def test_help_says_how_an_age_is_written():
    assert "30d" in CliRunner().invoke(app, ["cache", "clear", "--help"]).output
