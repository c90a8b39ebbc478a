"""The results as a drawing: for each program what both tools add to its code, and what that costs.

Plain SVG, in colours that can be read on light and dark pages; a library for plots is no dependency of two bar charts.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

_WIDTH = 760
_LEFT = 90
_BAR = 16
_LONGEST = 420
_COLOURS = {"Binaryen": "#9a6a2f", "caesura": "#2f7d9a", "caesura, interpreted": "#7fb3c6"}
_STYLE = 'font-family="system-ui, sans-serif" font-size="13" fill="#808080"'

# A bar's tool, its length as a number, and what is written behind it.
Bar = tuple[str, float, str]


def write_plot(path: Path, facts: dict[str, Any]) -> None:
    """Write the drawing."""
    added = {program["name"]: _added(program) for program in facts["programs"]}
    seconds = {program["name"]: _seconds(program) for program in facts["programs"]}
    body, height = _chart("Code added", added, 0)
    more, height = _chart("CPU time of the transformation", seconds, height)
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" '
        f'viewBox="0 0 {_WIDTH} {height}">\n<g {_STYLE}>\n{body}{more}</g>\n</svg>\n'
    )


def _added(program: dict[str, Any]) -> list[Bar]:
    original = program["original"]
    shares = {"Binaryen": program["binaryen"] / original - 1, "caesura": program["caesura"] / original - 1}
    return [(tool, share, f"{share:+.0%}") for tool, share in shares.items()]


def _seconds(program: dict[str, Any]) -> list[Bar]:
    tools = {"native": "Binaryen", "compiled": "caesura", "interpreted": "caesura, interpreted"}
    costs = program["costs"]
    return [
        (tool, costs[key]["seconds"], f"{costs[key]['seconds']:.2f} s") for key, tool in tools.items() if key in costs
    ]


def _chart(title: str, groups: dict[str, list[Bar]], top: int) -> tuple[str, int]:
    """Return a chart that starts at a height, and the height where it ends; each group has a scale of its own."""
    y = top + 24
    lines = [f'<text x="0" y="{y}" font-weight="bold">{escape(title)}</text>']
    y += 14
    for name, bars in groups.items():
        longest = max((length for _, length, _ in bars), default=0) or 1
        lines.append(f'<text x="{_LEFT - 10}" y="{y + 13}" text-anchor="end">{escape(name)}</text>')
        for tool, length, label in bars:
            width = max(1, round(_LONGEST * length / longest))
            lines.append(f'<rect x="{_LEFT}" y="{y}" width="{width}" height="{_BAR}" fill="{_COLOURS[tool]}"/>')
            lines.append(f'<text x="{_LEFT + width + 8}" y="{y + 13}">{escape(f"{label}  {tool}")}</text>')
            y += _BAR + 3
        y += 9
    return "\n".join(lines) + "\n", y
