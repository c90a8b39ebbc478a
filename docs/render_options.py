"""Bring the table in docs/options.md up to date with the fields of `Options`: `python docs/render_options.py`."""

import sys
from pathlib import Path

if __name__ == "__main__":  # the source beside this page, not a package that is installed
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from caesura.options import render_table

PAGE = Path(__file__).parent / "options.md"
MARK = "by render_table() -->\n\n"

head, mark, _ = PAGE.read_text().partition(MARK)
PAGE.write_text(head + mark + render_table())
