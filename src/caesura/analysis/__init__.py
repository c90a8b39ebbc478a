"""Facts about a module, found out without changing it.

The calls of a module, which functions may suspend and why, the users' lists, which functions need no frame; of one
body its shape, its operands' actions, its liveness; the shadow stack, and what engines allow. What is decided from
these facts is the business of `instrument`. Hosts look at some of them too.
"""
