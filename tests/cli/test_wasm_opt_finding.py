"""Where caesura-wasm-opt finds the real wasm-opt: by its variable, on the PATH, in node_modules."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.wasm_opt_folder import MODULE

OURSELVES = f'#!/bin/sh\nexec {sys.executable} -m caesura.cli.wasm_opt "$@"\n'


class Places:
    """A working folder, below one with a node_modules, and two folders on the PATH."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.working = path / "project" / "deep"
        self.working.mkdir(parents=True)
        (self.working / "in.wasm").write_bytes(MODULE)

    def put(self, place: str, script: str = "") -> Path:
        """Put a wasm-opt into a folder; by default one that only says where it is."""
        file = self._path / place / "wasm-opt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(script or f"#!/bin/sh\necho from {place}\n")
        file.chmod(0o755)
        return file

    def run(self, **variables: str) -> str:
        """Run a line that needs the real one; return what is printed."""
        environment = {key: value for key, value in os.environ.items() if not key.startswith("CAESURA_WASM_OPT")}
        environment["PATH"] = os.pathsep.join(
            [str(self._path / "first"), str(self._path / "second"), "/usr/bin", "/bin"]
        )
        done = subprocess.run(
            [sys.executable, "-m", "caesura.cli.wasm_opt", "in.wasm", "-O1", "-o", "out.wasm"],
            cwd=self.working,
            env={**environment, **variables},
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )
        return done.stdout + done.stderr


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path)


def test_variable_comes_first_then_the_path_then_npm(places: Places) -> None:
    named = places.put("named")
    places.put("second")
    places.put("project/node_modules/.bin")
    assert places.run(CAESURA_WASM_OPT=str(named)) == "from named\n"
    assert places.run() == "from second\n"
    places.put("first")
    assert places.run() == "from first\n"


def test_npm_package_above_the_working_folder_is_found(places: Places) -> None:
    places.put("project/node_modules/.bin")
    assert places.run(PATH="") == "from project/node_modules/.bin\n"


def test_itself_under_its_other_name_is_passed_over(places: Places) -> None:
    places.put("first", OURSELVES)
    places.put("second")
    assert places.run() == "from second\n"


def test_two_that_hand_over_to_each_other_are_an_error(places: Places) -> None:
    """A wrapper that does not look like this program, but runs it, would be called without end."""
    inner = places.put("inner", OURSELVES)
    outer = places.put("outer", f'#!/bin/sh\nexec {inner} "$@"\n')
    assert "is a caesura-wasm-opt too: set CAESURA_WASM_OPT" in places.run(CAESURA_WASM_OPT=str(outer))


def test_without_any_it_says_how_to_get_one(places: Places) -> None:
    message = places.run(PATH="")
    assert "Binaryen's wasm-opt is needed" in message
    assert "install npm's package binaryen" in message
    assert message.count("\n") == 1
