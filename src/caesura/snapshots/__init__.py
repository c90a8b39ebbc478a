"""Save states: what a suspended guest is made of, as data, and the bytes that hold it.

Nothing here runs a guest or knows an engine. `section` reads what a module tells of its state, `state` is what there is
to save, `format` writes and reads it (docs/snapshots.md), and `saving` puts it on a disk. The asyncio host fills and
uses it (`caesura.host.saving`), and so does the JavaScript host.
"""
