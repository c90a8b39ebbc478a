"""What is added to a module: the ABI's functions, globals, memory, thunks, and the sections about them."""
