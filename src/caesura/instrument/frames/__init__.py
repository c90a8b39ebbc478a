"""Frames: what a function saves, where it lies, and how it is moved."""
