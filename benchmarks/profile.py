"""Where the transformation's time goes, in its compiled and its interpreted form.

py-spy looks many times a second at what the process is doing, the same way for both forms: it reads the stacks of
native code too, and does not slow down what it looks at, as tracing profilers do (cProfile makes small functions look
dear). Every sample counts for the innermost step of the transformation that it lies in, and for the innermost function
of caesura; what these call in Python's or the C library is theirs. Runs are repeated until there are enough samples.
The start of Python and the reading of files are left out, since py-spy's own start disturbs them.

    python -m benchmarks.profile

writes docs/profile.json; the report puts the tables into docs/measurements.md. py-spy has to be allowed to look at
its own children (ptrace), as it is on most systems.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any, Final

from benchmarks.facts import BUILD, caesura_versions, first_line, forms, heading, save, say, show
from benchmarks.markdown import table
from benchmarks.programs import REAL, WORST, Program

_ROOT: Final = "pipeline.instrument_as"

# A step, and the functions that are it: module and qualified name.
STEPS: Final = {
    "read the module": ("module.Module.__init__", "given.read_given"),
    "call graph, who may suspend": (
        "calls.read_calls",
        "suspension.find_suspending",
        "entries.entered_from_outside",
        "lists.resolve_lists",
    ),
    "find the shadow stack": ("shadow_stack.find_shadow_stack", "shadow_stack.shadow_stack_at"),
    "decode functions": ("body.decode_body",),
    "choose functions for two bodies": ("selection.select_two_bodies", "interpreters.handoff_loops"),
    "plan landing points, crossing operands": ("planner.plan_function",),
    "group call sites": ("grouping.group_sites",),
    "regions, numbers": ("regions.lay_out",),
    "liveness, frames, pads": (
        "liveness.live_locals",
        "late_checks.checked_late",
        "frame.Frame.__init__",
        "moving.move_in_chunks",
        "pads.group_by_live",
    ),
    "write code": (
        "one_body.write_one_body",
        "resume_body.ResumeBody.__init__",
        "resume_body.ResumeBody.write",
        "normal_body.NormalBody.__init__",
        "normal_body.NormalBody.write",
    ),
    "put sections together, report": ("assembly.assemble", "pipeline._report", "shortest.has_padding"),
    "the rest": (_ROOT,),
}
_PROGRAMS: Final = [program for program in REAL if program.name in ("PHP", "SQLite")]
_SAMPLES: Final = 3_000
_LEAST_RUNS: Final = 3
_MAXIMUM_RUNS: Final = 60
_RATE: Final = 400
_FUNCTIONS: Final = 8

_COMPILED: Final = re.compile(r"CPyDef_(\w+?)___((?:_?[A-Z]\w*?___)?)(\w+) \(")
_INTERPRETED: Final = re.compile(r"([\w.<>]+) \(.*caesura/(?:wasm|analysis|instrument(?:/\w+)?)/(\w+)\.py:\d+\)")


def main() -> int:
    """Measure and write docs/profile.json."""
    spy = shutil.which("py-spy", path=str(Path(sys.executable).parent)) or shutil.which("py-spy")
    if spy is None:
        print("error: py-spy is missing: `make bench` installs it (dependency group `bench`)", file=sys.stderr)
        return 1
    profiles = [_profile(spy, program, form) for program in _PROGRAMS for form in forms()]
    versions = {**caesura_versions(), "py-spy": first_line([spy, "--version"])}
    save("profile", {**heading("make bench ONLY=profile"), "versions": versions, "profiles": profiles})
    return 0


def _profile(spy: str, program: Program, form: str) -> dict[str, Any]:
    """Sample a program's transformation until there are enough samples."""
    steps: Counter[str] = Counter()
    functions: Counter[str] = Counter()
    runs = 0
    while (steps.total() < _SAMPLES or runs < _LEAST_RUNS) and runs < _MAXIMUM_RUNS:
        show(f"{program.name}, {form}: {steps.total()} of {_SAMPLES} samples")
        for stack, count in _sample(spy, program, form):
            names = [name for frame in stack if (name := _name(frame))]
            if _ROOT in names:
                steps[_step(names)] += count
                functions[names[-1]] += count
        runs += 1
    total = steps.total()
    say(f"{program.name}, {form}: {total} samples of {runs} runs")
    return {
        "name": program.name,
        "form": form,
        "runs": runs,
        "samples": total,
        "steps": {step: round(steps[step] / total, 4) for step in STEPS},
        "functions": {name: round(count / total, 4) for name, count in functions.most_common(_FUNCTIONS)},
    }


def _sample(spy: str, program: Program, form: str) -> list[tuple[list[str], int]]:
    """Run the command under py-spy; return stacks, outermost frame first, and how often each was seen."""
    folder = BUILD / "profile"
    folder.mkdir(parents=True, exist_ok=True)
    raw = folder / "stacks.txt"
    command = [spy, "record", "--format=raw", f"--rate={_RATE}", f"--output={raw}"]
    command += ["--native"] if form == "compiled" else []
    command += ["--", sys.executable, "-m", "caesura", "instrument", str(program.path), "--quiet"]
    command += ["-o", str(folder / "out.wasm"), *program.caesura_arguments(WORST)]
    done = subprocess.run(command, env=forms()[form], check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"error: py-spy cannot look at its own child: {done.stderr.strip().splitlines()[-1]}")
    lines = [line.rpartition(" ") for line in raw.read_text(encoding="utf-8").splitlines()]
    return [(stack.split(";"), int(count)) for stack, _, count in lines]


def _name(frame: str) -> str:
    """Return module and qualified name of a frame in the transformation, else nothing."""
    found = _COMPILED.match(frame)
    if found:
        return f"{found[1]}.{found[2].removesuffix('___')}{'.' if found[2] else ''}{found[3]}"
    found = _INTERPRETED.match(frame)
    return f"{found[2]}.{found[1]}" if found else ""


def _step(names: list[str]) -> str:
    """Return the innermost step among the functions of a stack that has the root."""
    for name in reversed(names):
        for step, functions in STEPS.items():
            if name in functions:
                return step
    raise ValueError(f"no step among {names}")


def profile_tables(facts: dict[str, Any]) -> str:
    """Return both tables: shares of the steps, and of the functions with the most time of their own."""
    profiles = facts["profiles"]
    columns = [f"{profile['name']}, {profile['form']}" for profile in profiles]
    steps = table(
        ["step", *columns], [[step, *[f"{profile['steps'][step]:.0%}" for profile in profiles]] for step in STEPS]
    )
    cells = [[f"`{name}` {part:.0%}" for name, part in profile["functions"].items()] for profile in profiles]
    functions = table(columns, [list(row) for row in zip(*cells, strict=True)])
    return (
        f"{steps}\nThe functions with the most time of their own (with what they call in Python's and the C library):\n"
        f"\n{functions}\n(`make bench ONLY=profile`, {facts['date']}, {facts['machine']}.)\n"
    )


if __name__ == "__main__":
    sys.exit(main())
