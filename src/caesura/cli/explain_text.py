"""What `caesura explain` prints for people: the same that it prints as JSON, as trees and tables.

Where the output is a terminal, lines are as wide as that: names are cut in their middle. Elsewhere, as in a pipe, they
are whole. Trees are drawn with characters of ASCII where the output's encoding has no others.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from caesura.cli.summary import counted
from caesura.errors import among_words, printable

Json = Mapping[str, Any]

_BRANCHES: Final = ("├─ ", "└─ ", "│  ", "   ", "…")
_ASCII_BRANCHES: Final = ("|- ", "`- ", "|  ", "   ", "...")

# Rows of each table where nobody says how many.
ROWS: Final = 20

# No line of a table is cut to less than that.
_NARROWEST: Final = 40

# Steps of a path that are shown, and names in a row; --json has all.
_LONGEST_PATH: Final = 40
_MOST_NAMES: Final = 8


def module_text(told: Json, rows: int) -> str:
    """Return what is known of a module as text; tables have so many rows (0: all)."""
    return fitted(_module(told, rows))


def function_text(told: Json, rows: int) -> str:
    """Return what is known of a function as text."""
    return fitted(_function(told, rows))


def change_text(frees: Json, *, itself: bool = False) -> str:
    """Return what would be spared in words; `itself` says that one of the functions is the one spoken of."""
    functions = frees["functions"] - (1 if itself else 0)
    what = counted(functions, "other function" if itself else "function")
    return f"{what}, {counted(frees['bytes'], 'byte')}"


def growth(before: int, after: int) -> str:
    """Return two sizes, and how much larger the second is."""
    share = f" ({(after - before) / before:+.1%})" if before else ""
    return f"{before:,} -> {after:,} bytes{share}"


def fitted(lines: Iterable[str]) -> str:
    """Return lines as one text, each cut to the width of the terminal, if there is one."""
    width = _width()
    return "\n".join(_cut(printable(line), width) for line in lines)


def _width() -> int:
    """Return how wide lines may be; 0 where they may be of any width."""
    try:
        if not sys.stdout.isatty():
            return 0
        return max(_NARROWEST, os.get_terminal_size(sys.stdout.fileno()).columns or _NARROWEST * 2)
    except (AttributeError, OSError, ValueError):  # replaced by an object that is no file
        return 0


def _cut(line: str, width: int) -> str:
    """Shorten a line in its middle, where names are longest."""
    if not width or len(line) <= width:
        return line
    mark = _branches()[4]
    rest = width - len(mark)
    return line[: rest - rest // 2] + mark + line[len(line) - rest // 2 :]


def _branches() -> tuple[str, ...]:
    encoding = getattr(sys.stdout, "encoding", None) or "ascii"
    try:
        "".join(_BRANCHES).encode(encoding)
    except (UnicodeError, LookupError):
        return _ASCII_BRANCHES
    return _BRANCHES


def _module(told: Json, rows: int) -> Iterator[str]:
    module = told["module"]
    yield (
        f"{module['instrumented']:,} of {counted(module['functions'], 'function')} instrumented, "
        f"{counted(module['sites'], 'call site')}"
    )
    yield f"code: {growth(module['code_before'], module['code_after'])}"
    yield f"module: {growth(module['bytes_before'], module['bytes_after'])}"
    if "coverage" in told:
        yield from _coverage(told, rows)
    if not module["instrumented"]:
        yield "nothing in it may suspend"
        return
    yield ""
    yield "what would not be instrumented without a cause, or a function below it:"
    yield from _tree(told["tree"], rows)
    yield ""
    several = sum(node["frees"]["functions"] for node in told["tree"] if _has_several_causes(node))
    if several:
        yield f"{counted(several, 'function')} with several causes, so that no single one would free them"
    for one in told["what_if"]:
        yield f"{one['change']}: {change_text(one['frees'])} less"
    causes = [cause for cause in told["causes"] if not cause["frees"]["functions"]]
    if causes:
        yield f"{counted(len(causes), 'cause')} would free nothing alone: what they reach has others"
    freeing = sorted(filter(_frees_others, told["functions"]), key=lambda one: -one["frees"]["bytes"])
    if freeing:
        yield ""
        yield "what would be freed by a function on the remove-list, itself included:"
        yield from _table(
            ["function", "functions", "bytes"],
            [[named(one), f"{one['frees']['functions']:,}", f"{one['frees']['bytes']:,}"] for one in freeing],
            rows,
        )
    yield ""
    yield "what grew most:"
    grown = sorted(told["functions"], key=lambda one: one["bytes_before"] - one["bytes_after"])
    yield from _table(
        ["function", "before", "added", "sites", "saved", "merges"],
        [
            [
                named(one),
                *(
                    f"{number:,}"
                    for number in (
                        one["bytes_before"],
                        one["bytes_after"] - one["bytes_before"],
                        one["sites"],
                        one["saved"],
                        one["merges"],
                    )
                ),
            ]
            for one in grown
            if one["instrumented"]
        ],
        rows,
    )


def _coverage(told: Json, rows: int) -> Iterator[str]:
    """Return lines about what recordings say of the list, or, without one, of what is instrumented."""
    coverage = told["coverage"]
    word = "listed" if coverage["by_list"] else "instrumented"
    both, never, others = coverage["listed_and_recorded"], coverage["never_recorded"], coverage["not_listed"]
    yield ""
    listed = counted(both + never, "function")
    yield f"recordings: {both:,} of {listed} {word} were recorded, and {counted(others, 'other')}"
    missing = [one for one in told["functions"] if one["recorded"] is not None and not one["listed"]]
    unseen = [one for one in told["functions"] if one["recorded"] is None and one["listed"]]
    if missing:
        yield ""
        yield from _table(
            [f"recorded, not {word}", "times"], [[named(one), f"{one['recorded']:,}"] for one in missing], rows
        )
    if unseen:
        yield ""
        sizes = [(one, one["bytes_after"] - one["bytes_before"]) for one in unseen]
        sizes.sort(key=lambda item: -item[1])
        cells = [[named(one), f"{added:,}"] for one, added in sizes]
        yield from _table([f"{word}, never recorded", "added"], cells, rows)
    if coverage["unmatched"]:
        yield ""
        yield "recorded, and no function of this module:"
        for entry in coverage["unmatched"][: rows or len(coverage["unmatched"])]:
            yield f"  {entry}"


def _has_several_causes(node: Json) -> bool:
    return node["parent"] is None and node["kind"] == "function"


def _frees_others(one: Json) -> bool:
    return bool(one["frees"]["functions"] > 1)


def _tree(nodes: Sequence[Json], rows: int) -> Iterator[str]:
    """Return lines for the largest nodes, each behind its parent; last come functions that free but themselves."""
    by_size = sorted(range(len(nodes)), key=lambda place: (-nodes[place]["frees"]["bytes"], place))
    largest = sorted(by_size, key=lambda place: nodes[place]["frees"]["functions"] < 2)
    shown = sorted(largest[: rows or len(nodes)])
    kept = set(shown)
    last: dict[int | None, int] = {}
    for place in shown:
        if nodes[place]["parent"] is None or nodes[place]["parent"] in kept:
            last[nodes[place]["parent"]] = place
    tee, corner, bar, blank, _ = _branches()
    lead: dict[int | None, str] = {None: ""}
    for place in shown:
        node = nodes[place]
        above = node["parent"]
        if above not in lead:
            continue
        is_last = last[above] == place
        lead[place] = lead[above] + (blank if is_last else bar)
        yield f"{lead[above]}{corner if is_last else tee}{_kind(node)}{named(node)}: {change_text(node['frees'])}"
    if len(nodes) > len(shown):
        yield f"... {counted(len(nodes) - len(shown), 'smaller one')}: --rows 0 shows all"


def _kind(node: Json) -> str:
    return "import " if node["kind"] == "import" else ""


def named(one: Json) -> str:
    """Return the name of a function with its index, or what else a node is called."""
    index = one.get("index")
    name = among_words(one["name"])
    return name if index is None or name == str(index) else f"{name} ({index})"


def _table(head: list[str], cells: list[list[str]], rows: int) -> Iterator[str]:
    """Return lines of a table whose first column is text, which is as wide as there is room, and the others numbers."""
    shown = cells[: rows or len(cells)]
    widths = [max(len(row[column]) for row in [head, *shown]) for column in range(1, len(head))]
    room = _width()
    first = max((len(printable(row[0])) for row in [head, *shown]), default=0)
    if room:
        first = max(8, min(first, room - sum(widths) - 2 * len(widths)))
    for row in [head, *shown]:
        numbers = "".join(f"  {cell:>{width}}" for cell, width in zip(row[1:], widths, strict=True))
        yield f"{_cut(printable(row[0]), first):<{first}}{numbers}"
    if len(cells) > len(shown):
        yield f"... {len(cells) - len(shown):,} more"


def _function(told: Json, rows: int) -> Iterator[str]:
    yield f"{named(told)}: {'instrumented' if told['instrumented'] else 'not instrumented'}: {told['reason']}"
    if told["path"]:
        yield ""
        yield "the shortest path to what suspends:" if told["instrumented"] else "the path that a list cuts off:"
        yield from _path(told, told["path"])
    if told["path_to_import"]:
        yield ""
        yield "a way to an import, through what the module puts into tables:"
        yield from _path(told, told["path_to_import"])
    if told["instrumented"]:
        yield ""
        yield f"code: {growth(told['bytes_before'], told['bytes_after'])}"
        if told["other_bodies"]:
            yield f"{counted(told['other_bodies'], 'byte')} of these in a second body of it, or a copy"
        frame = "no frame of its own" if told["frameless"] else counted(told["saved"], "saved value")
        yield f"{counted(told['sites'], 'call site')}, {frame}, {counted(told['merges'], 'merge')}"
    if "recorded" in told:
        times = told["recorded"]
        yield (
            "never recorded"
            if times is None
            else f"recorded, on the stack {times:,} {'time' if times == 1 else 'times'}"
        )
    if told["indirect_calls"]:
        yield ""
        yield "calls through tables and references:"
        for call in told["indirect_calls"]:
            yield f"  {call['name']}: {_targets(call)}"
    yield ""
    yield from _callers(told["callers"], rows)
    if told["instrumented"]:
        yield ""
        yield from _changes(told, rows)


def _path(told: Json, steps: Sequence[Json]) -> Iterator[str]:
    shown = steps if len(steps) <= _LONGEST_PATH else [*steps[: _LONGEST_PATH - 1], steps[-1]]
    corner, blank = _branches()[1], _branches()[3]
    yield f"  {among_words(told['name'])}"
    for depth, step in enumerate(shown):
        if depth == _LONGEST_PATH - 1 and len(steps) > _LONGEST_PATH:
            yield f"  {blank * depth}... {counted(len(steps) - len(shown), 'step')} ..."
        targets = f": {_known(step['targets'])}" if "targets" in step else ""
        yield f"  {blank * min(depth, _LONGEST_PATH // 2)}{corner}{_kind(step)}{among_words(step['name'])}{targets}"


def _targets(call: Json) -> str:
    targets = call["targets"]
    if not call["may_suspend"]:
        return f"cannot suspend; {counted(len(targets), 'possible target')}"
    return _known(targets)


def _known(targets: Sequence[Json]) -> str:
    suspending = [target for target in targets if target["may_suspend"]]
    known = f"{counted(len(targets), 'known target')}, {len(suspending):,} may suspend"
    names = [among_words(target["name"]) for target in suspending]
    return f"{known}: {_some(names)}" if names else known


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMES:,} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(names[:_MOST_NAMES]) + more


def _callers(callers: Json, rows: int) -> Iterator[str]:
    direct = callers["direct"]
    by_name = counted(len(direct), "function")
    yield f"called by name by {by_name}; {counted(callers['all'], 'function')} can have it below on the stack"
    for name in callers["through_tables"][: rows or None]:
        yield f"  {name} can reach it"
    for caller in direct[: rows or None]:
        yield f"  {among_words(caller['name'])}{'' if caller['instrumented'] else ' (not instrumented)'}"
    if rows and len(direct) > rows:
        yield f"  ... {len(direct) - rows:,} more"


def _changes(told: Json, rows: int) -> Iterator[str]:
    causes = told["causes"]
    if told["changes"]:
        yield "each of these alone would free it, and with it:"
        for change in told["changes"][: rows or None]:
            yield f"  {change['change']}: {change_text(change['frees'], itself=True)}"
        if rows and len(told["changes"]) > rows:
            yield f"  ... {len(told['changes']) - rows:,} more, which free fewer"
    if causes and all(name.endswith(" on the only-list") for name in causes) and not told["changes"]:
        yield "several entries of the only-list name it:"
        yield from (f"  {name}" for name in causes[: rows or None])
    elif not any(change["kind"] != "function" for change in told["changes"]):
        yield f"no single cause makes it suspend, but {counted(len(causes), 'cause')}:"
        yield from (f"  {name}" for name in causes[: rows or None])
        if rows and len(causes) > rows:
            yield f"  ... {len(causes) - rows:,} more"
