"""Bring the table in docs/options.md up to date with the fields of `Options`: `python docs/render_options.py`."""

from pathlib import Path

from caesura.options import render_table

PAGE = Path(__file__).parent / "options.md"
MARK = "by render_table() -->\n\n"

head, mark, _ = PAGE.read_text().partition(MARK)
PAGE.write_text(head + mark + render_table())
