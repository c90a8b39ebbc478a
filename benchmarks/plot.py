"""The figures as drawings, made with matplotlib: SVG on white, which light and dark pages show alike."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from benchmarks.drawing import COLOURS, STYLE
from benchmarks.growth import LEAST_CODE
from benchmarks.programs import MODES
from benchmarks.tables import OPTIMIZE

_STYLE: Final[dict[Any, Any]] = {
    **STYLE,
    "font.sans-serif": ["Helvetica", "Arial", "DejaVu Sans", "sans-serif"],
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "legend.frameon": False,
}
# How bars are called, and as which build they are drawn.
_BUILDS: Final = {
    "Binaryen -O1": "Binaryen -O1",
    "Binaryen -O3": "Binaryen -O3",
    **{f"caesura, {level}": level for level in OPTIMIZE},
}
_FORMS: Final = {
    "native": ("Binaryen, native", COLOURS["Binaryen -O1"], "s"),
    "npm": ("Binaryen, npm", COLOURS["Binaryen -O3"], "D"),
    "interpreted": ("caesura, interpreted", COLOURS["size"], "^"),
    "compiled": ("caesura, compiled", COLOURS["balanced"], "o"),
}

Bars = dict[str, list[float | None]]


@dataclass(frozen=True)
class Panel:
    """One drawing of the overview: its title, the programs, both tools' bars, and a form for the numbers on them."""

    title: str
    programs: list[str]
    bars: Bars
    form: str
    is_logarithmic: bool = False


def write_size_plot(path: Path, rows: list[dict[str, Any]]) -> None:
    """Draw what is added to each program's code in each mode."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(9.5, 2.9), layout="constrained")
        for axes, row in zip(figure.subplots(1, len(rows)), rows, strict=True):
            _bars(axes, list(MODES), added(row), "{:.0f}%")
            axes.set_title(row["name"])
            axes.set_xticks(axes.get_xticks(), ["worst", "imports", "ignore-\nindirect"])
        figure.axes[0].set_ylabel("code added, % of the original")
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=5)
        _write(figure, path)


def added(row: dict[str, Any]) -> Bars:
    """Return the share of code that each tool adds in each mode, in percent."""
    bars: Bars = {name: [] for name in _BUILDS}
    for mode in MODES:
        sizes = row["modes"][mode]
        for name, made in bars.items():
            tool, level = name.replace(",", "").split(" ")
            size = sizes[tool.lower()][level]
            made.append(None if size is None else (size / row["original"] - 1) * 100)
    return bars


def write_transform_plot(path: Path, facts: dict[str, Any]) -> None:
    """Draw CPU time and memory over the size of the code, both logarithmic, with the fitted lines of growth."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(9.5, 3.8), layout="constrained")
        time, memory = figure.subplots(1, 2)
        programs = [program for program in facts["programs"] if program["code"] > 0]
        for name, (label, colour, marker) in _FORMS.items():
            found = [program for program in programs if name in program["costs"]]
            sizes = [program["code"] / 1e6 for program in found]
            for axes, what, unit in ((time, "cpu", 1.0), (memory, "memory", 1e6)):
                values = [program["costs"][name][what] / unit for program in found]
                axes.scatter(sizes, values, s=22, color=colour, marker=marker, label=label, zorder=3)
            if name in facts["fits"] and name != "npm":
                _line(time, facts["fits"][name], max(program["code"] for program in found), colour)
        for axes, label in ((time, "CPU seconds"), (memory, "peak memory, MB")):
            axes.set(xscale="log", yscale="log", xlabel="code of the program, MB", title=label)
            axes.grid(which="major", color="#dddddd", linewidth=0.6)
            _plain_numbers(axes.xaxis, axes.yaxis)
        _name_programs(time, programs)
        time.legend(loc="upper left")
        _write(figure, path)


def _line(axes: Any, fit: dict[str, Any], most: int, colour: str) -> None:
    """Draw a fitted line, with the time of the start, which was taken off before, added again."""
    sizes = [LEAST_CODE * (most / LEAST_CODE) ** (step / 40) for step in range(41)]
    times = [fit["start"] + fit["factor"] * size ** fit["exponent"] for size in sizes]
    axes.plot([size / 1e6 for size in sizes], times, color=colour, linewidth=1)


def _name_programs(axes: Any, programs: list[dict[str, Any]]) -> None:
    """Write the larger programs' names under their lowest points."""
    large = sorted((program["code"], program) for program in programs if program["code"] >= LEAST_CODE)
    for place, (size, program) in enumerate(large):
        lowest = min(cost["cpu"] for cost in program["costs"].values())
        side, away = ("right", -3) if place % 2 == 0 else ("left", 3)  # so that neighbours' names do not meet
        text = {"fontsize": 7, "color": "#555555", "ha": side, "va": "top"}
        axes.annotate(program["name"], (size / 1e6, lowest), (away, -5), textcoords="offset points", **text)


def _plain_numbers(*axes: Any) -> None:
    """Write 0.1, 1 and 10 on logarithmic axes, and nothing between."""
    for axis in axes:
        axis.set_major_locator(LogLocator())
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())


def write_overview(path: Path, panels: list[Panel]) -> None:
    """Draw some figures of both tools side by side."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(9.5, 2.8), layout="constrained")
        all_axes = figure.subplots(1, len(panels), squeeze=False)[0]
        for axes, panel in zip(all_axes, panels, strict=True):
            if panel.is_logarithmic:
                axes.set_yscale("log")
                _plain_numbers(axes.yaxis)
            _bars(axes, panel.programs, panel.bars, panel.form)
            if panel.is_logarithmic:
                axes.set_ylim(bottom=axes.get_ylim()[0] / 2)
            axes.set_title(panel.title)
        handles, labels = all_axes[0].get_legend_handles_labels()
        figure.legend(handles, [label.partition(",")[0] for label in labels], loc="outside lower center", ncols=2)
        _write(figure, path)


def _bars(axes: Any, groups: list[str], bars: Bars, form: str) -> None:
    """Draw groups of bars; many of them have their numbers in the tables only."""
    width = 0.8 / len(bars)
    for place, (label, values) in enumerate(bars.items()):
        left = [group - 0.4 + (place + 0.5) * width for group in range(len(groups))]
        heights = [math.nan if value is None else value for value in values]
        drawn = axes.bar(left, heights, width * 0.92, color=COLOURS[_BUILDS[label]], label=label)
        if len(bars) <= 2:
            numbers = ["" if value is None else form.format(value) for value in values]
            axes.bar_label(drawn, numbers, fontsize=7, padding=1)
    axes.set_xticks(range(len(groups)), groups)
    axes.tick_params(axis="x", length=0)


def _write(figure: Figure, path: Path) -> None:
    figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None}, facecolor="white")
    text = "\n".join(line.rstrip() for line in path.read_text(encoding="utf-8").splitlines())
    path.write_text(text + "\n", encoding="utf-8")
