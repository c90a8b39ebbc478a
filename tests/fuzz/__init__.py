"""Fuzzing the asyncio host with guests that mean harm; `python -m tests.fuzz --runs=10000` runs long."""
