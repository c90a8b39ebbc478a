"""What a run of the transformation is reported as: a line for people, JSON for machines."""

from __future__ import annotations

from typing import Any

from caesura.instrument.report import FunctionReport, Instrumented


def summary_line(result: Instrumented) -> str:
    """Return the summary for people."""
    growth = (result.bytes_after - result.bytes_before) / result.bytes_before
    return (
        f"{result.instrumented:,} of {len(result.functions):,} functions instrumented, {result.sites:,} call sites, "
        f"{result.bytes_before:,} -> {result.bytes_after:,} bytes ({growth:+.1%}), {result.seconds:.2f} s"
    )


def function_line(function: FunctionReport) -> str:
    """Return what became of one function, and why, for people."""
    name = f"{function.name} ({function.index})" if function.name != str(function.index) else function.name
    if not function.instrumented:
        return f"{name}: not instrumented: {function.reason}"
    if function.frameless:
        return f"{name}: passes suspensions on without a frame of its own: {function.reason}"
    return f"{name}: instrumented, {function.sites:,} call site{'s' if function.sites > 1 else ''}: {function.reason}"


def summary_json(result: Instrumented, verbose: bool) -> str:
    """Return the summary for machines; if verbose, with an entry for every function."""
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
    if verbose:
        facts["function_reports"] = [
            {
                "index": function.index,
                "name": function.name,
                "instrumented": function.instrumented,
                "sites": function.sites,
                "reason": function.reason,
                "frameless": function.frameless,
            }
            for function in result.functions
        ]
    return json.dumps(facts, indent=2)
