"""An explanation of a whole module as data: what `--json` prints, and what `caesura diff` compares.

Keys and their meaning are described in docs/explain.md. The document is the same for the same module and options, so
that it can be kept under version control: no times, no paths.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

from caesura.explaining.coverage import Coverage
from caesura.explaining.explanation import IGNORE_INDIRECT, Explanation
from caesura.explaining.one_function import describe_function, freed_facts, function_facts, next_steps
from caesura.explaining.tree import dominator_tree
from caesura.options import Options
from caesura.wasm.module import Module

Json = dict[str, Any]

# Says what a document is, and in which version of this form.
FORMAT: Final = "caesura explanation 1"

# Digits of the hash that stands for the body of a function without a name.
_DIGITS: Final = 16


def describe_module(explanation: Explanation, data: bytes, options: Options, coverage: Coverage | None = None) -> Json:
    """Return all that is known of a module; `data` is the module as it was given, `coverage` what recordings say."""
    instrumented = explanation.instrumented
    functions = [explanation.first + own for own in range(len(explanation.reports))]
    module = Module(data)
    document: Json = {
        "format": FORMAT,
        "module": {
            "functions": len(explanation.reports),
            "instrumented": instrumented.instrumented,
            "sites": instrumented.sites,
            "bytes_before": instrumented.bytes_before,
            "bytes_after": instrumented.bytes_after,
            "code_before": instrumented.code_before,
            "code_after": instrumented.code_after,
        },
        "options": {"imports": list(options.imports), **options.identity()},
        "causes": causes_facts(explanation),
        "what_if": [{"change": IGNORE_INDIRECT, "frees": freed_facts(explanation.without_indirect())}],
        "tree": [
            {
                "kind": node.kind,
                "name": node.name,
                "index": node.index,
                "parent": node.parent,
                "frees": freed_facts(node.frees),
            }
            for node in dominator_tree(explanation)
        ],
        "lists": [
            {"list": entry.list_name, "entry": entry.text, "matches": len(entry.functions)}
            for entry in explanation.graph.entries
        ],
        "functions": [_facts(explanation, module, function, coverage) for function in functions],
        "warnings": list(instrumented.warnings),
    }
    if coverage is not None:
        document["coverage"] = _coverage_facts(coverage)
    return document


def describe_one(explanation: Explanation, data: bytes, function: int, coverage: Coverage | None = None) -> Json:
    """Return all that is known of one of the module's own functions: what the module's document has of it, and more."""
    return {
        "format": FORMAT,
        **_facts(explanation, Module(data), function, coverage),
        **describe_function(explanation, function),
    }


def _facts(explanation: Explanation, module: Module, function: int, coverage: Coverage | None) -> Json:
    """Return what the document of a module has of one of its functions."""
    own = function - explanation.first
    facts = function_facts(explanation, function)
    facts["because"] = next_steps(explanation, function)
    if facts["name"] == str(facts["index"]):
        body = module.data[module.body_starts[own] : module.body_ends[own]]
        facts["body"] = hashlib.sha256(body).hexdigest()[:_DIGITS]
    if coverage is not None:
        facts["listed"] = coverage.listed[own]
        facts["recorded"] = coverage.recorded[own]
    return facts


def _coverage_facts(coverage: Coverage) -> Json:
    """Return how many functions are listed and recorded, only one of these, and what was recorded of no function."""
    pairs = [
        (is_listed, times is not None) for is_listed, times in zip(coverage.listed, coverage.recorded, strict=True)
    ]
    return {
        "by_list": coverage.by_list,
        "listed_and_recorded": pairs.count((True, True)),
        "never_recorded": pairs.count((True, False)),
        "not_listed": pairs.count((False, True)),
        "unmatched": list(coverage.unmatched),
    }


def causes_facts(explanation: Explanation) -> list[Json]:
    """Return what suspensions start in, and the calls through tables that they pass through."""
    return [
        {
            "kind": cause.kind,
            "name": cause.name,
            "change": cause.change,
            "frees": freed_facts(explanation.freed(node)),
            "makers": len(cause.makers),
            "targets": len(cause.targets),
        }
        for node, cause in explanation.causes()
    ]
