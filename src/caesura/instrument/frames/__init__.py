"""Frames: what a function saves, where it lies in the frame, how it is moved to the asyncify stack and back, which
values are set late, and what the two bodies of a function hand over.
"""
