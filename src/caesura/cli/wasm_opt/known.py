"""Refuse what wasm-opt would refuse, also where no real wasm-opt takes part in the work.

Passes are not listed: they are handed over, and the real tool knows its own. Settings and features are: a line with
nothing but `--asyncify` never reaches it, and a misspelt `--enable-...` would be ignored. What this list of Binaryen's
options does not have is looked up in the real wasm-opt's `--help`, if there is one, since other versions of it have
others. The messages are Binaryen's.
"""

from __future__ import annotations

import re
from typing import Final

from caesura.cli.wasm_opt import arguments, real
from caesura.cli.wasm_opt.arguments import Argument, CommandLine
from caesura.errors import UsageError

_FEATURES: Final = frozenset(
    [
        "acquire-release-atomics",
        "bulk-memory",
        "bulk-memory-opt",
        "call-indirect-overlong",
        "compact-imports",
        "custom-descriptors",
        "custom-page-sizes",
        "exception-handling",
        "extended-const",
        "fp16",
        "gc",
        "memory64",
        "multibyte",
        "multimemory",
        "multivalue",
        "mutable-globals",
        "nontrapping-float-to-int",
        "reference-types",
        "relaxed-atomics",
        "relaxed-simd",
        "shared-everything",
        "sign-ext",
        "simd",
        "stack-switching",
        "strings",
        "tail-call",
        "threads",
        "typed-function-references",
        "wide-arithmetic",
    ]
)

_SWITCHES: Final = ("--enable-", "--disable-")


def refuse_unknown(line: CommandLine) -> None:
    """Raise UsageError for an option that wasm-opt does not have, or for a value where it takes none."""
    for item in line.arguments:
        spelled, equals, value = item.words[0].partition("=")
        if item.kind == arguments.SETTING and not _is_known(item) and not _is_in_help(spelled):
            raise UsageError(f"Unknown option '{spelled}'")
        if equals and value and not arguments.takes_value(item):
            raise UsageError(f"Unexpected argument '{value}' for option '{spelled}'")


def _is_known(item: Argument) -> bool:
    for switch in _SWITCHES:
        if item.name.startswith(switch):
            return item.name.removeprefix(switch) in _FEATURES
    return arguments.is_setting(item.name)


def _is_in_help(option: str) -> bool:
    """Tell whether the real wasm-opt, if there is one, has an option."""
    path = real.find()
    return bool(path) and re.search(rf"(^|[\s,]){re.escape(option)}([\s,\[]|$)", real.help_text(path)) is not None
