"""Tests of the asyncio host, with Wasmtime and compiled C programs."""
