"""The module that a guest's program was made of, looked at once more: for what compiled code tells nothing of."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from caesura.analysis.body_entries import body_entry
from caesura.analysis.instrumented import asyncify_exports
from caesura.errors import CaesuraError
from caesura.host.description import Description
from caesura.host.linking import Origin
from caesura.host.sources import read_source
from caesura.host.text import assemble, is_text
from caesura.wasm.indices import FunctionIndex
from caesura.wasm.module import Module


def entries_of(origin: Origin, description: Description, functions: Sequence[int]) -> dict[int, str]:
    """Return the entries of lists that mean functions by their bodies, by index; nothing where nobody knows.

    That is where the file cannot be read any more or is another one now, and where somebody else instrumented it.
    """
    state = description.state()
    try:
        data, _ = read_source(origin.source)
        data = assemble(data) if is_text(data) else data
        if state is not None and hashlib.sha256(data).digest() != state.original:
            return {}
        module = Module(data)
        if asyncify_exports(module):
            return {}
        return {function: body_entry(module, FunctionIndex(function)) for function in functions}
    except CaesuraError:
        return {}
