"""Tests of `caesura.analysis`: what is found out about small modules written as text."""
