"""Files of older versions are read for ever; of versions that are not known, they are refused by name."""

from __future__ import annotations

import pytest

from caesura.errors import SnapshotError
from caesura.snapshots.container import VERSION
from caesura.snapshots.format import decode
from tests.snapshots.golden import FOLDER
from tests.snapshots.states import sample, sample_later, sample_with_initial, sample_with_initial_later

_VERSIONS = {1: (sample(), sample_later()), 2: (sample_with_initial(), sample_with_initial_later())}


def test_each_version_has_its_files() -> None:
    assert max(_VERSIONS) == VERSION
    assert {file.name for file in FOLDER.iterdir()} == {
        name for version in _VERSIONS for name in (f"version{version}.caesura", f"version{version}-change.caesura")
    }


@pytest.mark.parametrize("version", _VERSIONS)
def test_files_of_every_version_are_read(version: int) -> None:
    first, later = _VERSIONS[version]
    assert decode((FOLDER / f"version{version}.caesura").read_bytes()) == first
    assert decode((FOLDER / f"version{version}-change.caesura").read_bytes(), first) == later


@pytest.mark.parametrize("version", [0, VERSION + 1, 0xFFFF_FFFF])
def test_an_unknown_version_is_refused_by_name(version: int) -> None:
    data = bytearray((FOLDER / f"version{VERSION}.caesura").read_bytes())
    data[8:12] = version.to_bytes(4, "little")
    with pytest.raises(SnapshotError, match=f"is of version {version} of the format; .* the versions 1 and {VERSION}"):
        decode(bytes(data))


def test_an_old_version_has_no_newer_fields() -> None:
    data = bytearray((FOLDER / f"version{VERSION}.caesura").read_bytes())
    data[8] = 1
    with pytest.raises(SnapshotError, match="version 1 has no such field"):
        decode(bytes(data))
