"""Pages with figures: tables, and the blocks between marks that scripts write anew."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path


def table(head: Sequence[str], rows: Iterable[Sequence[str]], texts: int = 1) -> str:
    """Return a Markdown table, of which so many columns at the left are text; the others are numbers."""
    lines = [head, ["---"] * texts + ["---:"] * (len(head) - texts), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def block(page: Path, mark: str) -> str:
    """Return what stands between the marks `<!-- mark: begin -->` and `<!-- mark: end -->`; raise ValueError."""
    return _around(page, mark)[1]


def put_into(page: Path, mark: str, text: str) -> None:
    """Replace what stands between two marks; raise ValueError."""
    before, _, behind = _around(page, mark)
    page.write_text(before + text + behind, encoding="utf-8")


def _around(page: Path, mark: str) -> tuple[str, str, str]:
    text = page.read_text(encoding="utf-8")
    begin, end = f"<!-- {mark}: begin -->\n", f"<!-- {mark}: end -->"
    if text.count(begin) != 1 or text.count(end) != 1:
        raise ValueError(f"{page.name} has no place for the figures: the marks for '{mark}' are missing")
    before, _, rest = text.partition(begin)
    inside, _, behind = rest.partition(end)
    return before + begin, inside, end + behind
