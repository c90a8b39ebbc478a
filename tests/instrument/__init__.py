"""Tests of the transformation: its outputs run, in Wasmtime, as the originals do; and it refuses what it must."""
