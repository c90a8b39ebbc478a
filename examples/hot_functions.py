"""Give second bodies to the functions that a program really spends its time in.

Which functions run often cannot be seen in a module, so `--optimize` goes by how they look. A CPU profile knows: record
one of the module as it is, uninstrumented, and name the functions that take most of the time.

    node --cpu-prof --cpu-prof-name=run.cpuprofile program.mjs
    python -m examples.hot_functions run.cpuprofile > hot.txt
    caesura instrument program.wasm -o pausable.wasm --two-bodies @hot.txt

Chrome's developer tools save the same format. Functions without names count by their numbers; these are those of the
file that was profiled.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

NAMELESS = re.compile(r"wasm-function\[(\d+)\]")


def self_times(profile: dict[str, Any]) -> Counter[str]:
    """Return the microseconds that each WebAssembly function of a V8 CPU profile ran itself."""
    names: dict[int, str] = {}
    for node in profile["nodes"]:
        frame = node["callFrame"]
        nameless = NAMELESS.fullmatch(frame["functionName"])
        if frame["url"].startswith("wasm:") or nameless:
            names[node["id"]] = nameless[1] if nameless else frame["functionName"]
    times: Counter[str] = Counter()
    for node_id, delta in zip(profile["samples"], profile["timeDeltas"], strict=True):
        if node_id in names:
            times[names[node_id]] += delta
    return times


def main() -> int:
    """Print the names of the hot functions, the hottest first."""
    parser = argparse.ArgumentParser(description="Print the functions that take most of the time in a V8 CPU profile.")
    parser.add_argument("profile", type=Path, help="what `node --cpu-prof` or Chrome's developer tools wrote")
    parser.add_argument(
        "--least", type=float, default=0.3, help="how much of the module's time is hot, in percent (default: 0.3)"
    )
    arguments = parser.parse_args()
    try:
        times = self_times(json.loads(arguments.profile.read_bytes()))
    except (OSError, ValueError, KeyError, TypeError) as error:
        print(f"hot_functions: '{arguments.profile}' cannot be read as a CPU profile: {error}", file=sys.stderr)
        return 1
    if not times:
        print(f"hot_functions: no WebAssembly function ran in '{arguments.profile}'", file=sys.stderr)
        return 1
    least = times.total() * arguments.least / 100
    print("\n".join(name for name, time in times.most_common() if time >= least))
    return 0


if __name__ == "__main__":
    sys.exit(main())
