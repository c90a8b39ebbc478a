"""What a tool chain does to a module after `--asyncify`: other passes, other tools.

The instrumented module returns several values from functions, which Binaryen counts as a feature (multivalue). A tool
chain that says to each tool which features its compiler used, as Emscripten does, does not name it, and Binaryen then
refuses the module. So when a module with such functions comes by, the features that instrumentation may have added are
switched on; that it is instrumented cannot be seen otherwise once Emscripten has renamed its exports. For tools other
than `wasm-opt` this program is linked under their names: it then runs the real one, which stands beside the real
wasm-opt, with the same addition.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

from caesura.cli import wasm_opt_real as real
from caesura.cli.wasm_opt_arguments import parse
from caesura.errors import CaesuraError, UsageError
from caesura.wasm.module import Module

# Tools of Binaryen that this program may stand in for.
OTHER_TOOLS: Final = ("wasm-metadce", "wasm-emscripten-finalize", "wasm-split", "wasm-dis", "wasm2js")

MULTIVALUE: Final = "--enable-multivalue"
MULTIMEMORY: Final = "--enable-multimemory"
MUTABLE_GLOBALS: Final = "--enable-mutable-globals"


def run_other_tool(tool: str, words: list[str]) -> int:
    """Run the real tool of this name; return its exit code."""
    path = _beside(real.require(f"finding the real {tool} beside it"), tool)
    if not path:
        raise UsageError(f"no {tool} was found beside Binaryen's wasm-opt, nor on the PATH")
    multivalue = any(_has_multivalue(word) for word in words if word.endswith(".wasm"))
    return real.run(path, [*words, MULTIVALUE, MUTABLE_GLOBALS] if multivalue else words)


def run_wasm_opt(words: list[str]) -> int:
    """Run the real wasm-opt for a line without `--asyncify`; return its exit code."""
    path = real.require("passes other than --asyncify")
    try:
        multivalue = _has_multivalue(parse(words).input)
    except UsageError:
        multivalue = False  # the real one says better what is wrong
    return real.run(path, [*words, MULTIVALUE, MUTABLE_GLOBALS] if multivalue else words)


def _beside(wasm_opt: str, tool: str) -> str:
    name = tool + Path(wasm_opt).suffix
    for candidate in (Path(wasm_opt).with_name(name), Path(wasm_opt).resolve().with_name(name)):
        if candidate.is_file() and os.access(candidate, os.X_OK) and not real.is_ourselves(candidate):
            return str(candidate)
    path = shutil.which(tool)
    return path if path is not None and not real.is_ourselves(Path(path)) else ""


def _has_multivalue(path: str) -> bool:
    """Tell whether a file is a module with functions that return several values; what cannot be read is none."""
    try:
        return any(len(definition.results) > 1 for definition in Module(Path(path).read_bytes()).types)
    except (OSError, ValueError, IndexError, CaesuraError):
        return False
