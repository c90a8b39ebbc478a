"""The transformation: from a module and options to the instrumented module.

`pipeline` says in which order its rooms work. `abi` adds what the whole module needs; for each function, `plan`
decides where frames land, `frames` what they hold, and `write` writes the new bodies. What is refused is told from
here too.
"""
