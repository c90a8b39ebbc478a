"""Where a process notes what it sees of suspensions: the file that CAESURA_RECORD names.

A relative name is from where the process is when it imports the package. It may go elsewhere before it loads its first
guest, and may start processes and threads there; so what is in the environment is made absolute at once. To take the
name from where the first guest is loaded was rejected, since nobody who sets the variable knows where that is.
"""

from __future__ import annotations

import os
from typing import Final

RECORD_VARIABLE: Final = "CAESURA_RECORD"


def _folder() -> str:
    """Return where the process is, if it is anywhere."""
    try:
        return os.getcwd()
    except OSError:
        return ""


_BEGINNING: Final = _folder()


def recording_path() -> str | None:
    """Return the file that is to be appended to; None where nobody asks for a recording."""
    path = os.environ.get(RECORD_VARIABLE)
    return os.path.join(_BEGINNING, path) if path else None


def fix_recording_path() -> None:
    """Make the file's name in the environment absolute, if there is one."""
    path = recording_path()
    if path is not None and path != os.environ[RECORD_VARIABLE]:
        os.environ[RECORD_VARIABLE] = path
