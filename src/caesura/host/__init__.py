"""Run guests under Wasmtime: `async def` host functions suspend the guest, and the event loop runs on.

Loading (instrument, compile, keep in a cache, in worker processes), instances and the calls of their exports, what
suspends and resumes them, values and references that cross, WASI, limits. The transformation is asked for by
`caesura.options` and read back by the sections that it leaves; the contract between the two is `caesura.abi`.
"""
