"""What a run was made with goes into its account."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import benchgraft
from benchgraft.runfolder.ledger import environment

ROOT = Path(benchgraft.__file__).resolve().parents[2]


def test_the_revision_is_that_of_the_checkout_and_says_where_it_was_changed():
    if not (ROOT / ".git").exists():
        pytest.skip("the package runs from no checkout: it has no revision")
    words = ["git", "-C", str(ROOT)]
    head = subprocess.run([*words, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout
    status = [*words, "status", "--porcelain", "--untracked-files=no"]
    is_changed = bool(subprocess.run(status, capture_output=True, text=True, check=True).stdout.strip())
    found = environment(1, "cpu").git_revision
    assert found is not None
    assert head.startswith(found.removesuffix("+")) and found.endswith("+") == is_changed
