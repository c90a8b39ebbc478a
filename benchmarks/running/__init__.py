"""How fast instrumented programs run, suspend and resume, and what they cost engines, against originals and Binaryen.

`python -m benchmarks.running` measures and writes docs/running.json; `tables` and `write_plots` show what it wrote.
"""
