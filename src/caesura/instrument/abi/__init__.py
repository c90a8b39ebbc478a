"""What is added to a module as a whole, as the contract (`caesura.abi`) says.

The ABI's functions and globals, the memory of the asyncify stack, thunks, functions that many bodies share, names,
and the sections that tell hosts about it; what an instrumented module must not keep; and the two changes that come
before anything looks at the module: indices that move, and calls through tables that functions share.
"""
