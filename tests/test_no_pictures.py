"""No picture of a data set is in the repository or in the wheel; drawings are."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from benchgraft.photos.scan import SUFFIXES

ROOT = Path(__file__).resolve().parents[1]
SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"II*\0", b"MM\0*", b"BM", b"\0\0\1\0", b"P5", b"P6")
INSIDE = re.compile(rb"data:image/[a-z+]+;base64,[A-Za-z0-9+/]{16}|<image\b|\"image/(png|jpeg)\"\s*:")
"""A picture inside a drawing, a page or a notebook."""


OF_THE_PAGE = "docs/page.png"
"""The page at work, on discs that scripts/page_picture.py draws."""


def _tracked() -> list[Path]:
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if done.returncode:
        pytest.skip("no git checkout: only src/ is looked at")
    return [ROOT / name for name in done.stdout.decode().split("\0") if name and (ROOT / name).is_file()]


def _packaged() -> list[Path]:
    """All that could get into the wheel."""
    return [path for path in (ROOT / "src").rglob("*") if path.is_file() and path.suffix != ".pyc"]


def _pictures(paths: list[Path]) -> list[str]:
    found = []
    for path in paths:
        content = path.read_bytes()
        is_riff = content[:4] == b"RIFF" and content[8:12] == b"WEBP"
        is_heif = content[4:8] == b"ftyp"
        by_name = path.name.lower().endswith((*SUFFIXES, ".heic", ".heif", ".avif", ".ico"))
        is_text = path.suffix in (".py", ".jinja")  # may speak of such things
        if by_name or is_riff or is_heif or content.startswith(SIGNATURES):
            found.append(str(path.relative_to(ROOT)))
        elif not is_text and INSIDE.search(content):
            found.append(f"{path.relative_to(ROOT)} (inside it)")
    return found


def test_the_wheel_holds_no_picture() -> None:
    paths = _packaged()
    assert any(path.suffix == ".safetensors" for path in paths)
    assert _pictures(paths) == []


def test_the_repository_holds_no_picture() -> None:
    paths = _tracked()
    assert len(paths) > 100
    assert set(_pictures(paths)) <= {OF_THE_PAGE}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jpg", b""),
        ("a.bin", b"\xff\xd8\xff\xe0"),
        ("a.bin", b"RIFF\0\0\0\0WEBPVP8 "),
        ("a.svg", b'<svg><image href="x"/></svg>'),
        ("a.html", b'<img src="data:image/jpeg;base64,/9j/4AAQSkZJRgABAQAAAQ">'),
        ("a.ipynb", b'{"data": {"image/png": "iVBORw0KGgo"}}'),
    ],
)
def test_a_picture_would_be_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: bytes
) -> None:
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    (tmp_path / name).write_bytes(content)
    assert len(_pictures([tmp_path / name])) == 1
