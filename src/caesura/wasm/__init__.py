"""The binary format: read, write and describe WebAssembly modules; knows nothing of suspending."""
