"""How many of 200 flipped bytes in a run folder `benchgraft verify` notices.

Each time one file of a copy of the folder is drawn, one byte in it, and another value for that byte; then the
folder is verified and the byte put back. Beside the count stands how many are noticed without digests.json,
by recomputation from the ledger and the model files alone.

    python benchmarks/byte_flips.py RUN_FOLDER [--flips 200] [--seed 0] [--json FILE]

Exit code 1 if a flip in a covered file is missed.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np

from benchgraft.errors import UserError
from benchgraft.runfolder.seal import FILE_NAME, UNCOVERED
from benchgraft.tasks.report import verify


def is_noticed(folder: Path) -> bool:
    """Whether verify fails, in words or with an error."""
    try:
        return bool(verify(folder).differences)
    except UserError:
        return True


def without_seal(folder: Path) -> bool:
    """Whether anything but the missing digests.json is noticed."""
    seal = folder / FILE_NAME
    hidden = folder.parent / FILE_NAME
    seal.rename(hidden)
    try:
        return any(FILE_NAME not in line for line in verify(folder).differences)
    except UserError:
        return True
    finally:
        hidden.rename(seal)


def main() -> None:
    """Flip, verify, put back; print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--flips", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the figures here too")
    options = parser.parse_args()
    generator = np.random.default_rng(options.seed)
    flips, noticed, alone = Counter[str](), Counter[str](), Counter[str]()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "run"
        shutil.copytree(options.folder, folder)
        if is_noticed(folder):
            sys.exit(f"{options.folder} does not verify as it is")
        files = sorted(path for path in folder.rglob("*") if path.is_file() and path.stat().st_size)
        for _ in range(options.flips):
            path = files[generator.integers(len(files))]
            kind = path.relative_to(folder).parts[0]
            whole = path.read_bytes()
            changed = bytearray(whole)
            place = int(generator.integers(len(whole)))
            changed[place] ^= int(generator.integers(1, 256))
            path.write_bytes(changed)
            flips[kind] += 1
            noticed[kind] += is_noticed(folder)
            alone[kind] += path.name != FILE_NAME and without_seal(folder)
            path.write_bytes(whole)
    print("| file | flips | noticed | noticed without digests.json |\n| --- | ---: | ---: | ---: |")
    for kind in sorted(flips):
        mark = " (not covered)" if f"{kind}/".startswith(UNCOVERED) or kind in UNCOVERED else ""
        print(f"| {kind}{mark} | {flips[kind]} | {noticed[kind]} | {alone[kind]} |")
    print(f"| all | {flips.total()} | {noticed.total()} | {alone.total()} |")
    if options.json:
        rows = [
            {"file": k, "flips": flips[k], "noticed": noticed[k], "alone": alone[k]} for k in sorted(flips)
        ]
        options.json.write_text(json.dumps({"seed": options.seed, "rows": rows}, indent=1) + "\n")
    missed = [k for k in flips if noticed[k] < flips[k] and k not in UNCOVERED]
    sys.exit(f"missed in {', '.join(missed)}" if missed else 0)


if __name__ == "__main__":
    main()
