"""The imports that WebAssembly's own test suite gives its modules: functions that print, and more.

Small text modules without WASI use them to show something. `print` takes any number of values here, as
engines' shells do it.
"""

from __future__ import annotations

from typing import Any, Final

import wasmtime

_PRINTERS: Final = (
    "print",
    "print_i32",
    "print_i64",
    "print_f32",
    "print_f64",
    "print_i32_f32",
    "print_f64_f64",
)


def spectest() -> dict[str, dict[str, Any]]:
    """Return the imports, for `load`."""
    items: dict[str, Any] = dict.fromkeys(_PRINTERS, _print)
    items |= {f"global_{kind}": 666 for kind in ("i32", "i64")}
    items |= {f"global_{kind}": 666.6 for kind in ("f32", "f64")}
    items["memory"] = wasmtime.MemoryType(wasmtime.Limits(1, 2))
    items["table"] = wasmtime.TableType(wasmtime.ValType.funcref(), wasmtime.Limits(10, 20))
    return {"spectest": items}


def _print(*values: Any) -> None:
    print(*values, flush=True)
