"""C++ programs whose exceptions are on their way past destructors that wait: saved there, caught in another process."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

import caesura
from tests.support.guests import cpp_guest

STACK: Final = "-Wl,--export=__stack_pointer"

# Goes on from each state in a folder, and prints how the call ended, what was said on the way, and what is left.
GOES_ON: Final = """
import asyncio, json, pathlib, sys
import caesura

async def main():
    ends = []
    for state in sorted(pathlib.Path(sys.argv[1]).iterdir()):
        said = []
        imports = {"env": {"wait": caesura.EXTERNAL, "say": said.append}}
        guest = await caesura.restore(str(state), imports, module=sys.argv[2])
        [step] = guest.pending
        while isinstance(step, caesura.PendingCall):
            step = step.resume(*step.arguments)
        ends.append([step, said, guest.call_nowait("exceptions_left")])
    print(json.dumps(ends))

asyncio.run(main())
"""


@pytest.mark.parametrize("old_form", [True, False], ids=["old form", "new form"])
def test_a_destructor_waits_while_an_exception_is_on_its_way(old_form: bool, tmp_path: Path) -> None:
    """At every wait of every way through the program; in most of them it is a destructor that waits."""
    module, states = tmp_path / "guest.wasm", tmp_path / "states"
    module.write_bytes(cpp_guest("exceptions", "-O2", STACK, "-DDESTRUCTORS_WAIT", old_form=old_form))
    states.mkdir()
    said: list[int] = []
    imports: dict[str, dict[str, Any]] = {"env": {"wait": caesura.EXTERNAL, "say": said.append}}
    guest = asyncio.run(caesura.load(module, imports))
    expected: list[list[Any]] = []
    in_flight = 0
    for number in range(10):
        said.clear()
        step = guest.start("run", number)
        places: list[int] = []
        while isinstance(step, caesura.PendingCall):
            snapshot = guest.snapshot()
            in_flight += len(snapshot.state.exceptions) > 0
            snapshot.save(states / f"{len(expected) + len(places):04}")
            places.append(len(said))
            step = step.resume(*step.arguments)
        expected += [[step, said[place:], 0] for place in places]
    assert {end for end, _, _ in expected} == {0, 1003, 1007, 2007, 3000}
    assert in_flight > 10
    command = [sys.executable, "-c", GOES_ON, str(states), str(module)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == expected
