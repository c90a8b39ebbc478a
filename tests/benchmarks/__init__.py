"""Tests of the benchmarks: they run for a moment, and the pages say what was measured."""
