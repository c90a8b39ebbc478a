"""The binary format of WebAssembly: read, write and print modules; knows nothing of suspending.

The instruction set is one table (`instructions` and the files of its groups), from which reading, printing and stack
typing follow.
"""
