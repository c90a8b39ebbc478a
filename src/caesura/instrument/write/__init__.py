"""The new bodies of one function, written from its plan and frame; nothing is decided here that the plan can know.

`rewriting`, one level above, goes through all functions.
"""
