"""Saving guests: from an instance to a `State` (`capture`), and from that to an instance again (`putting_back`).

Nothing of a guest changes while it is saved. What cannot be saved is refused by name before anything is written; what
does not fit the module that a state is put back into, before any code of the guest runs.
"""
