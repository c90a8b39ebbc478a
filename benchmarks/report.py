"""The report, from the figures in docs/: benchmarks.md, its drawings, and blocks in README.md and measurements.md.

    python -m benchmarks.report

Every number in them comes from the JSON files that the parts of the benchmarks write (docs/size.json, docs/lists.json,
docs/transform.json, docs/running.json, docs/javascript.json, docs/profile.json); a part that has not been run is said
to be missing. The asyncio host's figures are written into its own page.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from benchmarks.facts import DOCS, REPOSITORY, load, say
from benchmarks.lists import lists_table
from benchmarks.markdown import put_into
from benchmarks.plot import write_size_plot, write_transform_plot
from benchmarks.profile import profile_tables
from benchmarks.readme import readme_block
from benchmarks.running_part import running_optimize_table, running_section
from benchmarks.tables import (
    c_size_table,
    growth_table,
    optimize_size_table,
    shapes_text,
    size_rows,
    size_table,
    transform_table,
)
from benchmarks.targets import Facts, targets_table

PARTS: Final = ("size", "lists", "transform", "running", "javascript")

_HEAD: Final = """\
# Benchmarks

Written by `make bench`, which measures all of this anew; `make bench ROUNDS=9 ONLY=size,transform` measures some parts
in so many rounds. Figures are medians; ± and *least to most* say how far the rounds were apart. Each compares with
Binaryen and the original in the same run. In the *worst* case every import may suspend, and every call through a
table but those that caesura proves not to. The inputs are the npm packages' programs, unchanged.

{headings}
## Figures to reach

{targets}
"""

_SIZE: Final = """\
## Code size

![Code added to each program in each mode]({plot})

Bytes of the code section, and what the tools add to it. Binaryen's are those of npm's current version,
`-O1 --asyncify` and `-O3 --asyncify`, with the same options; a dash where that was not made (`-O3` takes long for PHP).
Binaryen optimizes the whole program on the way, and caesura leaves alone what is there, which matters for the C
programs, as zig's linker does not run `wasm-opt`. So for these the last column takes off what `-O1` alone does:
caesura's addition to the original as a share of Asyncify's addition to the optimized program. The import lists stand
in benchmarks/programs.py.

{table}
The C programs in the worst case, of which small ones are mostly the fixed functions of the ABI:

{c_table}
"""

_OPTIMIZE: Final = """\
## Optimize levels

What `--optimize` does ([design.md](design.md#two-bodies) says how), in the worst case: code added, and what part that
is of what Binaryen's -O1 adds.

{size}
{running}"""

_LISTS: Final = """\
## Lists

What the tests of SQLite and QuickJS do is [recorded](lists.md), each suspended at every call that can be. Beside it the
worst case, and the list of the imports that may suspend; all at the default level, but for the last line, which is
`--optimize=speed`.
Running time without any suspension, the original's being 1 (median, least to most over the rounds):

{table}"""

_TRANSFORM: Final = """\
## Transformation

![CPU time and memory over the size of the code]({plot})

Of whole processes: CPU seconds (user and system), seconds by the wall clock, peak memory. The native Binaryen runs
`-O1 --asyncify` on all cores; what is given of npm's, which is Binaryen compiled to WebAssembly, are CPU seconds and
memory of the run in which its output was made. *nothing* is an empty module: the time to start.

{table}
Growth over the programs with more than 100 KB of code, the time of the start taken off; exponent 1 is linear:

{growth}
{shapes}
[measurements.md](measurements.md#where-the-time-goes) says where the time goes.
"""


def main() -> int:
    """Write the page, the drawings and the README's block."""
    facts: Facts = {part: load(part) for part in PARTS}
    (DOCS / "benchmarks.md").write_text(page(facts, DOCS), encoding="utf-8")
    block = readme_block(facts, DOCS)
    put_into(REPOSITORY / "README.md", "benchmarks", block)
    profile = load("profile")
    if profile:
        put_into(DOCS / "measurements.md", "profile", profile_tables(profile))
    say("written: docs/benchmarks.md, its drawings, the figures in README.md and the profile in docs/measurements.md\n")
    print(block)
    print(targets_table(facts))
    return 0


def page(facts: Facts, folder: Path) -> str:
    """Return docs/benchmarks.md; its drawings are written into the folder."""
    parts = [
        _HEAD.format(headings=_headings(facts), targets=targets_table(facts)),
    ]
    size, transform, running = facts["size"], facts["transform"], facts["running"]
    if size:
        write_size_plot(folder / "size.svg", size_rows(size))
        parts.append(_SIZE.format(plot="size.svg", table=size_table(size), c_table=c_size_table(size)))
        levels = running_optimize_table(running) if running else ""
        parts.append(_OPTIMIZE.format(size=optimize_size_table(size), running=levels))
    if facts["lists"]:
        parts.append(_LISTS.format(table=lists_table(facts["lists"])))
    if transform:
        write_transform_plot(folder / "transform.svg", transform)
        texts = {
            "table": transform_table(transform),
            "growth": growth_table(transform),
            "shapes": shapes_text(transform),
        }
        parts.append(_TRANSFORM.format(plot="transform.svg", **texts))
    if running:
        parts.append(running_section(running, folder))
    javascript = facts["javascript"]
    if javascript:
        parts.append(f"## The JavaScript host\n\n{javascript['text'].strip()}\n")
    parts.append("## The asyncio host\n\n[host.md](host.md#costs) has the figures of `make bench ONLY=host`.\n")
    return "\n".join(part.rstrip("\n") + "\n" for part in parts)


def _headings(facts: Facts) -> str:
    """Return when and on what each part was measured, with all versions, and which parts are missing."""
    lines: list[str] = []
    for part, found in facts.items():
        if found is None:
            lines.append(f"* {part}: not measured\n")
            continue
        versions = "; ".join(f"{name}: {version}" for name, version in found.get("versions", {}).items() if version)
        dates = sorted({found["date"], *(entry["date"] for entry in found.get("programs", []) if "date" in entry)})
        when = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
        rounds = f", {found['rounds']} rounds" if "rounds" in found else ""
        lines.append(f"* {part}: {when}{rounds}, on {found['machine']}. {versions}".rstrip(" .") + ".\n")
    return "".join(lines)


if __name__ == "__main__":
    sys.exit(main())
