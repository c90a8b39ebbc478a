"""Write the files of this version of the format that every later version must read: `python -m tests.snapshots.golden`.

They are written once. A version of the format that has files is never written again.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from caesura.snapshots.compression import DEFLATE, ZSTD
from caesura.snapshots.container import VERSION
from caesura.snapshots.format import encode
from tests.snapshots.states import sample_with_initial, sample_with_initial_later

FOLDER: Final = Path(__file__).parent / "data"


def main() -> int:
    """Write the files of the current version, if there are none."""
    files = {
        FOLDER / f"version{VERSION}.caesura": encode(sample_with_initial(), codec=ZSTD),
        FOLDER / f"version{VERSION}-change.caesura": encode(
            sample_with_initial_later(), sample_with_initial(), codec=DEFLATE
        ),
    }
    FOLDER.mkdir(exist_ok=True)
    for file, data in files.items():
        if file.exists():
            print(f"{file.name} is there already")
            return 1
        file.write_bytes(data)
    return 0


if __name__ == "__main__":
    sys.exit(main())
