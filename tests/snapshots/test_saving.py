"""Saved states on disk: the old file or the new one, whole, whatever happens; and where fsspec leads."""

from __future__ import annotations

import os
import resource
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from caesura.errors import SnapshotError, UsageError
from caesura.snapshots.format import decode, encode
from caesura.snapshots.saving import load, save
from tests.snapshots.states import state_of
from tests.support.paths import REPOSITORY


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    data = encode(state_of(b"\1" * 9000))
    for place in (tmp_path / "path", str(tmp_path / "text"), f"file://{tmp_path}/url", "memory://folder/state"):
        save(place, b"before")
        save(place, data)
        assert load(place) == data
    assert decode(load(tmp_path / "url")) == state_of(b"\1" * 9000)
    assert sorted(os.listdir(tmp_path)) == ["path", "text", "url"]


def test_others_may_not_read_it_unless_they_might_before(tmp_path: Path) -> None:
    place = tmp_path / "state"
    save(place, b"secret")
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    place.chmod(0o640)
    save(place, b"another")
    assert stat.S_IMODE(place.stat().st_mode) == 0o640


def test_the_file_behind_a_link_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "state").write_bytes(b"old")
    (tmp_path / "link").symlink_to(tmp_path / "folder" / "state")
    save(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "folder" / "state").read_bytes() == b"new"
    (tmp_path / "dangling").symlink_to(tmp_path / "later")
    save(tmp_path / "dangling", b"first")
    assert (tmp_path / "later").read_bytes() == b"first"


def test_a_pipe_is_written_directly(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with subprocess.Popen(["cat", tmp_path / "pipe"], stdout=subprocess.PIPE) as reader:
        save(tmp_path / "pipe", b"state" * 5000)
        assert reader.communicate()[0] == b"state" * 5000
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_a_kill_leaves_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.snapshots.killing", str(tmp_path), "200"]
    done = subprocess.run(command, check=False, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    place = tmp_path / "state"
    save(place, b"old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))  # what is written beyond fails, as on a full disk
        with pytest.raises(UsageError, match=f"cannot write '{place}': File too large"):
            save(place, b"new" * 5000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert place.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["state"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has /dev/full, a disk that is always full")
def test_a_full_device_is_told() -> None:
    with pytest.raises(UsageError, match="cannot write '/dev/full': No space left on device"):
        save("/dev/full", b"state")


def test_what_cannot_be_written_or_read(tmp_path: Path) -> None:
    for place, message in (
        (tmp_path, "it is a folder"),
        (tmp_path / "none" / "state", "No such file or directory"),
        ("", "its name is empty"),
        ("a\0b", "embedded null"),
        ("unheardof://state", "fsspec cannot open 'unheardof://state'"),
        (f"file://{tmp_path}/none/state", "No such file or directory"),
    ):
        with pytest.raises(UsageError, match=message):
            save(place, b"state")
    for place in (
        tmp_path,
        tmp_path / "none",
        "",
        "unheardof://state",
        "memory://nothing/here",
        f"file://{tmp_path}/no",
    ):
        with pytest.raises(UsageError):
            load(place)


def test_files_without_an_end_are_not_read_for_ever(tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match="'/dev/zero' has more than the limit of 1000000 bytes"):
        load("/dev/zero", limit=1_000_000)
    save(tmp_path / "state", bytes(1000))
    assert load(tmp_path / "state", limit=1000) == bytes(1000)
    with pytest.raises(SnapshotError, match="more than the limit of 999 bytes"):
        load(tmp_path / "state", limit=999)


def test_fsspec_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec", None)
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    with pytest.raises(UsageError, match=r"'s3://bucket/state' needs fsspec: install caesura\[fleet\]"):
        save("s3://bucket/state", b"state")
