"""Tests of `caesura.explaining`: what would free which functions, and what is printed and drawn of it."""
