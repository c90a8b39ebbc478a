"""The plan of a function, made before anything is written: nothing here knows the bytes of new code.

Where frames land, what crosses a call site, which call sites are grouped and how they are numbered, where they are
checked, which functions get two bodies; and what cannot be saved.
"""
