"""Put the files of `caesura/record` together to the one that the Python package has. `python docs/render_record.py`.

Node loads that file into any program, so it cannot depend on where the package for JavaScript lies, and it is called
`.mjs` since no package.json beside it says what it is. The modules' names are distinct, so putting them together is
leaving out what they import of each other.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).resolve().parents[1]
SOURCES: Final = REPOSITORY / "js" / "src"
# In the order of their imports.
PARTS: Final = (
    "abi",
    "sections",
    "added",
    "printable",
    "trace",
    "record_examples",
    "record_lines",
    "record_labels",
    "record_stacks",
    "record_builds",
    "record_refusals",
    "record_around",
    "record_instances",
    "record_hooks",
    "record_realms",
    "record",
)
HOOK: Final = REPOSITORY / "src" / "caesura" / "recording" / "record.mjs"
ABOUT: Final = """// `caesura/record` as one file, which `caesura record` has Node load before a program.
// Rendered from js/src by docs/render_record.py.

"""


def render() -> str:
    """Return the file."""
    return ABOUT + "\n".join(_part(name) for name in PARTS)


def _part(name: str) -> str:
    source = (SOURCES / f"{name}.js").read_text(encoding="utf-8")
    source = re.sub(r"^import [^;]*;\n", "", source, flags=re.MULTILINE)
    if name == PARTS[-1]:
        return source
    return re.sub(r"^export ", "", source, flags=re.MULTILINE)


if __name__ == "__main__":
    HOOK.parent.mkdir(exist_ok=True)
    HOOK.write_text(render(), encoding="utf-8")
