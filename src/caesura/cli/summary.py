"""What a run of the transformation is reported as: a line for people, JSON for machines."""

from __future__ import annotations

from typing import Any

from caesura.report import FunctionReport, Instrumented


def summary_line(result: Instrumented) -> str:
    """Return the summary for people."""
    growth = (result.bytes_after - result.bytes_before) / result.bytes_before
    return (
        f"{result.instrumented:,} of {counted(len(result.functions), 'function')} instrumented, "
        f"{counted(result.sites, 'call site')}, {result.bytes_before:,} -> {result.bytes_after:,} bytes "
        f"({growth:+.1%}), {result.seconds:.2f} s"
    )


def counted(number: int, what: str) -> str:
    """Return a number of things, in the plural where they are not one."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def function_line(function: FunctionReport) -> str:
    """Return what became of one function, and why, for people."""
    name = f"{function.name} ({function.index})" if function.name != str(function.index) else function.name
    if not function.instrumented:
        return f"{name}: not instrumented: {function.reason}"
    if function.frameless:
        return f"{name}: passes suspensions on without a frame of its own: {function.reason}"
    return f"{name}: instrumented, {counted(function.sites, 'call site')}: {function.reason}"


def summary_json(result: Instrumented, *, with_functions: bool) -> str:
    """Return the summary for machines, if asked for with an entry for every function."""
    import json

    facts: dict[str, Any] = {
        "functions": len(result.functions),
        "instrumented": result.instrumented,
        "sites": result.sites,
        "bytes_before": result.bytes_before,
        "bytes_after": result.bytes_after,
        "code_before": result.code_before,
        "code_after": result.code_after,
        "seconds": round(result.seconds, 6),
        "warnings": list(result.warnings),
    }
    if with_functions:
        facts["function_reports"] = [
            {
                "index": function.index,
                "name": function.name,
                "instrumented": function.instrumented,
                "sites": function.sites,
                "reason": function.reason,
                "frameless": function.frameless,
                "saved": function.saved,
                "merges": function.merges,
                "other_bodies": function.other_bodies,
            }
            for function in result.functions
        ]
    return json.dumps(facts, indent=2)
