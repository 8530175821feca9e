"""Put the measured tables and figures of the studies into docs/findings.md.

    python scripts/findings.py RUNS        RUNS/NAME: a run folder of `benchgraft reproduce NAME --data DIR`

What stands between `<!-- NAME -->` and `<!-- end -->` is replaced by the study's figure, table, command,
machine and date, where RUNS has that study; the words around it are written by hand and have to be read
again, for which the lines that differ are printed. The guide comes from the package (report/guide.toml),
since `compare` quotes it.
"""

from __future__ import annotations

import difflib
import re
import sys
import textwrap
from pathlib import Path

from readme_picture import on_white

from benchgraft.files import write_whole
from benchgraft.report import figures_study
from benchgraft.report.blocks import markdown
from benchgraft.report.headline import guide
from benchgraft.report.measured import study_blocks
from benchgraft.runfolder.ledger import read
from benchgraft.runfolder.records import RunRecord
from benchgraft.tasks.report import summarise

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGE = DOCS / "findings.md"


def measured(folder: Path, name: str) -> str:
    """The block of one study; its figure is written beside."""
    records = read(folder)
    summary = summarise(records)
    assert summary.study is not None, f"{folder} holds no study"
    picture = figures_study.study(summary.study)
    (DOCS / "findings").mkdir(exist_ok=True)
    write_whole(DOCS / "findings" / f"{name}.svg", on_white(picture) + "\n")
    runs = [record for record in records if isinstance(record, RunRecord) and record.given is None]
    minutes = sum(run.total_seconds for run in runs) / 60
    here = runs[-1].environment
    tables = markdown(study_blocks(summary.study)[1:])
    return (
        f"![{picture.title}](findings/{name}.svg)\n\n{tables}\n\n"
        f"`benchgraft reproduce {name} --data DIR`: {minutes:.1f} min of runs on {here.cpu}, "
        f"{here.threads} threads, torch {here.versions['torch']}, {summary.started[:10]}"
        f"{f', revision {here.git_revision}' if here.git_revision else ''}."
    )


def guide_lines() -> str:
    """The decision guide as a numbered list."""
    return "\n".join(
        textwrap.fill(f"{number}. {line.text}", 116, subsequent_indent="   ", break_on_hyphens=False)
        for number, line in enumerate(guide(), start=1)
    )


def main() -> None:
    """Fill every block for which there is a run folder, and the guide."""
    runs = Path(sys.argv[1])
    before = text = PAGE.read_text()
    for name in re.findall(r"<!-- ([\w-]+) -->\n", text):
        has_runs = (runs / name / "ledger.jsonl").exists()
        if name == "guide" or (has_runs and name != "end"):
            content = guide_lines() if name == "guide" else measured(runs / name, name)
            block = f"<!-- {name} -->\n{content}\n<!-- end -->"
            pattern = rf"<!-- {name} -->\n.*?<!-- end -->"
            text = re.sub(pattern, lambda _found, block=block: block, text, flags=re.DOTALL)
    write_whole(PAGE, text)
    print("\n".join(difflib.unified_diff(before.splitlines(), text.splitlines(), n=0, lineterm="")))


if __name__ == "__main__":
    main()
