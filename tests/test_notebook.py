"""The public names, and the notebook that repeats the paper's tables from a run folder."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import invented
import pytest

import benchgraft
from benchgraft.errors import RunFolderError
from benchgraft.runfolder.ledger import Ledger

NOTEBOOK = Path(__file__).resolve().parents[1] / "examples" / "paper_tables.ipynb"
pandas = pytest.importorskip("pandas", reason="pandas is not installed: pip install 'benchgraft[notebook]'")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    ledger = Ledger(tmp_path / "run")
    for record in invented.whole_folder(3):
        ledger.append(record)
    return tmp_path / "run"


def test_load_runs_is_public_and_is_found_on_first_use() -> None:
    assert "load_runs" in benchgraft.__all__
    assert callable(benchgraft.load_runs)
    with pytest.raises(AttributeError):
        benchgraft.no_such_name  # noqa: B018
    code = "import sys, benchgraft; print(sorted({'torch', 'pandas', 'numpy'} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_tables_are_tidy(folder: Path) -> None:
    runs, epochs, answers = benchgraft.load_runs(folder)
    assert len(runs) == 2 + 3 * 3
    means = runs.groupby(["arm", "variant"]).seconds.mean()
    assert means["transfer", "cold"] < means["scratch", "pixels"]
    phases = [name for name in runs.columns if name.startswith("seconds_")]
    assert runs[phases].sum(axis=1).to_numpy() == pytest.approx(runs.seconds.to_numpy())
    assert len(epochs) == runs.epochs.sum()
    by_answers = answers.groupby(["stage", "seed", "variant"]).is_right.mean()
    by_runs = runs.set_index(["stage", "seed", "variant"]).accuracy
    assert by_answers.sort_index().to_numpy() == pytest.approx(by_runs.sort_index().to_numpy())


def test_a_folder_without_runs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match=r"holds no ledger\.jsonl"):
        benchgraft.load_runs(tmp_path)


def test_notebook_runs_from_top_to_bottom(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    monkeypatch.setenv("BENCHGRAFT_RUNS", str(folder))
    cells = json.loads(NOTEBOOK.read_text("utf-8"))["cells"]
    names: dict[str, Any] = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), f"{NOTEBOOK.name}:{cell['id']}", "exec"), names)
    assert list(names["table_2"]["paper"]["minutes"])[:2] == [117, 104]
    assert names["table_2"]["here"]["seconds"].count() == 3
    assert names["exact_break_even"] == pytest.approx(330 / (names["scratch"] - names["cold"]))
    assert names["confusion"].to_numpy().sum() == pytest.approx(244)


def test_notebook_is_stored_without_outputs() -> None:
    cells = json.loads(NOTEBOOK.read_text("utf-8"))["cells"]
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)
