"""Run guests under Wasmtime: `async def` host functions suspend the guest, and the event loop runs on.

Two ways meet in a guest. From a module to a program, where nothing of the guest runs: `loading`, `linking`,
`obtaining`, `compile_queue`, `compiling`, `drivable`. And from a call to its state: `guest`, `driving`, `call`,
`instance`, which `setup` makes, then `unwinder` and `switching`, `frames` and `resting_pointer`, `state`. Each imports
only what comes after it; pyproject.toml has the order of all.
"""
