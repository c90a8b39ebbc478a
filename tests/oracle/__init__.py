"""The oracle: generated programs behave the same whether they are suspended and resumed or not.

A generated guest (`generator`; function bodies in `bodies` and the classes below it) runs in a small world of hosts
that are wasm modules themselves (`world`, `host_modules`, `driver_modules`), once as it is and then instrumented,
suspended at generated subsets of its import calls. Results, memory, globals, exceptions, traps and the log of import
calls must be the same, bit for bit. `cases` holds one experiment as data, `property` says what must hold,
`wasmtime_engine` and `node_engine` run it, `minimise` shrinks what fails, and `python -m tests.oracle` searches for as
long as it is let.

The host side is wasm and not Python for two reasons: values cross without passing through Python floats, which quiet
signalling NaNs and know no v128, and a run costs a fraction of a millisecond.
"""
