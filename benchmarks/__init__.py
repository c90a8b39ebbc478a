"""Measurements against Binaryen: each figure is a ratio, with both sides measured in the same run."""
