"""Files that jobs take along: what arrives is what was sent, or nothing is there."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from benchgraft.cache import clear, entries
from benchgraft.errors import DataError, StorageError
from benchgraft.experiment.parcels import PIECE_BYTES, Parcel, Sender, Wanted, fetched, found, pack, unpack


def _write(folder: Path) -> Path:
    """Names of all kinds, some larger than a piece, one empty, and a link that nobody follows."""
    (folder / "red").mkdir(parents=True)
    (folder / "red" / "ä photo.png").write_bytes(b"one")
    (folder / "red" / ".labels").write_bytes(b"")
    (folder / "large.bin").write_bytes(bytes(range(256)) * (PIECE_BYTES // 256) + b"more")
    (folder / "link").symlink_to(folder / "large.bin")
    return folder


def _arrived(sent: Path, cache: Path) -> Path:
    """Where a folder or file lies in the cache of another machine that it was sent to."""
    wanted = Wanted.of(sent).read()
    assert wanted.digest is not None
    assert found(wanted, cache, in_place=False) is None
    unpack(Parcel(wanted.digest), cache, pack(sent))
    there = found(wanted, cache, in_place=False)
    assert there is not None
    return there


def _contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_a_folder_arrives_as_it_was_under_its_content(tmp_path):
    sent = _write(tmp_path / "photos")
    assert len(list(pack(sent))) > 1
    there = _arrived(sent, tmp_path / "cache")
    assert there.name == "photos"
    assert _contents(there) == _contents(sent)


def test_a_file_keeps_its_name(tmp_path):
    sent = tmp_path / "parent.safetensors"
    sent.write_bytes(b"weights")
    there = _arrived(sent, tmp_path / "cache")
    assert (there.name, there.read_bytes()) == ("parent.safetensors", b"weights")


def test_what_changed_on_its_way_is_refused_and_leaves_nothing(tmp_path):
    sent = _write(tmp_path / "photos")
    wanted = Wanted.of(sent).read()
    (sent / "red" / "ä photo.png").write_bytes(b"two")
    assert wanted.digest is not None
    with pytest.raises(DataError, match="has changed on its way"):
        unpack(Parcel(wanted.digest), tmp_path / "cache", pack(sent))
    assert list((tmp_path / "cache" / "parcels").iterdir()) == []


@pytest.mark.parametrize("name", ["../outside", "/tmp/outside"])
def test_a_tar_writes_nothing_outside_its_folder(tmp_path, name):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        member = tarfile.TarInfo(name)
        member.size = 1
        tar.addfile(member, io.BytesIO(b"x"))
    with pytest.raises(DataError, match="no file of a parcel"):
        unpack(Parcel("0" * 64), tmp_path / "cache", [stream.getvalue()])
    assert not (tmp_path / "cache" / "outside").exists()


def test_machines_that_share_a_folder_use_it_where_it_lies_unless_it_is_another(tmp_path):
    sent = _write(tmp_path / "photos")
    wanted = Wanted.of(sent)
    assert found(wanted, tmp_path / "cache", in_place=True) == sent
    (sent / "red" / "second.png").write_bytes(b"new")
    assert found(wanted, tmp_path / "cache", in_place=True) is None
    model = tmp_path / "model.safetensors"
    model.write_bytes(b"weights")
    known = Wanted.of(model)
    model.write_bytes(b"Weights")  # as long as before: a file is known by its content
    assert found(known, tmp_path / "cache", in_place=True) is None


def test_a_shared_place_gets_each_thing_once(tmp_path):
    sender = Sender(str(tmp_path / "shared"), bytes)
    wanted = sender.read(sender.wanted(_write(tmp_path / "photos")))
    parcel = sender.parcel(wanted)
    (tar,) = (tmp_path / "shared").iterdir()
    written = tar.stat().st_mtime_ns
    assert Sender(str(tmp_path / "shared"), bytes).parcel(wanted) == parcel  # another run's
    assert tar.stat().st_mtime_ns == written
    unpack(parcel, tmp_path / "cache", fetched(parcel))
    there = found(wanted, tmp_path / "cache", in_place=False)
    assert there is not None
    assert _contents(there) == _contents(tmp_path / "photos")


@pytest.mark.parametrize("address", ["nosuchprotocol://there", "/proc/nowhere"])
def test_an_address_that_cannot_be_used_is_named(tmp_path, address):
    sender = Sender(address, bytes)
    with pytest.raises(StorageError, match=address):
        sender.parcel(sender.read(sender.wanted(_write(tmp_path / "photos"))))


def test_parcels_are_entries_of_the_cache_and_go_with_it(tmp_path):
    sent = tmp_path / "parent.safetensors"
    sent.write_bytes(b"weights")
    wanted = Wanted.of(sent)
    assert wanted.digest is not None
    unpack(Parcel(wanted.digest), tmp_path / "cache", pack(sent))
    assert [(entry.kind, entry.key) for entry in entries(tmp_path / "cache")] == [("parcels", wanted.digest)]
    assert len(clear(tmp_path / "cache")) == 1
    assert found(wanted, tmp_path / "cache", in_place=False) is None


def test_files_that_are_one_by_a_hard_link_arrive_as_two(tmp_path):
    sent = tmp_path / "photos"
    sent.mkdir()
    (sent / "one.png").write_bytes(b"same")
    (sent / "two.png").hardlink_to(sent / "one.png")
    there = _arrived(sent, tmp_path / "cache")
    assert _contents(there) == {"one.png": b"same", "two.png": b"same"}


def test_a_photo_that_changes_while_it_is_sent_leaves_nothing_in_the_shared_place(tmp_path):
    sender = Sender(str(tmp_path / "shared"), bytes)
    wanted = sender.read(sender.wanted(_write(tmp_path / "photos")))
    (tmp_path / "photos" / "red" / "ä photo.png").write_bytes(b"two")
    with pytest.raises(DataError, match="has changed on its way"):
        sender.parcel(wanted)
    assert list((tmp_path / "shared").iterdir()) == []
