"""The module that was given, and the one that is instrumented: not the same where something has to change first.

That is the form of its exceptions, if that is asked for; results that have no values; calls that functions share; and
its index spaces. Pause points are written into it, if options ask for them.
"""

from __future__ import annotations

from dataclasses import dataclass

from caesura.analysis.body_entries import BodyEntries, find_bodies
from caesura.analysis.catch_clauses import MOST_CLAUSES, refuse_clauses
from caesura.analysis.index_checks import check_indices
from caesura.analysis.instrumented import refuse_instrumented
from caesura.analysis.lists import listed_entries
from caesura.analysis.pause_points import NO_PAUSE
from caesura.analysis.waits import refuse_waits
from caesura.errors import UnsupportedModule
from caesura.instrument.abi.naming import FunctionNames
from caesura.instrument.abi.renumbered import Renumbered, renumber
from caesura.instrument.abi.shared_calls import share_calls
from caesura.instrument.copied_module import CopiedModule, unchanged
from caesura.instrument.exceptions.translate import translate_to_exnref
from caesura.instrument.pausing import add_pause_points
from caesura.instrument.valueless import give_results_values
from caesura.options import NO_PREEMPT, Options
from caesura.wasm.indices import FunctionIndex, OwnFunction
from caesura.wasm.module import Module


@dataclass(frozen=True, kw_only=True)
class Given:
    """`module` is what is instrumented, `names` are those of its functions. `renumbered`, `retyped` and `translated`
    say what was given: before it was renumbered; before its results were given values, too; and before its exceptions
    were translated. `paused` says what it was before it had pause points.

    `bodies` says what entries of lists by functions' bodies mean in what was given.

    The last own functions are none of the given ones: first `pause`, which pause points call (or NO_PAUSE), then those
    in `shared_calls`, which others share calls through tables by, then those that stand for imports of module
    `asyncify`, then those in `framing`, each by the function that it gives a frame to.
    """

    module: Module
    renumbered: Renumbered
    shared_calls: list[int]
    names: FunctionNames
    framing: dict[FunctionIndex, FunctionIndex]
    pause: FunctionIndex
    paused: CopiedModule
    retyped: CopiedModule
    translated: CopiedModule
    bodies: BodyEntries

    def added_functions(self) -> int:
        """Return how many of the module's last functions are none of the given ones."""
        pauses = 0 if self.pause == NO_PAUSE else 1
        return pauses + len(self.shared_calls) + len(self.renumbered.runtime_functions) + len(self.framing)

    def body_entries(self) -> BodyEntries:
        """Return what entries by bodies mean, by the indices that functions have in `module`."""
        shift = self.renumbered.shift
        functions = {entry: function - shift for entry, function in self.bodies.functions.items()}
        return BodyEntries(functions, self.bodies.unmatched)

    def place(self, own: OwnFunction, offset: int) -> tuple[int, str]:
        """Return the offset of code of an own function, and what to call it, as they are in the file that was given."""
        function = self.module.function_of(own)
        description = self.names.describe(function, self.renumbered.original_function(function))
        offset = self.paused.original_offset(own, self.renumbered.original_offset(own, offset))
        offset = self.retyped.original_offset(own, offset)
        return self.translated.original_offset(own, offset), description


def read_given(data: bytes, options: Options) -> Given:
    """Read a module; raises UnsupportedModule for one that cannot be instrumented, or that is instrumented.

    Raises MalformedModule for one that refers to what it does not have.
    """
    original = Module(data)
    if original.custom_section("linking") is not None:
        raise UnsupportedModule("this is a relocatable object file; link it first, then instrument the result")
    refuse_instrumented(original)
    check_indices(original)
    if options.preempt != NO_PREEMPT:
        refuse_waits(original)
        refuse_clauses(original, MOST_CLAUSES)
    translated = translate_to_exnref(original) if options.translate_to_exnref else unchanged(original)
    bodies = BodyEntries() if options.plain_lists else find_bodies(original, listed_entries(options))
    return _prepare(unchanged(translated.module), translated, bodies, options)


def retype(given: Given, options: Options) -> Given:
    """Return what `read_given` returned, but with values of all types that functions have as results."""
    return _prepare(give_results_values(given.translated.module), given.translated, given.bodies, options)


def _prepare(retyped: CopiedModule, translated: CopiedModule, bodies: BodyEntries, options: Options) -> Given:
    paused, pause = add_pause_points(retyped.module, options)
    original = paused.module
    sharing, shared_calls = share_calls(original, options)
    renumbered = renumber(sharing, options, original)
    module = renumbered.module
    added = {module.imported_functions + function - original.imported_functions for function in shared_calls}
    names = FunctionNames(module, dict.fromkeys(added, "the call that they share"))
    return Given(
        module=module,
        renumbered=renumbered,
        shared_calls=shared_calls,
        names=names,
        framing={},
        pause=pause,
        paused=paused,
        retyped=retyped,
        translated=translated,
        bodies=bodies,
    )
