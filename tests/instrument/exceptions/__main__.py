"""A long run by hand: `python -m tests.instrument.exceptions --programs 2500 [--first 100]`."""

from __future__ import annotations

import argparse
import sys
from typing import Final

from tests.instrument.exceptions.comparing import compare
from tests.instrument.exceptions.engines import new_node, node

_SEEDS: Final = list(range(1, 21))


def main() -> int:
    """Compare as many programs as were asked for; return how many differ."""
    parser = argparse.ArgumentParser(prog="python -m tests.instrument.exceptions", description=__doc__)
    parser.add_argument("--programs", type=int, default=2500, help="how many programs (2500)")
    parser.add_argument("--first", type=int, default=0, help="the number of the first (0)")
    arguments = parser.parse_args()
    different = 0
    with node() as old, new_node() as new:
        for number in range(arguments.first, arguments.first + arguments.programs):
            try:
                compare(number, old, new, _SEEDS)
            except AssertionError as error:
                different += 1
                print(str(error).partition("\n")[0])
    print(f"{arguments.programs} programs from {arguments.first}, {different} do something else")
    return min(different, 100)


if __name__ == "__main__":
    sys.exit(main())
