"""What all drawings have in common: a colour for each build, and that the same figures give the same bytes.

Shades of blue are caesura, shades of brown Binaryen; both can be read on light and dark pages. Text stays text.
"""

from __future__ import annotations

from typing import Any, Final

GREY: Final = "#808080"
COLOURS: Final = {
    "original": GREY,
    "size": "#7fb3c6",
    "balanced": "#2f7d9a",
    "speed": "#1d4e89",
    "Binaryen -O1": "#9a6a2f",
    "Binaryen -O3": "#d0a060",
}
STYLE: Final[dict[Any, Any]] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "caesura",
    "font.family": "sans-serif",
    "font.size": 9,
}
