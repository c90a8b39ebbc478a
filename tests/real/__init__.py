"""Tests with real programs (SQLite, QuickJS, PHP, C programs) and of the promises of the ABI."""
