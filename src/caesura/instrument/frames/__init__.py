"""Frames: what a function saves, where it lies in the frame, and how it is moved to the asyncify stack and back."""
