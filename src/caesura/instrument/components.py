"""Components: the core modules in them are instrumented, the component's own wrapping stays as it is.

Each core module is instrumented with the same options. One in which nothing may suspend stays byte for byte as it is;
else it has the ABI's exports besides its own, which no instantiation in the component asks for. Lists are about all of
them: an entry that matches in one of them has done its work.

The wrapping could be given more, so that the ABI's functions can be called from outside: lifted as exports of the
component. That was rejected. Whoever calls an export of a component gets lifted results, which are made of whatever the
core function returns, zeros while it unwinds; and arguments are lowered anew for the rewind, which allocates in the
guest. So suspensions are driven where core modules are instantiated, one level below (see docs/components.md).
"""

from __future__ import annotations

import time
from dataclasses import replace

from caesura.analysis.lists import is_about_lists, missing_everywhere
from caesura.errors import MalformedModule, ModuleError, UnsupportedModule, UsageError
from caesura.instrument.frames.pieces import AUTOMATIC
from caesura.instrument.pipeline import instrument_as
from caesura.instrument.rewriting import Progress
from caesura.options import Options
from caesura.report import FunctionReport, Instrumented
from caesura.wasm.component import Component


def instrument_component(data: bytes, options: Options, progress: Progress | None) -> Instrumented:
    """Instrument the core modules of a component; see `caesura.instrument.api.instrument`."""
    start = time.perf_counter()
    if options.import_globals:
        raise UsageError(
            "import_globals is for modules that are linked when they run: a component gives no more imports"
        )
    if options.snapshots:
        raise UsageError(
            "snapshots is for core modules: those in a component have their start functions called by it alone"
        )
    component = Component(data)
    for_each = replace(options, strict=False)
    results: list[Instrumented] = []
    for place in range(len(component.core_modules)):
        first, end = component.core_modules[place]
        try:
            results.append(instrument_as(data[first:end], for_each, progress, AUTOMATIC, None))
        except MalformedModule as error:
            raise MalformedModule(error.reason, _moved(error, first), _within(place, error.function)) from None
        except UnsupportedModule as error:
            raise _moved_refusal(error, first, place) from None
    missing = missing_everywhere([result.warnings for result in results])
    if missing and options.strict:
        more = f" (and {len(missing) - 1} more like this)" if len(missing) > 1 else ""
        raise UsageError(missing[0] + more)
    return _together(data, component, results, missing, time.perf_counter() - start)


def _together(
    data: bytes, component: Component, results: list[Instrumented], missing: list[str], seconds: float
) -> Instrumented:
    """Return what became of the whole."""
    modules: list[bytes] = []
    functions: list[FunctionReport] = []
    warnings = missing.copy()
    before = 0
    after = 0
    for place in range(len(results)):
        first, end = component.core_modules[place]
        result = results[place]
        is_changed = result.instrumented > 0
        modules.append(result.module if is_changed else data[first:end])
        before += result.code_before
        after += result.code_after if is_changed else result.code_before
        for function in result.functions:
            functions.append(replace(function, name=_within(place, function.name)))
        if is_changed:
            for warning in result.warnings:
                if not is_about_lists(warning):
                    warnings.append(f"core module {place}: {warning}")
    output = component.with_core_modules(modules)
    return Instrumented(
        module=output,
        functions=tuple(functions),
        bytes_before=len(data),
        bytes_after=len(output),
        code_before=before,
        code_after=after,
        seconds=seconds,
        stack_pointer=-1,
        warnings=tuple(warnings),
    )


def _within(place: int, name: str) -> str:
    return f"core module {place}: {name}" if name else f"core module {place}"


def _moved(error: ModuleError, first: int) -> int:
    return error.offset + first if error.offset >= 0 else first


def _moved_refusal(error: UnsupportedModule, first: int, place: int) -> UnsupportedModule:
    """Return the error with offsets into the component's file."""
    refusals = tuple([_moved_refusal(refusal, first, place) for refusal in error.refusals])
    return UnsupportedModule(error.reason, _moved(error, first), _within(place, error.function), error.kind, refusals)
