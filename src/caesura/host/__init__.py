"""Run guests under Wasmtime: `async def` host functions suspend the guest, and the event loop runs on."""
