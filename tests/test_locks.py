"""One process to a folder: the second is told so at once, and no end of the first leaves a lock behind."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchgraft.errors import RunFolderError
from benchgraft.files import LOCK, lock

HOLD = """
import sys, time
from pathlib import Path
from benchgraft.files import lock
with lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_second_process_is_told_at_once_and_a_killed_holder_holds_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE) as holder:
        try:
            assert holder.stdout is not None
            holder.stdout.readline()
            started = time.monotonic()
            with pytest.raises(RunFolderError, match=rf"another process is working in .*{holder.pid}"):
                lock(folder).__enter__()
            assert time.monotonic() - started < 2
        finally:
            holder.kill()
    with lock(folder):
        assert sorted(path.name for path in folder.iterdir()) == [LOCK]


def test_folder_held_by_this_process_is_refused_too_and_free_afterwards(tmp_path: Path) -> None:
    with lock(tmp_path), pytest.raises(RunFolderError):
        lock(tmp_path).__enter__()
    with lock(tmp_path):
        pass


def test_error_before_anything_was_put_there_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="early"), lock(tmp_path / "runs" / "one"):
        raise ValueError("early")
    assert list(tmp_path.iterdir()) == []


def test_error_after_something_was_put_there_leaves_it(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="late"), lock(tmp_path / "run"):
        (tmp_path / "run" / "ledger.jsonl").touch()
        raise ValueError("late")
    assert (tmp_path / "run" / "ledger.jsonl").exists()
