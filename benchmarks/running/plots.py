"""What was measured, as drawings: overheads, suspensions by depth, and what engines pay.

SVG by matplotlib, on the page's own ground.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.drawing import COLOURS, GREY, STYLE
from benchmarks.running.builds import ORIGINAL, VARIANTS

_STYLE: Final[dict[Any, Any]] = {
    **STYLE,
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), GREY),
}
_OTHERS: Final = [variant.name for variant in VARIANTS if variant is not ORIGINAL]


def write_plots(facts: dict[str, Any], folder: Path) -> list[Path]:
    """Write a drawing for each group of figures that was measured; return the files."""
    written = []
    with mpl.rc_context(_STYLE):
        for name, key, draw in (
            ("running.svg", "run_time", _draw_run_time),
            ("suspending.svg", "suspending", _draw_suspending),
            ("recursion.svg", "recursion", _draw_recursion),
        ):
            if facts.get(key):
                figure = draw(facts[key])
                path = folder / name
                figure.savefig(path, format="svg", transparent=True, bbox_inches="tight", metadata={"Date": None})
                written.append(path)
    return written


def _draw_run_time(results: Sequence[dict[str, Any]]) -> Figure:
    figure = Figure(figsize=(9, 3.5))
    axes = figure.subplots()
    names = [name for name in _OTHERS if any(name in one["mean"] for one in results)]
    width = 0.8 / len(names)
    for place, name in enumerate(names):
        groups = [(group, one["mean"][name]) for group, one in enumerate(results) if name in one["mean"]]
        axes.bar(
            [group + (place - (len(names) - 1) / 2) * width for group, _ in groups],
            [median for _, (median, _, _) in groups],
            width * 0.9,
            yerr=[
                [median - least for _, (median, least, _) in groups],
                [greatest - median for _, (median, _, greatest) in groups],
            ],
            color=COLOURS[name],
            ecolor=GREY,
            label=name,
        )
    axes.axhline(1, color=GREY, linewidth=0.8)
    axes.set_xticks(
        range(len(results)), ["\n".join([*one["program"].split(), one["engine"]]) for one in results], fontsize=7
    )
    axes.set_ylabel("time / original's time")
    _clear(axes)
    _add_legend(figure, axes)
    return figure


def _draw_suspending(results: Sequence[dict[str, Any]]) -> Figure:
    figure = Figure(figsize=(9, 3))
    for axes, one in zip(figure.subplots(1, len(results), sharey=True, squeeze=False)[0], results, strict=True):
        for name, parts in one["microseconds"].items():
            for frames, line in (("small", "-"), ("large", "--")):
                points = [(int(part.split()[1]), cost[0]) for part, cost in parts.items() if part.startswith(frames)]
                depths, costs = zip(*points, strict=True)
                axes.plot(depths, costs, line, marker="o", markersize=3, color=COLOURS[name], label=f"{name}, {frames}")
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_title(one["engine"])
        axes.set_xlabel("depth of the stack")
        _clear(axes)
    figure.axes[0].set_ylabel("microseconds to suspend and resume")
    _add_legend(figure, figure.axes[0], 3)
    return figure


def _draw_recursion(results: Sequence[dict[str, Any]]) -> Figure:
    figure = Figure(figsize=(9, 3))
    axes = figure.subplots()
    names = [variant.name for variant in VARIANTS]
    groups = [(one, key) for one in results for key in ("never", "resumed")]
    width = 0.8 / len(names)
    for place, name in enumerate(names):
        axes.bar(
            [group + (place - (len(names) - 1) / 2) * width for group in range(len(groups))],
            [one["depth"].get(name, {}).get(key, 0) for one, key in groups],
            width * 0.9,
            color=COLOURS[name],
            label=name,
        )
    labels = {"never": "never\nsuspended", "resumed": "resumed\nonce"}
    axes.set_xticks(
        range(len(groups)),
        [f"{one['engine']}\n{one['state'].split()[0]}\ntier-up,\n{labels[key]}" for one, key in groups],
        fontsize=7,
    )
    axes.set_ylabel("depth of recursion in QuickJS")
    _clear(axes)
    _add_legend(figure, axes)
    return figure


def _clear(axes: Axes) -> None:
    """Remove the lines that say nothing."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _add_legend(figure: Figure, axes: Axes, columns: int = 6) -> None:
    """Say above the drawing what its colours mean."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="lower center", bbox_to_anchor=(0.5, 0.95), ncols=columns, frameon=False, fontsize=8
    )
