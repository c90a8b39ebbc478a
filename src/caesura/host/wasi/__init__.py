"""WASI preview 1 for guests: what waits is ours, the rest is Wasmtime's (`wasi`), and what is open can be saved.

`wasi` has the functions, `given` checks what users give them, `stdin` and `polling` wait, `forwarding` calls Wasmtime's
functions for them. `descriptors` notes what is open, `files` asks Wasmtime about it, `reopening` opens it again, and
`waits` goes on where calls slept. With `pausing` a program can be saved at every call.

`Wasi` is imported when it is first asked for: who needs another file of this room need not load all of it.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from caesura.host.wasi.wasi import Wasi

__all__ = ["Wasi"]


if not TYPE_CHECKING:  # for a type checker every unknown name would exist

    def __getattr__(name: str) -> Any:
        """Import the class when it is first asked for."""
        if name != "Wasi":
            raise AttributeError(f"module 'caesura.host.wasi' has no attribute '{name}'")
        from caesura.host.wasi.wasi import Wasi

        return Wasi
