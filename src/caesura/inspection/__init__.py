"""Looking into suspended guests: backtraces of their calls, what memory and files are, what differs between two states.

Nothing here runs a guest or knows an engine: everything is read from a state (`caesura.snapshots`), or from what the
host hands over, and from the module. `layouts` reads what the transformation tells of frames, `walk` finds whose frames
lie on an asyncify stack, `backtrace` puts names, source lines and values to them.
"""
