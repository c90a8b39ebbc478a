"""What is added to a module as a whole, as the contract (`caesura.abi`) says.

The ABI's functions and globals, the memory of the asyncify stack, thunks, functions that many bodies share, names,
and the sections that tell hosts about it; and what an instrumented module must not keep.
"""
