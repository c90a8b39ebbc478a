"""Runs scripts of WebAssembly's specification test suite against instrumented modules.

`reading` cuts a script (`.wast`) into commands, `wasmtime.wat2wasm` reads the modules in it. `points` adds to a module
calls of one more imported function, at the entry of every function and at the head of every loop. `driver` makes, for
an action of a script, a module that calls the export, drives its suspensions, and leaves the results in a memory.
`running` links the modules of a script as it says and compares; `__main__` is for whole folders: the suite itself,
which is not part of this repository. `scripts/` holds what it taught, and `test_scripts` runs those.
"""
