"""QuickJS, in its synchronous build, is suspended wherever a script calls the host.

The scripts call host functions from array callbacks, comparators, generators, getters, proxies, revivers, constructors:
from every place where the interpreter, or a function of its library in the middle of its work, calls a function. The
host's functions are asynchronous; the results must equal those that synchronous ones give in the untouched build.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.instrumenting import instrument_file
from tests.support.node import run_driver
from tests.support.paths import npm_file


@pytest.fixture(scope="module")
def instrumented(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the build that cannot be suspended, instrumented for the worst case."""
    source = npm_file("@jitl/quickjs-wasmfile-release-sync/dist/emscripten-module.wasm")
    return instrument_file(source, tmp_path_factory.mktemp("quickjs") / "quickjs.wasm")


@pytest.fixture(scope="module")
def expected() -> Any:
    """Return what the scripts give where nothing is ever suspended."""
    return run_driver("quickjs.mjs", "synchronous")["scripts"]


def outcomes(scripts: Any) -> dict[str, Any]:
    """Return the scripts' results, without the number of suspensions."""
    return {name: script["outcome"] for name, script in scripts.items()}


def test_scripts_do_something(expected: Any) -> None:
    """Every script returns a value; a few of the values, as one would write them by hand."""
    for name, outcome in outcomes(expected).items():
        assert len(str(outcome["value"])) > 40, name
    assert "failed with inner" in str(expected["try, catch and finally"])
    assert expected["proxy traps"]["outcome"]["value"][-1][1:] == ["x", "long_name"]


@pytest.mark.parametrize("flags", [(), ("--no-liftoff",)], ids=["tiered", "optimised"])
def test_every_call_suspends(instrumented: Path, expected: Any, flags: tuple[str, ...]) -> None:
    """Every call of the host takes its time, in every script; in code that V8 optimises late, or from the start."""
    run = run_driver("quickjs.mjs", "instrumented", instrumented, "100", "0", flags=flags)
    scripts = run["scripts"]
    for name, outcome in outcomes(scripts).items():
        assert outcome == expected[name]["outcome"], name
        assert scripts[name]["suspensions"] > 7, name
    assert sum(script["suspensions"] for script in scripts.values()) == run["calls"]


@pytest.mark.parametrize(("percent", "seed"), [(0, 0), (50, 1), (10, 2), (85, 3)])
def test_some_calls_suspend(instrumented: Path, expected: Any, percent: int, seed: int) -> None:
    """Any subset of the calls may take its time."""
    run = run_driver("quickjs.mjs", "instrumented", instrumented, str(percent), str(seed))
    assert outcomes(run["scripts"]) == outcomes(expected)
    suspensions = sum(script["suspensions"] for script in run["scripts"].values())
    assert suspensions == 0 if percent == 0 else 0.5 < suspensions / (run["calls"] * percent / 100) < 1.5
