"""The declarations of locals at the start of a new body: the original's, copied as they are, and added ones."""

from __future__ import annotations

from caesura.analysis.body import Body
from caesura.wasm.leb128 import encode_unsigned
from caesura.wasm.types import defaultable, encode_value_type


def declare(data: bytes, body: Body, params: tuple[int, ...], new: list[tuple[int, int]]) -> bytes:
    """Return the local declarations of a new body: `params` that it has as locals, the original's own, and `new` ones.

    Where the original's end with locals of the type of the first new ones, these are counted there too. References that
    cannot be null become such as can: a frame sets a local where the original had set it long before, and validation
    does not see that.
    """
    if body.has_non_null:
        return _declare_widened(body, params, new)
    return declare_as_given(data, body, params, new)


def declare_as_given(data: bytes, body: Body, params: tuple[int, ...], new: list[tuple[int, int]]) -> bytes:
    """Return the same, but let references that cannot be null stay what they are: for code that is still to be planned,
    since the plan marks where such locals are read.
    """
    end = body.code_start
    count = len(params) + body.declarations + len(new)
    if new and body.declarations and body.run_types[-1] == new[0][0]:
        last = body.run_ends[-1] - (body.run_ends[-2] if len(body.run_ends) > 1 else 0)
        new = [(new[0][0], last + new[0][1]), *new[1:]]
        end = body.last_declaration
        count -= 1
    declared = data[body.declarations_start : end]
    return encode_unsigned(count) + _encode_runs([(one, 1) for one in params]) + declared + _encode_runs(new)


def _declare_widened(body: Body, params: tuple[int, ...], new: list[tuple[int, int]]) -> bytes:
    runs = [(one, 1) for one in params]
    start = body.param_count
    for place in range(len(body.run_ends) - body.declarations, len(body.run_ends)):
        runs.append((body.run_types[place], body.run_ends[place] - start))
        start = body.run_ends[place]
    widened = [(defaultable(one), count) for one, count in runs + new]
    return encode_unsigned(len(widened)) + _encode_runs(widened)


def _encode_runs(runs: list[tuple[int, int]]) -> bytes:
    """Return local declarations for (type, count) runs, without the number of runs."""
    return b"".join([encode_unsigned(count) + encode_value_type(value_type) for value_type, count in runs])
