"""What the transformation tells about its work.

Not compiled, for the sake of docstrings, as `api` says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

# In place of the global of a shadow stack pointer: none was found.
NO_STACK_POINTER: Final = -1


@dataclass(frozen=True, kw_only=True)
class FunctionReport:
    """What became of one of the module's own functions.

    `instrumented` tells whether suspensions can now pass through it, `sites` at how many calls it can be suspended, and
    `reason` why it can or cannot: the call path to where a suspension can start, or what rules one out. `frameless`
    tells that it needs no frame of its own for that. `saved` is how many values its frame holds, and `merges` how often
    engines must merge one of them with what the code before a landing point left: once for each local that is live at
    one. `other_bodies` are the bytes of functions that were added for it alone: its second body, and the copy that
    what a list leaves out calls instead.
    """

    index: int
    name: str
    instrumented: bool
    sites: int
    reason: str
    frameless: bool
    saved: int
    merges: int
    other_bodies: int


@dataclass(frozen=True, kw_only=True)
class Instrumented:
    """An instrumented module and the facts about it.

    Sizes are bytes; `seconds` is wall time; `stack_pointer` is the index of the shadow stack pointer's global, or -1
    where the module has none that could be found.
    """

    module: bytes
    functions: tuple[FunctionReport, ...]
    bytes_before: int
    bytes_after: int
    code_before: int
    code_after: int
    seconds: float
    stack_pointer: int
    warnings: tuple[str, ...]

    @property
    def instrumented(self) -> int:
        """The number of functions that were instrumented."""
        return sum(1 for function in self.functions if function.instrumented)

    @property
    def sites(self) -> int:
        """The number of call sites at which the module can be suspended."""
        return sum(function.sites for function in self.functions)
