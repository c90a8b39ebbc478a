"""The command line of Binaryen's `wasm-opt`, read the way `wasm-opt` reads it.

An argument that starts with a dash is an option, everything else is the input file. A value follows a `=`, or, for the
few options that require one, is the next argument. Options that are not listed here are passes where they start with
two dashes, and settings otherwise: so passes of any version of Binaryen are known without a list of their names. Each
option becomes an `Argument` with its class, which says in which of several runs of the real tool it belongs. argparse
was rejected: it abbreviates, reorders, and knows neither `-O3` as a step in a sequence nor unknown options with values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from caesura.errors import UsageError

PASS: Final = "pass"
LEVEL: Final = "level"
PASS_ARGUMENT: Final = "pass argument"
SETTING: Final = "setting"
LAST_RUN: Final = "last run"
DEFAULT_LEVEL: Final = "default level"
OWN: Final = "own"
UNUSABLE: Final = "unusable"

OUTPUT: Final = "--output"
INPUT_SOURCE_MAP: Final = "--input-source-map"
OUTPUT_SOURCE_MAP: Final = "--output-source-map"
OUTPUT_SOURCE_MAP_URL: Final = "--output-source-map-url"
SKIP_PASS: Final = "--skip-pass"
DEBUG_INFO: Final = "--debuginfo"
EMIT_TEXT: Final = "--emit-text"
QUIET: Final = "--quiet"
VERSION: Final = "--version"
HELP: Final = "--help"
EMIT_EXNREF: Final = "--emit-exnref"
EMIT_MODULE_NAMES: Final = "--emit-module-names"
PRINT_STACK_IR: Final = "--print-stack-ir"
OPTIMIZE_LEVEL: Final = "--optimize-level"
SHRINK_LEVEL: Final = "--shrink-level"

_LONG_NAMES: Final = {
    "-o": OUTPUT,
    "-S": EMIT_TEXT,
    "-c": "--converge",
    "-feh": "--fuzz-exec-before",
    "-fe": "--fuzz-exec",
    "-efc": "--extra-fuzz-command",
    "-ttf": "--translate-to-fuzz",
    "-if": "--initial-fuzz",
    "-fp": "--fuzz-passes",
    "-esw": "--emit-spec-wrapper",
    "-ejw": "--emit-js-wrapper",
    "-ism": INPUT_SOURCE_MAP,
    "-osm": OUTPUT_SOURCE_MAP,
    "-osu": OUTPUT_SOURCE_MAP_URL,
    "-ol": OPTIMIZE_LEVEL,
    "-s": SHRINK_LEVEL,
    "-g": DEBUG_INFO,
    "-sp": SKIP_PASS,
    "-pa": "--pass-arg",
    "-q": QUIET,
    "-h": HELP,
    "-d": "--debug",
    "-n": "--no-validation",
    "-all": "--all-features",
    "-mvp": "--mvp-features",
    "-cw": "--closed-world",
    "-iit": "--ignore-implicit-traps",
    "-tnh": "--traps-never-happen",
    "-lmu": "--low-memory-unused",
    "-ffm": "--fast-math",
    "-uim": "--zero-filled-memory",
    "-ifwl": "--inline-functions-with-loops",
    "-aimfs": "--always-inline-max-function-size",
    "-fimfs": "--flexible-inline-max-function-size",
    "-ocimfs": "--one-caller-inline-max-function-size",
    "-imcbs": "--inline-max-combined-binary-size",
    "-pii": "--partial-inlining-ifs",
    "--experimental-new-eh": EMIT_EXNREF,
}

# Options whose value may be the next argument.
_WITH_VALUE: Final = frozenset(
    [
        OUTPUT,
        "--fuzz-exec-second",
        "--extra-fuzz-command",
        "--initial-fuzz",
        "--fuzz-import",
        "--emit-spec-wrapper",
        "--emit-wasm2c-wrapper",
        "--emit-js-wrapper",
        INPUT_SOURCE_MAP,
        OUTPUT_SOURCE_MAP,
        OUTPUT_SOURCE_MAP_URL,
        OPTIMIZE_LEVEL,
        SHRINK_LEVEL,
        SKIP_PASS,
        "--pass-arg",
        "--always-inline-max-function-size",
        "--flexible-inline-max-function-size",
        "--one-caller-inline-max-function-size",
        "--inline-max-combined-binary-size",
        "--partial-inlining-ifs",
    ]
)

_OWN: Final = frozenset(
    [
        OUTPUT,
        EMIT_TEXT,
        INPUT_SOURCE_MAP,
        OUTPUT_SOURCE_MAP,
        OUTPUT_SOURCE_MAP_URL,
        DEBUG_INFO,
        VERSION,
        HELP,
        EMIT_EXNREF,
        EMIT_MODULE_NAMES,
    ]
)

_SETTINGS: Final = frozenset(
    [
        QUIET,
        SKIP_PASS,
        "--debug",
        "--mvp-features",
        "--all-features",
        "--detect-features",
        "--experimental-poppy",
        "--no-validation",
        "--closed-world",
        "--preserve-type-order",
        "--generate-stack-ir",
        "--optimize-stack-ir",
        "--no-stack-ir",
        "--always-inline-max-function-size",
        "--flexible-inline-max-function-size",
        "--one-caller-inline-max-function-size",
        "--inline-max-combined-binary-size",
        "--inline-functions-with-loops",
        "--partial-inlining-ifs",
        "--ignore-implicit-traps",
        "--traps-never-happen",
        "--low-memory-unused",
        "--fast-math",
        "--zero-filled-memory",
    ]
)

# What compares the module before and after all passes, or repeats them all: `--asyncify` can be done only once.
_UNUSABLE: Final = frozenset(
    [
        "--converge",
        "--fuzz-exec-before",
        "--fuzz-exec",
        "--fuzz-exec-second",
        "--extra-fuzz-command",
        "--translate-to-fuzz",
        "--initial-fuzz",
        "--fuzz-passes",
        "--no-fuzz-memory",
        "--no-fuzz-oob",
        "--fuzz-preserve-imports-exports",
        "--fuzz-against-js",
        "--fuzz-import",
        "--emit-spec-wrapper",
        "--emit-wasm2c-wrapper",
        "--emit-js-wrapper",
    ]
)

_LEVELS: Final = frozenset(["-O", "-O0", "-O1", "-O2", "-O3", "-O4", "-Os", "-Oz"])

# Options with a value that may stand more than once.
_REPEATED: Final = frozenset([SKIP_PASS, "--pass-arg"])


@dataclass(frozen=True)
class Argument:
    """One option: its class, its long name, its value ("" where it has none), and how it is spelled for wasm-opt."""

    kind: str
    name: str
    value: str
    words: tuple[str, ...]

    @property
    def pass_name(self) -> str:
        """The name of the pass that this option runs."""
        return self.name[2:]

    @property
    def key(self) -> str:
        """What stands before the `@` of a pass argument."""
        return self.value.partition("@")[0]


@dataclass(frozen=True)
class CommandLine:
    """A whole command line: its options in order, and the input file ("" or "-": standard input)."""

    arguments: tuple[Argument, ...]
    input: str

    def has(self, name: str) -> bool:
        """Tell whether an option, given by its long name, stands in the line."""
        return any(argument.name == name for argument in self.arguments)

    def value(self, name: str) -> str:
        """Return the value of an option, or "" where it is missing."""
        for argument in self.arguments:
            if argument.name == name:
                return argument.value
        return ""


def parse(words: list[str]) -> CommandLine:
    """Read a command line (without the program's name); raises UsageError where wasm-opt would refuse it too."""
    arguments: list[Argument] = []
    seen: set[str] = set()
    inputs: list[str] = []
    position = 0
    while position < len(words):
        word = words[position]
        position += 1
        if not word.startswith("-") or word == "-":
            inputs.append(word)
            continue
        spelled, equals, value = word.partition("=")
        name = _LONG_NAMES.get(spelled, spelled)
        taken: tuple[str, ...] = (word,)
        if name in _WITH_VALUE and not equals:
            if position == len(words):
                raise UsageError(f"Couldn't find expected argument for '{spelled}'")
            value = words[position]
            position += 1
            taken = (word, value)
        if name in _WITH_VALUE and name not in _REPEATED and name in seen:
            raise UsageError(f"Unexpected second argument '{value}' for '{spelled}'")
        seen.add(name)
        arguments.append(Argument(_classify(name), name, value, taken))
    if len(inputs) > 1:
        raise UsageError(f"Unexpected second positional argument '{inputs[1]}' for INFILE")
    return CommandLine(tuple(arguments), inputs[0] if inputs else "")


def is_setting(name: str) -> bool:
    """Tell whether an option, given by its long name, is a setting that this file knows."""
    return name in _SETTINGS


def takes_value(argument: Argument) -> bool:
    """Tell whether an option can have a value: it needs one, or it is one of those that are not all listed here."""
    is_listed = argument.kind in (OWN, LEVEL, SETTING) and argument.name != "--debug"
    return argument.name in _WITH_VALUE or not is_listed


def _classify(name: str) -> str:
    if name == "--pass-arg":
        return PASS_ARGUMENT
    if name in _LEVELS:
        return LEVEL
    if name in (OPTIMIZE_LEVEL, SHRINK_LEVEL):
        return DEFAULT_LEVEL
    if name in _OWN:
        return OWN
    if name in _UNUSABLE:
        return UNUSABLE
    if name == PRINT_STACK_IR:
        return LAST_RUN
    if name in _SETTINGS or name.startswith(("--enable-", "--disable-")) or not name.startswith("--"):
        return SETTING
    return PASS
